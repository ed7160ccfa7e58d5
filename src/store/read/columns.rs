//! Typed access to the columns of a record batch.

use arrow_array::cast::AsArray;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, Int64Array, MapArray, RecordBatch, StringArray};
use parquet::schema::types::SchemaDescriptor;

use crate::store::schema::{AttributeType, ColumnType, WellKnown, WellKnownScope};

/// Whether a file has a column of this name.
pub(super) fn has_column(schema: &SchemaDescriptor, name: &str) -> bool {
    schema.root_schema().get_fields().iter().any(|field| field.name() == name)
}

/// A column of strings.
pub(super) fn texts<'a>(batch: &'a RecordBatch, name: &str) -> Option<&'a StringArray> {
    batch.column_by_name(name)?.as_string_opt()
}

/// The value in a string column, `None` where it is null.
pub(super) fn text_at(column: Option<&StringArray>, row: usize) -> Option<&str> {
    column.filter(|c| c.is_valid(row)).map(|c| c.value(row))
}

/// A number's bits in a column of longs; 0 where there is none.
pub(super) fn long_at(batch: &RecordBatch, name: &str, row: usize) -> i64 {
    let column =
        batch.column_by_name(name).and_then(|c| c.as_primitive_opt::<arrow_array::types::Int64Type>());
    column.filter(|c| c.is_valid(row)).map_or(0, |c| c.value(row))
}

/// Where in a map's entries those of a row are.
pub(super) fn entries(map: &MapArray, row: usize) -> std::ops::Range<usize> {
    let offsets = map.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

/// The index of a key within a row's entries.
pub(super) fn find_entry(map: &MapArray, row: usize, key: &str) -> Option<usize> {
    let keys = map.keys().as_string_opt::<i32>()?;
    entries(map, row).position(|at| keys.value(at) == key)
}

/// The text of a key in a row of a map; `None` where it is not there or null.
pub(super) fn find_value<'a>(map: &'a MapArray, row: usize, key: &str) -> Option<&'a str> {
    let at = entries(map, row).start + find_entry(map, row, key)?;
    text_at(map.values().as_string_opt(), at)
}

/// An attribute's own column, from the map: its values where they have the column's type.
pub(in crate::store) fn typed_column(batch: &RecordBatch, known: &WellKnown) -> ArrayRef {
    let (map, types) = match known.scope {
        WellKnownScope::Span => ("attributes", "attributes_types"),
        WellKnownScope::Resource => ("resource_attributes", "resource_attributes_types"),
    };
    let map = batch.column_by_name(map).and_then(|column| column.as_map_opt());
    let types = texts(batch, types);
    let code = match known.kind {
        ColumnType::Long => AttributeType::Int,
        _ => AttributeType::Str,
    };
    let value = |row: usize| {
        let map = map?;
        let at = find_entry(map, row, known.key)?;
        let is_of_type = text_at(types, row)?.as_bytes().get(at) == Some(&(code as u8));
        text_at(map.values().as_string_opt(), entries(map, row).start + at).filter(|_| is_of_type)
    };
    let values = (0..batch.num_rows()).map(value);
    match known.kind {
        ColumnType::Long => Arc::new(values.map(|v| v?.parse::<i64>().ok()).collect::<Int64Array>()),
        _ => Arc::new(values.collect::<StringArray>()),
    }
}
