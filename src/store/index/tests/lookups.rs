//! Look-ups through the index: what they cost, and that they find what there is.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::counting::Counting;
use crate::runtime::{RealDisk, Tenant};
use crate::sample::Batch;
use crate::store::tests::fixtures::*;
use crate::store::{
    Index, LocalRuns, Projection, Reader, ReaderConfig, ScanHint, ScanRequest, SpanRows, Store, StoreConfig,
};

const CLASSES: [&str; 3] = ["default", "errors", "slow"];

fn store(objects: &Counting, index: Option<Index>) -> Store {
    let config = StoreConfig { index, ..StoreConfig::new(objects.location(), "a") };
    Store::open(config, TestClock::new()).unwrap()
}

fn reader(objects: &Counting, index: Option<Index>, refresh_after: Duration) -> Reader {
    let config = ReaderConfig { refresh_after, index, ..ReaderConfig::default() };
    Reader::new(objects.location(), TestClock::new(), config)
}

const HOUR: Duration = Duration::from_secs(3600);

/// A batch of `days` days, with two traces in each of three classes a day.
fn batch_over_days(number: u64, days: u64) -> (Batch, MapRecords) {
    let of_day = |day: u64| traces(number * 1_000 + day * 6, 6, NOW - day * DAY);
    let records = MapRecords::of(&(0..days).map(of_day).collect::<Vec<_>>());
    let mut batch = records.batch(number, &verdict("all", "default"));
    let verdicts = CLASSES.map(|class| verdict("all", class));
    for number in number * 1_000..number * 1_000 + days * 6 {
        let kept = batch.traces.iter_mut().find(|kept| kept.trace_id == trace_id(number)).unwrap();
        kept.verdict = Arc::clone(&verdicts[number as usize % 3]);
    }
    (batch, records)
}

