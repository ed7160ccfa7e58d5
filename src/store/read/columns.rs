//! Typed access to the columns of a record batch.

use arrow_array::cast::AsArray;
use arrow_array::{Array, MapArray, RecordBatch, StringArray};
use parquet::schema::types::SchemaDescriptor;

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
