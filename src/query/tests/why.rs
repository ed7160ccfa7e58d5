use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::fixtures::*;
use crate::ledger::Told;
use crate::log::Position;
use crate::query::{RuleResult, RuleTexts, Standing, Standings, Why, WhyDocument, WhyState};
use crate::runtime::Tenant;
use crate::sample::{LiveState, RuleSet, Verdict, parse_rules};
use crate::wire::TraceId;

const RULES: &str = r#"
version: 1
rules:
  - { name: health, when: '{ span.http.route = "/health" }', drop: true }
  - { name: errors, when: '{ status = error }', keep: 100% }
  - { name: many, when: '{ resource.service.name = "cart" } | count() > 2', keep: 10% }
  - { name: baseline, drop: true }
"#;

struct Known(Standing);

impl Standings for Known {
    fn standing(&self, _: &Tenant, _: TraceId) -> BoxFuture<'_, Standing> {
        let standing = self.0.clone();
        async move { standing }.boxed()
    }
}

/// Knows version 1 only.
struct OneVersion;

impl RuleTexts for OneVersion {
    fn rules(&self, version: u32) -> Option<Arc<RuleSet>> {
        (version == 1).then(|| Arc::new(parse_rules(RULES).unwrap()))
    }
}

fn decided(rule: &str, keep: bool, rules_version: u32) -> Standing {
    let verdict = Verdict { rule: rule.into(), keep, rules_version, ..Verdict::clone(&verdict()) };
    Standing::Decided(Told {
        verdict: Arc::new(verdict),
        decided_unix_nano: 1_700_000_000_500_000_000,
        position: Some(Position(77)),
    })
}

async fn ask(world: &World, standing: Standing) -> Option<WhyDocument> {
    let why = Why {
        engine: world.engine.clone(),
        standings: Arc::new(Known(standing)),
        rules: Arc::new(OneVersion),
    };
    why.why(&Tenant::default(), trace_id(1)).await.unwrap()
}

fn results(document: &WhyDocument) -> Vec<(&str, RuleResult, u64)> {
    document.rules.iter().map(|rule| (rule.name.as_str(), rule.result, rule.matched_count)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_are_gone_through_up_to_the_one_that_decided() {
    let world = World::new();
    let spans =
        vec![span(1, 1, 0, 0, SECOND), failed(span(1, 2, 1, 0, SECOND)), failed(span(1, 3, 1, 5, SECOND))];
    world.log(&request("cart", spans), LiveState::Kept(verdict()));
    let document = ask(&world, decided("errors", true, 1)).await.unwrap();
    assert_eq!(document.state, WhyState::Kept);
    assert_eq!((document.spans.found, document.spans.complete), (3, true));
    assert_eq!(results(&document), [("health", RuleResult::NoMatch, 0), ("errors", RuleResult::Decided, 2)]);
    let ids: Vec<_> = document.rules[1].spans.iter().map(|span| span.span_id.as_str()).collect();
    assert_eq!(ids, ["0202020202020202", "0303030303030303"]);
    let decision = document.decision.unwrap();
    assert_eq!((decision.time.as_str(), decision.log_position), ("2023-11-14T22:13:20.5Z", Some(77)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_matches_only_now_did_not_decide() {
    let world = World::new();
    let spans = vec![span(1, 1, 0, 0, SECOND), failed(span(1, 2, 1, 0, SECOND))];
    world.log(&request("cart", spans), LiveState::Kept(verdict()));
    let document = ask(&world, decided("baseline", false, 1)).await.unwrap();
    assert_eq!(document.state, WhyState::Dropped);
    let expected = [
        ("health", RuleResult::NoMatch, 0),
        ("errors", RuleResult::Matches, 1),
        ("many", RuleResult::NoMatch, 0),
        ("baseline", RuleResult::Decided, 0),
    ];
    assert_eq!(results(&document), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_spans_the_verdict_is_told_all_the_same() {
    let world = World::new();
    let document = ask(&world, decided("many", false, 1)).await.unwrap();
    let expected = [
        ("health", RuleResult::NotKnown, 0),
        ("errors", RuleResult::NotKnown, 0),
        ("many", RuleResult::Decided, 0),
    ];
    assert_eq!(results(&document), expected);
    assert_eq!((document.spans.found, document.spans.complete), (0, false));
    let document = ask(&world, decided("many", false, 2)).await.unwrap();
    assert_eq!((document.rules_known, document.rules.len()), (false, 0));
    assert_eq!(document.decision.unwrap().rule, "many");
    assert_eq!(ask(&world, Standing::Unknown).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_trace_says_which_rule_matches_so_far() {
    let world = World::new();
    world.log(&request("cart", vec![span(1, 1, 0, 0, SECOND)]), LiveState::Pending);
    let standing = Standing::Pending { due_unix_nano: 1_700_000_000_000_000_000, rules_version: 1 };
    let document = ask(&world, standing).await.unwrap();
    assert_eq!((document.state, document.decision.is_none()), (WhyState::Pending, true));
    assert_eq!(document.due_time.as_deref(), Some("2023-11-14T22:13:20Z"));
    assert_eq!(results(&document).last(), Some(&("baseline", RuleResult::Matches, 0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_decided_too_long_ago_is_told_from_the_table() {
    let mut world = World::new();
    world.stored(&[request("cart", vec![span(1, 1, 0, 0, SECOND)])]).await;
    let document = ask(&world, Standing::Unknown).await.unwrap();
    assert_eq!(document.state, WhyState::Kept);
    assert_eq!((document.decision.is_none(), document.stored_by_rule.as_deref()), (true, Some("errors")));
}
