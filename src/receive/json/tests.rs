//! The JSON mapping: against the decoder of opentelemetry-proto where that is right, by hand where it is not.
#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::trace::v1::Span;
use proptest::prelude::*;
use prost::Message;

use super::{JsonError, to_protobuf};

fn decode(json: &str) -> ExportTraceServiceRequest {
    let protobuf = to_protobuf(json.as_bytes()).unwrap().protobuf;
    let request = ExportTraceServiceRequest::decode(&protobuf[..]).unwrap();
    assert_eq!(request.encoded_len(), protobuf.len(), "defaults are not written, lengths are minimal");
    request
}

fn in_span(fields: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{fields}}}]}}]}}]}}"#)
}

fn span(fields: &str) -> Span {
    decode(&in_span(fields)).resource_spans.remove(0).scope_spans.remove(0).spans.remove(0)
}

fn value(json: &str) -> Option<Any> {
    let span = span(&format!(r#""attributes":[{{"key":"k","value":{json}}}]"#));
    assert_eq!(span.attributes[0].key, "k");
    span.attributes[0].value.clone().and_then(|value| value.value)
}

fn error(json: &str) -> JsonError {
    to_protobuf(json.as_bytes()).unwrap_err()
}

fn span_error(fields: &str) -> (String, String) {
    let error = error(&in_span(fields));
    let path = error.path.strip_prefix("resourceSpans[0].scopeSpans[0].spans[0].").unwrap().to_owned();
    (path, error.message)
}

#[test]
fn the_example_of_the_specification_converts() {
    let json = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":
        "my.service"}}]},"scopeSpans":[{"scope":{"name":"my.library","version":"1.0.0","attributes":[{"key":
        "my.scope.attribute","value":{"stringValue":"some scope attribute"}}]},"spans":[{"traceId":
        "5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173","name":
        "I'm a server span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000",
        "kind":2,"attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}]}]}]}"#;
    let ours = decode(json);
    let theirs: ExportTraceServiceRequest = serde_json::from_str(json).unwrap();
    assert_eq!(ours, theirs);
    assert_eq!(hex::encode(&ours.resource_spans[0].scope_spans[0].spans[0].span_id), "eee19b7ec3c1b174");
}

#[test]
fn every_field_of_a_span_converts() {
    let span = span(
        r#""traceId":"5b8efff798038103d269b633813fc60c","spanId":"eee19b7ec3c1b174","traceState":"a=b","name":"n",
        "parentSpanId":"","kind":3,"startTimeUnixNano":1544712660000000000,"endTimeUnixNano":"1544712660000000001",
        "droppedAttributesCount":1,"droppedEventsCount":"2","droppedLinksCount":3,"flags":769,
        "events":[{"timeUnixNano":"5","name":"e","attributes":[{"key":"a"}],"droppedAttributesCount":4}],
        "links":[{"traceId":"00","spanId":"01","traceState":"c=d","attributes":[],"droppedAttributesCount":5,
        "flags":256}],"status":{"message":"broken","code":2}"#,
    );
    assert_eq!(
        (span.start_time_unix_nano, span.end_time_unix_nano),
        (1544712660000000000, 1544712660000000001)
    );
    assert_eq!((span.kind, span.flags, &*span.trace_state, &*span.name), (3, 769, "a=b", "n"));
    let dropped = (span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count);
    assert_eq!(dropped, (1, 2, 3));
    let event = &span.events[0];
    assert_eq!((event.time_unix_nano, &*event.name, event.dropped_attributes_count), (5, "e", 4));
    assert_eq!((&*event.attributes[0].key, &event.attributes[0].value), ("a", &None));
    let link = &span.links[0];
    assert_eq!((&link.trace_id[..], &link.span_id[..], link.flags), (&[0][..], &[1][..], 256));
    assert_eq!((&*link.trace_state, link.dropped_attributes_count), ("c=d", 5));
    let status = span.status.unwrap();
    assert_eq!((&*status.message, status.code), ("broken", 2));
}

#[test]
fn resources_scopes_and_schemas_convert() {
    let request = decode(
        r#"{"resourceSpans":[{"resource":{"attributes":[],"droppedAttributesCount":7,"entityRefs":[{"schemaUrl":"s",
        "type":"host","idKeys":["host.id"],"descriptionKeys":["a","b"]}]},"schemaUrl":"u1",
        "scopeSpans":[{"schemaUrl":"u2","scope":{"droppedAttributesCount":8}},{}]},{"resource":{}}]}"#,
    );
    let first = &request.resource_spans[0];
    assert_eq!((&*first.schema_url, &*first.scope_spans[0].schema_url), ("u1", "u2"));
    let resource = first.resource.as_ref().unwrap();
    assert_eq!((resource.dropped_attributes_count, &*resource.entity_refs[0].r#type), (7, "host"));
    assert_eq!(resource.entity_refs[0].id_keys, ["host.id"]);
    assert_eq!(resource.entity_refs[0].description_keys, ["a", "b"]);
    assert_eq!(first.scope_spans[0].scope.as_ref().unwrap().dropped_attributes_count, 8);
    assert_eq!((first.scope_spans.len(), request.resource_spans.len()), (2, 2));
}

#[test]
fn attribute_values_of_every_type_convert() {
    let number = |value| Some(Any::DoubleValue(value));
    for (json, expected) in [
        (r#"{"stringValue":"\u00fc\n"}"#, Some(Any::StringValue("ü\n".into()))),
        (r#"{"stringValue":""}"#, Some(Any::StringValue(String::new()))),
        (r#"{"boolValue":false}"#, Some(Any::BoolValue(false))),
        (r#"{"boolValue":true}"#, Some(Any::BoolValue(true))),
        (r#"{"intValue":"-9223372036854775808"}"#, Some(Any::IntValue(i64::MIN))),
        (r#"{"intValue":9223372036854775807}"#, Some(Any::IntValue(i64::MAX))),
        (r#"{"intValue":1e3}"#, Some(Any::IntValue(1000))),
        (r#"{"intValue":0}"#, Some(Any::IntValue(0))),
        (r#"{"doubleValue":1.5}"#, number(1.5)),
        (r#"{"doubleValue":3}"#, number(3.0)),
        (r#"{"doubleValue":"-2.5e3"}"#, number(-2500.0)),
        (r#"{"doubleValue":"Infinity"}"#, number(f64::INFINITY)),
        (r#"{"doubleValue":"-Infinity"}"#, number(f64::NEG_INFINITY)),
        (r#"{"bytesValue":"AP/+"}"#, Some(Any::BytesValue(vec![0, 255, 254]))),
        (r#"{"bytesValue":"AP_-"}"#, Some(Any::BytesValue(vec![0, 255, 254]))),
        (r#"{"bytesValue":"YQ"}"#, Some(Any::BytesValue(b"a".to_vec()))),
        (r#"{"arrayValue":{}}"#, Some(Any::ArrayValue(ArrayValue::default()))),
        (r#"{"kvlistValue":{"values":[]}}"#, Some(Any::KvlistValue(KeyValueList::default()))),
        (r#"{"stringValue":null}"#, None),
        (r#"{"future":[1,{}]}"#, None),
        ("{}", None),
        ("null", None),
    ] {
        assert_eq!(value(json), expected, "{json}");
    }
    assert!(matches!(value(r#"{"doubleValue":"NaN"}"#), Some(Any::DoubleValue(nan)) if nan.is_nan()));
    let Some(Any::DoubleValue(zero)) = value(r#"{"doubleValue":-0.0}"#) else { panic!() };
    assert!(zero.is_sign_negative());
}

#[test]
fn doubles_keep_their_last_bit() {
    for double in [3.714552217593696e299, 0.1 + 0.2, f64::MAX, f64::MIN_POSITIVE, 5e-324] {
        assert_eq!(value(&format!(r#"{{"doubleValue":{double:e}}}"#)), Some(Any::DoubleValue(double)));
    }
}

#[test]
fn values_nest_and_keep_their_places() {
    let json = r#"{"arrayValue":{"values":[{"intValue":1},null,{},{"kvlistValue":{"values":[{"key":"a","value":
        {"arrayValue":{"values":[{"boolValue":true}]}}}]}}]}}"#;
    let Some(Any::ArrayValue(array)) = value(json) else { panic!() };
    assert_eq!(array.values.len(), 4);
    assert_eq!((&array.values[1].value, &array.values[2].value), (&None, &None));
    let Some(Any::KvlistValue(list)) = &array.values[3].value else { panic!() };
    assert_eq!(list.values[0].key, "a");
}

#[test]
fn unknown_fields_are_ignored_whatever_they_hold() {
    let span = span(r#""name":"a","new":{"deep":[[[1,"x",null]]]},"start_time_unix_nano":5,"kind":1"#);
    assert_eq!((&*span.name, span.kind, span.start_time_unix_nano), ("a", 1, 0));
    let converted = to_protobuf(in_span(r#""start_time_unix_nano":5,"a_b":1"#).as_bytes()).unwrap();
    assert_eq!(converted.snake_case_keys, 1);
}

#[test]
fn nulls_are_unset_fields() {
    let request = decode(r#"{"resourceSpans":null}"#);
    assert_eq!(request, ExportTraceServiceRequest::default());
    let span = span(r#""name":null,"kind":null,"attributes":null,"status":null,"traceId":null"#);
    assert_eq!(span, Span::default());
}

#[test]
fn ids_of_any_length_pass_and_are_judged_later() {
    assert_eq!(span(r#""traceId":"00ff""#).trace_id, [0, 255]);
    assert_eq!(span(r#""traceId":"""#).trace_id, [0; 0]);
}

#[test]
fn wrong_types_are_named_with_their_place_and_without_their_value() {
    for (fields, path, message) in [
        (r#""name":5"#, "name", "expected a string, found a number"),
        (r#""name":["secret"]"#, "name", "expected a string, found an array"),
        (r#""name":{"a":"secret"}"#, "name", "expected a string, found an object"),
        (r#""kind":"SPAN_KIND_SERVER""#, "kind", "expected an integer (enums have no names in OTLP/JSON)"),
        (r#""kind":1.5"#, "kind", "expected an integer"),
        (r#""kind":5000000000"#, "kind", "the integer is out of range"),
        (r#""flags":-1"#, "flags", "the integer is out of range"),
        (r#""startTimeUnixNano":"-1""#, "startTimeUnixNano", "the integer is out of range"),
        (
            r#""startTimeUnixNano":1.5"#,
            "startTimeUnixNano",
            "expected an integer, found a number with a fraction",
        ),
        (r#""startTimeUnixNano":"secret""#, "startTimeUnixNano", "expected an unsigned 64-bit integer"),
        (r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#, "traceId", "the id is not hex"),
        (r#""traceId":12"#, "traceId", "expected a string of hex digits, found a number"),
        (r#""attributes":{}"#, "attributes", "expected an array, found an object"),
        (
            r#""attributes":[{"key":"a"},"secret"]"#,
            "attributes[1]",
            "expected an object (KeyValue), found a string",
        ),
        (
            r#""attributes":[{"value":{"intValue":true}}]"#,
            "attributes[0].value.intValue",
            "expected a 64-bit",
        ),
        (
            r#""attributes":[{"value":{"boolValue":"true"}}]"#,
            "attributes[0].value.boolValue",
            "expected true or",
        ),
        (
            r#""attributes":[{"value":{"doubleValue":"inf"}}]"#,
            "attributes[0].value.doubleValue",
            "expected a number",
        ),
        (
            r#""attributes":[{"value":{"bytesValue":"?"}}]"#,
            "attributes[0].value.bytesValue",
            "the string is not",
        ),
        (
            r#""attributes":[{"value":"secret"}]"#,
            "attributes[0].value",
            "expected an object (AnyValue), found a str",
        ),
        (r#""status":1"#, "status", "expected an object (Status), found a number"),
        (
            r#""attributes":[{"value":{"intValue":1,"stringValue":"x"}}]"#,
            "attributes[0].value.stringValue",
            "a value can be of one type only",
        ),
    ] {
        let (found_path, found) = span_error(fields);
        assert_eq!(found_path, path, "{fields}: {found}");
        assert!(found.starts_with(message) && found.contains(" at line 1 column "), "{fields}: {found}");
        assert!(!found.contains("secret"), "{found}");
    }
}

#[test]
fn what_is_not_json_is_named_with_its_place() {
    for (json, message) in [
        ("", "EOF while parsing"),
        ("null", "expected an object (ExportTraceServiceRequest), found null"),
        ("[]", "expected an object"),
        ("{} x", "trailing characters"),
        (r#"{"resourceSpans":[{]}"#, "key must be a string"),
        (r#"{"resourceSpans":[{"#, "EOF while parsing"),
    ] {
        assert!(error(json).message.starts_with(message), "{json}: {:?}", error(json));
    }
    let invalid_utf8 = [in_span(r#""name":""#).as_bytes(), b"\xff\xfe"].concat();
    assert!(to_protobuf(&invalid_utf8).is_err());
    assert_eq!(span_error(r#""name":"\ud800""#).0, "name");
}

fn nested(depth: usize) -> String {
    let open = r#"{"arrayValue":{"values":["#.repeat(depth);
    let value = format!("{open}{{}}{}", "]}}".repeat(depth));
    in_span(&format!(r#""attributes":[{{"key":"k","value":{value}}}]"#))
}

#[test]
fn depth_is_limited() {
    decode(&nested(30));
    for depth in [100, 100_000] {
        let error = error(&nested(depth));
        assert!(error.message.starts_with("recursion limit exceeded at line 1 column"), "{error:?}");
        assert!(
            error.path.starts_with("resourceSpans[0].scopeSpans[0].spans[0].attributes[0].value.arrayValue")
        );
        assert!(error.path.contains('…') && error.path.len() < 400, "{}", error.path);
    }
}

#[test]
fn lengths_of_every_size_are_written() {
    for length in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152] {
        let text = "x".repeat(length);
        let span = span(&format!(r#""attributes":[{{"key":"k","value":{{"stringValue":"{text}"}}}}]"#));
        assert_eq!(span.attributes[0].value.as_ref().unwrap().value, Some(Any::StringValue(text)));
    }
}

fn any_value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Any::StringValue),
        any::<bool>().prop_map(Any::BoolValue),
        any::<i64>().prop_map(Any::IntValue),
        any::<i32>().prop_map(|quarters| Any::DoubleValue(f64::from(quarters) / 4.0)),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(Any::BytesValue),
    ];
    let tree = leaf.prop_recursive(4, 30, 4, |inner| {
        let values = proptest::collection::vec(inner.prop_map(|value| AnyValue { value: Some(value) }), 0..4);
        prop_oneof![
            values.clone().prop_map(|values| Any::ArrayValue(ArrayValue { values })),
            values.prop_map(|values| {
                let pair = |value| KeyValue { key: "k".into(), value: Some(value), ..KeyValue::default() };
                Any::KvlistValue(KeyValueList { values: values.into_iter().map(pair).collect() })
            }),
        ]
    });
    tree.prop_map(|value| AnyValue { value: Some(value) })
}

proptest! {
    #[test]
    fn what_opentelemetry_proto_writes_comes_back(value in any_value(), name in any::<String>(), start in any::<u64>()) {
        let attributes = vec![KeyValue { key: name.clone(), value: Some(value), ..KeyValue::default() }];
        let span = Span { name, start_time_unix_nano: start, attributes, kind: 2, ..Span::default() };
        let mut request = decode(&in_span(""));
        request.resource_spans[0].scope_spans[0].spans[0] = span;
        let json = serde_json::to_string(&request).unwrap();
        let protobuf = to_protobuf(json.as_bytes()).unwrap().protobuf;
        prop_assert!(protobuf.len() <= json.len());
        prop_assert_eq!(ExportTraceServiceRequest::decode(&protobuf[..]).unwrap(), request);
    }

    #[test]
    fn any_text_is_converted_or_refused(json in ".{0,200}", cut in 0usize..500) {
        let _ = to_protobuf(json.as_bytes());
        let whole = nested(3);
        let _ = to_protobuf(&whole.as_bytes()[..cut.min(whole.len())]);
    }
}

#[path = "../../../tests/support/corpus.rs"]
mod corpus;

/// What is true of a body, whatever it is.
fn check_body(json: &[u8]) {
    if let Ok(converted) = to_protobuf(json) {
        let request = ExportTraceServiceRequest::decode(&converted.protobuf[..]).unwrap();
        // A key that comes twice is written twice, and the last counts.
        assert!(request.encoded_len() <= converted.protobuf.len());
    }
}

#[test]
fn the_corpus_is_converted_or_refused() {
    let refused = ["deep", "huge_numbers", "surrogates", "with_bom"];
    for (name, json) in corpus::inputs("otlp_json") {
        check_body(&json);
        assert_eq!(to_protobuf(&json).is_ok(), !refused.contains(&name.as_str()), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn damaged_json_is_converted_or_refused(json in corpus::damaged("otlp_json")) {
        check_body(&json);
    }
}
