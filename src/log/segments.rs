//! Which segments there are, and which may go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::config::Recorder;
use super::record::Position;

/// One segment's file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    /// The position after its last durable record.
    pub(super) end: u64,
    /// Monotonic nanoseconds of the last write; negative if before the clock's origin.
    pub(super) written: i128,
}

impl Segment {
    pub(super) fn bytes(&self) -> u64 {
        self.end - self.base
    }
}

/// The kept segments, oldest first, without holes: only the oldest is ever released, and the one being written never.
#[derive(Debug, Default)]
pub(super) struct Segments {
    by_base: BTreeMap<u64, Segment>,
    bytes: u64,
    active: Option<u64>,
    /// What is below was released by its owner; the recorder may still keep it.
    below: Position,
}

impl Segments {
    pub(super) fn put(&mut self, segment: Segment) {
        self.bytes += segment.bytes();
        if let Some(old) = self.by_base.insert(segment.base, segment) {
            self.bytes -= old.bytes();
        }
    }

    pub(super) fn set_active(&mut self, base: Option<u64>) {
        self.active = base;
    }

    pub(super) fn set_below(&mut self, below: Position) {
        self.below = self.below.max(below);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn len(&self) -> usize {
        self.by_base.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Segment> {
        self.by_base.values()
    }

    pub(super) fn oldest(&self) -> Option<Position> {
        self.by_base.keys().next().map(|base| Position(*base))
    }

    /// The segment that begins there.
    pub(super) fn get(&self, base: u64) -> Option<&Segment> {
        self.by_base.get(&base)
    }

    /// The segments that begin at `from` or after, and before `to`.
    pub(super) fn between(&self, from: u64, to: u64) -> impl Iterator<Item = &Segment> {
        self.by_base.range(from..to).map(|(_, segment)| segment)
    }

    /// The segment whose records include the position.
    pub(super) fn holding(&self, position: Position) -> Option<Segment> {
        let (_, segment) = self.by_base.range(..=position.0).next_back()?;
        (position.0 < segment.end).then_some(*segment)
    }

    /// Takes out the oldest segment if nobody needs it: below what its owner released, not being written, and not wanted
    /// by the recorder (`None`: the recorder is not asked).
    pub(super) fn take_releasable(&mut self, now: Duration, recorder: Option<Recorder>) -> Option<Segment> {
        let segment = self.releasable(self.below, now, recorder)?;
        self.by_base.remove(&segment.base);
        self.bytes -= segment.bytes();
        Some(segment)
    }

    /// The oldest segment, if it could go were everything below the position released.
    pub(super) fn releasable(
        &self,
        below: Position,
        now: Duration,
        recorder: Option<Recorder>,
    ) -> Option<Segment> {
        let (base, segment) = self.by_base.iter().next().map(|(base, segment)| (*base, *segment))?;
        let needed = segment.end > below.0 || self.active == Some(base);
        let wanted = recorder.is_some_and(|recorder| {
            let age = now.as_nanos().cast_signed() - segment.written;
            self.bytes <= recorder.size_bytes && age < recorder.age.as_nanos().cast_signed()
        });
        (!needed && !wanted).then_some(segment)
    }
}
