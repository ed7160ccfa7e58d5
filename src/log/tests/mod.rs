#![allow(clippy::unwrap_used)]

mod concurrent;
mod damage;
mod faults;
mod model;
mod recorder;
mod release;
mod roundtrip;
mod tail;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::runtime::disk::testing::MemDisk;
use crate::runtime::{Clock, RequestId, Tenant};

/// Stands still unless told otherwise.
#[derive(Default)]
struct TestClock(AtomicU64);

impl TestClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_unix_nano(&self) -> u64 {
        1_700_000_000_000_000_000 + self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

/// A log on a disk in memory, written step by step.
struct Rig {
    disk: MemDisk,
    clock: Arc<TestClock>,
    config: LogConfig,
    log: Opened<u64>,
}

fn config() -> LogConfig {
    LogConfig { reserve_bytes: 0, ..LogConfig::new(Path::new("/data")) }
}

impl Rig {
    fn new(config: LogConfig) -> Self {
        Self::on(MemDisk::default(), config)
    }

    fn on(disk: MemDisk, config: LogConfig) -> Self {
        let clock = Arc::new(TestClock::default());
        let log = Log::open(Arc::new(disk.clone()), clock.clone(), config.clone()).unwrap();
        Self { disk, clock, config, log }
    }

    /// The log as the next process finds it after a power cut.
    fn restarted(&self, kept: f64) -> Self {
        Self::on(self.disk.crashed(kept), self.config.clone())
    }

    /// Writes one batch; every record's outcome in order: its position, or why not.
    fn put_all(&mut self, records: &[Encoded]) -> Vec<Result<Position, AppendError>> {
        let mut outcomes = vec![Err(AppendError::Closed); records.len()];
        for (index, record) in records.iter().enumerate() {
            self.log.handle.submit(record.clone(), index as u64).unwrap();
        }
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        self.log.writer.step(|batch| done.extend(batch), |batch| refused.extend(batch));
        for committed in done {
            outcomes[committed.attachment as usize] = Ok(committed.position);
        }
        for refused in refused {
            outcomes[refused.attachment as usize] = Err(refused.error);
        }
        outcomes
    }

    fn put(&mut self, record: &Encoded) -> Result<Position, AppendError> {
        self.put_all(std::slice::from_ref(record))[0]
    }

    fn replayed(&mut self) -> Vec<Record> {
        self.log.replay.by_ref().collect()
    }

    fn stats(&self) -> LogStats {
        self.log.handle.stats()
    }

    fn segments(&self) -> Vec<PathBuf> {
        self.disk.paths()
    }
}

fn meta(n: u64) -> SpansMeta {
    SpansMeta {
        tenant: Tenant::new("acme").unwrap(),
        request_id: RequestId(n),
        received_unix_nano: n * 1000,
        rules_version: 1,
    }
}

/// Spans that can be told from others, of about this many bytes once written.
fn spans(n: u64, bytes: usize) -> Encoded {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let noise = (0..bytes).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    Encoded::spans(&meta(n), &noise.collect::<Vec<u8>>())
}

fn control(n: u64) -> Encoded {
    Encoded::control(RecordKind::Verdicts, &n.to_le_bytes())
}

fn payloads(records: &[Record]) -> Vec<Vec<u8>> {
    records.iter().map(|record| record.payload.to_vec()).collect()
}
