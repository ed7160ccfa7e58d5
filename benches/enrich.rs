//! Enriching one request of 512 spans of about 600 bytes, in spans a second: untouched, with redaction hits, with
//! detected attributes and actions.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tracewell::enrich::{
    Action, ActionConfig, AttributeValue, Condition, EnrichConfig, Enricher, Put, RedactConfig, Scope,
    Source, ValueKind,
};

const SPANS: usize = 512;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn span(index: usize, with_secret: bool) -> Span {
    let mut attributes = vec![
        text("http.request.method", "GET"),
        text("http.route", "/api/v1/customers/{id}/orders"),
        text("url.path", "/api/v1/customers/8e1f4a2c/orders"),
        text("url.scheme", "https"),
        attribute("http.response.status_code", Value::IntValue(200)),
        text("server.address", "orders.internal.example"),
        attribute("server.port", Value::IntValue(8443)),
        text("user_agent.original", "python-requests/2.32.3"),
        text("network.protocol.version", "1.1"),
        text("client.address", "10.32.17.204"),
        attribute("cache.hit", Value::BoolValue(index.is_multiple_of(2))),
        text("user.id", "u-19284756"),
    ];
    if with_secret {
        attributes.push(text("http.request.header.authorization", "Bearer 0123456789abcdef"));
    }
    Span {
        trace_id: [&(index as u64 / 8 + 1).to_be_bytes()[..], &[7; 8]].concat(),
        span_id: (index as u64 + 1).to_be_bytes().to_vec(),
        parent_span_id: (index as u64).to_be_bytes().to_vec(),
        name: "GET /api/v1/customers/{id}/orders".into(),
        kind: 2,
        start_time_unix_nano: 1_790_000_000_000_000_000,
        end_time_unix_nano: 1_790_000_000_012_000_000,
        attributes,
        events: vec![Event { name: "cache.lookup".into(), ..Event::default() }],
        ..Span::default()
    }
}

fn request(secrets: bool) -> Bytes {
    let resource = ["service.name", "service.version", "host.name", "telemetry.sdk.language"];
    let attributes = resource.map(|key| text(key, "some-value-of-it")).to_vec();
    let spans = (0..SPANS).map(|index| span(index, secrets)).collect();
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec().into()
}

fn enrich(c: &mut Criterion) {
    let action = |scope, action| ActionConfig { scope, when: None, action };
    let put = |put, key: &str, value: &str| Action::Put {
        put,
        key: key.into(),
        value: Source::Fixed(AttributeValue::Str(value.into())),
    };
    let delete = Action::Delete { key: "client.address".into() };
    let actions = vec![
        action(Scope::Resource, put(Put::Upsert, "deployment.environment.name", "home")),
        action(Scope::Span, delete.clone()),
        action(Scope::Span, put(Put::Insert, "team", "orders")),
    ];
    let when = |text: &str| Some(Condition::parse(text, Scope::Span).unwrap());
    let elsewhere = vec![
        ActionConfig { when: when(r#"{ span.rpc.system = "grpc" }"#), ..action(Scope::Span, delete.clone()) },
        ActionConfig {
            when: when(r#"{ resource.service.name = "x" }"#),
            ..action(Scope::Span, delete.clone())
        },
    ];
    let here =
        vec![ActionConfig { when: when(r#"{ span.url.scheme = "https" }"#), ..action(Scope::Span, delete) }];
    let detected = [("os.type".to_owned(), AttributeValue::Str("linux".into()))];
    let plain = Enricher::new(&EnrichConfig::default(), &[]);
    let detecting = Enricher::new(&EnrichConfig::default(), &detected);
    let acting = Enricher::new(&EnrichConfig { actions, ..EnrichConfig::default() }, &detected);
    let hash = vec![action(Scope::Span, Action::Hash { key: "user.id".into() })];
    let with = |actions| Enricher::new(&EnrichConfig { actions, ..EnrichConfig::default() }, &[]);
    let (hashing, unmet, met) = (with(hash), with(elsewhere), with(here));
    let values = vec![ValueKind::Card, ValueKind::Email, ValueKind::Bearer, ValueKind::Jwt];
    let redact = RedactConfig { values, ..RedactConfig::default() };
    let reading = Enricher::new(&EnrichConfig { redact, ..EnrichConfig::default() }, &[]);
    let mut group = c.benchmark_group("enrich");
    group.throughput(Throughput::Elements(SPANS as u64));
    for (name, enricher, secrets) in [
        ("untouched", &plain, false),
        ("redacting", &plain, true),
        ("detected resource attribute", &detecting, false),
        ("three actions", &acting, false),
        ("hash", &hashing, false),
        ("conditions unmet", &unmet, false),
        ("condition met", &met, false),
        ("values looked into", &reading, false),
    ] {
        let body = request(secrets);
        group.bench_with_input(BenchmarkId::from_parameter(name), &body, |b, body| {
            b.iter(|| enricher.apply(black_box(body.clone())).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, enrich);
criterion_main!(benches);
