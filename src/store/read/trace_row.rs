//! Rows of the `traces` table.

use std::sync::Arc;

use arrow_array::cast::AsArray;

use super::full_span::Kept;
use super::request::{ScanHint, TracesRequest};
use super::rows::SpanRows;
use crate::store::error::{ErrorKind, StoreError};
use crate::wire::TraceId;

/// One row of `traces`: what one batch knew of a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceRow {
    /// The trace.
    pub trace_id: TraceId,
    /// Start of its earliest span, nanoseconds since the Unix epoch.
    pub start_unix_nano: u64,
    /// From the earliest start to the latest end, in nanoseconds.
    pub duration_nano: u64,
    /// `service.name` of the root; `None` if this row has no root.
    pub root_service_name: Option<String>,
    /// Name of the root.
    pub root_name: Option<String>,
    /// Spans in this row.
    pub span_count: u64,
    /// Of them with status error.
    pub error_count: u64,
    /// Their services, sorted.
    pub services: Vec<String>,
    /// Why it was kept.
    pub kept: Arc<Kept>,
    /// Whether the root is among these spans.
    pub complete: bool,
}

impl TracesRequest {
    /// What of the request prunes files and rows.
    pub(super) fn hints(&self) -> Vec<ScanHint> {
        let duration = self.min_duration_nano.map(ScanHint::MinDurationNano);
        let ids = self.trace_ids.clone().map(ScanHint::TraceIds);
        duration.into_iter().chain(ids).collect()
    }

    fn wants(&self, row: &TraceRow) -> bool {
        let of_service =
            self.service.as_ref().is_none_or(|s| row.services.iter().any(|service| service == s));
        of_service && (!self.with_errors || row.error_count > 0)
    }
}

/// The rows of a batch that match.
pub(super) fn read(rows: &SpanRows, request: &TracesRequest) -> Result<Vec<TraceRow>, StoreError> {
    let read = (0..rows.len()).map(|row| trace_row(rows, row));
    read.filter(|row| row.as_ref().map_or(true, |row| request.wants(row))).collect()
}

fn trace_row(rows: &SpanRows, row: usize) -> Result<TraceRow, StoreError> {
    read_row(rows, row)
        .ok_or_else(|| StoreError::new(ErrorKind::Table, "a file of the table lacks a column of `traces`"))
}

fn read_row(rows: &SpanRows, row: usize) -> Option<TraceRow> {
    let count = |column: &str| Some(u64::try_from(rows.long(column, row)?).unwrap_or(0));
    let services = rows.batch().column_by_name("services")?.as_list_opt::<i32>()?.value(row);
    let services = services.as_string_opt::<i32>()?.iter().flatten().map(str::to_owned).collect();
    Some(TraceRow {
        trace_id: rows.trace_id(row),
        start_unix_nano: rows.start_unix_nano(row),
        duration_nano: rows.duration_nano(row),
        root_service_name: rows.text("root_service_name", row).map(str::to_owned),
        root_name: rows.text("root_name", row).map(str::to_owned),
        span_count: count("span_count")?,
        error_count: count("error_count")?,
        services,
        kept: Arc::new(rows.kept(row)?),
        complete: rows.batch().column_by_name("complete")?.as_boolean_opt()?.value(row),
    })
}
