#![allow(clippy::unwrap_used)]

mod clocks;
mod faulty;
mod planned;
mod racing;
mod rows;
mod world;

use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;

use self::world::{HOUR, World};
use super::*;
use crate::store::tests::fixtures::*;
use crate::store::{Expired, RetentionPolicy};

/// The spans `from` up to `to` of some traces, which began some seconds before now.
fn spans(traces: std::ops::Range<u64>, from: u64, to: u64) -> Vec<Span> {
    traces.flat_map(|t| (from..to).map(move |s| span(t, s, NOW - 3_600_000_000_000 + t * 1_000))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_an_hour_that_is_over_become_one() {
    let mut world = World::new(CompactionConfig::default());
    for batch in 0..5 {
        world.write("default", spans(batch * 10..batch * 10 + 20, 0, 4)).await;
    }
    assert_eq!(world.settle().await, Compacted::default());
    world.advance(HOUR);
    let compacted = world.settle().await;
    // Each trace but ten at either end was written twice: as a retry does it.
    assert_eq!((compacted.units, compacted.files_in, compacted.files_out), (2, 10, 2));
    assert_eq!((compacted.rows_in, compacted.joined), (400 + 100, 160 + 40));
    world.check_spans_once().await;
    world.check_ids(&world.reader(Duration::ZERO), 1).await;
    assert_eq!(world.trace_rows().await.len(), 60);
    world.check_rests().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn late_spans_join_their_trace_once_the_day_is_over() {
    let mut world = World::small();
    for batch in 0..8u64 {
        world.write("default", spans(batch * 300..batch * 300 + 300, 0, 3)).await;
        world.advance(HOUR / 2);
    }
    world.write("default", spans(0..2_400, 3, 4)).await;
    world.advance(2 * DAY);
    world.settle().await;
    world.check_disjoint().await;
    world.check_spans_once().await;
    let files = world.files(TableKind::Spans).await;
    assert!((2..12).contains(&files.len()), "{}", files.len());
    let rows = world.trace_rows().await;
    assert_eq!(rows.len(), 2_400);
    for row in &rows {
        assert_eq!((row.span_count, row.complete, row.duration_nano), (4, true, 1_000_000_000));
        assert_eq!(row.root_name.as_deref(), Some("GET /shop"));
    }
    // What comes later still waits for a quiet time, and then joins the rest.
    world.write("default", spans(0..2_400, 4, 5)).await;
    world.advance(2 * HOUR);
    assert_eq!(world.settle().await, Compacted::default());
    world.advance(2 * DAY);
    assert!(world.settle().await.units >= 2);
    world.check_disjoint().await;
    world.check_spans_once().await;
    world.check_ids(&world.reader(Duration::ZERO), 20).await;
    world.check_rests().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_and_partitions_stay_right_so_that_files_still_expire() {
    let mut world = World::new(CompactionConfig::default());
    world.write("errors", spans(0..50, 0, 2)).await;
    world.write("errors", spans(20..90, 1, 4)).await;
    let before = world.files(TableKind::Spans).await;
    world.advance(2 * HOUR);
    world.settle().await;
    let after = world.files(TableKind::Spans).await;
    let [file] = &after[..] else { panic!("{after:?}") };
    assert_eq!((&*file.retention, file.day), ("errors", before[0].day));
    let first = |of: fn(&DataFile) -> u64| before.iter().map(of).min().unwrap();
    let last = |of: fn(&DataFile) -> u64| before.iter().map(of).max().unwrap();
    assert_eq!(file.start_min_unix_nano, first(|f| f.start_min_unix_nano));
    assert_eq!(file.start_max_unix_nano, last(|f| f.start_max_unix_nano));
    assert_eq!(file.duration_max_nano, last(|f| f.duration_max_nano));
    assert_eq!(file.trace_id_min, before.iter().map(|f| f.trace_id_min.clone()).min().unwrap());
    assert_eq!(file.trace_id_max, before.iter().map(|f| f.trace_id_max.clone()).max().unwrap());
    assert_eq!((file.service_min.as_deref(), file.service_max.as_deref()), (Some("shop"), Some("shop")));
    assert_eq!(file.committed_ms, before.iter().map(|f| f.committed_ms).max().unwrap());
    assert_eq!(file.rows, 50 * 2 + 70 * 3 - 30);

    let policy = RetentionPolicy::new([("errors".to_owned(), Duration::from_secs(3 * 86_400).into())].into());
    let expire = async |now| world.store().expire_tenant(&Tenant::default(), &policy, now).await.unwrap();
    assert_eq!(expire(NOW + 2 * DAY).await.files, 0);
    assert_eq!(expire(NOW + 4 * DAY).await.files, 2);
    assert_eq!(world.files(TableKind::Spans).await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn old_files_serve_readers_until_the_grace_is_over() {
    let mut world = World::new(CompactionConfig::default());
    for batch in 0..3 {
        world.write("default", spans(batch * 10..batch * 10 + 10, 0, 4)).await;
    }
    let reader = world.reader(Duration::from_secs(1 << 30));
    // It sees the table as it is now, and no file yet.
    assert!(reader.by_id(&Tenant::default(), trace_id(1_000)).await.unwrap().is_empty());
    assert_eq!(world.data_objects().await, 6);
    world.advance(2 * HOUR);
    assert_eq!(world.settle().await.files_in, 6);
    assert_eq!(world.data_objects().await, 8);
    world.check_ids(&reader, 1).await;

    // The table's tombstones have the machine's time.
    let machine = crate::runtime::Clock::now_unix_nano(&crate::runtime::SystemClock::new());
    let policy = RetentionPolicy::new(Default::default());
    let sweep = async |now| world.store().expire_tenant(&Tenant::default(), &policy, now).await.unwrap();
    assert_eq!(sweep(machine + HOUR / 2).await, Expired::default());
    world.check_ids(&reader, 1).await;
    assert_eq!(sweep(machine + 2 * HOUR).await.deleted, 6);
    assert_eq!(world.data_objects().await, 2);
    world.check_ids(&world.reader(Duration::ZERO), 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_that_no_data_changed() {
    let mut world = World::new(CompactionConfig::default());
    world.write("default", spans(0..10, 0, 4)).await;
    world.write("default", spans(10..20, 0, 4)).await;
    world.advance(2 * HOUR);
    world.settle().await;
    let path = object_store::path::Path::from("table/default/spans/_delta_log/00000000000000000003.json");
    let commit = object_store::ObjectStoreExt::get(world.objects.as_ref(), &path).await.unwrap();
    let commit = commit.bytes().await.unwrap();
    let actions: Vec<serde_json::Value> = commit
        .split(|b| *b == b'\n')
        .filter(|l| !l.is_empty())
        .map(|l| serde_json::from_slice(l).unwrap())
        .collect();
    let all = |kind: &str| actions.iter().filter_map(|a| a.get(kind)).collect::<Vec<_>>();
    assert_eq!(all("commitInfo")[0]["operation"], "OPTIMIZE");
    assert_eq!((all("remove").len(), all("add").len()), (2, 1));
    for action in all("remove").into_iter().chain(all("add")) {
        assert_eq!(action["dataChange"], false, "{action}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_leaves_meanwhile_ends_the_unit() {
    let mut world = World::new(CompactionConfig::default());
    world.write("default", spans(0..10, 0, 4)).await;
    world.write("errors", spans(100..110, 0, 4)).await;
    world.write("errors", spans(110..120, 0, 4)).await;
    world.advance(2 * HOUR);
    let compactor = world.compactor(1);
    let units = compactor.plan(&Tenant::default(), world.now()).await.unwrap();
    assert_eq!(units.len(), 2);
    // Expiry is first; the old objects are there still for the one, gone for the other.
    let mut policy = RetentionPolicy::new([("errors".to_owned(), Duration::from_secs(1).into())].into());
    policy.grace = Duration::from_secs(1_000 * 86_400);
    let expire =
        async |policy| world.store().expire_tenant(&Tenant::default(), policy, NOW + DAY).await.unwrap();
    assert_eq!(expire(&policy).await.files, 4);
    let given_up = Some(Compacted { given_up: 1, ..Compacted::default() });
    assert_eq!(compactor.compact(&units[0], Box::new(Unpaced)).await.unwrap(), given_up);
    assert_eq!(expire(&RetentionPolicy::new(Default::default())).await.files, 0);
    assert_eq!(compactor.compact(&units[1], Box::new(Unpaced)).await.unwrap(), given_up);
    assert_eq!(world.span_rows().await.len(), 40);
}

/// Stops after so many rests.
struct Stops(u32);

impl Pace for Stops {
    fn rest(&mut self) -> bool {
        self.0 = self.0.saturating_sub(1);
        self.0 > 0
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_merge_that_is_stopped_changes_nothing() {
    let mut world = World::small();
    world.write("default", spans(0..200, 0, 4)).await;
    world.write("default", spans(100..300, 0, 4)).await;
    world.advance(2 * HOUR);
    let compactor = world.compactor(1);
    let units = compactor.plan(&Tenant::default(), world.now()).await.unwrap();
    let before = world.files(TableKind::Spans).await.len();
    for unit in &units {
        assert_eq!(compactor.compact(unit, Box::new(Stops(1))).await.unwrap(), None);
    }
    assert_eq!(world.files(TableKind::Spans).await.len(), before);
    world.check_ids(&world.reader(Duration::ZERO), 1).await;
    world.settle().await;
    world.check_spans_once().await;
}
