//! Tests of the enrich stage.
#![allow(clippy::unwrap_used)]

mod actions;
mod conditions;
mod edited;
mod generated;
mod properties;
mod redaction;
mod reference;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::redact::Matcher;
use super::*;
use crate::wire::{put_attribute_raw, put_bytes_field};

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn map(values: Vec<KeyValue>) -> Value {
    Value::KvlistValue(KeyValueList { values })
}

fn array(values: Vec<Value>) -> Value {
    let values = values.into_iter().map(|value| AnyValue { value: Some(value) }).collect();
    Value::ArrayValue(ArrayValue { values })
}

fn span(name: &str, attributes: Vec<KeyValue>) -> Span {
    let name = name.into();
    Span { trace_id: vec![1; 16], span_id: vec![2; 8], name, attributes, ..Span::default() }
}

/// One resource with these attributes, one scope, these spans.
fn request(resource: Vec<KeyValue>, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Some(Resource { attributes: resource, ..Resource::default() });
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans = vec![ResourceSpans { resource, scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }
}

fn body_of(request: &ExportTraceServiceRequest) -> Bytes {
    request.encode_to_vec().into()
}

fn decode(enriched: &Enriched) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest::decode(enriched.body.clone()).unwrap()
}

fn action(kind: ActionKind, scope: Scope, key: &str, value: Option<&str>) -> ActionConfig {
    let value = Source::Fixed(AttributeValue::Str(value.unwrap_or_default().into()));
    ActionConfig { scope, when: None, action: action_of(kind, key, value) }
}

/// An action that a key and perhaps a value describe.
fn action_of(kind: ActionKind, key: &str, value: Source) -> Action {
    let key = key.to_owned();
    match kind {
        ActionKind::Insert => Action::Put { put: Put::Insert, key, value },
        ActionKind::Update => Action::Put { put: Put::Update, key, value },
        ActionKind::Upsert => Action::Put { put: Put::Upsert, key, value },
        ActionKind::Delete => Action::Delete { key },
        ActionKind::Hash => Action::Hash { key },
        other => panic!("{other:?} needs more than a key"),
    }
}

/// An attribute that a detector has found.
fn found(key: &str, value: &str) -> Detected {
    (key.into(), AttributeValue::Str(value.into()))
}

fn text_value(text: &str) -> Vec<u8> {
    AttributeValue::Str(text.into()).encode()
}

fn with_actions(actions: Vec<ActionConfig>) -> Enricher {
    Enricher::new(&EnrichConfig { actions, ..EnrichConfig::default() }, &[])
}

/// The attributes of the first span, as `key=value` for text values.
fn span_attributes(enriched: &Enriched) -> Vec<String> {
    shown(&decode(enriched).resource_spans[0].scope_spans[0].spans[0].attributes)
}

fn resource_attributes(enriched: &Enriched) -> Vec<String> {
    shown(&decode(enriched).resource_spans[0].resource.as_ref().unwrap().attributes)
}

fn shown(attributes: &[KeyValue]) -> Vec<String> {
    let value = |attribute: &KeyValue| match attribute.value.clone().and_then(|any| any.value) {
        Some(Value::StringValue(text)) => text,
        other => format!("{other:?}"),
    };
    attributes.iter().map(|attribute| format!("{}={}", attribute.key, value(attribute))).collect()
}

#[test]
fn a_request_without_changes_is_the_same_buffer() {
    let body = body_of(&request(vec![text("service.name", "a")], vec![span("s", vec![text("k", "v")])]));
    let enriched = with_actions(vec![]).apply(body.clone()).unwrap();
    assert_eq!(enriched.body.as_ptr(), body.as_ptr());
    assert_eq!((enriched.spans, enriched.rejected, enriched.redacted), (1, 0, 0));
    let same = with_actions(vec![
        action(ActionKind::Upsert, Scope::Span, "k", Some("v")),
        action(ActionKind::Insert, Scope::Span, "k", Some("w")),
        action(ActionKind::Delete, Scope::Span, "other", None),
    ]);
    assert_eq!(same.apply(body.clone()).unwrap().body.as_ptr(), body.as_ptr());
    let empty = with_actions(vec![]).apply(Bytes::new()).unwrap();
    assert_eq!((empty.body.len(), empty.spans), (0, 0));
}

