//! Both spellings of OTLP's JSON.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::TracesData;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use serde_json::json;

use super::fixtures::*;
use crate::query::{Document, Spelling};

fn everything() -> TracesData {
    let any = |value| AnyValue { value: Some(value) };
    let mut span = failed(span(1, 2, 3, 0, 5));
    span.trace_state = "ot=th:8".into();
    span.flags = 257;
    span.attributes = vec![
        text("s", ""),
        attribute("i", Value::IntValue(i64::MIN)),
        attribute("d", Value::DoubleValue(0.1)),
        attribute("nan", Value::DoubleValue(f64::NAN)),
        attribute("inf", Value::DoubleValue(f64::NEG_INFINITY)),
        attribute("b", Value::BoolValue(false)),
        attribute("y", Value::BytesValue(vec![0xfb, 0xff])),
        attribute(
            "a",
            Value::ArrayValue(ArrayValue { values: vec![any(Value::IntValue(1)), AnyValue { value: None }] }),
        ),
        attribute("k", Value::KvlistValue(KeyValueList { values: vec![text("x", "y")] })),
        attribute("empty", Value::ArrayValue(ArrayValue { values: vec![] })),
    ];
    span.events = vec![Event { time_unix_nano: 7, name: "e".into(), ..Event::default() }];
    span.links = vec![Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Link::default() }];
    span.dropped_events_count = 4;
    TracesData { resource_spans: request("cart", vec![span]).resource_spans }
}

#[test]
fn otlp_json_has_hex_ids_numbers_for_enums_and_64_bits_as_strings() {
    let data = everything();
    let document = Document {
        facts: None,
        field: "resourceSpans",
        resource_spans: &data.resource_spans,
        spelling: Spelling::Otlp,
    };
    let expected = json!({"resourceSpans": [{
        "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "cart"}}]},
        "scopeSpans": [{
            "scope": {"name": "shop", "version": "1.2"},
            "spans": [{
                "traceId": "01010101010101010101010101010101",
                "spanId": "0202020202020202",
                "traceState": "ot=th:8",
                "parentSpanId": "0303030303030303",
                "flags": 257,
                "name": "span 2",
                "kind": 2,
                "startTimeUnixNano": "1795244400000000000",
                "endTimeUnixNano": "1795244400000000005",
                "attributes": [
                    {"key": "s", "value": {"stringValue": ""}},
                    {"key": "i", "value": {"intValue": "-9223372036854775808"}},
                    {"key": "d", "value": {"doubleValue": 0.1}},
                    {"key": "nan", "value": {"doubleValue": "NaN"}},
                    {"key": "inf", "value": {"doubleValue": "-Infinity"}},
                    {"key": "b", "value": {"boolValue": false}},
                    {"key": "y", "value": {"bytesValue": "+/8="}},
                    {"key": "a", "value": {"arrayValue": {"values": [{"intValue": "1"}, {}]}}},
                    {"key": "k", "value": {"kvlistValue": {"values": [{"key": "x", "value": {"stringValue": "y"}}]}}},
                    {"key": "empty", "value": {"arrayValue": {}}},
                ],
                "events": [{"timeUnixNano": "7", "name": "e"}],
                "droppedEventsCount": 4,
                "links": [{"traceId": "01010101010101010101010101010101", "spanId": "0202020202020202"}],
                "status": {"message": "no", "code": 2},
            }],
        }],
        "schemaUrl": "https://schema",
    }]});
    assert_eq!(serde_json::to_value(document).unwrap(), expected);
}

#[test]
fn otlp_json_reads_back_as_it_was() {
    let mut data = everything();
    // NaN equals nothing, itself included.
    data.resource_spans[0].scope_spans[0].spans[0].attributes.remove(3);
    let document = Document {
        facts: None,
        field: "resourceSpans",
        resource_spans: &data.resource_spans,
        spelling: Spelling::Otlp,
    };
    let json = serde_json::to_string(&document).unwrap();
    // The crate that reads it wants what proto3 JSON may leave out, and numbers for infinity.
    let json = json.replace(r#""arrayValue":{}"#, r#""arrayValue":{"values":[]}"#);
    let mut read: TracesData = serde_json::from_str(&json.replace("\"-Infinity\"", "1")).unwrap();
    let spans = &mut read.resource_spans[0].scope_spans[0].spans;
    spans[0].attributes[3].value = Some(AnyValue { value: Some(Value::DoubleValue(f64::NEG_INFINITY)) });
    assert_eq!(read, data);
}

#[test]
fn tempo_json_has_base64_ids_and_names_for_enums() {
    let data = everything();
    let document = Document {
        facts: None,
        field: "batches",
        resource_spans: &data.resource_spans,
        spelling: Spelling::Proto,
    };
    let json = serde_json::to_value(document).unwrap();
    let span = &json["batches"][0]["scopeSpans"][0]["spans"][0];
    assert_eq!(span["traceId"], "AQEBAQEBAQEBAQEBAQEBAQ==");
    assert_eq!(span["spanId"], "AgICAgICAgI=");
    assert_eq!(span["kind"], "SPAN_KIND_SERVER");
    assert_eq!(span["status"], json!({"message": "no", "code": "STATUS_CODE_ERROR"}));
}
