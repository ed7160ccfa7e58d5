//! Rows that need not be decoded in full: predicates that the Parquet reader evaluates before the other columns are read.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, BooleanArray, Int64Array, MapArray, RecordBatch};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowPredicate, ArrowPredicateFn, RowFilter};
use parquet::schema::types::SchemaDescriptor;

use super::columns::{find_value, has_column};
use super::file::FileScan;
use super::prune::{ColumnTest, column_test, time_test};
use super::request::{AttributeScope, HintValue, ScanHint};
use crate::store::index::{FilterScope, Needle};
use crate::store::other_types::OtherTypes;
use crate::store::values::write_double;

type Predicate = Box<dyn ArrowPredicate>;

/// How an array begins in a map. TraceQL compares its elements one by one: such rows come along too.
const ARRAY: &str = "{\"arrayValue\":";

/// The predicates of a scan: single columns first, attribute maps after them.
pub(super) fn row_filter(
    schema: &SchemaDescriptor,
    scan: &FileScan<'_>,
    other_types: OtherTypes,
) -> RowFilter {
    let column_test = |hint| column_test(hint, other_types);
    let all_times = scan.start_unix_nano == (0..u64::MAX);
    let time = (!all_times).then(|| time_test(&scan.start_unix_nano));
    let columns = time.into_iter().chain(scan.hints.iter().filter_map(column_test));
    let mut predicates: Vec<Predicate> = columns.filter_map(|test| column_predicate(schema, test)).collect();
    let maps = scan.hints.iter().filter(|hint| column_test(*hint).is_none());
    predicates.extend(maps.filter_map(|hint| map_predicate(schema, hint)));
    RowFilter::new(predicates)
}

/// `None` where the file has no such column (it is older): nothing is excluded then.
fn column_predicate(schema: &SchemaDescriptor, test: ColumnTest) -> Option<Predicate> {
    let column = match &test {
        ColumnTest::TextIn(column, _) | ColumnTest::LongIn(column, ..) => *column,
    };
    if !has_column(schema, column) {
        return None;
    }
    let mask = ProjectionMask::columns(schema, [column]);
    let evaluate = move |batch: RecordBatch| {
        let array = batch.column(0);
        let matches: BooleanArray = match &test {
            ColumnTest::TextIn(_, values) => match array.as_string_opt::<i32>() {
                Some(texts) => {
                    texts.iter().map(|text| Some(text.is_some_and(|t| is_among(values, t)))).collect()
                }
                None => all(batch.num_rows()),
            },
            ColumnTest::LongIn(_, min, max) => match longs(array) {
                Some(longs) => {
                    longs.iter().map(|long| Some(long.is_some_and(|l| *min <= l && l <= *max))).collect()
                }
                None => all(batch.num_rows()),
            },
        };
        Ok(matches)
    };
    Some(Box::new(ArrowPredicateFn::new(mask, evaluate)))
}

fn is_among(sorted: &[String], text: &str) -> bool {
    sorted.binary_search_by(|value| value.as_str().cmp(text)).is_ok()
}

fn all(rows: usize) -> BooleanArray {
    BooleanArray::from(vec![true; rows])
}

fn longs(array: &Arc<dyn Array>) -> Option<Int64Array> {
    match array.as_primitive_opt::<Int64Type>() {
        Some(longs) => Some(longs.clone()),
        None => Some(array.as_primitive_opt::<TimestampMicrosecondType>()?.reinterpret_cast()),
    }
}

fn map_predicate(schema: &SchemaDescriptor, hint: &ScanHint) -> Option<Predicate> {
    let ScanHint::AttributeEquals { scope, key, value } = hint else { return None };
    let columns: &[&str] = match scope {
        AttributeScope::Span => &["attributes", "attributes_raw"],
        AttributeScope::Resource => &["resource_attributes", "resource_raw"],
        AttributeScope::Any => &["attributes", "attributes_raw", "resource_attributes", "resource_raw"],
    };
    if !columns.iter().all(|column| has_column(schema, column)) {
        return None;
    }
    let mask = ProjectionMask::columns(schema, columns.iter().copied());
    let (key, texts) = (key.clone(), texts_of(value)?);
    let evaluate = move |batch: RecordBatch| {
        let maps = || batch.columns().iter().filter_map(|c| c.as_map_opt());
        let raws = || batch.columns().iter().filter_map(|c| c.as_binary_opt::<i32>());
        let holds = |map: &MapArray, row: usize| {
            find_value(map, row, &key).is_some_and(|t| texts.iter().any(|x| x == t) || t.starts_with(ARRAY))
        };
        // What the map cannot hold is in the raw column: such rows come along, to be looked at in full.
        let matches = |row: usize| raws().any(|r| r.is_valid(row)) || maps().any(|m| holds(m, row));
        Ok((0..batch.num_rows()).map(|row| Some(matches(row))).collect())
    };
    Some(Box::new(ArrowPredicateFn::new(mask, evaluate)))
}

/// What a hint asks of a row group's filter. Also of attributes that have a column of their own: its statistics are in the
/// footer, which need not be read where the filter says no.
pub(super) fn needle(hint: &ScanHint) -> Option<Needle> {
    let ScanHint::AttributeEquals { scope, key, value } = hint else { return None };
    let scopes: &[FilterScope] = match scope {
        AttributeScope::Span => &[FilterScope::Span],
        AttributeScope::Resource => &[FilterScope::Resource],
        AttributeScope::Any => &[FilterScope::Span, FilterScope::Resource],
    };
    Some(Needle::new(scopes, key, texts_of(value)?))
}

/// How a value may be written in a map. Numbers of both types compare equal in TraceQL. `None`: it cannot be said.
fn texts_of(value: &HintValue) -> Option<Vec<String>> {
    let double = |value: f64| {
        let mut text = String::new();
        write_double(&mut text, value).ok().map(|()| text)
    };
    Some(match value {
        HintValue::Str(text) => vec![text.clone()],
        HintValue::Bool(value) => vec![value.to_string()],
        // −0 equals it too.
        HintValue::Int(0) => vec!["0".to_owned(), double(-0.0)?],
        HintValue::Int(value) => vec![value.to_string(), double(*value as f64)?],
        // 0 and −0 are equal and written differently; NaN equals nothing, and is left to the caller.
        HintValue::Double(value) if *value == 0.0 || value.is_nan() => return None,
        HintValue::Double(value) if value.fract() == 0.0 && value.abs() < 2f64.powi(63) => {
            vec![double(*value)?, (*value as i64).to_string()]
        }
        HintValue::Double(value) => vec![double(*value)?],
    })
}
