//! Runs that are missing, damaged or not needed any more.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::ObjectStoreExt;

use super::counting::Counting;
use crate::runtime::Tenant;
use crate::store::tests::fixtures::*;
use crate::store::{
    AttributeScope, HintValue, Projection, Reader, ReaderConfig, Rebuilt, ScanHint, ScanRequest, Store,
    StoreConfig,
};

fn store(objects: &Counting) -> Store {
    Store::open(StoreConfig::new(objects.location(), "a"), TestClock::new()).unwrap()
}

fn reader(objects: &Counting) -> Reader {
    let config = ReaderConfig { refresh_after: Duration::ZERO, ..ReaderConfig::default() };
    Reader::new(objects.location(), TestClock::new(), config)
}

async fn written(objects: &Counting, batches: u64) -> Store {
    let store = store(objects);
    for number in 1..=batches {
        let records = MapRecords::of(&[traces(number * 100, 50, NOW)]);
        store.write(&records.batch(number, &verdict("all", "default")), &records).await.unwrap();
    }
    store
}

/// How many spans of a user a scan gives.
async fn with_user(reader: &Reader, user: &str) -> usize {
    let request = ScanRequest {
        start_unix_nano: 0..u64::MAX,
        projection: Projection::Columns(vec![]),
        hints: vec![ScanHint::AttributeEquals {
            scope: AttributeScope::Span,
            key: "user.id".into(),
            value: HintValue::Str(user.into()),
        }],
    };
    let rows = reader.scan(&Tenant::default(), request).await.unwrap();
    rows.try_collect::<Vec<_>>().await.unwrap().iter().map(crate::store::SpanRows::len).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_runs_are_made_again_from_the_rows() {
    let objects = Counting::default();
    written(&objects, 3).await;
    let runs = objects.objects(".idx").await;
    assert_eq!(runs.len(), 3);
    for run in &runs[..2] {
        objects.inner.delete(&run.location).await.unwrap();
    }
    let store = store(&objects);
    let tenant = Tenant::default();
    let verified = store.verify_index(&tenant).await.unwrap();
    assert_eq!((verified.files, verified.uncovered.len()), (1, 2));
    assert_eq!((verified.damaged.len(), verified.disagreements.len()), (0, 0));
    assert_eq!(store.rebuild_index(&tenant).await.unwrap(), Rebuilt { files: 2, runs: 1 });
    assert_eq!(store.rebuild_index(&tenant).await.unwrap(), Rebuilt::default());
    let verified = store.verify_index(&tenant).await.unwrap();
    assert_eq!((verified.files, verified.uncovered.len(), verified.disagreements.len()), (3, 0, 0));

    // The new run prunes like the others: no more than the one file's objects are read.
    let reader = reader(&objects);
    for (user, spans) in [("user-120", 4), ("user-220", 4), ("user-320", 4), ("nobody", 0)] {
        objects.take();
        let rows = with_user(&reader, user).await;
        assert_eq!(rows, spans, "{user}");
        let data: std::collections::BTreeSet<_> = objects
            .take()
            .gets
            .into_iter()
            .map(|(path, _)| path)
            .filter(|p| p.contains("/retention="))
            .collect();
        assert_eq!(data.len(), usize::from(spans > 0), "{user}: {data:?}");
    }

    // And it answers for traces: nothing but footer and data of one file is read.
    let reader = self::reader(&objects);
    reader.by_id(&tenant, trace_id(1)).await.unwrap();
    objects.take();
    assert_eq!(reader.by_id(&tenant, trace_id(120)).await.unwrap().len(), 4);
    assert_eq!(objects.take().data_gets(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_runs_are_named_and_made_again() {
    let objects = Counting::default();
    written(&objects, 2).await;
    let run = objects.objects(".idx").await.remove(0);
    let mut bytes = objects.inner.get(&run.location).await.unwrap().bytes().await.unwrap().to_vec();
    bytes[8] ^= 1;
    objects.inner.put(&run.location, bytes.into()).await.unwrap();
    let (store, tenant) = (store(&objects), Tenant::default());
    let verified = store.verify_index(&tenant).await.unwrap();
    assert_eq!(verified.damaged, [run.location.filename().unwrap()]);
    assert_eq!(store.rebuild_index(&tenant).await.unwrap(), Rebuilt { files: 1, runs: 1 });
    let verified = self::store(&objects).verify_index(&tenant).await.unwrap();
    assert_eq!((verified.files, verified.damaged.len(), verified.disagreements.len()), (2, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_tells_something_else_is_found_out() {
    let objects = Counting::default();
    written(&objects, 1).await;
    let other = Counting::default();
    let records = MapRecords::of(&[traces(100, 49, NOW)]);
    self::store(&other).write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    // The run of other data under the name, and with the sizes, of this: what no checksum can see.
    let (ours, theirs) = (objects.objects(".idx").await.remove(0), other.objects(".idx").await.remove(0));
    let mut bytes = other.inner.get(&theirs.location).await.unwrap().bytes().await.unwrap().to_vec();
    let size = async |of: &Counting| {
        let files = of.objects(".parquet").await;
        files.iter().find(|o| o.location.as_ref().contains("/spans/")).unwrap().size
    };
    let sizes = (size(&other).await, size(&objects).await);
    super::resize(&mut bytes, sizes.0, sizes.1);
    objects.inner.put(&ours.location, bytes.into()).await.unwrap();
    let verified = self::store(&objects).verify_index(&Tenant::default()).await.unwrap();
    assert_eq!(verified.disagreements.len(), 1, "{verified:?}");
    assert_eq!((verified.disagreements[0].in_run, verified.disagreements[0].in_data), (49, 50));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_denies_what_is_there_is_found_out_and_made_again() {
    let objects = Counting::default();
    written(&objects, 1).await;
    // The same traces with other users: entries are the same, filters are not.
    let other = Counting::default();
    let mut request = traces(100, 50, NOW);
    for span in &mut request.resource_spans[0].scope_spans[0].spans {
        span.attributes[2] = text("user.id", "somebody");
    }
    let records = MapRecords::of(&[request]);
    self::store(&other).write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    let (ours, theirs) = (objects.objects(".idx").await.remove(0), other.objects(".idx").await.remove(0));
    let mut bytes = other.inner.get(&theirs.location).await.unwrap().bytes().await.unwrap().to_vec();
    let size = async |of: &Counting| {
        let files = of.objects(".parquet").await;
        files.iter().find(|o| o.location.as_ref().contains("/spans/")).unwrap().size
    };
    super::resize(&mut bytes, size(&other).await, size(&objects).await);
    objects.inner.put(&ours.location, bytes.into()).await.unwrap();
    assert_eq!(with_user(&reader(&objects), "user-107").await, 0);
    let (store, tenant) = (self::store(&objects), Tenant::default());
    let verified = store.verify_index(&tenant).await.unwrap();
    let [found] = &verified.disagreements[..] else { panic!("{verified:?}") };
    assert_eq!((found.in_run, found.in_data, found.denied), (50, 50, 1));

    assert_eq!(store.delete_wrong_runs(&tenant, &verified).await.unwrap(), 1);
    assert_eq!(store.rebuild_index(&tenant).await.unwrap(), Rebuilt { files: 1, runs: 1 });
    assert_eq!(self::store(&objects).verify_index(&tenant).await.unwrap().disagreements, []);
    assert_eq!(with_user(&reader(&objects), "user-107").await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_go_when_their_files_are_gone() {
    let objects = Counting::default();
    let store = written(&objects, 2).await;
    let records = MapRecords::of(&[traces(900, 5, NOW)]);
    store.write(&records.batch(9, &verdict("all", "errors")), &records).await.unwrap();
    let ages: BTreeMap<_, _> = [("default".to_owned(), Duration::from_secs(3 * 86_400).into())].into();
    let expire = async |days: u64| {
        // The objects are as old as this test, and the clock is not.
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64;
        store.expire(&ages, now.max(NOW) + days * DAY).await.unwrap()
    };
    assert_eq!(expire(0).await.files, 0);
    assert_eq!(objects.objects(".idx").await.len(), 3);
    // Out of the table, and on the store until the grace is over; the kernel takes the machine's time for the removal.
    assert_eq!(expire(40).await.files, 4);
    expire(41).await;
    let left = objects.objects(".idx").await.len();
    let data = objects.objects(".parquet").await;
    let spans = data.iter().filter(|o| o.location.as_ref().contains("/spans/retention=")).count();
    assert_eq!((spans, left), (1, 1));
    assert_eq!(reader(&objects).by_id(&Tenant::default(), trace_id(902)).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_runs_become_few_and_tell_the_same() {
    let objects = Counting::default();
    let store = written(&objects, 20).await;
    let records = MapRecords::of(&[traces(5_000, 50, NOW - 9 * DAY)]);
    store.write(&records.batch(21, &verdict("all", "short")), &records).await.unwrap();
    let ages: BTreeMap<_, _> = [("short".to_owned(), Duration::from_secs(86_400).into())].into();
    let tenant = Tenant::default();
    assert_eq!(store.expire(&ages, NOW).await.unwrap().files, 2);
    assert_eq!(objects.objects(".idx").await.len(), 21);
    // Two times eight of one size; what comes of them is one larger.
    assert_eq!(store.merge_index(&tenant).await.unwrap(), 16);
    assert_eq!(store.merge_index(&tenant).await.unwrap(), 0);
    assert_eq!(objects.objects(".idx").await.len(), 7);
    for store in [store, self::store(&objects)] {
        let verified = store.verify_index(&tenant).await.unwrap();
        assert_eq!((verified.files, verified.uncovered.len(), verified.damaged.len()), (20, 0, 0));
        assert_eq!(verified.disagreements, []);
    }
    let reader = reader(&objects);
    reader.by_id(&tenant, trace_id(1)).await.unwrap();
    for number in 1..=20 {
        objects.take();
        assert_eq!(reader.by_id(&tenant, trace_id(number * 100 + 7)).await.unwrap().len(), 4);
        assert_eq!(objects.take().data_gets(), 2);
    }
    // The filters came along.
    for (user, spans) in [("user-1907", 4), ("user-107", 4), ("nobody", 0)] {
        assert_eq!(with_user(&reader, user).await, spans);
        let read: std::collections::BTreeSet<_> =
            objects.take().gets.into_iter().map(|(path, _)| path).collect();
        assert!(read.len() <= 3, "{read:?}");
    }
}
