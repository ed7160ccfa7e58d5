//! Events and links: lists of structs.

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder};
use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::OffsetBuffer;
use arrow_schema::ArrowError;

use super::attributes::{AttributesBuilder, append_raw};
use super::text::{append_hex, append_nonempty, micros};
use crate::store::schema::{arrow_fields, nested_columns, structs_field};
use crate::wire::{EventView, LinkView, SpanView, WireError, attributes_of};

/// Attributes of an event or link, in three columns.
#[derive(Default)]
struct NestedAttributes {
    map: AttributesBuilder,
    raw: BinaryBuilder,
    dropped: Int64Builder,
}

impl NestedAttributes {
    fn append(&mut self, raw: &[u8], field: u32, dropped: u32) -> Result<(), WireError> {
        let fit = self.map.append(attributes_of(raw, field), |_, _| {})?;
        append_raw(&mut self.raw, fit, attributes_of(raw, field))?;
        self.dropped.append_value(i64::from(dropped));
        Ok(())
    }

    /// In the order of the schema: map, types, raw, dropped count.
    fn finish(&mut self) -> Result<[ArrayRef; 4], ArrowError> {
        let (map, types) = self.map.finish()?;
        Ok([map, types, Arc::new(self.raw.finish()), Arc::new(self.dropped.finish())])
    }
}

/// Where each row's items end.
struct Ends(Vec<i32>);

impl Default for Ends {
    fn default() -> Self {
        Self(vec![0])
    }
}

impl Ends {
    fn push(&mut self, count: i32) {
        let last = self.0.last().copied().unwrap_or(0);
        self.0.push(last + count);
    }

    fn finish(&mut self, name: &str, columns: Vec<ArrayRef>) -> Result<ArrayRef, ArrowError> {
        let offsets = OffsetBuffer::new(std::mem::take(self).0.into());
        let schema = nested_columns(name);
        let items = StructArray::try_new(arrow_fields(schema), columns, None)?;
        Ok(Arc::new(ListArray::try_new(structs_field(schema), offsets, Arc::new(items), None)?))
    }
}

/// The column `events`.
#[derive(Default)]
pub(super) struct EventsBuilder {
    ends: Ends,
    time: TimestampMicrosecondBuilder,
    time_unix_nano: Int64Builder,
    name: StringBuilder,
    attributes: NestedAttributes,
}

impl EventsBuilder {
    pub(super) fn append(&mut self, span: &SpanView<'_>) -> Result<(), WireError> {
        let mut count = 0;
        for raw in span.events() {
            let event = EventView::parse(raw?)?;
            self.time.append_value(micros(event.time_unix_nano));
            self.time_unix_nano.append_value(event.time_unix_nano as i64);
            self.name.append_value(event.name);
            self.attributes.append(event.raw, 3, event.dropped_attributes_count)?;
            count += 1;
        }
        self.ends.push(count);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.time.finish().with_timezone("UTC")),
            Arc::new(self.time_unix_nano.finish()),
            Arc::new(self.name.finish()),
        ];
        columns.extend(self.attributes.finish()?);
        self.ends.finish("events", columns)
    }
}

/// The column `links`.
#[derive(Default)]
pub(super) struct LinksBuilder {
    ends: Ends,
    trace_id: StringBuilder,
    span_id: StringBuilder,
    trace_state: StringBuilder,
    flags: Int64Builder,
    attributes: NestedAttributes,
}

impl LinksBuilder {
    pub(super) fn append(&mut self, span: &SpanView<'_>) -> Result<(), WireError> {
        let mut count = 0;
        for raw in span.links() {
            let link = LinkView::parse(raw?)?;
            append_hex(&mut self.trace_id, link.trace_id);
            append_hex(&mut self.span_id, link.span_id);
            append_nonempty(&mut self.trace_state, link.trace_state);
            self.flags.append_value(i64::from(link.flags));
            self.attributes.append(link.raw, 4, link.dropped_attributes_count)?;
            count += 1;
        }
        self.ends.push(count);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.trace_id.finish()),
            Arc::new(self.span_id.finish()),
            Arc::new(self.trace_state.finish()),
            Arc::new(self.flags.finish()),
        ];
        columns.extend(self.attributes.finish()?);
        self.ends.finish("links", columns)
    }
}
