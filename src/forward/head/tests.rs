#![allow(clippy::unwrap_used)]

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::sample::probability::edit_tracestate;

fn request(spans: Vec<Span>) -> Bytes {
    // Two scopes, the spans in turn: what is cut out of one must not disturb the other.
    let (mut even, mut odd) = (Vec::new(), Vec::new());
    for (index, span) in spans.into_iter().enumerate() {
        if index % 2 == 0 { even.push(span) } else { odd.push(span) }
    }
    let scope = |spans| ScopeSpans { spans, schema_url: "s".into(), ..ScopeSpans::default() };
    let of_resource = ResourceSpans {
        resource: Some(Resource::default()),
        scope_spans: vec![scope(even), scope(odd)],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec().into()
}

fn spans(body: Bytes) -> Vec<Span> {
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = request.resource_spans.into_iter().flat_map(|of_resource| of_resource.scope_spans);
    scopes.flat_map(|scope| scope.spans).collect()
}

fn span(randomness: u64, trace_state: &str) -> Span {
    let mut trace_id = vec![7; 16];
    trace_id[9..].copy_from_slice(&randomness.to_be_bytes()[1..]);
    let name = "x".repeat((randomness % 200) as usize);
    Span { trace_id, span_id: vec![1; 8], trace_state: trace_state.into(), name, ..Span::default() }
}

#[track_caller]
fn check(randomness: u64, trace_state: &str, share: f64, expected: Option<&str>) {
    let sampled =
        HeadSampler::new(share).unwrap().apply(request(vec![span(randomness, trace_state)])).unwrap();
    let states: Vec<_> = spans(sampled.body).into_iter().map(|span| span.trace_state).collect();
    assert_eq!(states, expected.into_iter().collect::<Vec<_>>(), "{trace_state} at {share}");
}

#[test]
fn the_threshold_is_written_and_the_larger_of_two_decides() {
    const R: u64 = 0x00ce_929d_0e0e_4736;
    check(R, "", 0.5, Some("ot=th:8"));
    check(R, "", 0.25, Some("ot=th:c"));
    check(R, "", 0.1, None);
    check(R, "", 1.0, Some("ot=th:0"));
    // Equalizing: 25 % upstream stays 25 %.
    check(R, "ot=th:c", 0.5, Some("ot=th:c"));
    check(R, "ot=th:4", 0.5, Some("ot=th:8"));
    // An explicit randomness counts in place of the trace id's, and other members stay.
    check(0, "ot=rv:9b8233f7e3a151", 0.5, Some("ot=th:8;rv:9b8233f7e3a151"));
    check(R, "ot=rv:00000000000001", 0.5, None);
    check(R, "vendor=a,ot=th:0,other=b", 0.5, Some("ot=th:8,vendor=a,other=b"));
}

#[test]
fn what_does_not_change_stays_the_same_buffer() {
    let body = request(vec![span(1 << 55, "ot=th:8"), span((1 << 56) - 1, "ot=th:8")]);
    let sampled = HeadSampler::new(0.5).unwrap().apply(body.clone()).unwrap();
    assert_eq!((sampled.kept, sampled.dropped, sampled.body.as_ptr()), (2, 0, body.as_ptr()));
}

#[test]
fn shares_that_are_none_are_refused() {
    assert!([0.0, -1.0, 1.5, f64::NAN].into_iter().all(|share| HeadSampler::new(share).is_none()));
}

proptest! {
    #[test]
    fn what_stays_is_what_a_reader_would_have_kept_and_nothing_else_of_it_changes(
        given in prop::collection::vec((0u64..1 << 56, 0usize..4), 0..20),
        share in 0.001f64..1.0,
    ) {
        const STATES: [&str; 4] = ["", "ot=th:4", "a=b", "ot=rv:80000000000000,z=1"];
        let all: Vec<_> = given.into_iter().map(|(randomness, state)| span(randomness, STATES[state])).collect();
        let sampler = HeadSampler::new(share).unwrap();
        let body = request(all);
        let sampled = sampler.apply(body.clone()).unwrap();
        let keeps = |span: &Span| {
            let state = SamplingState::parse(&span.trace_state);
            let of_id = TraceId::from_slice(&span.trace_id).unwrap().randomness();
            sampler.0.equalize(state.threshold).keeps(state.randomness.unwrap_or(of_id))
        };
        let all = spans(body);
        let expected: Vec<_> = all.iter().filter(|span| keeps(span)).cloned().map(|mut span| {
            let raise = ThresholdEdit::Raise(sampler.0);
            span.trace_state = edit_tracestate(&span.trace_state, raise).into_owned();
            span
        }).collect();
        prop_assert_eq!((sampled.kept + sampled.dropped) as usize, all.len());
        prop_assert_eq!(sampled.kept as usize, expected.len());
        prop_assert_eq!(spans(sampled.body), expected);
    }
}
