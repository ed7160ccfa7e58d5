//! Random batches, and compactors that race, fail and die among them: nothing is lost, nothing is there twice.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::*;
use super::world::{HOUR, World};
use crate::runtime::SeededRandom;
use crate::store::tests::fixtures::*;
use crate::store::{Expired, RetentionPolicy};

const TRACES: u64 = 100;
const CLASSES: [&str; 2] = ["default", "errors"];
/// Midnight is eight hours before.
const MIDNIGHT: u64 = NOW - 8 * HOUR;

fn class(trace: u64) -> &'static str {
    CLASSES[usize::from(trace.is_multiple_of(5))]
}

/// When a trace starts: on one of three days, or a moment before midnight.
fn start(trace: u64) -> u64 {
    match trace % 4 {
        3 => MIDNIGHT - 1_500_000,
        days => NOW - days * DAY + trace * 1_000_000,
    }
}

async fn write_some(world: &mut World, random: &SeededRandom) {
    let class_of_batch = CLASSES[random.below(2) as usize];
    let mut spans = Vec::new();
    for _ in 0..1 + random.below(60) {
        let trace = random.below(TRACES);
        if class(trace) == class_of_batch {
            let first = random.below(5);
            spans.extend((first..first + 1 + random.below(4)).map(|s| span(trace, s, start(trace))));
        }
    }
    if !spans.is_empty() {
        world.write(class_of_batch, spans).await;
    }
}

/// Lets compactors loose, each on its own plan, and on the same files as far as their plans agree.
async fn race(world: &World, random: &SeededRandom, faults: bool) {
    let racers = (0..2).map(|_| {
        let (failing, dies_after) = match random.below(3) {
            _ if !faults => (0, u64::MAX),
            0 => (0, u64::MAX),
            1 => (random.below(100), u64::MAX),
            _ => (0, random.below(120)),
        };
        let (compactor, now) = (world.faulty(random.bits(), failing, dies_after), world.now());
        tokio::spawn(async move {
            let mut done = Compacted::default();
            for _ in 0..2 {
                let Ok(units) = compactor.plan(&Tenant::default(), now).await else { continue };
                for unit in units {
                    if let Ok(Some(compacted)) = compactor.compact(&unit, Box::new(Unpaced)).await {
                        done.add(&compacted);
                    }
                }
            }
            done
        })
    });
    for racer in racers.collect::<Vec<_>>() {
        racer.await.unwrap();
    }
}

async fn run(seed: u64, faults: bool) {
    let random = SeededRandom::new(seed);
    let mut world = World::small();
    for _ in 0..14 {
        write_some(&mut world, &random).await;
        world.advance(random.below(HOUR));
        if random.below(3) == 0 {
            world.advance(random.below(DAY));
            race(&world, &random, faults).await;
            world.check_ids(&world.reader(Duration::ZERO), 7).await;
        }
    }
    world.advance(9 * DAY);
    race(&world, &random, faults).await;
    world.settle().await;
    world.check_ids(&world.reader(Duration::ZERO), 2).await;
    world.check_spans_once().await;
    world.check_disjoint().await;
    world.check_rests().await;
    check_trace_rows(&world).await;
    // All that is no longer live goes: what was replaced after the grace, what was never committed after a day.
    let machine = crate::runtime::Clock::now_unix_nano(&crate::runtime::SystemClock::new());
    let policy = RetentionPolicy::new(Default::default());
    let swept = world.store().expire_tenant(&Tenant::default(), &policy, machine + 2 * DAY).await.unwrap();
    assert_eq!(Expired { deleted: 0, ..swept }, Expired::default());
    let live = world.files(TableKind::Spans).await.len() + world.files(TableKind::Traces).await.len();
    assert_eq!(world.data_objects().await, live);
    world.check_ids(&world.reader(Duration::ZERO), 2).await;
}

/// One row for each trace and day that one of its batches began on.
async fn check_trace_rows(world: &World) {
    let rows = world.trace_rows().await;
    let days: BTreeSet<_> = rows.iter().map(|r| (r.trace_id, r.start_unix_nano / DAY)).collect();
    assert_eq!(days.len(), rows.len(), "a trace has two rows in one partition");
    let ids: BTreeSet<_> = rows.iter().map(|r| r.trace_id).collect();
    assert_eq!(ids, world.expected.keys().copied().collect());
    for row in &rows {
        let spans: Vec<_> = world.expected[&row.trace_id].values().collect();
        let is_root = |s: &&&opentelemetry_proto::tonic::trace::v1::Span| s.parent_span_id.is_empty();
        let first = spans.iter().map(|s| s.start_time_unix_nano).min().unwrap();
        let last = spans.iter().map(|s| s.end_time_unix_nano).max().unwrap();
        let one_day = rows.iter().filter(|r| r.trace_id == row.trace_id).count() == 1;
        if one_day {
            assert_eq!((row.start_unix_nano, row.duration_nano), (first, last - first));
            assert_eq!(row.complete, spans.iter().any(|s| is_root(&s)));
            assert!(row.span_count >= spans.len() as u64);
        }
        assert_eq!(row.root_name.is_some(), row.complete);
        assert_eq!(row.services, ["shop"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compactors_that_race_lose_nothing_and_double_nothing() {
    for seed in 0..4 {
        run(seed, false).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compactors_that_fail_and_die_lose_nothing_and_double_nothing() {
    for seed in 100..108 {
        run(seed, true).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compactor_may_die_at_each_of_its_requests() {
    let mut dies_after = 0;
    loop {
        let mut world = World::small();
        world.write("default", (0..60).flat_map(|t| (0..3).map(move |s| span(t, s, NOW))).collect()).await;
        world.write("default", (30..90).flat_map(|t| (1..4).map(move |s| span(t, s, NOW))).collect()).await;
        world.advance(2 * HOUR);
        let dying = world.faulty(7, 0, dies_after);
        let mut whole = true;
        match dying.plan(&Tenant::default(), world.now()).await {
            Ok(units) => {
                for unit in units {
                    whole &= dying.compact(&unit, Box::new(Unpaced)).await.is_ok();
                }
            }
            Err(_) => whole = false,
        }
        world.check_ids(&world.reader(Duration::ZERO), 10).await;
        world.settle().await;
        world.check_spans_once().await;
        assert_eq!(world.trace_rows().await.len(), 90);
        if whole {
            break;
        }
        // Requests come in the same order each time; a few at a time are enough.
        dies_after += 3;
    }
    assert!(dies_after > 15, "{dies_after}");
}
