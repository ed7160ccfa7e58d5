//! A view of a span is the span as prost reads it, whatever the order of its fields and however long they are.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;

/// A span, its attributes, events and status as they lie there.
#[derive(Clone, PartialEq, Message)]
struct Plain {
    #[prost(bytes = "vec", tag = "1")]
    trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    span_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    name: String,
    #[prost(uint64, tag = "6")]
    kind: u64,
    #[prost(fixed64, tag = "7")]
    start: u64,
    #[prost(fixed64, tag = "8")]
    end: u64,
    #[prost(bytes = "vec", repeated, tag = "9")]
    attributes: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    events: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "15")]
    status: Option<Status>,
}

/// One field of a span, in whatever order, with attributes of any length among them.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |number: u32, of: std::ops::Range<usize>| {
        vec(any::<u8>(), of).prop_map(move |content| {
            let mut out = Vec::new();
            put_bytes_field(&mut out, number, &content);
            out
        })
    };
    let times = (7u32..9, any::<u64>()).prop_map(|(number, value)| {
        let mut out = Vec::new();
        put_fixed64_field(&mut out, number, value);
        out
    });
    let kind = any::<u64>().prop_map(|value| {
        let mut out = Vec::new();
        put_varint_field(&mut out, 6, value);
        out
    });
    let status = (".{0,9}", 0u64..4).prop_map(|(message, code)| {
        let (mut status, mut out) = (Vec::new(), Vec::new());
        put_bytes_field(&mut status, 2, message.as_bytes());
        put_varint_field(&mut status, 3, code);
        put_bytes_field(&mut out, 15, &status);
        out
    });
    let name = ".{0,9}".prop_map(|name| {
        let mut out = Vec::new();
        put_bytes_field(&mut out, 5, name.as_bytes());
        out
    });
    prop_oneof![
        1 => bytes(1, 0..17),
        1 => bytes(2, 0..9),
        1 => bytes(4, 0..9),
        1 => bytes(11, 0..40),
        4 => bytes(9, 0..60),
        2 => bytes(9, 120..140),
        1 => bytes(9, 16_370..16_400),
        1 => times,
        1 => kind,
        1 => status,
        1 => name,
    ]
}

proptest! {
    #[test]
    fn a_span_in_any_order_is_what_prost_reads(fields in vec(field(), 0..30), cut in 0usize..50) {
        let raw = fields.concat();
        let raw = &raw[..raw.len().saturating_sub(cut.saturating_sub(20))];
        let mut attributes = Vec::new();
        let view = SpanView::parse_with(raw, true, |attribute| {
            attributes.push(attribute.to_vec());
            Ok(())
        });
        match (view, Plain::decode(raw)) {
            (Ok(view), Ok(plain)) => {
                prop_assert_eq!(view.is_root(), plain.parent_span_id.iter().all(|byte| *byte == 0));
                let status = plain.status.unwrap_or_default();
                prop_assert_eq!((view.status_code, view.status_message), (status.code, &*status.message));
                prop_assert_eq!((view.trace_id, view.span_id), (&*plain.trace_id, &*plain.span_id));
                prop_assert_eq!((view.parent_span_id, view.name), (&*plain.parent_span_id, &*plain.name));
                prop_assert_eq!(view.kind, plain.kind as i32);
                let times = (view.start_time_unix_nano, view.end_time_unix_nano);
                prop_assert_eq!(times, (plain.start, plain.end));
                prop_assert_eq!(attributes, plain.attributes);
                let events: Result<Vec<_>, _> = view.events().collect();
                prop_assert_eq!(events.unwrap(), plain.events);
            }
            (view, plain) => prop_assert_eq!(view.is_err(), plain.is_err()),
        }
    }
}
