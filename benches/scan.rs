//! Scanning one request of 512 spans of about 600 bytes, 8 spans a trace, for the rules: spans a second on one thread.
#![allow(missing_docs, clippy::unwrap_used)]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::Event;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tracewell::sample::{RuleSet, Rulebook, parse_rules};

const SPANS: usize = 512;

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn span(index: usize) -> Span {
    let attributes = vec![
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
    Span {
        trace_id: [&(index as u64 / 8 + 1).to_be_bytes()[..], &[7; 8]].concat(),
        span_id: (index as u64 + 1).to_be_bytes().to_vec(),
        parent_span_id: if index.is_multiple_of(8) {
            Vec::new()
        } else {
            (index as u64).to_be_bytes().to_vec()
        },
        name: "GET /api/v1/customers/{id}/orders".into(),
        kind: 2,
        start_time_unix_nano: 1_790_000_000_000_000_000,
        end_time_unix_nano: 1_790_000_000_012_000_000,
        attributes,
        events: vec![Event { name: "cache.lookup".into(), ..Event::default() }],
        ..Span::default()
    }
}

fn request() -> Vec<u8> {
    let resource = ["service.name", "service.version", "host.name", "telemetry.sdk.language"];
    let attributes = resource.map(|key| text(key, "some-value-of-it")).to_vec();
    let resource_spans = vec![ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans { spans: (0..SPANS).map(span).collect(), ..ScopeSpans::default() }],
        ..ResourceSpans::default()
    }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

/// A hundred rules over ten keys, none of which matches.
fn hundred_rules() -> RuleSet {
    let rule = |n: usize| {
        let key = ["http.route", "user.id", "url.path", "server.address", "http.request.method"][n % 5];
        format!(
            "  - {{ name: rule-{n}, when: '{{ span.{key} = \"value-{n}\" && duration > {n}s }}', keep: 100% }}\n"
        )
    };
    let rules: String = (0..100).map(rule).collect();
    parse_rules(&format!("rules:\n{rules}  - {{ name: baseline, keep: 1% }}\n")).unwrap()
}

fn scan(c: &mut Criterion) {
    let body = request();
    let bytes = body.len() / SPANS;
    let mut group = c.benchmark_group("scan");
    group.throughput(Throughput::Elements(SPANS as u64));
    for (name, rules) in [("built-in rules", RuleSet::built_in()), ("100 rules", hundred_rules())] {
        let book = Rulebook::new(rules, false);
        let id = BenchmarkId::new(name, format!("{bytes} bytes a span"));
        group.bench_function(id, |b| b.iter(|| black_box(book.scan(black_box(&body)).unwrap())));
    }
    group.finish();
}

criterion_group!(benches, scan);
criterion_main!(benches);
