#![allow(clippy::unwrap_used)]

mod spans;

use super::*;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, any_value::Value,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(Value::BoolValue(true), |inner, _| {
        Value::ArrayValue(ArrayValue { values: vec![AnyValue { value: Some(inner) }] })
    })
}

fn sample() -> ExportTraceServiceRequest {
    let span = Span {
        trace_id: vec![7; 16],
        span_id: vec![8; 8],
        parent_span_id: vec![9; 8],
        trace_state: "ot=th:8".into(),
        flags: 0x101,
        name: "GET /ü".into(),
        kind: 2,
        start_time_unix_nano: 5,
        end_time_unix_nano: 12,
        attributes: vec![
            attribute("s", Value::StringValue("x".into())),
            attribute("i", Value::IntValue(-3)),
            attribute("d", Value::DoubleValue(0.5)),
            attribute("a", nested(2)),
            KeyValue { key: "none".into(), value: None, ..Default::default() },
        ],
        dropped_attributes_count: 1,
        events: vec![Event { time_unix_nano: 6, name: "e".into(), ..Default::default() }],
        dropped_events_count: 2,
        links: vec![Link { trace_id: vec![1; 16], span_id: vec![2; 8], flags: 1, ..Default::default() }],
        dropped_links_count: 3,
        status: Some(Status { message: "no".into(), code: 2 }),
    };
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![attribute("service.name", Value::StringValue("shop".into()))],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans {
                scope: Some(InstrumentationScope { name: "lib".into(), ..Default::default() }),
                spans: vec![span],
                schema_url: "s".into(),
            }],
            schema_url: "r".into(),
        }],
    }
}

#[test]
fn a_view_reads_what_prost_wrote() {
    let body = sample().encode_to_vec();
    let resource = resource_spans(&body).next().unwrap().unwrap();
    assert_eq!(resource.schema_url().unwrap(), "r");
    let service = attributes_of(resource.resource().unwrap(), 1).next().unwrap().unwrap();
    assert_eq!((service.key, service.value), ("service.name", AnyView::Str("shop")));
    let scope = resource.scope_spans().next().unwrap().unwrap();
    assert_eq!(ScopeView::parse(scope.scope().unwrap()).unwrap().name, "lib");
    let mut seen = 0;
    let raw = scope.spans().next().unwrap().unwrap();
    let span = SpanView::parse_with(raw, true, |_| {
        seen += 1;
        Ok(())
    })
    .unwrap();
    assert_eq!(seen, 5);
    assert_eq!((span.name, span.kind, span.flags, span.trace_state), ("GET /ü", 2, 0x101, "ot=th:8"));
    assert_eq!((span.status_code, span.status_message, span.duration_nano()), (2, "no", 7));
    assert_eq!(
        (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count),
        (1, 2, 3)
    );
    assert!(!span.is_root());
    let values: Vec<_> = span.attributes().map(|a| a.unwrap().value).collect();
    assert_eq!(values[..3], [AnyView::Str("x"), AnyView::Int(-3), AnyView::Double(0.5)]);
    assert_eq!(values[4], AnyView::Empty);
    check_any_depth(values[3]).unwrap();
    assert_eq!(EventView::parse(span.events().next().unwrap().unwrap()).unwrap().name, "e");
    assert_eq!(LinkView::parse(span.links().next().unwrap().unwrap()).unwrap().flags, 1);
}

#[test]
fn every_truncation_is_an_error_or_a_shorter_message_and_never_a_panic() {
    let body = sample().encode_to_vec();
    for length in 0..body.len() {
        let outcome = resource_spans(&body[..length]).collect::<Result<Vec<_>, _>>();
        assert!(length == 0 || outcome.is_err(), "cut at {length}");
    }
}

#[test]
fn nesting_is_accepted_to_the_limit_and_refused_beyond() {
    for (levels, accepted) in [(1, true), (DEPTH_MAX, true), (DEPTH_MAX + 1, false), (90, false)] {
        let raw = AnyValue { value: Some(nested(levels)) }.encode_to_vec();
        assert_eq!(check_any_depth(AnyView::parse(&raw).unwrap()).is_ok(), accepted, "{levels} levels");
    }
}

#[test]
fn invalid_utf8_is_named() {
    let mut body = sample().encode_to_vec();
    let at = body.windows(2).position(|pair| pair == "ü".as_bytes()).unwrap();
    body[at] = 0xff;
    let raw = resource_spans(&body).next().unwrap().unwrap();
    let raw = raw.scope_spans().next().unwrap().unwrap().spans().next().unwrap().unwrap();
    assert_eq!(SpanView::parse(raw).unwrap_err(), WireError::Utf8("span.name"));
}

#[test]
fn varints_are_read_and_written_alike() {
    for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), 1 << 56, u64::MAX] {
        let mut out = Vec::new();
        put_varint_field(&mut out, 5, value);
        assert_eq!(out.len(), 1 + varint_len(value));
        let field = Fields::new(&out).read().unwrap().unwrap();
        assert_eq!(field, Field { number: 5, kind: WireKind::Varint(value) });
    }
    let too_long = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    assert_eq!(Fields::new(&too_long).read(), Err(WireError::Varint));
    assert_eq!(Fields::new(&[0x00]).read(), Err(WireError::FieldNumber(0)));
    assert_eq!(Fields::new(&[0x0f]).read(), Err(WireError::WireType(7)));
}

#[test]
fn ids_read_any_case_and_show_lower_case() {
    let id: TraceId = "4BF92F3577B34DA6A3CE929D0E0E4736".parse().unwrap();
    assert_eq!(id.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(id.randomness(), 0xce_929d_0e0e_4736);
    assert!(id.is_valid() && !TraceId::default().is_valid());
    let error = "4bf9".parse::<SpanId>().unwrap_err();
    assert_eq!(error.to_string(), "\"4bf9\" is not a span id: expected 16 hexadecimal digits");
}
