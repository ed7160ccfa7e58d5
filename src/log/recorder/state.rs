//! What is known of each segment's index, and what waits to be written.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::entry::{ENTRY_BYTES, Entry, Gathered};
use crate::log::record::Position;
use crate::log::segments::Segment;
use crate::log::shared::Shared;

/// A segment is expected to have at least so many bytes for each entry: what identifies a span alone takes as many, for
/// it does not compress. Of one that has fewer only the first entries are indexed.
const LOG_BYTES_AN_ENTRY: u64 = 48;
/// After the disk failed, how long it is left alone.
const REST: Duration = Duration::from_secs(60);

/// The index in numbers. Counts are since the log was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RecorderStats {
    /// Segments whose index is in a file.
    pub written: u64,
    /// Segments that are not indexed, or not any more: traces may not be found in them.
    pub missing: u64,
    /// Entries that are in memory, in bytes.
    pub memory_bytes: u64,
    /// Indexes made again from their segments.
    pub rebuilt: u64,
}

/// How a segment's index can be asked.
#[derive(Clone)]
pub(in crate::log) enum Known {
    /// In memory: a segment that is being written, or waits for its file.
    Gathered(Arc<Gathered>),
    /// In its file.
    Written,
    /// Nowhere.
    Missing,
}

/// Something to be done off the hot path.
pub(super) enum Job {
    Write(Segment, Arc<Gathered>),
    Rebuild(Segment),
}

#[derive(Default)]
pub(in crate::log) struct State {
    inner: Mutex<Inner>,
    pub(super) wanted: Notify,
}

#[derive(Default)]
struct Inner {
    active: Active,
    /// Older segments, by base.
    known: BTreeMap<u64, Known>,
    waiting_bytes: usize,
    rest_until: Duration,
    rebuilt: u64,
}

/// The segment that entries are added for. Those after it have none yet.
#[derive(Default)]
struct Active {
    base: u64,
    /// What is below is certainly in it.
    end: u64,
    gathered: Gathered,
    /// How many more entries are taken.
    room: usize,
}

impl Inner {
    /// Moves on to the segment that holds the position; `None` if that is behind, or gone.
    fn enter(&mut self, shared: &Shared, position: Position) -> Option<()> {
        let segments = shared.segments.lock();
        let segment = segments.holding(position).filter(|segment| segment.base >= self.active.base)?;
        let passed: Vec<Segment> = segments.between(self.active.base, segment.base).copied().collect();
        drop(segments);
        if segment.base > self.active.base {
            let mut active = std::mem::take(&mut self.active);
            for segment in passed {
                // Those between hold no spans.
                let is_active = segment.base == active.base;
                let gathered =
                    if is_active { std::mem::take(&mut active.gathered) } else { Gathered::default() };
                self.wait(segment.base, gathered, waiting_bytes_max(shared));
            }
            shared.recorder.wanted.notify_one();
        }
        if segment.base > self.active.base || self.active.end == 0 {
            self.active = Active { base: segment.base, room: room(shared), ..Active::default() };
        }
        self.active.end = segment.end;
        Some(())
    }

    fn wait(&mut self, base: u64, gathered: Gathered, bytes_max: usize) {
        let bytes = gathered.bytes();
        let fits = self.waiting_bytes + bytes <= bytes_max;
        let known = if fits { Known::Gathered(Arc::new(gathered)) } else { Known::Missing };
        self.waiting_bytes += if fits { bytes } else { 0 };
        self.known.insert(base, known);
    }

    fn put(&mut self, base: u64, known: Known) {
        if let Some(Known::Gathered(old)) = self.known.insert(base, known) {
            self.waiting_bytes -= old.bytes();
        }
    }
}

/// The most entries of one segment.
fn room(shared: &Shared) -> usize {
    let fit = shared.config.recorder_bytes / 2 / ENTRY_BYTES;
    usize::try_from(shared.config.segment_bytes / LOG_BYTES_AN_ENTRY)
        .unwrap_or(usize::MAX / ENTRY_BYTES)
        .min(fit)
        .max(1)
}

/// What may wait to be written: one segment's worth, at least a few small ones.
fn waiting_bytes_max(shared: &Shared) -> usize {
    const LEAST: usize = 1024 * 1024;
    // The last chunk may be nearly empty.
    const CHUNK: usize = 64 * 1024;
    (room(shared) * ENTRY_BYTES + CHUNK).max(LEAST).min(shared.config.recorder_bytes / 2 + CHUNK)
}