/// 1 080 files over 30 days, in three classes.
async fn many_files(objects: &Counting) {
    let store = store(objects, None);
    for number in 1..=12 {
        let (batch, records) = batch_over_days(number, 30);
        assert_eq!(store.write(&batch, &records).await.unwrap().files, 180);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_among_a_thousand_files_is_at_most_four_requests_away() {
    let objects = Counting::default();
    many_files(&objects).await;
    // Late spans: in two files, of the same trace.
    let late = traces(3_017, 1, NOW - DAY);
    let records = MapRecords::of(&[late]);
    store(&objects, None).write(&records.batch(13, &verdict("all", "late")), &records).await.unwrap();

    let cold = reader(&objects, None, HOUR);
    objects.take();
    let first = cold.by_id(&Tenant::default(), trace_id(5_042)).await.unwrap();
    let counts = objects.take();
    assert_eq!(first.len(), 4);
    // The first question fetches the runs: one list and one object each.
    assert_eq!(counts.of(".idx").0, 13);
    assert_eq!(counts.data_gets() - 13, 2, "{:?}", counts.gets);

    for (trace, files) in [(1_000, 1), (7_179, 1), (12_100, 1), (3_017, 2)] {
        let spans = cold.by_id(&Tenant::default(), trace_id(trace)).await.unwrap();
        let counts = objects.take();
        assert_eq!(spans.len(), 4);
        assert_eq!((counts.gets.len(), counts.lists), (2 * files, 0), "{trace}: {:?}", counts.gets);
        // With the footer known, the data is one request.
        assert_eq!(cold.by_id(&Tenant::default(), trace_id(trace)).await.unwrap(), spans);
        assert_eq!(objects.take().gets.len(), files);
    }
    // So are some traces that a search wants to see in full.
    let request = ScanRequest {
        start_unix_nano: 0..u64::MAX,
        projection: Projection::Columns(vec![]),
        hints: vec![ScanHint::TraceIds([5_042, 3_017, 999].map(trace_id).to_vec())],
    };
    let rows: Vec<_> = cold.scan(&Tenant::default(), request).await.unwrap().try_collect().await.unwrap();
    assert_eq!(rows.iter().map(SpanRows::len).sum::<usize>(), 4 + 4 + 4);
    let files: BTreeSet<_> = objects.take().gets.into_iter().map(|(path, _)| path).collect();
    assert_eq!(files.len(), 3, "{files:?}");

    assert_eq!(cold.by_id(&Tenant::default(), trace_id(999)).await.unwrap(), []);
    let counts = objects.take();
    assert_eq!((counts.gets.len(), counts.lists), (0, 0), "{:?}", counts.gets);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_are_the_same_with_and_without_the_index() {
    let objects = Counting::default();
    let store = store(&objects, None);
    for number in 1..=3 {
        let (batch, records) = batch_over_days(number, 3);
        store.write(&batch, &records).await.unwrap();
    }
    let wanted: Vec<u64> = (1..=4).flat_map(|n| n * 1_000..n * 1_000 + 20).collect();
    let answers = async |reader: Reader| {
        let mut answers = Vec::new();
        for trace in &wanted {
            answers.push(reader.by_id(&Tenant::default(), trace_id(*trace)).await.unwrap());
        }
        answers
    };
    let indexed = answers(reader(&objects, None, Duration::ZERO)).await;
    assert_eq!(indexed.iter().filter(|spans| spans.len() == 4).count(), 3 * 18);

    // One run is damaged, one is gone, one is cut short.
    let runs = objects.objects(".idx").await;
    assert_eq!(runs.len(), 3);
    let mut bytes = objects.inner.get(&runs[0].location).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[40] ^= 1;
    objects.inner.put(&runs[0].location, bytes.clone().into()).await.unwrap();
    objects.inner.delete(&runs[1].location).await.unwrap();
    objects.inner.put(&runs[2].location, bytes[..200].to_vec().into()).await.unwrap();
    assert!(answers(reader(&objects, None, Duration::ZERO)).await == indexed);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_are_fetched_once_and_kept_in_the_folder() {
    let folder = tempfile::tempdir().unwrap();
    let objects = Counting::default();
    let local = || LocalRuns { disk: Arc::new(RealDisk), dir: folder.path().join("index") };
    let index = || Some(Index::open(objects.location(), Some(local()), 1 << 20));
    let (batch, records) = batch_over_days(1, 4);
    store(&objects, None).write(&batch, &records).await.unwrap();
    let ask = async |index| {
        let reader = reader(&objects, index, HOUR);
        objects.take();
        let spans = reader.by_id(&Tenant::default(), trace_id(1_003)).await.unwrap();
        assert_eq!(spans.len(), 4);
        let counts = objects.take();
        let log_lists = 1;
        (counts.of(".idx").0, counts.lists - log_lists)
    };
    assert_eq!(ask(index()).await, (1, 1));
    assert_eq!(ask(index()).await, (0, 0));
    // A gateway keeps its own as it writes them.
    let shared = index();
    let (batch, records) = batch_over_days(2, 4);
    store(&objects, shared.clone()).write(&batch, &records).await.unwrap();
    assert_eq!(ask(shared).await, (0, 0));
    assert_eq!(ask(index()).await, (0, 0));

    damage(folder.path());
    assert_eq!(ask(index()).await.0, 2, "damaged files are fetched again");
    assert_eq!(ask(index()).await, (0, 0));
    // No room: fetched each time, and nothing stays.
    let none = Index::open(objects.location(), Some(local()), 1);
    assert_eq!(none.cache_bytes(), 0);
    assert!(ask(Some(none)).await.0 >= 2);
    assert_eq!(std::fs::read_dir(folder.path().join("index")).unwrap().count(), 0);
}

fn damage(folder: &std::path::Path) {
    for file in std::fs::read_dir(folder.join("index")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn to_know_the_newest_version_is_one_list_and_two_requests_a_commit() {
    let objects = Counting::default();
    let store = store(&objects, None);
    let write = async |number: u64| {
        let (batch, records) = batch_over_days(number, 1);
        store.write(&batch, &records).await.unwrap();
    };
    write(1).await;
    let reader = reader(&objects, None, Duration::ZERO);
    let ask = async || {
        objects.take();
        assert_eq!(reader.by_id(&Tenant::default(), trace_id(1_000)).await.unwrap().len(), 4);
        let counts = objects.take();
        (counts.lists, counts.gets.len() - counts.data_gets(), counts.of(".idx").0)
    };
    ask().await;
    assert_eq!(ask().await, (1, 0, 0));
    write(2).await;
    // The commit (read twice), the folder of the index, and its new run.
    assert_eq!(ask().await, (2, 2, 1));
    assert_eq!(ask().await, (1, 0, 0));
}
