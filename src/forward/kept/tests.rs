#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::*;
use crate::sample::testing::{kept_trace, verdict};
use crate::sample::{Threshold, Verdict};

fn trace(tenant: &str, number: u8, places: &[u64], class: &str, threshold: Option<Threshold>) -> KeptTrace {
    let verdict = Verdict { retention: class.into(), threshold, ..verdict("r") };
    KeptTrace {
        tenant: Tenant::new(tenant).unwrap(),
        verdict: Arc::new(verdict),
        ..kept_trace(number, places.iter().map(|place| Position(*place)))
    }
}

fn body(traces: &[u8], name_bytes: usize) -> Bytes {
    let span = |(index, trace): (usize, &u8)| Span {
        trace_id: vec![*trace; 16],
        span_id: (index as u64 + 1).to_be_bytes().to_vec(),
        name: "n".repeat(name_bytes),
        ..Span::default()
    };
    let spans = traces.iter().enumerate().map(span).collect();
    let scope_spans = vec![ScopeSpans { spans, schema_url: "s".into(), ..ScopeSpans::default() }];
    let of_resource = ResourceSpans { scope_spans, schema_url: "r".into(), ..ResourceSpans::default() };
    ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec().into()
}

fn spans(parts: &[Part]) -> Vec<Span> {
    let mut spans = Vec::new();
    for part in parts {
        let request = ExportTraceServiceRequest::decode(&*part.body).unwrap();
        let before = spans.len();
        for of_resource in request.resource_spans {
            assert_eq!(of_resource.schema_url, "r");
            for scope in of_resource.scope_spans {
                assert_eq!(scope.schema_url, "s");
                spans.extend(scope.spans);
            }
        }
        assert_eq!(spans.len() - before, part.spans as usize);
    }
    spans
}

#[test]
fn a_backend_gets_the_classes_and_tenants_it_is_configured_for() {
    let all = [trace("a", 1, &[5], "default", None), trace("a", 2, &[5], "errors", None)];
    let other = [trace("b", 1, &[7], "errors", None)];
    let errors = Choice { classes: vec!["errors".into()], ..Choice::default() };
    let of_a = Choice { tenants: vec![Tenant::new("a").unwrap()], ..Choice::default() };
    assert_eq!(errors.going(&all).positions(), [Position(5)]);
    assert!(errors.going(&all).trace(&TraceId([1; 16]), Position(5)).is_none());
    assert!(errors.going(&all).trace(&TraceId([2; 16]), Position(5)).is_some());
    assert!(of_a.going(&other).is_empty() && !of_a.going(&all).is_empty());
    assert!(!Choice::default().going(&other).is_empty());
}

#[test]
fn only_spans_at_the_places_of_the_batch_are_cut_out() {
    let batch = [trace("a", 1, &[10, 30], "default", None), trace("a", 2, &[20], "default", None)];
    let going = Choice::default().going(&batch);
    assert_eq!(going.positions(), [Position(10), Position(20), Position(30)]);
    let request = body(&[1, 2, 3, 1], 4);
    let ids = |at: u64| -> Vec<u8> {
        let parts = going.cut(Position(at), &request, 1 << 20).unwrap();
        spans(&parts).iter().map(|span| span.trace_id[0]).collect()
    };
    assert_eq!((ids(10), ids(20), ids(40)), (vec![1, 1], vec![2], vec![]));
}

#[test]
fn a_large_request_goes_in_pieces_and_a_whole_one_as_it_is() {
    let batch = [trace("a", 1, &[1], "default", None)];
    let going = Choice::default().going(&batch);
    let request = body(&[1; 40], 100);
    let whole = going.cut(Position(1), &request, 1 << 20).unwrap();
    assert_eq!((whole.len(), whole[0].body.as_ptr()), (1, request.as_ptr()), "not copied");
    let pieces = going.cut(Position(1), &request, 1000).unwrap();
    assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.body.len() < 1100), "{}", pieces.len());
    assert_eq!(spans(&pieces), spans(&whole));
    let single = going.cut(Position(1), &request, 1).unwrap();
    assert_eq!((single.len(), spans(&single)), (40, spans(&whole)), "a span is never cut");
}

#[test]
fn thresholds_are_written_as_in_the_table() {
    let half = Threshold::from_probability(0.5, 3);
    let batch = [trace("a", 1, &[1], "default", half), trace("a", 2, &[1], "default", None)];
    let going = Choice::default().going(&batch);
    let parts = going.cut(Position(1), &body(&[1, 2, 1], 4), 1 << 20).unwrap();
    let states: Vec<_> = spans(&parts).into_iter().map(|span| span.trace_state).collect();
    assert_eq!(states, ["ot=th:8", "", "ot=th:8"]);
}
