//! Generated requests and configurations.

use opentelemetry_proto::tonic::common::v1::{EntityRef, InstrumentationScope};
use opentelemetry_proto::tonic::trace::v1::Status;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;

const PLAIN: [&str; 12] = [
    "a",
    "b",
    "http.route",
    "host.name",
    "tokens",
    "clé",
    "url.full",
    "url.query",
    "db.statement",
    "url.path",
    "http.target",
    "http.method",
];
const SECRET: [&str; 5] =
    ["token", "x-api-key", "http.request.header.authorization", "dbPassword", "Set-Cookie"];

/// Strings that something is looked for in, found in some of them.
const TEXTS: [&str; 16] = [
    "GET",
    "/users/123?q=1",
    "x",
    "y",
    "1",
    "true",
    "-7.5",
    "mail jane.doe@example.com or jané@exämple.org, not @home",
    "card 4111 1111 1111 1111, order 4111111111111112",
    "Authorization: Bearer abcdef0123456789",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln",
    "https://u:p@h.example/a/123?q=1&page=2#token=t",
    "select * from t where a = 'x''y' and b in (1, 2.5e-3) -- it's",
    "id=42;name=ünï",
    "[redacted]",
    "[hmac:0123456789abcdef0123456789abcdef]",
];

pub(super) fn is_secret(key: &str) -> bool {
    SECRET.contains(&key)
}

fn key(secrets: bool) -> impl Strategy<Value = String> {
    let keys: Vec<&str> = if secrets { [&PLAIN[..], &SECRET].concat() } else { PLAIN.to_vec() };
    proptest::sample::select(keys).prop_map(str::to_owned)
}