impl State {
    pub(super) fn begin(&self, next_base: u64, known: Vec<(u64, Known)>) {
        let mut inner = self.inner.lock();
        inner.active = Active { base: next_base, ..Active::default() };
        inner.known = known.into_iter().collect();
    }

    pub(super) fn add(&self, shared: &Shared, position: Position, traces: impl Iterator<Item = u64>) {
        let mut inner = self.inner.lock();
        let inside = (inner.active.base..inner.active.end).contains(&position.0);
        if !inside && inner.enter(shared, position).is_none() {
            return;
        }
        let active = &mut inner.active;
        let Ok(offset) = u32::try_from(position.0 - active.base) else {
            active.gathered.partial = true;
            return;
        };
        for fingerprint in traces {
            if active.room == 0 {
                active.gathered.partial = true;
                return;
            }
            active.room -= 1;
            active.gathered.push(Entry::new(fingerprint, offset));
        }
    }

    /// What is known now. Entries are shared, but for the last few.
    pub(super) fn snapshot(&self) -> Snapshot {
        let inner = self.inner.lock();
        let active = Known::Gathered(Arc::new(inner.active.gathered.clone()));
        Snapshot { known: inner.known.clone(), active: (inner.active.base, active) }
    }

    /// The index in a segment's file cannot be used.
    pub(super) fn lost(&self, base: u64) {
        let mut inner = self.inner.lock();
        if let Some(known @ Known::Written) = inner.known.get_mut(&base) {
            *known = Known::Missing;
            self.wanted.notify_one();
        }
    }

    /// The next thing to do: what waits in memory first, then the newest segment without an index.
    pub(super) fn job(&self, now: Duration, segments: &[Segment]) -> Option<Job> {
        let inner = self.inner.lock();
        if now < inner.rest_until {
            return None;
        }
        let known = |segment: &Segment| inner.known.get(&segment.base);
        let write = |segment: &Segment| match known(segment) {
            Some(Known::Gathered(gathered)) => Some(Job::Write(*segment, Arc::clone(gathered))),
            _ => None,
        };
        let rebuild = |segment: &&Segment| matches!(known(segment), Some(Known::Missing));
        let missing = || segments.iter().rev().find(rebuild).copied().map(Job::Rebuild);
        segments.iter().find_map(write).or_else(missing)
    }

    pub(super) fn done(&self, base: u64, well: bool, now: Duration) {
        let mut inner = self.inner.lock();
        if !well {
            inner.rest_until = now + REST;
        } else if inner.known.contains_key(&base) {
            inner.rebuilt += u64::from(matches!(inner.known.get(&base), Some(Known::Missing)));
            inner.put(base, Known::Written);
        }
    }

    /// The segment is gone.
    pub(in crate::log) fn forget(&self, base: u64) {
        let mut inner = self.inner.lock();
        if let Some(Known::Gathered(old)) = inner.known.remove(&base) {
            inner.waiting_bytes -= old.bytes();
        }
    }

    pub(in crate::log) fn stats(&self) -> RecorderStats {
        let inner = self.inner.lock();
        let count = |which: fn(&Known) -> bool| inner.known.values().filter(|known| which(known)).count();
        RecorderStats {
            written: count(|known| matches!(known, Known::Written)) as u64,
            missing: count(|known| matches!(known, Known::Missing)) as u64,
            memory_bytes: (inner.active.gathered.bytes() + inner.waiting_bytes) as u64,
            rebuilt: inner.rebuilt,
        }
    }
}

/// The index as it was at one moment.
pub(super) struct Snapshot {
    known: BTreeMap<u64, Known>,
    active: (u64, Known),
}

impl Snapshot {
    pub(super) fn of(&self, base: u64) -> Known {
        if base == self.active.0 {
            return self.active.1.clone();
        }
        if base > self.active.0 {
            // Nothing was added for it yet.
            return Known::Gathered(Arc::default());
        }
        self.known.get(&base).cloned().unwrap_or(Known::Missing)
    }
}

/// Gathers entries for a segment outside the hot path, within the same bound.
pub(super) struct Gatherer {
    pub(super) gathered: Gathered,
    room: usize,
}

impl Gatherer {
    pub(super) fn new(shared: &Shared) -> Self {
        Self { gathered: Gathered::default(), room: room(shared) }
    }

    pub(super) fn push(&mut self, fingerprint: u64, offset: u64) {
        match u32::try_from(offset) {
            Ok(offset) if self.room > 0 => {
                self.room -= 1;
                self.gathered.push(Entry::new(fingerprint, offset));
            }
            _ => self.gathered.partial = true,
        }
    }
}
