#![allow(clippy::unwrap_used)]

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::sample::{Facts, Limiter, parse_rules};

fn text(key: &str, value: &str) -> KeyValue {
    let value = Some(AnyValue { value: Some(Value::StringValue(value.to_owned())) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

fn span(trace: u8, start: u64, end: u64) -> Span {
    Span {
        trace_id: vec![trace; 16],
        span_id: vec![start as u8 + 1; 8],
        parent_span_id: vec![1; 8],
        start_time_unix_nano: start,
        end_time_unix_nano: end,
        ..Span::default()
    }
}

fn request(service: &str, spans: Vec<Span>) -> Vec<u8> {
    let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
    let scope_spans = vec![ScopeSpans { spans, ..ScopeSpans::default() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, ..ResourceSpans::default() }];
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

fn book(rules: &str) -> Rulebook {
    Rulebook::new(parse_rules(rules).unwrap(), false)
}

const BY_SERVICE: &str =
    "rules: [{ name: r, keep: { per_second: 1, by: [resource.service.name, span.http.route] } }]";

#[test]
fn notes_are_gathered_by_trace() {
    let root = Span { parent_span_id: Vec::new(), ..span(1, 5, 50) };
    let failed = Span { status: Some(Status { code: 2, ..Status::default() }), ..span(1, 3, 40) };
    let spans = vec![root.clone(), span(2, 10, 20), failed.clone()];
    let bytes = u32::try_from(root.encoded_len() + failed.encoded_len()).unwrap();
    let notes = book(BY_SERVICE).scan(&request("shop", spans)).unwrap();
    assert_eq!((notes.spans, notes.traces.len()), (3, 2));
    let first = &notes.traces[0];
    assert_eq!(first.trace_id, TraceId([1; 16]));
    assert_eq!((first.spans, first.errors, first.bytes), (2, 1, bytes));
    assert_eq!((first.start_unix_nano, first.end_unix_nano, first.has_root), (3, 50, true));
    assert!(!notes.traces[1].has_root);
}

#[test]
fn a_parent_of_zeros_is_a_root() {
    let zeros = Span { parent_span_id: vec![0; 8], ..span(1, 0, 1) };
    assert!(book(BY_SERVICE).scan(&request("shop", vec![zeros])).unwrap().traces[0].has_root);
}

#[test]
fn randomness_comes_from_the_tracestate() {
    let with = Span { trace_state: "x=y,ot=rv:9b8233f7e3a151".to_owned(), ..span(1, 0, 1) };
    let notes = book(BY_SERVICE).scan(&request("shop", vec![span(1, 0, 1), with, span(2, 0, 1)])).unwrap();
    assert_eq!(notes.traces[0].randomness, Some(0x009b_8233_f7e3_a151));
    assert_eq!(notes.traces[1].randomness, None);
}

#[test]
fn spans_without_a_valid_trace_id_are_passed_over() {
    let short = Span { trace_id: vec![1; 5], ..span(1, 0, 1) };
    let zeros = span(0, 0, 1);
    let notes = book(BY_SERVICE).scan(&request("shop", vec![short, zeros])).unwrap();
    assert_eq!((notes.spans, notes.traces.len()), (0, 0));
}

#[test]
fn every_version_in_use_is_asked() {
    let rules =
        |words: &str| format!("rules: [{{ name: r, when: '{{ span.a = \"{words}\" }}', drop: true }}]");
    let book = book(&rules("x"));
    book.install(parse_rules(&rules("y")).unwrap());
    let tagged = Span { attributes: vec![text("a", "y")], ..span(1, 0, 1) };
    let notes = book.scan(&request("shop", vec![tagged])).unwrap();
    let found: Vec<(u32, u64)> = notes.traces[0].matches.iter().map(|m| (m.version, m.bits[0])).collect();
    assert_eq!(found, [(1, 0), (2, 1)]);
}

#[test]
fn rates_count_by_the_roots_values() {
    let routed = |span: Span, route: &str| Span { attributes: vec![text("http.route", route)], ..span };
    let root = |trace, start| Span { parent_span_id: Vec::new(), ..span(trace, start, 9) };
    let book = book(BY_SERVICE);
    let spans = vec![
        routed(span(1, 0, 1), "/child"),
        routed(root(1, 0), "/root"),
        routed(root(2, 0), "/root"),
        routed(span(2, 0, 1), "/other-child"),
        routed(root(3, 0), "/elsewhere"),
    ];
    let notes = book.scan(&request("shop", spans)).unwrap();
    let mut limiter = Limiter::new(1 << 16);
    let kept: Vec<bool> = notes
        .traces
        .iter()
        .map(|note| {
            let facts = Facts {
                trace_id: note.trace_id,
                randomness: None,
                duration_nano: 0,
                has_root: true,
                spans: note.spans,
                matches: note.matches.last(),
            };
            book.current().decide(&facts, &mut limiter, Duration::ZERO).keep
        })
        .collect();
    assert_eq!(kept, [true, false, true]);
}

#[test]
fn the_sum_of_adjusted_counts_is_the_number_sent() {
    let book = book("rules: [{ name: some, keep: 1% }]");
    let mut limiter = Limiter::new(1024);
    let (sent, mut estimate) = (200_000u64, 0.0);
    for number in 0..sent {
        let mut id = [7; 16];
        id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
        let facts = Facts {
            trace_id: TraceId(id),
            randomness: None,
            duration_nano: 0,
            has_root: true,
            spans: 1,
            matches: None,
        };
        let verdict = book.current().decide(&facts, &mut limiter, Duration::ZERO);
        let threshold = verdict.threshold.unwrap();
        assert_eq!(verdict.keep, threshold.keeps(TraceId(id).randomness()));
        estimate += if verdict.keep { threshold.adjusted_count() } else { 0.0 };
    }
    assert!((estimate / sent as f64 - 1.0).abs() < 0.05, "{estimate}");
}

#[test]
fn cut_requests_are_errors() {
    let body = request("shop", vec![span(1, 0, 1), span(2, 0, 1)]);
    let book = book(BY_SERVICE);
    for length in 1..body.len() {
        let notes = book.scan(&body[..length]);
        assert!(notes.is_err(), "cut at {length}");
    }
}

proptest! {
    #[test]
    fn bytes_of_any_kind_never_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = book(BY_SERVICE).scan(&body);
    }
}
