#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use proptest::prelude::*;
use prost::Message;

use super::*;

/// A span, with all that it came with.
type Whole = (Option<Resource>, String, Option<InstrumentationScope>, String, Span);

fn flat(request: &ExportTraceServiceRequest) -> Vec<Whole> {
    let mut spans = Vec::new();
    for of_resource in &request.resource_spans {
        for of_scope in &of_resource.scope_spans {
            for span in &of_scope.spans {
                let urls = (of_resource.schema_url.clone(), of_scope.schema_url.clone());
                let resource = of_resource.resource.clone();
                spans.push((resource, urls.0, of_scope.scope.clone(), urls.1, span.clone()));
            }
        }
    }
    spans
}

fn span() -> impl Strategy<Value = Span> {
    (0u8..12, any::<u64>(), "[a-z]{0,40}", any::<bool>()).prop_map(|(trace, id, name, odd)| Span {
        // Some without an id at all: nobody checked them here.
        trace_id: if trace == 0 && odd { vec![] } else { vec![trace + 1; 16] },
        span_id: id.to_be_bytes().to_vec(),
        name,
        start_time_unix_nano: id,
        ..Span::default()
    })
}

fn request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let scope = (prop::collection::vec(span(), 0..9), prop::option::of("[a-z]{1,200}"), "[a-z]{0,3}");
    let scope = scope.prop_map(|(spans, name, schema_url)| ScopeSpans {
        scope: name.map(|name| InstrumentationScope { name, ..InstrumentationScope::default() }),
        spans,
        schema_url,
    });
    let resource = (prop::collection::vec(scope, 0..4), prop::option::of(0u32..5), "[a-z]{0,3}");
    let resource = resource.prop_map(|(scope_spans, dropped, schema_url)| ResourceSpans {
        resource: dropped.map(|n| Resource { dropped_attributes_count: n, ..Resource::default() }),
        scope_spans,
        schema_url,
    });
    prop::collection::vec(resource, 0..4)
        .prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

proptest! {
    #[test]
    fn the_parts_together_are_the_request_and_a_trace_is_in_one_of_them(request in request(), gateways in 1usize..5) {
        let body = Bytes::from(request.encode_to_vec());
        let owner = |id: &[u8]| id.first().map_or(0, |byte| usize::from(*byte) % gateways);
        let parts = split(&body, owner).unwrap();
        let mut expected: BTreeMap<usize, Vec<Whole>> = BTreeMap::new();
        for whole in flat(&request) {
            expected.entry(owner(&whole.4.trace_id)).or_default().push(whole);
        }
        let mut seen = BTreeMap::new();
        for part in parts {
            let spans = flat(&ExportTraceServiceRequest::decode(part.body.clone()).unwrap());
            prop_assert_eq!(spans.len(), part.spans as usize);
            // What was computed is what was written: no room left over, none grown.
            prop_assert!(seen.insert(part.owner, spans).is_none(), "two parts for one owner");
        }
        prop_assert_eq!(seen, expected);
        for (index, part) in split(&body, owner).unwrap().iter().enumerate() {
            let picked = pick(&body, |id| owner(id) == part.owner).unwrap().unwrap();
            prop_assert_eq!((&picked.body, picked.spans), (&part.body, part.spans), "part {}", index);
        }
        prop_assert_eq!(pick(&body, |_| false).unwrap(), None);
    }

    #[test]
    fn the_pieces_of_a_pick_are_the_pick_and_none_is_too_large(request in request(), bytes_max in 1usize..2000) {
        let body = Bytes::from(request.encode_to_vec());
        let is_mine = |id: &[u8]| id.first().is_some_and(|byte| byte % 2 == 0);
        let expected: Vec<_> = flat(&request).into_iter().filter(|whole| is_mine(&whole.4.trace_id)).collect();
        let pieces = pick_pieces(&body, is_mine, bytes_max).unwrap();
        let mut seen = Vec::new();
        for piece in &pieces {
            let spans = flat(&ExportTraceServiceRequest::decode(piece.body.clone()).unwrap());
            let bytes: usize = spans.iter().map(|whole| whole.4.encoded_len()).sum();
            prop_assert!(spans.len() == 1 || bytes <= bytes_max, "{} bytes", bytes);
            prop_assert_eq!(spans.len(), piece.spans as usize);
            seen.extend(spans);
        }
        prop_assert_eq!(seen, expected);
        let all = pick_pieces(&body, |_| true, usize::MAX).unwrap();
        prop_assert!(all.len() <= 1 && all.iter().all(|one| one.body.as_ptr() == body.as_ptr()), "not a copy");
    }

    #[test]
    fn bytes_that_are_no_request_are_an_error_or_a_request(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = split(&Bytes::from(bytes), |id| id.len() % 3);
    }
}

#[test]
fn a_request_with_one_owner_is_passed_on_as_it_is() {
    let spans = vec![Span { trace_id: vec![7; 16], ..Span::default() }; 3];
    let of_resource = ResourceSpans {
        scope_spans: vec![ScopeSpans { spans, ..ScopeSpans::default() }],
        ..Default::default()
    };
    let body = Bytes::from(ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec());
    let parts = split(&body, |_| 4).unwrap();
    assert_eq!(parts, [Part { owner: 4, body: body.clone(), spans: 3 }]);
    assert_eq!(parts[0].body.as_ptr(), body.as_ptr(), "not a copy");
}

#[test]
fn framing_without_spans_goes_to_nobody() {
    let empty = ResourceSpans { scope_spans: vec![ScopeSpans::default()], ..ResourceSpans::default() };
    let body = Bytes::from(ExportTraceServiceRequest { resource_spans: vec![empty] }.encode_to_vec());
    assert_eq!(split(&body, |_| 0).unwrap(), []);
    let owners: BTreeSet<usize> =
        split(&Bytes::new(), |_| 0).unwrap().iter().map(|part| part.owner).collect();
    assert!(owners.is_empty());
}
