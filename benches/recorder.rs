//! The flight recorder's index: what noting a record costs for each trace, and what looking one trace up costs over some
//! 160 segments of 80 000 entries each, read from page cache: what 10 GiB of log hold of traces of 8 spans.
#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]

use std::hint::black_box;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracewell::log::{Encoded, Log, LogConfig, SpansMeta};
use tracewell::runtime::disk::{DiskFile, Space};
use tracewell::runtime::{Disk, OpenMode, RealDisk, RequestId, SystemClock, Tenant};
use tracewell::wire::TraceId;

const SEGMENTS: u64 = 160;
const TRACES_A_RECORD: u64 = 64;
const RECORDS_A_SEGMENT: u64 = 80_000 / TRACES_A_RECORD;
const RECORD_BYTES: u64 = 3_200;

/// The real disk, and how much was read from it.
#[derive(Default)]
struct Counting {
    reads: Arc<AtomicU64>,
    bytes: Arc<AtomicU64>,
}

struct CountingFile(Arc<dyn DiskFile>, Arc<AtomicU64>, Arc<AtomicU64>);

impl Disk for Counting {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        RealDisk.list(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let file = RealDisk.open(path, mode)?;
        Ok(Arc::new(CountingFile(file, self.reads.clone(), self.bytes.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_dir(dir)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        RealDisk.space(path)
    }
}

impl DiskFile for CountingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.0.read_at(buf, offset)?;
        self.1.fetch_add(1, Ordering::Relaxed);
        self.2.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        self.0.write_at(bufs, offset)
    }

    /// Nothing here has to survive.
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.truncate(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
}

fn trace_id(number: u64) -> TraceId {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    TraceId(id)
}

fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..RECORD_BYTES / 8).map(next).flat_map(u64::to_le_bytes).collect()
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let disk = Counting::default();
    let (reads, bytes) = (disk.reads.clone(), disk.bytes.clone());
    let segment_bytes = RECORDS_A_SEGMENT * (RECORD_BYTES + 128);
    let config = LogConfig { segment_bytes, queue_bytes: 1 << 30, ..LogConfig::new(folder.path()) };
    let mut opened = Log::open::<()>(Arc::new(disk), Arc::new(SystemClock::new()), config).unwrap();
    let (recorder, tenant) = (opened.recorder.clone(), Tenant::default());
    let meta = |n| SpansMeta {
        tenant: Tenant::default(),
        request_id: RequestId(n),
        received_unix_nano: n,
        rules_version: 1,
    };
    let (mut adding, mut writing) = (Duration::ZERO, Duration::ZERO);
    let records = SEGMENTS * RECORDS_A_SEGMENT;
    for record in (0..records).step_by(100) {
        for n in record..record + 100 {
            opened.handle.submit(Encoded::spans(&meta(n), &noise(n + 1)), ()).unwrap();
        }
        let mut positions = Vec::new();
        opened.writer.step(|done| positions.extend(done.iter().map(|c| c.position)), drop);
        let ids: Vec<TraceId> =
            (0..100 * TRACES_A_RECORD).map(|i| trace_id(record * TRACES_A_RECORD + i)).collect();
        let begun = Instant::now();
        for (position, ids) in positions.iter().zip(ids.chunks(TRACES_A_RECORD as usize)) {
            recorder.add(*position, &tenant, ids);
        }
        adding += begun.elapsed();
        let begun = Instant::now();
        while recorder.step() {}
        writing += begun.elapsed();
    }
    let traces = records * TRACES_A_RECORD;
    let stats = recorder.stats();
    println!("add: {:.1} ns a trace", adding.as_nanos() as f64 / traces as f64);
    println!("sort and write: {:?} a segment, off the hot path", writing / stats.written as u32);
    println!("segments: {}, of them without an index: {}", stats.written + 1, stats.missing);

    let asked = 2_000u64;
    let mut took = Vec::new();
    reads.store(0, Ordering::Relaxed);
    bytes.store(0, Ordering::Relaxed);
    for n in 0..asked {
        let wanted = trace_id(n * (traces / asked));
        let begun = Instant::now();
        let found = black_box(recorder.find(&tenant, &wanted));
        took.push(begun.elapsed());
        assert!(found.complete && found.places.len() == 1, "{found:?}");
    }
    took.sort();
    println!("find: p50 {:?}, p99 {:?}", took[took.len() / 2], took[took.len() * 99 / 100]);
    let each = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64 / asked as f64;
    let (reads, bytes) = (each(&reads), each(&bytes));
    println!(
        "find reads {reads:.0} times, {:.0} KiB; {:.1} KiB a segment",
        bytes / 1024.0,
        bytes / 1024.0 / (stats.written + 1) as f64
    );
}
