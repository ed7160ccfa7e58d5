//! The bound on what is known of runs.

use std::time::Duration;

use super::counting::Counting;
use crate::runtime::Tenant;
use crate::sample::Batch;
use crate::store::tests::fixtures::*;
use crate::store::{Index, Reader, ReaderConfig, Store, StoreConfig};

fn batch_of(tenant: &Tenant, number: u64) -> (Batch, MapRecords) {
    let days: Vec<_> = (0..4).map(|day| traces(number * 100 + day * 2, 2, NOW - day * DAY)).collect();
    let records = MapRecords::of(&days);
    let mut batch = records.batch(number, &verdict("all", "default"));
    batch.traces.iter_mut().for_each(|trace| trace.tenant = tenant.clone());
    (batch, records)
}

fn reader(objects: &Counting, index: &Index) -> Reader {
    let (refresh_after, index) = (Duration::ZERO, Some(index.clone()));
    let config = ReaderConfig { refresh_after, index, ..ReaderConfig::default() };
    Reader::new(objects.location(), TestClock::new(), config)
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_beyond_the_bound_are_forgotten_and_read_again() {
    let objects = Counting::default();
    let store = Store::open(StoreConfig::new(objects.location(), "a"), TestClock::new()).unwrap();
    let tenants: Vec<_> = (0..6).map(|n| Tenant::new(&format!("tenant-{n}")).unwrap()).collect();
    for (number, tenant) in (1..).zip(&tenants) {
        let (batch, records) = batch_of(tenant, number);
        store.write(&batch, &records).await.unwrap();
    }
    let unbounded = Index::open(objects.location(), None, 1 << 20);
    let all = reader(&objects, &unbounded);
    for (number, tenant) in (1..).zip(&tenants) {
        assert!(!all.by_id(tenant, trace_id(number * 100)).await.unwrap().is_empty());
    }
    let one = unbounded.directories_bytes() / 6;
    assert!(one > 100, "{one}");

    let bound = one * 5 / 2;
    let index = Index::open(objects.location(), None, 1 << 20).with_directories(bound);
    let some = reader(&objects, &index);
    for _ in 0..2 {
        for (number, tenant) in (1..).zip(&tenants) {
            let trace = trace_id(number * 100);
            assert_eq!(some.by_id(tenant, trace).await.unwrap(), all.by_id(tenant, trace).await.unwrap());
            assert!(index.directories_bytes() <= bound, "{} of {bound}", index.directories_bytes());
        }
    }
    assert!(index.directories_bytes() > one, "two tenants fit");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_tenant_that_is_too_large_the_rest_is_found_without_the_index() {
    let objects = Counting::default();
    let store = Store::open(StoreConfig::new(objects.location(), "a"), TestClock::new()).unwrap();
    let tenant = Tenant::default();
    for number in 1..=4 {
        let (batch, records) = batch_of(&tenant, number);
        store.write(&batch, &records).await.unwrap();
    }
    let unbounded = Index::open(objects.location(), None, 1 << 20);
    let all = reader(&objects, &unbounded);
    all.by_id(&tenant, trace_id(100)).await.unwrap();
    let bound = unbounded.directories_bytes() / 2;

    let index = Index::open(objects.location(), None, 1 << 20).with_directories(bound);
    let some = reader(&objects, &index);
    for number in 1..=4 {
        let trace = trace_id(number * 100);
        let found = some.by_id(&tenant, trace).await.unwrap();
        assert!(!found.is_empty());
        assert_eq!(found, all.by_id(&tenant, trace).await.unwrap());
        assert!(index.directories_bytes() <= bound);
    }
    assert!(index.is_full(&tenant).await);
    // What has an index that there is no room to know of does not get another.
    let config = StoreConfig { index: Some(index), ..StoreConfig::new(objects.location(), "b") };
    let other = Store::open(config, TestClock::new()).unwrap();
    assert_eq!(other.rebuild_index(&tenant).await.unwrap().runs, 0);
}
