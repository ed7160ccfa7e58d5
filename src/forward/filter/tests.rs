#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use super::*;
use crate::forward::kept::Choice;
use crate::sample::testing::kept_trace;

fn kept(number: u8, places: &[u64]) -> KeptTrace {
    kept_trace(number, places.iter().map(|place| Position(*place)))
}

fn filter(query: &str) -> Result<Filter, String> {
    Filter::new(query, 1 << 20)
}

/// One span each: trace, name, whether it failed, when it ended.
fn body(spans: &[(u8, &str, bool, u64)]) -> Vec<u8> {
    let span = |(trace, name, failed, end): &(u8, &str, bool, u64)| Span {
        trace_id: vec![*trace; 16],
        span_id: vec![1; 8],
        name: (*name).into(),
        start_time_unix_nano: 0,
        end_time_unix_nano: *end,
        status: failed.then(|| Status { code: 2, ..Status::default() }),
        ..Span::default()
    };
    let scope_spans = vec![ScopeSpans { spans: spans.iter().map(span).collect(), ..ScopeSpans::default() }];
    let of_resource = ResourceSpans { scope_spans, ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec()
}

/// The traces of a batch that pass, by number; its records as (position, request).
fn passing(filter: &Filter, batch: &[KeptTrace], records: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let mut going = Choice::default().going(batch);
    let mut look = filter.look();
    for (position, body) in records {
        look.add(&going, Position(*position), body).unwrap();
    }
    look.decide(&mut going);
    let mut numbers = Vec::new();
    going.retain(|trace| {
        numbers.push(trace.trace_id.0[0]);
        true
    });
    numbers.sort_unstable();
    numbers
}

#[test]
fn conditions_are_about_the_whole_trace_wherever_its_spans_lie() {
    let filter = filter("{ status = error } && { name = \"pay\" } && { traceDuration > 1us }").unwrap();
    let batch = [kept(1, &[1, 2]), kept(2, &[1, 2]), kept(3, &[1])];
    let records = [
        (1, body(&[(1, "pay", false, 500), (2, "pay", false, 5000), (3, "pay", true, 900)])),
        (2, body(&[(1, "x", true, 2000), (2, "x", false, 1), (9, "pay", true, 9000)])),
    ];
    assert_eq!(passing(&filter, &batch, &records), [1]);
}

#[test]
fn what_is_not_at_the_places_of_the_batch_does_not_count() {
    let filter = filter("{ status = error }").unwrap();
    let records = [(1, body(&[(1, "a", true, 1)])), (2, body(&[(1, "b", false, 1)]))];
    assert_eq!(passing(&filter, &[kept(1, &[2])], &records), [0u8; 0]);
}

#[test]
fn what_comes_late_of_a_trace_that_matched_passes_too() {
    let filter = filter("{ status = error }").unwrap();
    let first = [(1, body(&[(1, "a", true, 1), (2, "a", false, 1)]))];
    assert_eq!(passing(&filter, &[kept(1, &[1]), kept(2, &[1])], &first), [1]);
    let late = [(2, body(&[(1, "b", false, 1), (2, "b", false, 1)]))];
    assert_eq!(passing(&filter, &[kept(1, &[2]), kept(2, &[2])], &late), [1]);
}

#[test]
fn what_is_wrong_with_a_filter_is_said_in_words() {
    let error = filter("{ span. }").unwrap_err();
    assert!(!error.contains("when") && !error.contains("line"), "{error}");
    assert!(filter("{ } >> { }").is_err(), "what rules cannot ask, filters cannot");
    assert!(filter("{ span.a = \"\\\"x\\n\" }").is_ok());
}
