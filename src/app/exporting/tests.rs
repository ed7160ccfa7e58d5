#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::path::PathBuf;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;

use super::standing::{Standing, marker, meta, spans_before};
use super::*;
use crate::config::{ConfigFile, Flags};
use crate::log::{Encoded, Log, LogConfig, LogHandle, Opened, Position, RecordKind, SpansMeta};
use crate::runtime::disk::testing::MemDisk;
use crate::runtime::{RealDisk, RequestId, SystemClock, Tenant};
use crate::sample::testing::kept_trace;

/// A daemon's log, and a backend that nobody ever answers for.
struct Rig {
    data: PathBuf,
    log: LogHandle<()>,
    around: Surroundings,
}

impl Rig {
    fn new(data: &Path) -> Self {
        let (disk, clock) = (Arc::new(RealDisk), Arc::new(SystemClock::new()));
        let opened = Log::open::<()>(disk.clone(), clock.clone(), LogConfig::new(data)).unwrap();
        let Opened { handle: log, writer, reader: records, .. } = opened;
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        drop(tasks.thread("log", move || writer.run(drop)));
        let rulebook = Arc::new(Rulebook::new(crate::sample::RuleSet::built_in(), false));
        let around = Surroundings { disk, clock, tasks, records, data_id: "data".into(), rulebook };
        Self { data: data.to_path_buf(), log, around }
    }

    fn open(&self, inner: &str) -> Exports {
        let text = format!(
            "export: {{ v: {{ endpoint: 'http://127.0.0.1:1'{inner} }} }}\nmemory: {{ limit: 128MiB }}"
        );
        let file = Some(ConfigFile { name: "t", text: &text });
        let config = Config::load(&Flags::default(), &|_| None, file, None).unwrap();
        let config = Config { data: self.data.clone(), ..config };
        Exports::open(&config, self.around.clone()).unwrap().unwrap()
    }

    /// A record with spans of one trace each, of so many bytes that nothing compresses.
    async fn record(&self, traces: std::ops::Range<u8>, noise: usize) -> Position {
        let mut state = u64::from(traces.start) + 1;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            char::from(b'!' + (state >> 58) as u8)
        };
        let spans = traces.map(|trace| Span {
            trace_id: vec![trace; 16],
            span_id: vec![trace; 8],
            name: (0..noise).map(|_| next()).collect(),
            ..Span::default()
        });
        let scope_spans = vec![ScopeSpans { spans: spans.collect(), ..ScopeSpans::default() }];
        let of_resource = ResourceSpans { scope_spans, ..ResourceSpans::default() };
        let body = ExportTraceServiceRequest { resource_spans: vec![of_resource] }.encode_to_vec();
        let (tenant, request_id) = (Tenant::default(), RequestId(1));
        let meta = SpansMeta { tenant, request_id, received_unix_nano: 1, rules_version: 1 };
        self.log.append(Encoded::spans(&meta, &body), ()).await.unwrap()
    }
}

fn batch(id: u64, traces: std::ops::Range<u8>, place: Position) -> Arc<Batch> {
    let trace = |number| kept_trace(number, [place]);
    Arc::new(Batch { id, traces: traces.map(trace).collect() })
}

