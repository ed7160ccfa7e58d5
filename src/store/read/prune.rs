//! What need not be read: whole files by the table's statistics, row groups by their own.

use std::ops::Range;

use parquet::data_type::AsBytes;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;

use super::file::FileScan;
use super::request::{AttributeScope, HintValue, ScanHint};
use crate::store::other_types::OtherTypes;
use crate::store::schema::{ColumnType, WellKnown, WellKnownScope, well_known};
use crate::store::table::DataFile;
use crate::store::writer::text::{KINDS, STATUS_CODES, micros, word};

/// Whether a file may hold a trace (given in hexadecimal).
pub(super) fn may_hold_trace(file: &DataFile, trace_id: &str) -> bool {
    let above = file.trace_id_min.as_deref().is_none_or(|min| min <= trace_id);
    above && file.trace_id_max.as_deref().is_none_or(|max| trace_id <= max)
}

/// Whether a file may hold rows that match.
pub(super) fn may_match(file: &DataFile, start_unix_nano: &Range<u64>, hints: &[ScanHint]) -> bool {
    let in_time =
        file.start_max_unix_nano >= start_unix_nano.start && file.start_min_unix_nano < start_unix_nano.end;
    in_time && hints.iter().all(|hint| may_match_hint(file, hint))
}

fn may_match_hint(file: &DataFile, hint: &ScanHint) -> bool {
    match hint {
        ScanHint::MinDurationNano(min) => file.duration_max_nano >= *min,
        ScanHint::TraceIds(ids) => ids.iter().any(|id| may_hold_trace(file, &id.to_string())),
        ScanHint::AttributeEquals {
            scope: AttributeScope::Resource,
            key,
            value: HintValue::Str(service),
        } if key == "service.name" && file.names_services => {
            let above = file.service_min.as_ref().is_none_or(|min| min <= service);
            above && file.service_max.as_ref().is_none_or(|max| service <= max)
        }
        _ => true,
    }
}

/// A condition on one column of the files.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ColumnTest {
    /// Text equal to one of these, which are sorted.
    TextIn(&'static str, Vec<String>),
    /// A number within these, both included.
    LongIn(&'static str, i64, i64),
}

/// The column tests that a hint implies, if its column has one; the others need the attribute maps, as do those that the
/// file has of other types too.
pub(super) fn column_test(hint: &ScanHint, other_types: OtherTypes) -> Option<ColumnTest> {
    let text = |column, value: String| Some(ColumnTest::TextIn(column, vec![value]));
    let bounded = |nanos: u64| i64::try_from(nanos).unwrap_or(i64::MAX);
    match hint {
        ScanHint::NameEquals(name) => text("name", name.clone()),
        ScanHint::StatusEquals(code) => text("status_code", word(&STATUS_CODES, *code)),
        ScanHint::KindEquals(kind) => text("kind", word(&KINDS, *kind)),
        ScanHint::MinDurationNano(min) => Some(ColumnTest::LongIn("duration_nano", bounded(*min), i64::MAX)),
        ScanHint::MaxDurationNano(max) => Some(ColumnTest::LongIn("duration_nano", 0, bounded(*max))),
        ScanHint::TraceIds(ids) => {
            let mut ids: Vec<_> = ids.iter().map(|id| id.to_string()).collect();
            ids.sort_unstable();
            Some(ColumnTest::TextIn("trace_id", ids))
        }
        ScanHint::AttributeEquals { scope, key, value } => {
            let scope = match scope {
                AttributeScope::Span => WellKnownScope::Span,
                AttributeScope::Resource => WellKnownScope::Resource,
                AttributeScope::Any => return None,
            };
            let known = well_known(scope, key)?;
            if other_types.has(known.column) { None } else { typed_test(known, value) }
        }
    }
}

fn typed_test(known: &'static WellKnown, value: &HintValue) -> Option<ColumnTest> {
    match (known.kind, value) {
        (ColumnType::Text, HintValue::Str(text)) => {
            Some(ColumnTest::TextIn(known.column, vec![text.clone()]))
        }
        (ColumnType::Long, HintValue::Int(value)) => Some(ColumnTest::LongIn(known.column, *value, *value)),
        _ => None,
    }
}

/// The test for the range of start times. Rounded outwards to microseconds.
pub(super) fn time_test(start_unix_nano: &Range<u64>) -> ColumnTest {
    ColumnTest::LongIn("start_time", micros(start_unix_nano.start), micros(start_unix_nano.end))
}

/// Whether a row group may hold rows that match, by its statistics.
pub(super) fn may_match_row_group(
    group: &RowGroupMetaData,
    scan: &FileScan<'_>,
    other_types: OtherTypes,
) -> bool {
    let tests = scan
        .hints
        .iter()
        .filter_map(|hint| column_test(hint, other_types))
        .chain([time_test(&scan.start_unix_nano)]);
    tests.into_iter().all(|test| match &test {
        ColumnTest::TextIn(column, values) => {
            statistics(group, column).is_none_or(|s| text_may_be(s, values))
        }
        ColumnTest::LongIn(column, min, max) => {
            statistics(group, column).is_none_or(|s| long_may_be(s, *min, *max))
        }
    })
}

fn statistics<'a>(group: &'a RowGroupMetaData, column: &str) -> Option<&'a Statistics> {
    let chunk = group.columns().iter().find(|c| c.column_path().string() == column);
    chunk.and_then(ColumnChunkMetaData::statistics)
}

fn text_may_be(statistics: &Statistics, values: &[String]) -> bool {
    let Statistics::ByteArray(bounds) = statistics else { return true };
    match (bounds.min_opt(), bounds.max_opt()) {
        (Some(min), Some(max)) => {
            values.iter().any(|v| min.as_bytes() <= v.as_bytes() && v.as_bytes() <= max.as_bytes())
        }
        _ => true,
    }
}

fn long_may_be(statistics: &Statistics, min: i64, max: i64) -> bool {
    let Statistics::Int64(bounds) = statistics else { return true };
    bounds.max_opt().is_none_or(|m| *m >= min) && bounds.min_opt().is_none_or(|m| *m <= max)
}
