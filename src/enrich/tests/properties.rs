//! Properties over generated, damaged and random requests.

use opentelemetry_proto::tonic::common::v1::{EntityRef, InstrumentationScope};
use opentelemetry_proto::tonic::trace::v1::Status;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::reference::{Reference, normalize};
use super::*;

const PLAIN: [&str; 6] = ["a", "b", "http.route", "host.name", "tokens", "clé"];
const SECRET: [&str; 5] =
    ["token", "x-api-key", "http.request.header.authorization", "dbPassword", "Set-Cookie"];

fn is_secret(key: &str) -> bool {
    SECRET.contains(&key)
}

fn key(secrets: bool) -> impl Strategy<Value = String> {
    let keys: Vec<&str> = if secrets { [&PLAIN[..], &SECRET].concat() } else { PLAIN.to_vec() };
    proptest::sample::select(keys).prop_map(str::to_owned)
}

fn value(secrets: bool) -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        ".{0,20}".prop_map(Value::StringValue),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        (-1e9..1e9f64).prop_map(Value::DoubleValue),
        vec(any::<u8>(), 0..200).prop_map(Value::BytesValue),
    ];
    let nested = leaf.prop_recursive(4, 24, 4, move |inner| {
        let entry = (key(secrets), inner.clone()).prop_map(|(key, value)| attribute(&key, value));
        prop_oneof![vec(inner, 0..4).prop_map(array), vec(entry, 0..4).prop_map(map)]
    });
    option::weighted(0.95, option::weighted(0.95, nested).prop_map(|value| AnyValue { value }))
}

fn attributes(secrets: bool) -> impl Strategy<Value = Vec<KeyValue>> {
    let attribute = |(key, value)| KeyValue { key, value, ..KeyValue::default() };
    vec((key(secrets), value(secrets)).prop_map(attribute), 0..6)
}

fn id(length: usize, damaged: bool) -> BoxedStrategy<Vec<u8>> {
    let valid = vec(1..=255u8, length);
    if damaged {
        prop_oneof![8 => valid, 1 => Just(vec![0; length]), 1 => vec(any::<u8>(), 0..20)].boxed()
    } else {
        valid.boxed()
    }
}

/// Spans; `wild` ones may have secrets and invalid ids.
fn spans(wild: bool) -> impl Strategy<Value = Vec<Span>> {
    let event = (any::<u64>(), ".{0,9}", attributes(wild)).prop_map(|(time_unix_nano, name, attributes)| {
        Event { time_unix_nano, name, attributes, dropped_attributes_count: 1 }
    });
    let link = (id(16, wild), attributes(wild)).prop_map(|(trace_id, attributes)| Link {
        trace_id,
        attributes,
        trace_state: "a=b".into(),
        ..Link::default()
    });
    let ids = (id(16, wild), id(8, wild), prop_oneof![Just(vec![]), id(8, wild)]);
    let span = (ids, ".{0,9}", attributes(wild), vec(event, 0..3), vec(link, 0..2), any::<u64>());
    let span = span.prop_map(|(ids, name, attributes, events, links, time)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        name,
        attributes,
        events,
        links,
        start_time_unix_nano: time,
        kind: 3,
        flags: 1,
        status: Some(Status { message: "m".into(), code: 2 }),
        ..Span::default()
    });
    vec(span, 0..4)
}