fn one(exports: &Exports) -> ExportStats {
    exports.stats().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_comes_again_is_put_once_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let place = rig.record(1..11, 10).await;
    let exports = rig.open("");
    exports.put(&batch(7, 1..6, place)).await;
    exports.put(&batch(7, 1..6, place)).await;
    assert_eq!((one(&exports).put_spans, one(&exports).pending_spans), (5, 5));
    // No second has passed: the log alone knows.
    drop(exports);
    let exports = rig.open("");
    assert_eq!((one(&exports).resumed_spans, one(&exports).pending_spans), (5, 5));
    exports.put(&batch(7, 1..6, place)).await;
    assert_eq!(one(&exports).put_spans, 0);
    exports.put(&batch(8, 6..11, place)).await;
    exports.stop().await;
    let exports = rig.open("");
    assert_eq!((one(&exports).resumed_spans, one(&exports).put_spans), (10, 0));
    exports.put(&batch(8, 6..11, place)).await;
    assert_eq!(one(&exports).pending_spans, 10);

    // Another data directory counts its batches anew.
    exports.stop().await;
    let other = Rig { around: Surroundings { data_id: "other".into(), ..rig.around.clone() }, ..rig };
    let exports = other.open("");
    exports.put(&batch(8, 6..11, place)).await;
    assert_eq!((one(&exports).put_spans, one(&exports).pending_spans), (5, 15));
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_its_size_a_queue_loses_the_oldest_and_every_span_is_accounted_for() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let exports = rig.open(", queue: { size: 1MiB }, request: 32KiB");
    let mut total = 0;
    for id in 1..60u64 {
        let place = rig.record(1..101, 1000).await;
        exports.put(&batch(id, 1..101, place)).await;
        total += 100;
        let now = one(&exports);
        assert!(now.log_bytes <= 1 << 20, "{now:?}");
        assert_eq!(now.put_spans, total);
        assert_eq!(now.pending_spans + now.dropped_size_spans, total, "{now:?}");
    }
    let before = one(&exports);
    assert!(before.dropped_size_spans > 0 && before.pending_spans > 500, "{before:?}");
    exports.stop().await;
    // What was only in memory is gone with it; the log has the rest.
    let exports = rig.open(", queue: { size: 1MiB }, request: 32KiB");
    let after = one(&exports);
    assert!(after.resumed_spans <= before.pending_spans && after.resumed_spans > 500, "{after:?}");
    assert_eq!(after.pending_spans, after.resumed_spans);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_waited_for_too_long_is_given_up() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let exports = rig.open(", queue: { age: 1s }");
    let place = rig.record(1..11, 10).await;
    exports.put(&batch(1, 1..11, place)).await;
    let begun = std::time::Instant::now();
    while one(&exports).pending_spans > 0 {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", one(&exports));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((one(&exports).dropped_age_spans, one(&exports).refused_spans), (10, 0));
    assert!(begun.elapsed() > Duration::from_millis(900));
}

/// A clock that goes twenty times as fast.
struct Hurried(SystemClock);

impl Clock for Hurried {
    fn now_unix_nano(&self) -> u64 {
        self.0.now_unix_nano()
    }

    fn monotonic(&self) -> Duration {
        20 * self.0.monotonic()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_cannot_be_written_holds_up_the_store_for_a_while_and_once() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, disk) = (Rig::new(folder.path()), MemDisk::default());
    let clock: Arc<dyn Clock> = Arc::new(Hurried(SystemClock::new()));
    let around = Surroundings { disk: Arc::new(disk.clone()), clock, ..rig.around.clone() };
    let rig = Rig { around, ..rig };
    let exports = rig.open("");
    let place = rig.record(1..11, 10).await;
    disk.faults(|faults| faults.read_only = true);
    let begun = std::time::Instant::now();
    exports.put(&batch(1, 1..6, place)).await;
    assert!(begun.elapsed() * 20 >= PATIENCE, "{:?}", begun.elapsed());
    assert_eq!((one(&exports).dropped_disk_spans, one(&exports).pending_spans), (5, 0));
    let begun = std::time::Instant::now();
    exports.put(&batch(2, 6..8, place)).await;
    assert!(begun.elapsed() * 20 < PATIENCE, "{:?}", begun.elapsed());
    assert_eq!(one(&exports).dropped_disk_spans, 7);

    disk.faults(|faults| faults.read_only = false);
    tokio::time::sleep(Duration::from_millis(400)).await;
    exports.put(&batch(3, 8..11, place)).await;
    assert_eq!((one(&exports).dropped_disk_spans, one(&exports).pending_spans), (7, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_fails_for_a_moment_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (rig, disk) = (Rig::new(folder.path()), MemDisk::default());
    let around = Surroundings { disk: Arc::new(disk.clone()), ..rig.around.clone() };
    let rig = Rig { around, ..rig };
    let exports = rig.open("");
    let place = rig.record(1..11, 10).await;
    disk.faults(|faults| faults.syncs_to_fail = 1);
    exports.put(&batch(1, 1..11, place)).await;
    assert_eq!((one(&exports).put_spans, one(&exports).dropped_disk_spans), (10, 0));
    exports.stop().await;
    let exports = rig.open("");
    assert_eq!(one(&exports).pending_spans, 10);
    exports.put(&batch(1, 1..11, place)).await;
    assert_eq!(one(&exports).pending_spans, 10);
}

#[test]
fn what_is_written_down_of_another_log_is_not_believed() {
    let folder = tempfile::tempdir().unwrap();
    let standing = Standing { last: Position(70), spans: 12, batch: Some(3) };
    standing.save(&RealDisk, folder.path(), ("log", "data")).unwrap();
    let load = |log, data| Standing::load(&RealDisk, folder.path(), (log, data));
    assert_eq!(load("log", "data"), standing);
    assert_eq!(load("log", "new"), Standing { batch: None, ..standing.clone() });
    assert_eq!(load("new", "data"), Standing { batch: Some(3), ..Standing::default() });
    let path = folder.path().join("standing");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(load("log", "data"), Standing::default(), "damaged");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_itself_says_how_far_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::new(folder.path());
    let tenant = Tenant::default();
    let mut places = Vec::new();
    for (before, spans) in [(0, 4), (4, 1)] {
        let encoded = Encoded::spans(&meta(&tenant, before, spans, 1), b"body");
        places.push(rig.log.append(encoded, ()).await.unwrap());
        rig.log.append(marker(before, "data"), ()).await.unwrap();
    }
    let records = &rig.around.records;
    let before = |position: u64| spans_before(records, Position(position), 5).unwrap();
    assert_eq!((before(0), before(places[0].0 + 1), before(places[1].0)), (0, 4, 4));
    assert_eq!(before(records.oldest().0 + (1 << 20)), 5);
    let (mut standing, mut foreign) = (Standing::default(), Standing::default());
    let mut tail = records.tail(Position(0));
    while let Some(record) = tail.next_record().unwrap() {
        standing.add(&record, "data");
        // Once more changes nothing.
        standing.add(&record, "data");
        foreign.add(&record, "other");
        assert!(record.kind == RecordKind::Spans || standing.batch.is_some());
    }
    assert_eq!((standing.spans, standing.batch), (5, Some(4)));
    assert_eq!((foreign.spans, foreign.batch), (5, None));
}
