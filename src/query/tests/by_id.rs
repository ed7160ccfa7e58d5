//! Look-up by id, where the flight recorder has what nothing keeps.

use super::fixtures::*;
use crate::query::{Decision, FoundTrace, TraceFacts, TraceSource};
use crate::runtime::Tenant;
use crate::sample::{LiveState, Verdict};

async fn find(world: &World, tenant: &Tenant) -> Option<FoundTrace> {
    world.engine.trace(tenant, trace_id(1)).await.unwrap()
}

async fn facts(world: &World) -> TraceFacts {
    find(world, &Tenant::default()).await.unwrap().facts
}

fn ids(found: &FoundTrace) -> Vec<u8> {
    found.spans.iter().map(|full| full.span.span_id[0]).collect()
}

fn dropped() -> Verdict {
    Verdict { keep: false, rule: "baseline".into(), rules_version: 3, ..Verdict::clone(&verdict()) }
}

fn root() -> opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
    request("cart", vec![span(1, 1, 0, 0, SECOND), span(2, 7, 0, 0, SECOND)])
}

fn child() -> opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
    request("stock", vec![span(1, 2, 1, MS, MS)])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_trace_is_whole_and_says_by_which_rule() {
    let world = World::new();
    world.record(&Tenant::default(), &root());
    world.record(&Tenant::default(), &child());
    let found = find(&world, &Tenant::default()).await.unwrap();
    assert_eq!(ids(&found), [1, 2]);
    assert_eq!((found.facts.decision, &found.facts.rule), (Decision::Unknown, &None));
    world.remember(&Tenant::default(), trace_id(1), dropped());
    let expected = TraceFacts {
        sources: vec![TraceSource::Recorder],
        decision: Decision::Dropped,
        rule: Some("baseline".into()),
        rules_version: Some(3),
        retention: None,
        complete: true,
    };
    assert_eq!(facts(&world).await, expected);
    world.release();
    assert!(find(&world, &Tenant::default()).await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn another_tenant_sees_nothing_of_it() {
    let world = World::new();
    world.record(&Tenant::default(), &root());
    world.remember(&Tenant::default(), trace_id(1), dropped());
    let other = Tenant::new("other").unwrap();
    assert!(find(&world, &other).await.is_none());
    // Nor of the part that each has of the same id.
    world.record(&other, &child());
    let found = find(&world, &other).await.unwrap();
    assert_eq!((ids(&found), found.facts.decision), (vec![2], Decision::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_trace_says_where_it_is_and_why_it_is_kept() {
    let mut world = World::new();
    world.stored(&[root(), child()]).await;
    let expected = TraceFacts {
        sources: vec![TraceSource::Store],
        decision: Decision::Kept,
        rule: Some("errors".into()),
        rules_version: Some(1),
        retention: Some("default".into()),
        complete: true,
    };
    assert_eq!(facts(&world).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_only_the_recorder_has_join_those_whose_parents_they_are() {
    let mut world = World::new();
    world.stored(&[child()]).await;
    world.record(&Tenant::default(), &root());
    let found = find(&world, &Tenant::default()).await.unwrap();
    assert_eq!(ids(&found), [1, 2]);
    assert_eq!(found.facts.sources, [TraceSource::Store, TraceSource::Recorder]);
    assert_eq!(found.facts.decision, Decision::Kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_trace_says_so_and_takes_in_what_was_dropped_before() {
    let world = World::new();
    world.log(&root(), LiveState::Pending);
    let pending = facts(&world).await;
    assert_eq!((pending.decision, &pending.sources[..]), (Decision::Pending, &[TraceSource::Log][..]));
    world.record(&Tenant::default(), &child());
    assert_eq!(facts(&world).await.sources, [TraceSource::Log, TraceSource::Recorder]);
}

#[test]
fn facts_travel_in_a_header_whatever_a_rule_is_called() {
    let facts = TraceFacts {
        sources: vec![TraceSource::Recorder],
        decision: Decision::Dropped,
        rule: Some("Größe \"x\"\r\n🦀".into()),
        rules_version: Some(u32::MAX),
        retention: None,
        complete: false,
    };
    let header = facts.to_header();
    assert!(header.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{header}");
    assert_eq!(TraceFacts::from_header(&header), Some(facts));
    assert_eq!(TraceFacts::from_header("recorder"), None);
}
