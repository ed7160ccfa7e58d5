//! A store with compactors, and what must be in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::memory::InMemory;
use opentelemetry_proto::tonic::trace::v1::Span;

use super::super::plan::plan;
use super::super::ranges::IdRange;
use super::super::*;
use super::faulty::Faulty;
use crate::runtime::SeededRandom;
use crate::store::tests::fixtures::*;
use crate::store::{
    Location, Projection, Reader, ReaderConfig, ScanRequest, SpanRows, StoreConfig, TraceRow, TracesRequest,
};
use crate::wire::TraceId;

pub(super) const HOUR: u64 = DAY / 24;

pub(super) struct World {
    pub(super) objects: Arc<InMemory>,
    pub(super) clock: Arc<TestClock>,
    pub(super) config: CompactionConfig,
    /// Spans by trace, then by id and kind.
    pub(super) expected: BTreeMap<TraceId, BTreeMap<(Vec<u8>, i32), Span>>,
    batches: u64,
    writer: Arc<Store>,
}

impl World {
    pub(super) fn new(config: CompactionConfig) -> Self {
        let (objects, clock) = (Arc::<InMemory>::default(), TestClock::new());
        let location = Location::custom(objects.clone(), "memory:///table/").unwrap();
        let writer = Store::open(StoreConfig::new(location, "writer"), clock.clone()).unwrap();
        let expected = BTreeMap::new();
        Self { objects, clock, config, expected, batches: 0, writer: Arc::new(writer) }
    }

    /// Small files, so that there is something to do.
    pub(super) fn small() -> Self {
        Self::new(CompactionConfig { target: 48 << 10, gather: 4, unit: 128 << 10, ..Default::default() })
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.0.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, nanos: u64) {
        self.clock.0.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Writes a batch of spans to a class.
    pub(super) async fn write(&mut self, retention: &str, spans: Vec<Span>) {
        for span in &spans {
            let id = TraceId::from_slice(&span.trace_id).unwrap();
            let of_trace = self.expected.entry(id).or_default();
            of_trace.insert((span.span_id.clone(), span.kind), span.clone());
        }
        self.batches += 1;
        let records = MapRecords::of(&[request("shop", spans)]);
        let batch = records.batch(self.batches, &verdict("all", retention));
        self.writer.write(&batch, &records).await.unwrap();
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        &self.writer
    }

    /// A compactor without faults.
    pub(super) fn compactor(&self, seed: u64) -> Arc<Compactor> {
        self.faulty(seed, 0, u64::MAX)
    }

    /// A compactor whose requests fail so often in a thousand, and that dies after so many.
    pub(super) fn faulty(&self, seed: u64, failing: u64, dies_after: u64) -> Arc<Compactor> {
        let objects = Faulty::new(&self.objects, seed, failing, dies_after);
        let location = Location::custom(objects, "memory:///table/").unwrap();
        let store = Store::open(StoreConfig::new(location, "compactor"), self.clock.clone()).unwrap();
        let random = Arc::new(SeededRandom::new(seed));
        Arc::new(Compactor::new(Arc::new(store), self.config.clone(), random))
    }

    /// Compacts until there is nothing to do; gives what was done. Panics if it does not end.
    pub(super) async fn settle(&self) -> Compacted {
        let compactor = self.compactor(self.now());
        let mut all = Compacted::default();
        for _ in 0..200 {
            let units = compactor.plan(&Tenant::default(), self.now()).await.unwrap();
            if units.is_empty() {
                return all;
            }
            for unit in units {
                all.add(&compactor.compact(&unit, Box::new(Unpaced)).await.unwrap().unwrap());
            }
        }
        panic!("compaction does not end");
    }

    pub(super) async fn files(&self, kind: TableKind) -> Vec<DataFile> {
        let table = self.writer.table(&Tenant::default(), kind).unwrap();
        self.writer.live_files(&table).await.unwrap().to_vec()
    }

    pub(super) fn reader(&self, refresh_after: Duration) -> Reader {
        let location = Location::custom(self.objects.clone(), "memory:///table/").unwrap();
        Reader::new(location, self.clock.clone(), ReaderConfig { refresh_after, ..ReaderConfig::default() })
    }

    /// Every so manieth trace by its id, as it was written.
    pub(super) async fn check_ids(&self, reader: &Reader, every: usize) {
        for (id, spans) in self.expected.iter().step_by(every) {
            let mut expected: Vec<Span> = spans.values().cloned().collect();
            expected.sort_by_key(|s| (s.start_time_unix_nano, s.span_id.clone(), s.kind));
            let found = reader.by_id(&Tenant::default(), *id).await.unwrap();
            let found: Vec<Span> = found.into_iter().map(|s| s.span).collect();
            assert_eq!(found, expected, "{id}");
        }
    }

    /// How often each span is there.
    pub(super) async fn span_rows(&self) -> BTreeMap<(TraceId, Vec<u8>, i32), usize> {
        let projection = Projection::Columns(Vec::new());
        let request = ScanRequest { start_unix_nano: 0..u64::MAX, projection, hints: vec![] };
        let reader = self.reader(Duration::ZERO);
        let rows = reader.scan(&Tenant::default(), request).await.unwrap();
        let rows: Vec<SpanRows> = rows.try_collect().await.unwrap();
        let mut counts = BTreeMap::new();
        for rows in rows {
            for row in 0..rows.len() {
                let span = (rows.trace_id(row), rows.span_id(row).0.to_vec(), rows.kind(row));
                *counts.entry(span).or_default() += 1;
            }
        }
        counts
    }

    pub(super) async fn trace_rows(&self) -> Vec<TraceRow> {
        let reader = self.reader(Duration::ZERO);
        reader
            .traces_scan(&Tenant::default(), TracesRequest::all())
            .await
            .unwrap()
            .try_concat()
            .await
            .unwrap()
    }

    /// No span more often than once, no span lost.
    pub(super) async fn check_spans_once(&self) {
        let found = self.span_rows().await;
        let expected = self
            .expected
            .iter()
            .flat_map(|(id, spans)| spans.keys().map(|(span_id, kind)| (*id, span_id.clone(), *kind)));
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), expected.collect::<BTreeSet<_>>());
        let twice: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }

    /// Files of one partition hold different traces.
    pub(super) async fn check_disjoint(&self) {
        for kind in TableKind::ALL {
            let files = self.files(kind).await;
            for (at, a) in files.iter().enumerate() {
                for b in &files[at + 1..] {
                    let (x, y) = (IdRange::of(a), IdRange::of(b));
                    let apart = (&a.retention, a.day) != (&b.retention, b.day);
                    assert!(apart || x.last < y.first || y.last < x.first, "{a:?} {b:?}");
                }
            }
        }
    }

    /// The objects on the store that are no log.
    pub(super) async fn data_objects(&self) -> usize {
        let mut count = 0;
        for kind in TableKind::ALL {
            let table = self.writer.table(&Tenant::default(), kind).unwrap();
            count += table.data_objects().await.unwrap().len();
        }
        count
    }

    /// Nothing is left to do at this time.
    pub(super) async fn check_rests(&self) {
        for kind in TableKind::ALL {
            let files = self.files(kind).await;
            assert!(plan(&files, &self.config.rules(), self.now()).is_empty());
        }
    }
}
