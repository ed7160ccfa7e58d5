#![allow(clippy::unwrap_used)]

use std::collections::HashSet;

use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::schema::StructType;

use super::*;

#[test]
fn column_names_are_unique_and_fit_for_sql() {
    for table in TableKind::ALL {
        let mut seen = HashSet::new();
        for column in table.columns().iter().chain(&PARTITION_COLUMNS) {
            assert!(seen.insert(column.name), "{} twice", column.name);
            assert!(column.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'));
        }
    }
}

#[test]
fn statistics_name_columns() {
    for table in TableKind::ALL {
        for name in table.statistics() {
            assert!(table.columns().iter().any(|c| c.name == *name), "{name}");
        }
    }
}

#[test]
fn arrow_and_delta_agree() {
    for table in TableKind::ALL {
        let from_arrow: StructType = table.arrow().as_ref().try_into_kernel().unwrap();
        let from_delta: StructType = serde_json::from_str(&table.delta_schema()).unwrap();
        let files: Vec<_> = from_delta.fields().take(table.columns().len()).collect();
        assert_eq!(from_arrow.fields().collect::<Vec<_>>(), files);
    }
}

#[test]
fn attribute_types_read_back() {
    for code in 0..=255 {
        if let Some(kind) = AttributeType::from_code(code) {
            assert_eq!(kind as u8, code);
        }
    }
}
