//! Spans as Arrow columns, straight from their wire bytes.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, Float64Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::ArrowError;

use super::attributes::{AttributesBuilder, append_raw};
use super::gather::{Gathered, SpanEntry};
use super::nested::{EventsBuilder, LinksBuilder};
use super::shared::{SharedResource, SharedScope, append_optional, wire};
use super::text::{KINDS, STATUS_CODES, append_hex, append_nonempty, append_word, micros};
use crate::sample::Verdict;
use crate::sample::probability::kept_tracestate;
use crate::store::error::StoreError;
use crate::store::schema::{ColumnType, TableKind, WELL_KNOWN, WellKnownScope, position};
use crate::wire::{AnyView, SpanView};

/// Up to here each integer has a double of its own: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// A well-known attribute's column.
enum TypedColumn {
    Text(StringBuilder),
    Long(Int64Builder),
}

impl TypedColumn {
    fn append_span_value(&mut self, value: AnyView<'_>) {
        match (self, value) {
            (Self::Text(column), AnyView::Str(text)) => column.append_value(text),
            (Self::Text(column), _) => column.append_null(),
            (Self::Long(column), AnyView::Int(value)) => column.append_value(value),
            // TraceQL's 200 is also 200.0.
            (Self::Long(column), AnyView::Double(value))
                if value.fract() == 0.0 && value.abs() < EXACT_MAX =>
            {
                column.append_value(value as i64);
            }
            (Self::Long(column), _) => column.append_null(),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Text(column) => Arc::new(column.finish()),
            Self::Long(column) => Arc::new(column.finish()),
        }
    }
}

/// Builds record batches of `spans`.
pub(super) struct SpanRowsBuilder {
    rows: usize,
    nested_bytes: usize,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    parent_span_id: StringBuilder,
    start_time: TimestampMicrosecondBuilder,
    start_time_unix_nano: Int64Builder,
    end_time_unix_nano: Int64Builder,
    duration_nano: Int64Builder,
    name: StringBuilder,
    kind: StringBuilder,
    status_code: StringBuilder,
    status_message: StringBuilder,
    trace_state: StringBuilder,
    flags: Int64Builder,
    dropped_attributes_count: Int64Builder,
    dropped_events_count: Int64Builder,
    dropped_links_count: Int64Builder,
    adjusted_count: Float64Builder,
    rule: StringBuilder,
    rules_version: Int64Builder,
    typed: Vec<TypedColumn>,
    attributes: AttributesBuilder,
    attributes_raw: BinaryBuilder,
    resource_attributes: AttributesBuilder,
    resource_raw: BinaryBuilder,
    resource_dropped_attributes_count: Int64Builder,
    resource_schema_url: StringBuilder,
    scope_name: StringBuilder,
    scope_version: StringBuilder,
    scope_attributes: AttributesBuilder,
    scope_raw: BinaryBuilder,
    scope_dropped_attributes_count: Int64Builder,
    scope_schema_url: StringBuilder,
    events: EventsBuilder,
    links: LinksBuilder,
}

impl Default for SpanRowsBuilder {
    fn default() -> Self {
        let typed = WELL_KNOWN.iter().map(|w| match w.kind {
            ColumnType::Long => TypedColumn::Long(Int64Builder::new()),
            _ => TypedColumn::Text(StringBuilder::new()),
        });
        Self {
            rows: 0,
            nested_bytes: 0,
            trace_id: StringBuilder::new(),
            span_id: StringBuilder::new(),
            parent_span_id: StringBuilder::new(),
            start_time: TimestampMicrosecondBuilder::new(),
            start_time_unix_nano: Int64Builder::new(),
            end_time_unix_nano: Int64Builder::new(),
            duration_nano: Int64Builder::new(),
            name: StringBuilder::new(),
            kind: StringBuilder::new(),
            status_code: StringBuilder::new(),
            status_message: StringBuilder::new(),
            trace_state: StringBuilder::new(),
            flags: Int64Builder::new(),
            dropped_attributes_count: Int64Builder::new(),
            dropped_events_count: Int64Builder::new(),
            dropped_links_count: Int64Builder::new(),
            adjusted_count: Float64Builder::new(),
            rule: StringBuilder::new(),
            rules_version: Int64Builder::new(),
            typed: typed.collect(),
            attributes: AttributesBuilder::default(),
            attributes_raw: BinaryBuilder::new(),
            resource_attributes: AttributesBuilder::default(),
            resource_raw: BinaryBuilder::new(),
            resource_dropped_attributes_count: Int64Builder::new(),
            resource_schema_url: StringBuilder::new(),
            scope_name: StringBuilder::new(),
            scope_version: StringBuilder::new(),
            scope_attributes: AttributesBuilder::default(),
            scope_raw: BinaryBuilder::new(),
            scope_dropped_attributes_count: Int64Builder::new(),
            scope_schema_url: StringBuilder::new(),
            events: EventsBuilder::default(),
            links: LinksBuilder::default(),
        }
    }
}

