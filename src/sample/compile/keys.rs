//! Attributes by key: which atoms ask about them, found in a few comparisons.

use super::atom::{Tests, set};

/// What is asked about one attribute key of a span.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub key: Box<str>,
    /// Atoms of `span.key`.
    pub span: Tests,
    /// Atoms of `.key`: the span's value goes before the resource's.
    pub unscoped: Tests,
    /// The bits of `unscoped`, to take back what the resource's value set: word and mask.
    pub unscoped_mask: Vec<(usize, u64)>,
    /// Captures of `span.key` or `.key`.
    pub captures: Vec<u32>,
}

impl Slot {
    /// Whether comparing a string with a few texts answers everything that is asked.
    #[inline]
    pub fn is_only_texts(&self) -> bool {
        self.span.is_only_texts() && self.unscoped.is_empty() && self.captures.is_empty()
    }

    /// Adds an atom of `.key`.
    pub fn add_unscoped(&mut self, atom: u32, test: super::atom::Test) {
        self.unscoped.add(atom, test);
        let mut mask = vec![0u64; atom as usize / 64 + 1];
        set(&mut mask, atom);
        self.unscoped_mask.extend(mask.into_iter().enumerate().filter(|(_, mask)| *mask != 0));
    }
}

/// Longer keys share one list.
const LENGTH_MAX: usize = 64;

/// Lengths of keys, a bit each; those beyond 63 share one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::sample) struct Lengths(u64);

impl Lengths {
    fn bit(length: usize) -> u64 {
        1 << length.min(u64::BITS as usize - 1)
    }

    /// Whether there may be a key so long.
    #[inline]
    pub fn have(self, length: usize) -> bool {
        self.0 & Self::bit(length) != 0
    }

    /// These and those.
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// Slots by the length of their key, then in order.
#[derive(Debug)]
pub(super) struct Keys {
    pub slots: Vec<Slot>,
    /// Of all keys.
    pub lengths: Lengths,
    /// Where the slots of a length start; one more at the end.
    starts: [u16; LENGTH_MAX + 2],
}

impl Keys {
    pub fn new(mut slots: Vec<Slot>) -> Self {
        slots.sort_by_key(|slot| slot.key.len());
        let mut starts = [0; LENGTH_MAX + 2];
        for (length, start) in starts.iter_mut().enumerate() {
            let before = slots.iter().filter(|slot| slot.key.len().min(LENGTH_MAX) < length).count();
            *start = u16::try_from(before).unwrap_or(u16::MAX);
        }
        let lengths = Lengths(slots.iter().fold(0, |bits, slot| bits | Lengths::bit(slot.key.len())));
        Self { slots, lengths, starts }
    }

    /// The slot of a key.
    #[inline]
    pub fn find(&self, key: &[u8]) -> Option<usize> {
        let length = key.len().min(LENGTH_MAX);
        let (start, end) = (usize::from(self.starts[length]), usize::from(self.starts[length + 1]));
        (start..end).find(|index| self.slots[*index].key.as_bytes() == key)
    }
}

#[cfg(test)]
mod tests;
