//! A skimmed span is the span that is read in full.
#![allow(clippy::unwrap_used)]

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::wire::{SpanView, put_bytes_field, put_fixed64_field, put_varint_field};

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
    fn it_is_what_a_view_is(fields in vec(field(), 0..30), cut in 0usize..50) {
        let raw = fields.concat();
        let raw = &raw[..raw.len().saturating_sub(cut.saturating_sub(20))];
        match (Skimmed::of(raw), SpanView::parse(raw)) {
            (Ok(skimmed), Ok(view)) => {
                prop_assert_eq!(skimmed.is_root(), view.is_root());
                let expected = Skimmed {
                    trace_id: view.trace_id,
                    span_id: view.span_id,
                    parent_span_id: view.parent_span_id,
                    name: view.name,
                    kind: view.kind,
                    start_unix_nano: view.start_time_unix_nano,
                    end_unix_nano: view.end_time_unix_nano,
                    status_code: view.status_code,
                };
                prop_assert_eq!(skimmed, expected);
            }
            (skimmed, view) => prop_assert_eq!(skimmed.is_err(), view.is_err()),
        }
    }
}
