//! When traces are due.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// When a trace is due: hundredths of a second of monotonic time, rounded up. Enough for a year and a half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Due(u32);

impl Due {
    pub(super) fn at(time: Duration) -> Self {
        let hundredths = u64::from(time.subsec_nanos().div_ceil(10_000_000));
        let hundredths = time.as_secs().saturating_mul(100).saturating_add(hundredths);
        Self(u32::try_from(hundredths).unwrap_or(u32::MAX))
    }

    pub(super) fn time(self) -> Duration {
        Duration::from_millis(u64::from(self.0) * 10)
    }
}

/// The slots of traces by when they are due; those of one time in the order they came in.
///
/// Times come nearly in order, and many traces share one: to put one in and to take one out touches the ends of a few lists,
/// where a heap would look all over its memory.
#[derive(Default)]
pub(super) struct DueQueue {
    times: BTreeMap<Due, VecDeque<u32>>,
    len: usize,
}

impl DueQueue {
    /// What a slot takes, in bytes: the lists have room for as much again.
    pub(super) const SLOT_BYTES: usize = 2 * size_of::<u32>();

    pub(super) fn push(&mut self, due: Due, slot: u32) {
        self.times.entry(due).or_default().push_back(slot);
        self.len += 1;
    }

    /// The earliest time that anything is due.
    pub(super) fn first(&self) -> Option<Due> {
        self.times.first_key_value().map(|(due, _)| *due)
    }

    /// Takes out the first slot that is due by `now`.
    pub(super) fn pop(&mut self, now: Duration) -> Option<(Due, u32)> {
        let mut first = self.times.first_entry().filter(|first| first.key().time() <= now)?;
        let due = *first.key();
        let slot = first.get_mut().pop_front()?;
        if first.get().is_empty() {
            first.remove();
        }
        self.len -= 1;
        Some((due, slot))
    }

    /// Keeps only what `holds` says.
    pub(super) fn retain(&mut self, holds: impl Fn(Due, u32) -> bool) {
        self.times.retain(|due, slots| {
            slots.retain(|slot| holds(*due, *slot));
            slots.shrink_to_fit();
            !slots.is_empty()
        });
        self.len = self.times.values().map(VecDeque::len).sum();
    }

    /// How many slots there are.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}
