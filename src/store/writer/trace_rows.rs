//! One row a trace, from the spans of it that a batch has.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Int64Builder, ListBuilder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{ArrowError, DataType, Field};

use super::gather::{Gathered, SpanEntry};
use super::shared::wire;
use super::span_rows::in_order;
use super::text::{append_hex, micros};
use crate::store::error::StoreError;
use crate::store::schema::TableKind;
use crate::wire::SpanView;

/// The spans of one trace in a batch, all of one retention class; never empty.
pub(super) struct TraceGroup<'a> {
    pub(super) spans: &'a [SpanEntry],
    /// The day of its partition: of its earliest span.
    pub(super) day: i32,
    /// Index of its verdict.
    pub(super) verdict: u32,
}

/// The traces among sorted spans.
pub(super) fn groups(spans: &[SpanEntry]) -> impl Iterator<Item = TraceGroup<'_>> {
    spans.chunk_by(|a, b| a.trace_id == b.trace_id && a.verdict == b.verdict).map(|spans| TraceGroup {
        spans,
        day: spans.iter().map(|s| s.day).min().unwrap_or(0),
        verdict: spans[0].verdict,
    })
}

/// Builds record batches of `traces`.
pub(super) struct TraceRowsBuilder {
    rows: usize,
    bytes: usize,
    trace_id: StringBuilder,
    start_time: TimestampMicrosecondBuilder,
    start_time_unix_nano: Int64Builder,
    duration_nano: Int64Builder,
    root_service_name: StringBuilder,
    root_name: StringBuilder,
    span_count: Int64Builder,
    error_count: Int64Builder,
    services: ListBuilder<StringBuilder>,
    rule: StringBuilder,
    rules_version: Int64Builder,
    complete: BooleanBuilder,
}

impl Default for TraceRowsBuilder {
    fn default() -> Self {
        let element = Field::new("element", DataType::Utf8, false);
        Self {
            rows: 0,
            bytes: 0,
            trace_id: StringBuilder::new(),
            start_time: TimestampMicrosecondBuilder::new(),
            start_time_unix_nano: Int64Builder::new(),
            duration_nano: Int64Builder::new(),
            root_service_name: StringBuilder::new(),
            root_name: StringBuilder::new(),
            span_count: Int64Builder::new(),
            error_count: Int64Builder::new(),
            services: ListBuilder::new(StringBuilder::new()).with_field(element),
            rule: StringBuilder::new(),
            rules_version: Int64Builder::new(),
            complete: BooleanBuilder::new(),
        }
    }
}

impl TraceRowsBuilder {
    /// Rows since the last [`Self::finish`].
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes held in names, about: they come from senders, and are as long as those like.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends one trace.
    pub(super) fn append(&mut self, gathered: &Gathered, group: &TraceGroup<'_>) -> Result<(), StoreError> {
        let spans = group.spans;
        let start = spans.iter().map(|s| s.start_unix_nano).min().unwrap_or(0);
        let end = spans.iter().map(|s| s.end_unix_nano).max().unwrap_or(0);
        let root = spans.iter().find(|s| s.is_root);
        append_hex(&mut self.trace_id, &spans[0].trace_id.0);
        self.start_time.append_value(micros(start));
        self.start_time_unix_nano.append_value(start as i64);
        self.duration_nano.append_value(i64::try_from(end.saturating_sub(start)).unwrap_or(i64::MAX));
        let service = |s: &SpanEntry| gathered.resources[s.resource as usize].service_name();
        self.root_service_name.append_option(root.and_then(service));
        match root {
            Some(root) => {
                self.root_name.append_value(SpanView::parse(gathered.raw(root)).map_err(wire)?.name)
            }
            None => self.root_name.append_null(),
        }
        self.span_count.append_value(spans.len() as i64);
        self.error_count.append_value(spans.iter().filter(|s| s.is_error).count() as i64);
        for service in spans.iter().filter_map(service).collect::<BTreeSet<_>>() {
            self.services.values().append_value(service);
            self.bytes += 2 * service.len();
        }
        self.services.append(true);
        let verdict = &gathered.verdicts[group.verdict as usize];
        self.rule.append_value(&verdict.rule);
        self.rules_version.append_value(i64::from(verdict.rules_version));
        self.complete.append_value(root.is_some());
        self.rows += 1;
        self.bytes += root.map_or(0, |root| gathered.raw(root).len());
        Ok(())
    }

    /// The rows appended since the last call.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        self.bytes = 0;
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("start_time", Arc::new(self.start_time.finish().with_timezone("UTC"))),
            ("start_time_unix_nano", Arc::new(self.start_time_unix_nano.finish())),
            ("duration_nano", Arc::new(self.duration_nano.finish())),
            ("root_service_name", Arc::new(self.root_service_name.finish())),
            ("root_name", Arc::new(self.root_name.finish())),
            ("span_count", Arc::new(self.span_count.finish())),
            ("error_count", Arc::new(self.error_count.finish())),
            ("services", Arc::new(self.services.finish())),
            ("rule", Arc::new(self.rule.finish())),
            ("rules_version", Arc::new(self.rules_version.finish())),
            ("complete", Arc::new(self.complete.finish())),
        ];
        in_order(TableKind::Traces, columns)
    }
}
