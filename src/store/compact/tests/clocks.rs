//! Two gateways on one store whose clocks are an hour apart, each of which writes, compacts and expires.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use object_store::memory::InMemory;

use super::super::*;
use super::world::HOUR;
use crate::runtime::SeededRandom;
use crate::store::tests::fixtures::*;
use crate::store::{Location, Reader, ReaderConfig, RetentionPolicy, StoreConfig};

struct Gateway {
    clock: Arc<TestClock>,
    store: Arc<Store>,
    compactor: Compactor,
    batches: u64,
}

impl Gateway {
    fn new(name: &str, objects: &Arc<InMemory>, now: u64) -> Self {
        let clock = Arc::new(TestClock(AtomicU64::new(now)));
        let location = Location::custom(objects.clone(), "memory:///table/").unwrap();
        let store = Arc::new(Store::open(StoreConfig::new(location, name), clock.clone()).unwrap());
        let config = CompactionConfig { target: 48 << 10, gather: 4, ..CompactionConfig::default() };
        let random = Arc::new(SeededRandom::new(now));
        let compactor = Compactor::new(Arc::clone(&store), config, random);
        Self { clock, store, compactor, batches: 0 }
    }

    fn now(&self) -> u64 {
        self.clock.0.load(Ordering::Relaxed)
    }

    /// Stores traces that its clock says begin now.
    async fn write(&mut self, first: u64, count: u64) {
        self.batches += 1;
        let records = MapRecords::of(&[traces(first, count, self.now())]);
        let batch = records.batch(self.batches, &verdict("all", "default"));
        self.store.write(&batch, &records).await.unwrap();
    }

    /// Compacts what its clock says is due; gives how many units that were.
    async fn compact(&self) -> u64 {
        let mut units = 0;
        for unit in self.compactor.plan(&Tenant::default(), self.now()).await.unwrap() {
            units += self.compactor.compact(&unit, Box::new(Unpaced)).await.unwrap().unwrap().units;
        }
        units
    }

    /// The hourly work: nothing is past its age.
    async fn expire(&self) {
        let ages: BTreeMap<_, _> = [("default".to_owned(), Duration::from_secs(30 * 86_400).into())].into();
        let policy = RetentionPolicy::new(ages);
        let expired = self.store.expire_tenant(&Tenant::default(), &policy, self.now()).await.unwrap();
        assert_eq!((expired.files, expired.rows), (0, 0), "nothing is due");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_clocks_an_hour_apart_everything_is_there_once() {
    let objects = Arc::<InMemory>::default();
    // The store's objects have the machine's time, as have the removals in the table's log.
    let now = crate::runtime::Clock::now_unix_nano(&crate::runtime::SystemClock::new());
    let mut gateways =
        [Gateway::new("late", &objects, now - HOUR / 2), Gateway::new("early", &objects, now + HOUR / 2)];
    let (mut stored, mut units) = (0, 0);
    for round in 0..30 {
        for gateway in &mut gateways {
            gateway.write(stored, 10).await;
            stored += 10;
        }
        // The early one's hour is over first, and its removals are past the late one's grace, or are they?
        let first = round % 2;
        if round % 3 == 2 {
            let (one, other) = (gateways[first].compact(), gateways[1 - first].compact());
            let (one, other) = futures::future::join(one, other).await;
            units += one + other;
            gateways[1 - first].expire().await;
            gateways[first].expire().await;
        }
        gateways.iter().for_each(|gateway| {
            gateway.clock.0.fetch_add(HOUR / 6, Ordering::Relaxed);
        });
    }
    assert!(units > 4, "{units} units are too few to mean anything");
    let location = Location::custom(objects.clone(), "memory:///table/").unwrap();
    for gateway in &gateways {
        let reader = Reader::new(location.clone(), gateway.clock.clone(), ReaderConfig::default());
        for trace in 0..stored {
            assert_eq!(reader.by_id(&Tenant::default(), trace_id(trace)).await.unwrap().len(), 4, "{trace}");
        }
        let verified = gateway.store.verify(&Tenant::default(), |_, _| {}).await.unwrap();
        assert_eq!(verified.findings, []);
        let table = gateway.store.table(&Tenant::default(), TableKind::Spans).unwrap();
        let rows: u64 = gateway.store.live_files(&table).await.unwrap().iter().map(|f| f.rows).sum();
        assert_eq!(rows, stored * 4);
    }
}