fn value(secrets: bool) -> impl Strategy<Value = Option<AnyValue>> {
    let leaf = prop_oneof![
        ".{0,20}".prop_map(Value::StringValue),
        proptest::sample::select(TEXTS.to_vec()).prop_map(|text| Value::StringValue(text.into())),
        any::<bool>().prop_map(Value::BoolValue),
        any::<i64>().prop_map(Value::IntValue),
        (0..3i64).prop_map(Value::IntValue),
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
    let name = prop_oneof![".{0,9}", Just("mail a@b.example".to_owned()), Just("GET".to_owned())];
    let span = (ids, name, attributes(wild), 0..6i32, vec(event, 0..3), vec(link, 0..2), any::<u64>());
    let span = span.prop_map(|(ids, name, attributes, kind, events, links, time)| Span {
        trace_id: ids.0,
        span_id: ids.1,
        parent_span_id: ids.2,
        name,
        attributes,
        events,
        links,
        start_time_unix_nano: time,
        kind,
        flags: 1,
        status: Some(Status { message: "to a@b.example".into(), code: 2 }),
        ..Span::default()
    });
    vec(span, 0..4)
}

pub(super) fn requests(wild: bool) -> impl Strategy<Value = ExportTraceServiceRequest> {
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

/// Conditions that an action in this scope may have.
fn condition(scope: Scope) -> impl Strategy<Value = Option<Condition>> {
    let of_resource = vec![
        r#"{ resource.a = "x" }"#,
        "{ resource.host.name != nil }",
        r#"{ resource.a = 1 || !(resource.b = "y") }"#,
    ];
    let of_scope =
        vec![r#"{ instrumentation:name = "n" }"#, "{ instrumentation.a != nil && resource.b = nil }"];
    let of_span = vec![
        r#"{ span.a = "x" }"#,
        "{ span.b = nil }",
        r#"{ kind = client && span.a != "y" }"#,
        r#"{ span.a = 1 || span.tokens =~ ".*1.*" }"#,
        r#"{ name != "q" && resource.host.name != nil }"#,
        "{ event.a != nil }",
        "{ link.b = true }",
        r#"{ !(span.a = "x") }"#,
        r#"{ .a = "x" }"#,
        r#"{ instrumentation:name = "n" && span.tokens != nil }"#,
        r#"{ status = error && event:name != "" }"#,
        r#"{ span.a = "x" && span.http.route = "h" }"#,
    ];
    let texts = match scope {
        Scope::Resource => of_resource,
        Scope::Scope => [of_resource, of_scope].concat(),
        Scope::Span | Scope::Event => [of_resource, of_scope, of_span].concat(),
    };
    let parse = move |text: &str| Condition::parse(text, scope).unwrap();
    option::weighted(0.5, proptest::sample::select(texts).prop_map(parse))
}

fn action() -> impl Strategy<Value = Action> {
    let value = prop_oneof![
        ".{0,200}".prop_map(AttributeValue::Str),
        Just(AttributeValue::Str("x".into())),
        any::<i64>().prop_map(AttributeValue::Int),
        Just(AttributeValue::Map(vec![(
            "m".into(),
            AttributeValue::Array(vec![AttributeValue::Bool(true)])
        )])),
    ];
    let fixed = || value.clone().prop_map(Source::Fixed);
    let source = prop_oneof![
        4 => fixed(),
        2 => key(true).prop_map(Source::Attribute),
        1 => Just(Source::header("x-tenant").unwrap()),
        1 => Just(Source::header("x-none").unwrap()),
        1 => Just(Source::Client),
    ];
    let put = proptest::sample::select(vec![Put::Insert, Put::Update, Put::Upsert]);
    let pattern = proptest::sample::select(vec![
        "(?P<a>[a-z]+)=(?P<http.route>[0-9]*)",
        "(?P<tokens>.)(?P<none>zzz)?",
        "^(?P<token>x|y)$",
    ]);
    let to = vec![ValueType::String, ValueType::Int, ValueType::Double, ValueType::Bool];
    prop_oneof![
        4 => (put, key(true), source).prop_map(|(put, key, value)| Action::Put { put, key, value }),
        1 => key(true).prop_map(|key| Action::Delete { key }),
        1 => key(true).prop_map(|key| Action::Hash { key }),
        1 => (key(true), pattern).prop_map(|(key, pattern)| {
            Action::Extract { key, pattern: ExtractPattern::new(pattern).unwrap() }
        }),
        2 => (key(true), proptest::sample::select(to)).prop_map(|(key, to)| Action::Convert { key, to }),
        1 => vec((key(true), key(true)), 1..4).prop_map(|mut keys| {
            keys.sort();
            keys.dedup_by(|a, b| a.0 == b.0);
            Action::Rename { keys }
        }),
        1 => (key(true), 0..12usize).prop_map(|(key, bytes)| Action::Truncate { key, bytes }),
    ]
}

/// Actions that depend on nothing but their key, or any.
fn action_configs() -> impl Strategy<Value = ActionConfig> {
    let scope = proptest::sample::select(Scope::ALL.to_vec());
    scope.prop_flat_map(|scope| {
        (condition(scope), action()).prop_map(move |(when, action)| ActionConfig { scope, when, action })
    })
}

fn simple_action_configs() -> impl Strategy<Value = ActionConfig> {
    use ActionKind::{Delete, Hash, Insert, Update, Upsert};
    let kind = proptest::sample::select(vec![Insert, Update, Upsert, Delete, Hash]);
    let scope = proptest::sample::select(vec![Scope::Span, Scope::Resource]);
    (kind, scope, key(true), ".{0,200}").prop_map(|(kind, scope, key, value)| {
        let value = Source::Fixed(AttributeValue::Str(value));
        ActionConfig { scope, when: None, action: action_of(kind, &key, value) }
    })
}

fn redaction() -> impl Strategy<Value = RedactConfig> {
    use ValueKind::{Bearer, Card, Email, Jwt, Ssn};
    let values = proptest::sample::subsequence(vec![Card, Email, Bearer, Jwt, Ssn], 0..=5);
    let switches = any::<(bool, bool, bool, bool, bool)>();
    (values, switches).prop_map(|(values, (urls, sql, names, messages, custom))| RedactConfig {
        values,
        urls,
        sql,
        names,
        messages,
        allowed_parameters: vec!["page".into()],
        patterns: if custom { vec![("id".into(), compile_pattern("id=[0-9]+").unwrap())] } else { vec![] },
        ..RedactConfig::default()
    })
}

/// A configuration, and what the detectors found.
pub(super) fn configs() -> impl Strategy<Value = (EnrichConfig, Vec<Detected>)> {
    let actions = prop_oneof![vec(simple_action_configs(), 0..6), vec(action_configs(), 0..6)];
    let hash_key = option::of(Just("a key".into()));
    let redact = prop_oneof![Just(RedactConfig::default()), redaction()];
    let redact = (redact, hash_key).prop_map(|(redact, hash_key)| RedactConfig { hash_key, ..redact });
    let detected = vec((key(false), "[a-z]{1,9}").prop_map(|(key, value)| found(&key, &value)), 0..3);
    let route = any::<(bool, bool)>().prop_map(|(enabled, name)| RouteConfig { enabled, name });
    let all = (actions, any::<bool>(), detected, redact, route);
    all.prop_map(|(actions, override_sent, mut detected, redact, http_route)| {
        detected.sort_by(|a, b| a.0.cmp(&b.0));
        detected.dedup_by(|a, b| a.0 == b.0);
        (EnrichConfig { actions, override_sent, redact, http_route, ..EnrichConfig::default() }, detected)
    })
}
