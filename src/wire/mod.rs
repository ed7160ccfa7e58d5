//! OTLP as it lies on the wire: borrowed views of protobuf messages, and edits that splice bytes.
//!
//! A request stays one buffer from the socket to the table; a span is a slice of it. Field numbers are those of
//! `opentelemetry/proto/{trace,common,resource}/v1` 1.11. Nothing here reads a clock, a file or a thread.

mod any;
mod edit;
mod ids;
mod proto;
mod view;

pub use any::{
    AnyView, DEPTH_MAX, KeyValueParts, KeyValueView, ValueParts, Values, check_any_depth, values_of_array,
    values_of_kvlist,
};
pub use edit::{Editor, Frame, offset_in, put_any, put_attribute, put_attribute_raw};
pub use ids::{ParseIdError, SpanId, TraceId};
pub use proto::{
    Field, Fields, WireError, WireKind, put_bytes_field, put_fixed64_field, put_tag, put_varint,
    put_varint_field, varint_len,
};
pub use view::{
    Attributes, EventView, LinkView, Messages, ResourceSpansView, SPAN_ATTRIBUTE_TAG, ScopeSpansView,
    ScopeView, SpanHead, SpanView, attributes_of, resource_spans,
};

#[cfg(test)]
mod tests;
