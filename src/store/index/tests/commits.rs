//! What commits and plans ask the store for, however many commits there were since the last checkpoint.

use std::sync::Arc;

use super::counting::{Counting, Counts};
use crate::runtime::{SystemRandom, Tenant};
use crate::store::tests::fixtures::*;
use crate::store::{CompactionConfig, Compactor, Store, StoreConfig, TableKind};

/// GETs of the tables' logs, and lists.
fn of_logs(counts: &Counts) -> (usize, u64) {
    (counts.gets.iter().filter(|(path, _)| path.contains("_delta_log")).count(), counts.lists)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_commit_and_a_plan_cost_does_not_grow_with_the_log() {
    let objects = Counting::default();
    let config = StoreConfig { checkpoint_every: 1_000, ..StoreConfig::new(objects.location(), "a") };
    let store = Arc::new(Store::open(config, TestClock::new()).unwrap());
    let commit = async |number: u64| {
        let records = MapRecords::of(&[traces(number * 10, 2, NOW)]);
        objects.take();
        store.write(&records.batch(number, &verdict("all", "default")), &records).await.unwrap();
        of_logs(&objects.take())
    };
    let mut costs = Vec::new();
    for number in 1..=30 {
        costs.push(commit(number).await);
    }
    assert_eq!(costs[29], costs[3], "{costs:?}");
    let (gets, lists) = costs[29];
    assert!(gets <= 2 && lists <= 6, "for two tables: {costs:?}");

    let compactor = Compactor::new(Arc::clone(&store), CompactionConfig::default(), Arc::new(SystemRandom));
    let tenant = Tenant::default();
    let plan = async || {
        objects.take();
        assert!(!compactor.plan(&tenant, NOW).await.unwrap().is_empty());
        of_logs(&objects.take())
    };
    // The first reads the logs, and the next what is new.
    let (gets, _) = plan().await;
    assert!(gets >= 60, "{gets} GETs");
    assert_eq!(plan().await, (0, 2));
    commit(31).await;
    let (gets, lists) = plan().await;
    println!("a commit: {:?}, a plan after it: {gets} GETs, {lists} lists", costs[29]);
    assert!(gets <= 4 && lists == 2, "{gets} GETs, {lists} lists");

    // What was read in steps is what is there.
    let table = store.table(&tenant, TableKind::Spans).unwrap();
    let known = store.live_files(&table).await.unwrap();
    let other = Store::open(StoreConfig::new(objects.location(), "b"), TestClock::new()).unwrap();
    let read = other.live_files(&other.table(&tenant, TableKind::Spans).unwrap()).await.unwrap();
    let sorted = |files: &[crate::store::table::DataFile]| {
        let mut all: Vec<_> = files.iter().map(|file| format!("{file:?}")).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&known), sorted(&read));
}