impl SpanRowsBuilder {
    /// Rows since the last [`Self::finish`].
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        let maps = [&self.attributes, &self.resource_attributes, &self.scope_attributes];
        self.nested_bytes + maps.iter().map(|m| m.bytes()).sum::<usize>()
    }

    /// Appends one span.
    pub(super) fn append(&mut self, gathered: &Gathered, entry: &SpanEntry) -> Result<(), StoreError> {
        let raw = gathered.raw(entry);
        let span = SpanView::parse(raw).map_err(wire)?;
        let verdict = &gathered.verdicts[entry.verdict as usize];
        let resource = &gathered.resources[entry.resource as usize];
        let scope = &gathered.scopes[entry.scope as usize];
        self.append_scalars(&span);
        self.append_verdict(&span, verdict);
        self.append_attributes(&span, resource)?;
        self.append_resource(resource);
        self.append_scope(scope);
        self.events.append(&span).map_err(wire)?;
        self.links.append(&span).map_err(wire)?;
        // A row repeats what its resource and scope hold: a long name there is long on every row.
        self.nested_bytes += raw.len() + resource.row_bytes() + scope.row_bytes();
        self.rows += 1;
        Ok(())
    }

    fn append_scalars(&mut self, span: &SpanView<'_>) {
        let (start, end) = (span.start_time_unix_nano, span.end_time_unix_nano);
        append_hex(&mut self.trace_id, span.trace_id);
        append_hex(&mut self.span_id, span.span_id);
        if span.parent_span_id.is_empty() {
            self.parent_span_id.append_null();
        } else {
            append_hex(&mut self.parent_span_id, span.parent_span_id);
        }
        self.start_time.append_value(micros(start));
        self.start_time_unix_nano.append_value(start as i64);
        let duration = i64::try_from(span.duration_nano()).ok();
        let regular = end >= start && duration.is_some();
        self.end_time_unix_nano.append_option((!regular).then_some(end as i64));
        self.duration_nano.append_value(duration.unwrap_or(i64::MAX));
        self.name.append_value(span.name);
        append_word(&mut self.kind, &KINDS, span.kind);
        append_word(&mut self.status_code, &STATUS_CODES, span.status_code);
        let has_status = span.status_code != 0 || !span.status_message.is_empty() || has_status(span.raw);
        self.status_message.append_option(has_status.then_some(span.status_message));
        self.flags.append_value(i64::from(span.flags));
        self.dropped_attributes_count.append_value(i64::from(span.dropped_attributes_count));
        self.dropped_events_count.append_value(i64::from(span.dropped_events_count));
        self.dropped_links_count.append_value(i64::from(span.dropped_links_count));
    }

    fn append_verdict(&mut self, span: &SpanView<'_>, verdict: &Verdict) {
        let (trace_state, adjusted_count) = kept_tracestate(span.trace_state, verdict);
        append_nonempty(&mut self.trace_state, &trace_state);
        self.adjusted_count.append_value(adjusted_count);
        self.rule.append_value(&verdict.rule);
        self.rules_version.append_value(i64::from(verdict.rules_version));
    }

    fn append_attributes(
        &mut self,
        span: &SpanView<'_>,
        resource: &SharedResource,
    ) -> Result<(), StoreError> {
        let mut typed = [None; WELL_KNOWN.len()];
        let on_each = |key, value| {
            if let Some(at) = position(WellKnownScope::Span, key) {
                typed[at].get_or_insert(value);
            }
        };
        let fit = self.attributes.append(span.attributes(), on_each).map_err(wire)?;
        append_raw(&mut self.attributes_raw, fit, span.attributes()).map_err(wire)?;
        for (at, column) in self.typed.iter_mut().enumerate() {
            let of_resource = resource.well_known[at].as_deref().map(AnyView::Str);
            column.append_span_value(of_resource.or(typed[at]).unwrap_or(AnyView::Empty));
        }
        Ok(())
    }

    fn append_resource(&mut self, resource: &SharedResource) {
        self.resource_attributes.append_rendered(&resource.attributes);
        append_optional(&mut self.resource_raw, resource.raw.as_ref());
        self.resource_dropped_attributes_count.append_value(i64::from(resource.dropped_attributes_count));
        append_nonempty(&mut self.resource_schema_url, &resource.schema_url);
    }

    fn append_scope(&mut self, scope: &SharedScope) {
        self.scope_name.append_value(&scope.name);
        append_nonempty(&mut self.scope_version, &scope.version);
        self.scope_attributes.append_rendered(&scope.attributes);
        append_optional(&mut self.scope_raw, scope.raw.as_ref());
        self.scope_dropped_attributes_count.append_value(i64::from(scope.dropped_attributes_count));
        append_nonempty(&mut self.scope_schema_url, &scope.schema_url);
    }

    /// The rows appended since the last call.
    pub(super) fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        self.rows = 0;
        self.nested_bytes = 0;
        let (attributes, attributes_types) = self.attributes.finish()?;
        let (resource_attributes, resource_types) = self.resource_attributes.finish()?;
        let (scope_attributes, scope_types) = self.scope_attributes.finish()?;
        let mut columns: Vec<(&str, ArrayRef)> = vec![
            ("trace_id", Arc::new(self.trace_id.finish())),
            ("span_id", Arc::new(self.span_id.finish())),
            ("parent_span_id", Arc::new(self.parent_span_id.finish())),
            ("start_time", Arc::new(self.start_time.finish().with_timezone("UTC"))),
            ("start_time_unix_nano", Arc::new(self.start_time_unix_nano.finish())),
            ("end_time_unix_nano", Arc::new(self.end_time_unix_nano.finish())),
            ("duration_nano", Arc::new(self.duration_nano.finish())),
            ("name", Arc::new(self.name.finish())),
            ("kind", Arc::new(self.kind.finish())),
            ("status_code", Arc::new(self.status_code.finish())),
            ("status_message", Arc::new(self.status_message.finish())),
            ("trace_state", Arc::new(self.trace_state.finish())),
            ("flags", Arc::new(self.flags.finish())),
            ("dropped_attributes_count", Arc::new(self.dropped_attributes_count.finish())),
            ("dropped_events_count", Arc::new(self.dropped_events_count.finish())),
            ("dropped_links_count", Arc::new(self.dropped_links_count.finish())),
            ("adjusted_count", Arc::new(self.adjusted_count.finish())),
            ("rule", Arc::new(self.rule.finish())),
            ("rules_version", Arc::new(self.rules_version.finish())),
            ("attributes", attributes),
            ("attributes_types", attributes_types),
            ("attributes_raw", Arc::new(self.attributes_raw.finish())),
            ("resource_attributes", resource_attributes),
            ("resource_attributes_types", resource_types),
            ("resource_raw", Arc::new(self.resource_raw.finish())),
            ("resource_dropped_attributes_count", Arc::new(self.resource_dropped_attributes_count.finish())),
            ("resource_schema_url", Arc::new(self.resource_schema_url.finish())),
            ("scope_name", Arc::new(self.scope_name.finish())),
            ("scope_version", Arc::new(self.scope_version.finish())),
            ("scope_attributes", scope_attributes),
            ("scope_attributes_types", scope_types),
            ("scope_raw", Arc::new(self.scope_raw.finish())),
            ("scope_dropped_attributes_count", Arc::new(self.scope_dropped_attributes_count.finish())),
            ("scope_schema_url", Arc::new(self.scope_schema_url.finish())),
            ("events", self.events.finish()?),
            ("links", self.links.finish()?),
        ];
        let typed = WELL_KNOWN.iter().zip(&mut self.typed);
        columns.extend(typed.map(|(known, column)| (known.column, column.finish())));
        in_order(TableKind::Spans, columns)
    }
}

/// A record batch of these columns, in the order of the table's schema.
pub(super) fn in_order(table: TableKind, columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let of = |name: &str| columns.iter().find(|(n, _)| *n == name).map(|(_, array)| Arc::clone(array));
    let arrays = table.columns().iter().filter_map(|column| of(column.name)).collect();
    RecordBatch::try_new(Arc::clone(table.arrow()), arrays)
}

/// Whether a `Span` has a status message at all, even an empty one.
fn has_status(raw: &[u8]) -> bool {
    crate::wire::Messages::new(raw, 15, "span.status").next().is_some()
}
