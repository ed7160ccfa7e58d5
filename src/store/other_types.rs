//! Which attributes with a column of their own have values in a data file that are not in that column, and that a
//! comparison may find nevertheless: arrays, whose elements TraceQL compares one by one, and doubles from 2^53 on.
//!
//! Under the key [`OTHER_TYPES_KEY`] of the footer's metadata stand the names of such columns, with commas between them;
//! nothing, where there is no such value. Only columns that every table has: no other is used to leave rows out.

use parquet::file::metadata::{KeyValue, ParquetMetaData, RowGroupMetaData};

use super::schema::{ColumnType, WELL_KNOWN};
use crate::wire::{AnyView, ValueParts};

/// Where the footer says it.
const OTHER_TYPES_KEY: &str = "tracewell.other_types";
/// How an array's text begins in a map.
const ARRAY_TEXT: &[u8] = b"{\"arrayValue\":";
/// Up to here each integer has a double of its own, and the column has that: 2^53.
pub(super) const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
const DIGITS_OF_EXACT_MAX: usize = 16;

/// Columns, by their attributes' places in [`WELL_KNOWN`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OtherTypes(u64);

const _: () = assert!(WELL_KNOWN.len() <= u64::BITS as usize);

impl OtherTypes {
    /// The attribute at this place of a layout has such a value. Of columns that were added nothing is remembered.
    pub(super) fn note(&mut self, at: usize) {
        if at < WELL_KNOWN.len() {
            self.0 |= 1 << at;
        }
    }

    /// Those of both.
    pub(super) fn join(&mut self, other: Self) {
        self.0 |= other.0;
    }

    /// Whether it has this column.
    pub(super) fn has(self, column: &str) -> bool {
        self.columns().any(|of| of == column)
    }

    fn columns(self) -> impl Iterator<Item = &'static str> {
        WELL_KNOWN
            .iter()
            .enumerate()
            .filter(move |(at, _)| self.0 & 1 << at != 0)
            .map(|(_, known)| known.column)
    }

    /// As the footer has it.
    pub(super) fn key_value(self) -> KeyValue {
        KeyValue::new(OTHER_TYPES_KEY.to_owned(), self.columns().collect::<Vec<_>>().join(","))
    }

    /// What a footer says. Where it says nothing, because the file is older or another's, all columns that have nulls.
    pub(super) fn of(footer: &ParquetMetaData) -> Self {
        let entries = footer.file_metadata().key_value_metadata();
        let written = entries.and_then(|all| all.iter().find(|kv| kv.key == OTHER_TYPES_KEY));
        let mut found = Self::default();
        for (at, known) in WELL_KNOWN.iter().enumerate() {
            let is_other = match written {
                Some(written) => {
                    written.value.as_deref().unwrap_or_default().split(',').any(|c| c == known.column)
                }
                None => !footer.row_groups().iter().all(|group| is_never_null(group, known.column)),
            };
            if is_other {
                found.note(at);
            }
        }
        found
    }
}

fn is_never_null(group: &RowGroupMetaData, column: &str) -> bool {
    let chunk = group.columns().iter().find(|chunk| chunk.column_path().string() == column);
    let nulls = chunk.and_then(|chunk| chunk.statistics()?.null_count_opt());
    nulls == Some(0)
}

/// Whether this value is not in a column of this type, and may be found by a comparison with what is.
pub(super) fn is_elsewhere(kind: ColumnType, value: ValueParts<'_>) -> bool {
    match value {
        ValueParts::Other(AnyView::Array(_)) => true,
        ValueParts::Other(AnyView::Double(value)) => kind == ColumnType::Long && value.abs() >= EXACT_MAX,
        _ => false,
    }
}

/// The same, by the value's text in the map; of texts that only look so too.
pub(super) fn is_text_elsewhere(kind: ColumnType, text: &[u8]) -> bool {
    let is_large = || {
        let is_short = text.len() < DIGITS_OF_EXACT_MAX && text.iter().all(u8::is_ascii_digit);
        let text = std::str::from_utf8(text).unwrap_or_default();
        !is_short && text.parse::<f64>().is_ok_and(|value| value.abs() >= EXACT_MAX)
    };
    text.starts_with(ARRAY_TEXT) || (kind == ColumnType::Long && is_large())
}

#[cfg(test)]
mod tests;