#[test]
fn each_action_does_what_it_says() {
    use ActionKind::{Delete, Hash, Insert, Update, Upsert};
    let sent = || body_of(&request(vec![], vec![span("s", vec![text("a", "1"), text("b", "2")])]));
    for (kind, key, value, expected) in [
        (Insert, "a", Some("x"), &["a=1", "b=2"][..]),
        (Insert, "c", Some("x"), &["a=1", "b=2", "c=x"]),
        (Update, "a", Some("longer"), &["a=longer", "b=2"]),
        (Update, "c", Some("x"), &["a=1", "b=2"]),
        (Upsert, "a", Some(""), &["a=", "b=2"]),
        (Upsert, "c", Some("x"), &["a=1", "b=2", "c=x"]),
        (Delete, "a", None, &["b=2"]),
        (Delete, "c", None, &["a=1", "b=2"]),
        (Hash, "b", None, &["a=1", "b=d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35"]),
        (Hash, "c", None, &["a=1", "b=2"]),
    ] {
        let enricher = with_actions(vec![action(kind, Scope::Span, key, value)]);
        assert_eq!(span_attributes(&enricher.apply(sent()).unwrap()), expected, "{kind:?} {key}");
        let elsewhere = with_actions(vec![action(kind, Scope::Resource, key, value)]);
        assert_eq!(span_attributes(&elsewhere.apply(sent()).unwrap()), ["a=1", "b=2"], "{kind:?} {key}");
    }
}

#[test]
fn actions_on_one_key_follow_each_other() {
    use ActionKind::{Delete, Hash, Insert, Update};
    let apply = |actions: &[(ActionKind, Option<&str>)], attributes: Vec<KeyValue>| {
        let actions = actions.iter().map(|(kind, value)| action(*kind, Scope::Span, "a", *value)).collect();
        let body = body_of(&request(vec![], vec![span("s", attributes)]));
        span_attributes(&with_actions(actions).apply(body).unwrap())
    };
    let sent = || vec![text("a", "1"), text("a", "2")];
    assert_eq!(apply(&[(Insert, Some("x")), (Delete, None)], vec![]), [""; 0]);
    assert_eq!(apply(&[(Insert, Some("x")), (Update, Some("y"))], vec![]), ["a=y"]);
    assert_eq!(apply(&[(Delete, None), (Insert, Some("x"))], sent()), ["a=x"]);
    assert_eq!(apply(&[(Update, Some("y"))], sent()), ["a=y"], "one of a repeated key remains");
    let of_two = "a=d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";
    assert_eq!(apply(&[(Insert, Some("2")), (Hash, None)], vec![]), [of_two]);
    assert_eq!(apply(&[(Hash, None)], sent())[1], of_two);
    assert_ne!(apply(&[(Hash, None), (Hash, None)], sent())[1], of_two);
}

#[test]
fn every_type_of_value_is_hashed_by_its_readable_form() {
    let hashed = |value: &AttributeValue| {
        let any = AnyValue::decode(&hash_value(&value.encode()).unwrap()[..]).unwrap();
        any.value.unwrap()
    };
    let same = |value: AttributeValue, text: &str| {
        assert_eq!(hashed(&value), hashed(&AttributeValue::Str(text.into())), "{value:?}");
    };
    same(AttributeValue::Int(-42), "-42");
    same(AttributeValue::Bool(true), "true");
    same(AttributeValue::Double(1.5), "1.5");
    assert_eq!(hash_value(&[]).unwrap(), [0u8; 0], "no value stays none");
}

#[test]
fn detected_attributes_fill_in_what_is_missing() {
    let detected = [found("host.name", "h"), found("api.token", "t")];
    let keep = Enricher::new(&EnrichConfig::default(), &detected);
    let body = body_of(&request(vec![text("host.name", "sent")], vec![span("s", vec![])]));
    let filled = keep.apply(body.clone()).unwrap();
    assert_eq!(resource_attributes(&filled), ["host.name=sent", "api.token=[redacted]"]);
    assert_eq!(keep.apply(filled.body.clone()).unwrap().body.as_ptr(), filled.body.as_ptr());
    let config = EnrichConfig { override_sent: true, ..EnrichConfig::default() };
    let replaced = Enricher::new(&config, &detected).apply(body).unwrap();
    assert_eq!(resource_attributes(&replaced), ["host.name=h", "api.token=[redacted]"]);
    let mut without = request(vec![], vec![span("s", vec![])]);
    without.resource_spans[0].resource = None;
    let added = keep.apply(body_of(&without)).unwrap();
    assert_eq!(resource_attributes(&added), ["host.name=h", "api.token=[redacted]"]);
}

