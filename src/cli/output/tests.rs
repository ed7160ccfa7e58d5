#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status, TracesData};

use super::table::{Align, Cell};
use super::waterfall::{Options, render};
use super::{Canvas, text, units};

const START: u64 = 1_763_713_880_123_000_000;
const MS: u64 = 1_000_000;
const PLAIN: Canvas = Canvas { width: 100, color: false };
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

fn string(s: &str) -> Value {
    Value::StringValue(s.into())
}

/// A span by id and parent (0: none), from `start_ms` for `ms` milliseconds.
fn span(id: u8, parent: u8, name: &str, start_ms: i64, ms: u64) -> Span {
    let start = START.checked_add_signed(start_ms * MS as i64).unwrap();
    Span {
        trace_id: hex::decode(TRACE).unwrap(),
        span_id: vec![0, 0, 0, 0, 0, 0, 0, id],
        parent_span_id: if parent == 0 { vec![] } else { vec![0, 0, 0, 0, 0, 0, 0, parent] },
        name: name.into(),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + ms * MS,
        ..Span::default()
    }
}

fn failed(mut span: Span, message: &str) -> Span {
    span.status = Some(Status { code: 2, message: message.into() });
    span
}

fn service(name: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![attribute("service.name", string(name)), attribute("host.name", string("a"))];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Resource::default() }),
        scope_spans: vec![ScopeSpans {
            scope: Some(InstrumentationScope {
                name: "shop".into(),
                version: "1.2".into(),
                ..InstrumentationScope::default()
            }),
            spans,
            schema_url: String::new(),
        }],
        schema_url: String::new(),
    }
}

fn shop() -> TracesData {
    let mut charge = failed(span(6, 5, "POST /charge", 420, 790), "card declined");
    charge.kind = 3;
    charge.attributes = vec![
        attribute("http.request.method", string("POST")),
        attribute("http.response.status_code", Value::IntValue(402)),
        attribute("retries", Value::DoubleValue(2.0)),
    ];
    charge.events = vec![Event {
        time_unix_nano: START + 900 * MS,
        name: "exception".into(),
        attributes: vec![attribute("exception.stacktrace", string("Declined\n  at charge()\n  at main()"))],
        dropped_attributes_count: 0,
    }];
    charge.links = vec![Link { trace_id: vec![1; 16], span_id: vec![2; 8], ..Link::default() }];
    TracesData {
        resource_spans: vec![
            // Sent out of order: the last child first.
            service("payment", vec![charge]),
            service("cart", vec![span(3, 2, "HGETALL", 40, 12), span(2, 1, "GET /cart", 30, 120)]),
            service(
                "checkout",
                vec![failed(span(1, 0, "POST /checkout", 0, 1230), ""), span(5, 1, "pay", 400, 820)],
            ),
            service("cart", vec![span(4, 1, "reserve stock", 160, 200)]),
        ],
    }
}

#[test]
fn look() {
    println!("{}", render(&PLAIN, TRACE, &shop(), Options { verbose: false }));
    println!("{}", render(&Canvas { width: 100, color: true }, TRACE, &shop(), Options { verbose: true }));
}
