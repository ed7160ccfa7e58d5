//! What writer, handles and readers have in common.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::cache::{FileCache, RecordCache};
use super::config::{LogConfig, Recorder};
use super::error::AppendError;
use super::frame::segment_name;
use super::record::Position;
use super::recorder::{self, RecorderStats, sidecar::sidecar_path};
use super::scan::Damage;
use super::segments::{Segment, Segments};
use crate::runtime::{Clock, Disk};

pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: LogConfig,
    pub(super) segments: Mutex<Segments>,
    pub(super) records: RecordCache,
    pub(super) files: FileCache,
    pub(super) counters: Counters,
    pub(super) refusing: Refusing,
    pub(super) recorder: recorder::State,
    /// One release at a time: segments go strictly from the oldest on.
    releasing: Mutex<()>,
}

/// Numbers since the log was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) damaged_bytes: AtomicU64,
    pub(super) torn_bytes: AtomicU64,
    pub(super) fsyncs: AtomicU64,
    pub(super) fsync_nanos: AtomicU64,
    pub(super) abandoned: AtomicU64,
    pub(super) durable: AtomicU64,
    pub(super) queue_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn count_damage(&self, damage: Damage) {
        self.damaged.fetch_add(damage.places, Ordering::Relaxed);
        self.damaged_bytes.fetch_add(damage.bytes, Ordering::Relaxed);
    }
}

/// The log in numbers. Counts are since it was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LogStats {
    /// What the segments take on disk, in bytes.
    pub bytes: u64,
    /// How many segments there are.
    pub segments: u64,
    /// Records written and synced.
    pub records: u64,
    /// Records read again at the start.
    pub replayed: u64,
    /// Records refused after they had waited in the queue.
    pub refused: u64,
    /// Damaged places found at the start, at least one record each.
    pub damaged: u64,
    /// What lies in the damaged places, in bytes.
    pub damaged_bytes: u64,
    /// What was cut off the end at the start because its write was never finished, in bytes.
    pub torn_bytes: u64,
    /// Segments given up because they could not be written or synced.
    pub abandoned: u64,
    /// Syncs that succeeded.
    pub fsyncs: u64,
    /// The time they took altogether.
    pub fsync_time: Duration,
    /// What waits for the disk, in bytes.
    pub queue_bytes: u64,
    /// What decompressed records the readers keep, in bytes.
    pub cache_bytes: u64,
    /// The oldest position kept.
    pub oldest: Position,
    /// The position after the last record that is durable.
    pub durable: Position,
    /// The flight recorder's index.
    pub recorder: RecorderStats,
    /// Why spans are being refused at the moment.
    pub refusing: Option<AppendError>,
}

impl Shared {
    pub(super) fn new(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: LogConfig) -> Self {
        let records = RecordCache::new(config.cache_bytes);
        Self {
            disk,
            clock,
            config,
            segments: Mutex::default(),
            records,
            files: FileCache::default(),
            counters: Counters::default(),
            refusing: Refusing::default(),
            recorder: recorder::State::default(),
            releasing: Mutex::default(),
        }
    }

    pub(super) fn stats(&self) -> LogStats {
        let counters = &self.counters;
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (bytes, segments, oldest) = {
            let segments = self.segments.lock();
            (segments.bytes(), segments.len() as u64, segments.oldest().unwrap_or_default())
        };
        LogStats {
            bytes,
            segments,
            oldest,
            records: of(&counters.records),
            replayed: of(&counters.replayed),
            refused: of(&counters.refused),
            damaged: of(&counters.damaged),
            damaged_bytes: of(&counters.damaged_bytes),
            torn_bytes: of(&counters.torn_bytes),
            abandoned: of(&counters.abandoned),
            fsyncs: of(&counters.fsyncs),
            fsync_time: Duration::from_nanos(of(&counters.fsync_nanos)),
            queue_bytes: of(&counters.queue_bytes),
            cache_bytes: self.records.bytes() as u64,
            durable: Position(of(&counters.durable)),
            recorder: self.recorder.stats(),
            refusing: self.refusing.now(self.clock.monotonic()),
        }
    }

    /// Deletes the oldest segments while they are not needed, nor wanted by the recorder where it is asked; at most until
    /// `enough` says so. Gives how many went.
    pub(super) fn release(
        &self,
        recorder: Option<Recorder>,
        enough: impl Fn(&Segments) -> bool,
    ) -> io::Result<u64> {
        let _one_at_a_time = self.releasing.lock();
        let mut released = 0;
        loop {
            let now = self.clock.monotonic();
            let segment = {
                let mut segments = self.segments.lock();
                if enough(&segments) {
                    break;
                }
                let Some(segment) = segments.take_releasable(now, recorder) else { break };
                segment
            };
            if let Err(error) = self.delete(segment.base) {
                self.segments.lock().put(segment);
                return Err(error);
            }
            self.forget(segment);
            released += 1;
        }
        Ok(released)
    }

    /// The name's removal is synced before the next one goes: after a crash the log is always whole from some segment on.
    fn delete(&self, base: u64) -> io::Result<()> {
        let dir = &self.config.dir;
        match self.disk.remove(&dir.join(segment_name(base))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        // One that stays behind is swept at the next start.
        let _ = self.disk.remove(&sidecar_path(dir, base));
        self.disk.sync_dir(dir)
    }

    fn forget(&self, segment: Segment) {
        self.files.remove(segment.base);
        self.recorder.forget(segment.base);
        self.records.forget_below(Position(segment.end));
        tracing::debug!(base = segment.base, bytes = segment.bytes(), "released a log segment");
    }
}

/// After a refusal spans are refused at once for a while, rather than making them wait for a disk that fails.
#[derive(Debug, Default)]
pub(super) struct Refusing {
    until_nano: AtomicU64,
    why: AtomicU8,
}

/// The refusals that come from the disk's state, by number.
const REASONS: [AppendError; 3] = [AppendError::DiskFull, AppendError::LimitReached, AppendError::Failed];

impl Refusing {
    pub(super) fn begin(&self, why: AppendError, until: Duration) {
        let Some(index) = REASONS.iter().position(|reason| *reason == why) else { return };
        self.why.store(index as u8, Ordering::Relaxed);
        self.until_nano.store(u64::try_from(until.as_nanos()).unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(super) fn now(&self, now: Duration) -> Option<AppendError> {
        let until = Duration::from_nanos(self.until_nano.load(Ordering::Acquire));
        let why = usize::from(self.why.load(Ordering::Relaxed));
        if now < until { REASONS.get(why).copied() } else { None }
    }
}