fn requests(wild: bool) -> impl Strategy<Value = ExportTraceServiceRequest> {
    let entity_refs = vec![EntityRef { id_keys: vec!["a".into()], ..EntityRef::default() }];
    let resource = option::weighted(0.8, attributes(wild)).prop_map(move |attributes| {
        attributes.map(|attributes| Resource {
            attributes,
            dropped_attributes_count: 3,
            entity_refs: entity_refs.clone(),
        })
    });
    let scope = option::of(attributes(wild)).prop_map(|attributes| {
        attributes.map(|attributes| InstrumentationScope {
            name: "n".into(),
            attributes,
            ..InstrumentationScope::default()
        })
    });
    let scope_spans = (scope, spans(wild)).prop_map(|(scope, spans)| ScopeSpans {
        scope,
        spans,
        schema_url: "https://x".into(),
    });
    let resource_spans = (resource, vec(scope_spans, 0..3)).prop_map(|(resource, scope_spans)| {
        ResourceSpans { resource, scope_spans, schema_url: String::new() }
    });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

fn configs() -> impl Strategy<Value = (EnrichConfig, Vec<Detected>)> {
    use ActionKind::{Delete, Hash, Insert, Update, Upsert};
    let kind = proptest::sample::select(vec![Insert, Update, Upsert, Delete, Hash]);
    let scope = proptest::sample::select(vec![Scope::Span, Scope::Resource]);
    let value = prop_oneof![
        ".{0,200}".prop_map(AttributeValue::Str),
        any::<i64>().prop_map(AttributeValue::Int),
        Just(AttributeValue::Map(vec![(
            "m".into(),
            AttributeValue::Array(vec![AttributeValue::Bool(true)])
        )])),
    ];
    let action = (kind, scope, key(true), value).prop_map(|(kind, scope, key, value)| ActionConfig {
        kind,
        scope,
        key,
        value: kind.takes_value().then_some(value),
    });
    let detected = vec((key(false), "[a-z]{1,9}"), 0..3);
    (vec(action, 0..6), any::<bool>(), detected).prop_map(|(actions, override_sent, mut detected)| {
        detected.sort();
        detected.dedup_by(|a, b| a.0 == b.0);
        (EnrichConfig { actions, override_sent, ..EnrichConfig::default() }, detected)
    })
}

/// Whether the stage agrees with the reference on these bytes; both may refuse them.
fn agrees(
    config: &EnrichConfig,
    detected: &[Detected],
    secret: &dyn Fn(&str) -> bool,
    body: Bytes,
) -> Result<(), TestCaseError> {
    let Ok(enriched) = Enricher::new(config, detected).apply(body.clone()) else {
        return Ok(());
    };
    let mut expected = ExportTraceServiceRequest::decode(body.clone())
        .map_err(|error| TestCaseError::fail(format!("accepted what does not decode: {error}")))?;
    let spans = count(&expected);
    Reference { config, detected, secret }.apply(&mut expected);
    let mut edited = decode(&enriched);
    prop_assert_eq!(enriched.spans, count(&expected));
    prop_assert_eq!(enriched.rejected, spans - count(&expected));
    prop_assert_eq!(enriched.reject_reason.is_some(), enriched.rejected > 0);
    normalize(&mut expected);
    normalize(&mut edited);
    // Compared as bytes: NaN, which damage can produce, is not equal to itself.
    prop_assert!(edited.encode_to_vec() == expected.encode_to_vec(), "{edited:?}\nis not\n{expected:?}");
    Ok(())
}

fn count(request: &ExportTraceServiceRequest) -> u64 {
    let scopes = request.resource_spans.iter().flat_map(|resource_spans| &resource_spans.scope_spans);
    scopes.map(|scope_spans| scope_spans.spans.len() as u64).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn editing_bytes_is_decoding_editing_and_encoding(
        request in requests(true),
        (config, detected) in configs(),
    ) {
        let body = body_of(&request);
        prop_assert!(Enricher::new(&config, &detected).apply(body.clone()).is_ok());
        agrees(&config, &detected, &is_secret, body)?;
    }

    #[test]
    fn what_needs_no_change_comes_out_as_the_same_buffer(request in requests(false)) {
        let body = body_of(&request);
        let enriched = with_actions(vec![]).apply(body.clone()).unwrap();
        prop_assert_eq!(enriched.body.as_ptr(), body.as_ptr());
        prop_assert_eq!((enriched.redacted, enriched.rejected), (0, 0));
    }

    #[test]
    fn enriching_twice_is_enriching_once(request in requests(true)) {
        let detected = [("host.name".to_owned(), "h".to_owned())];
        let enricher = Enricher::new(&EnrichConfig::default(), &detected);
        let once = enricher.apply(body_of(&request)).unwrap().body;
        let twice = enricher.apply(once.clone()).unwrap();
        prop_assert_eq!(once.as_ptr(), twice.body.as_ptr());
        prop_assert_eq!(twice.redacted, 0);
    }

    #[test]
    fn damaged_requests_are_refused_or_understood(
        request in requests(true),
        (config, detected) in configs(),
        cut in any::<prop::sample::Index>(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = request.encode_to_vec();
        for (at, byte) in flips.iter().filter(|_| !request.resource_spans.is_empty()) {
            let at = at.index(bytes.len());
            bytes[at] ^= byte;
        }
        // Damage makes keys that no list here knows.
        let matcher = Matcher::compile(&config.redact);
        let secret = |key: &str| matcher.is_secret(key.as_bytes());
        agrees(&config, &detected, &secret, Bytes::copy_from_slice(&bytes))?;
        bytes.truncate(cut.index(bytes.len() + 1));
        agrees(&config, &detected, &secret, bytes.into())?;
    }

    #[test]
    fn random_bytes_are_refused_or_understood(bytes in vec(any::<u8>(), 0..200)) {
        agrees(&EnrichConfig::default(), &[], &is_secret, bytes.into())?;
    }
}