#[test]
fn secrets_are_known_by_their_last_words() {
    let matcher = Matcher::compile(&RedactConfig::default());
    for key in [
        "authorization",
        "http.request.header.authorization",
        "Authorization",
        "proxy-authorization",
        "http.response.header.set-cookie",
        "http.response.header.set_cookie",
        "user.password",
        "DB_PASSWORD",
        "x-api-key",
        "X-API-KEY",
        "api_key",
        "apiKey",
        "stripe.apiKey",
        "accessToken",
        "refresh_token",
        "token",
        "client/secret",
        "aws.secret_access_key",
    ] {
        assert!(matcher.find(key.as_bytes()).is_some(), "{key}");
    }
    for key in [
        "",
        "n",
        "tokens",
        "token.count",
        "betoken",
        "http.route",
        "cookies",
        "secretary",
        "password.length",
        "monkey",
        "keyboard.api_keys",
        "étoken",
        "gen_ai.usage.input_tokens",
    ] {
        assert!(matcher.find(key.as_bytes()).is_none(), "{key}");
    }
    let one = Matcher::compile(&RedactConfig {
        keys: vec!["k".into(), "db.user".into()],
        ..RedactConfig::default()
    });
    let answers = ["k", "a.K", "ok", "my.db.user", "user"].map(|key| one.find(key.as_bytes()).is_some());
    assert_eq!(answers, [true, true, false, true, false]);
    let off = Matcher::compile(&RedactConfig { enabled: false, ..RedactConfig::default() });
    assert!(off.find(b"password").is_none());
}

#[test]
fn secrets_are_redacted_wherever_attributes_are() {
    let nested = map(vec![text("user", "u"), array_of_maps(), attribute("token", map(vec![]))]);
    let mut one = span("s", vec![text("authorization", "secret!"), attribute("headers", nested)]);
    one.events = vec![Event { attributes: vec![text("x-api-key", "secret!")], ..Event::default() }];
    one.links = vec![Link { attributes: vec![text("cookie", "secret!")], ..Link::default() }];
    let mut sent = request(vec![text("deploy.secret", "secret!")], vec![one]);
    let scope = sent.resource_spans[0].scope_spans[0].scope.get_or_insert_default();
    scope.attributes = vec![attribute("passwd", array(vec![Value::StringValue("secret!".into())]))];
    let enriched = with_actions(vec![]).apply(body_of(&sent)).unwrap();
    assert_eq!(enriched.redacted, 7);
    let left = format!("{:?}", decode(&enriched));
    assert!(!left.contains("secret!"), "{left}");
    assert_eq!(left.matches(REDACTED).count(), 7);
    let again = with_actions(vec![]).apply(enriched.body.clone()).unwrap();
    assert_eq!((again.redacted, again.body.as_ptr()), (0, enriched.body.as_ptr()));
}

fn array_of_maps() -> KeyValue {
    attribute("list", array(vec![Value::IntValue(1), map(vec![text("password", "secret!"), text("a", "b")])]))
}

#[test]
fn what_an_action_sets_is_not_redacted() {
    let keep = vec![action(ActionKind::Insert, Scope::Span, "token", Some("chosen"))];
    let body = |attributes| body_of(&request(vec![], vec![span("s", attributes)]));
    let set = with_actions(keep.clone()).apply(body(vec![])).unwrap();
    assert_eq!(span_attributes(&set), ["token=chosen"]);
    let sent = with_actions(keep).apply(body(vec![text("token", "sent")])).unwrap();
    assert_eq!(span_attributes(&sent), ["token=[redacted]"]);
    let hash = vec![action(ActionKind::Hash, Scope::Span, "token", None)];
    let hashed = with_actions(hash).apply(body(vec![text("token", "2")])).unwrap();
    assert!(span_attributes(&hashed)[0].starts_with("token=d4735e3a"));
}

#[test]
fn spans_with_invalid_ids_are_cut_out_and_the_first_is_named() {
    let good = span("good", vec![text("password", "p")]);
    let zero = Span { trace_id: vec![0; 16], ..span("zero \n trace", vec![text("password", "p")]) };
    let short = Span { span_id: vec![1; 7], ..span("short", vec![]) };
    let empty = Span { trace_id: vec![], ..span("empty", vec![]) };
    let parent = Span { parent_span_id: vec![1; 3], ..span("parent", vec![]) };
    let root = Span { parent_span_id: vec![0; 8], ..span("root", vec![]) };
    let sent = request(vec![], vec![good, zero, short, empty, parent, root]);
    let enriched = with_actions(vec![]).apply(body_of(&sent)).unwrap();
    assert_eq!((enriched.spans, enriched.rejected, enriched.redacted), (2, 4, 1));
    let spans = decode(&enriched).resource_spans.remove(0).scope_spans.remove(0).spans;
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["good", "root"]);
    let reason = enriched.reject_reason.unwrap();
    let expected =
        "trace_id is all zeros: resource_spans[0].scope_spans[0].spans[1], named \"zero \\n trace\"";
    assert_eq!(reason, expected);
}

#[test]
fn nesting_up_to_the_limit_is_what_a_full_decoder_takes() {
    use crate::wire::DEPTH_MAX;
    let nested = |levels: usize| {
        let wrap = |any: Vec<u8>, _| {
            let (mut list, mut outer) = (Vec::new(), Vec::new());
            put_attribute_raw(&mut list, 1, b"k", &any);
            put_bytes_field(&mut outer, 6, &list);
            outer
        };
        let any = (0..levels).fold(text_value("x"), wrap);
        let (mut event, mut body) = (Vec::new(), span("s", vec![]).encode_to_vec());
        put_attribute_raw(&mut event, 3, b"deep", &any);
        put_bytes_field(&mut body, 11, &event);
        for number in [2, 2, 1] {
            let inner = std::mem::take(&mut body);
            put_bytes_field(&mut body, number, &inner);
        }
        Bytes::from(body)
    };
    let enricher = with_actions(vec![action(ActionKind::Delete, Scope::Span, "k", None)]);
    let deepest = enricher.apply(nested(DEPTH_MAX)).unwrap();
    decode(&deepest);
    assert_eq!(enricher.apply(nested(DEPTH_MAX + 1)), Err(WireError::Depth { limit: DEPTH_MAX }));
    assert_eq!(enricher.apply(nested(3000)), Err(WireError::Depth { limit: DEPTH_MAX }));
}

#[test]
fn malformed_requests_are_refused() {
    let valid = body_of(&request(vec![text("a", "b")], vec![span("name", vec![text("key", "value")])]));
    let enricher = with_actions(vec![]);
    let broken = |from: &[u8], to: &[u8]| {
        let at = valid.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = valid.to_vec();
        bytes[at..at + from.len()].copy_from_slice(to);
        enricher.apply(bytes.into()).unwrap_err().to_string()
    };
    assert_eq!(broken(b"name", b"\xff\xfe\xfd\xfc"), "span.name is not valid UTF-8");
    assert_eq!(broken(b"key", b"k\xc3y"), "an attribute's key is not valid UTF-8");
    assert_eq!(broken(b"value", b"val\x80e"), "a string value is not valid UTF-8");
    assert_eq!(
        broken(b"\x0a\x03key", b"\x0a\x7fkey"),
        "the message ends in the middle of a length-delimited field"
    );
    assert_eq!(broken(b"\x0a\x03key", b"\x2b\x03key"), "a group has the wrong wire type");
    for length in 1..valid.len() {
        let cut = enricher.apply(valid.slice(..length));
        assert!(cut.is_err(), "cut after {length} bytes");
    }
}

#[test]
fn a_resource_in_parts_is_merged() {
    let part =
        |key: &str| Resource { attributes: vec![text(key, "v")], ..Resource::default() }.encode_to_vec();
    let mut resource_spans = Vec::new();
    put_bytes_field(&mut resource_spans, 1, &part("a"));
    let spans = ScopeSpans { spans: vec![span("s", vec![])], ..ScopeSpans::default() };
    put_bytes_field(&mut resource_spans, 2, &spans.encode_to_vec());
    put_bytes_field(&mut resource_spans, 1, &part("host.name"));
    let mut body = Vec::new();
    put_bytes_field(&mut body, 1, &resource_spans);
    let detected = [found("host.name", "h"), found("b", "w")];
    let enriched = Enricher::new(&EnrichConfig::default(), &detected).apply(body.into()).unwrap();
    assert_eq!(resource_attributes(&enriched), ["a=v", "host.name=v", "b=w"]);
    assert_eq!(enriched.spans, 1);
}
