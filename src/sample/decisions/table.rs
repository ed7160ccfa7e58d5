//! A table from fingerprints to verdicts' numbers: ten bytes a slot, and at least two thirds of the slots are taken.
//!
//! Open addressing with linear probing. It is split into shards by the fingerprint's first bits, and each grows by a quarter
//! on its own: growing never moves much at a time, and never needs twice the room.

use crate::sample::Fingerprint;

/// Shards of a table, a power of two.
const SHARDS: usize = 256;
/// The bits of a fingerprint that choose its shard.
const SHARD_BITS: u32 = SHARDS.trailing_zeros();
/// Slots of a shard that has its first entry.
const SLOTS_MIN: usize = 16;
/// What a slot takes, in bytes.
const SLOT_BYTES: usize = size_of::<u64>() + size_of::<u16>();

/// The table. There is no removal: a whole table is thrown away.
pub(super) struct Table {
    shards: Box<[Shard]>,
    len: usize,
    bytes: usize,
}

#[derive(Clone, Default)]
struct Shard {
    /// Zero is an empty slot. A fingerprint of zero is kept as one: one more pair that cannot be told apart.
    fingerprints: Box<[u64]>,
    numbers: Box<[u16]>,
    len: usize,
}

impl Table {
    pub(super) fn new() -> Self {
        Self { shards: vec![Shard::default(); SHARDS].into(), len: 0, bytes: SHARDS * size_of::<Shard>() }
    }

    /// The number of a verdict, if the table has one for this trace.
    pub(super) fn get(&self, Fingerprint(fingerprint): Fingerprint) -> Option<u16> {
        let shard = self.shards.get(shard_of(fingerprint))?;
        let slot = shard.slot_of(fingerprint)?;
        (*shard.fingerprints.get(slot)? != 0).then(|| shard.numbers.get(slot).copied())?
    }

    /// Gives the trace this number, whatever it had before.
    pub(super) fn set(&mut self, Fingerprint(fingerprint): Fingerprint, number: u16) {
        let Some(shard) = self.shards.get_mut(shard_of(fingerprint)) else { return };
        if shard.is_crowded() {
            let before = shard.fingerprints.len();
            shard.grow();
            self.bytes += (shard.fingerprints.len() - before) * SLOT_BYTES;
        }
        self.len += usize::from(shard.set(fingerprint, number));
    }

    /// The bytes that it would take more with one more trace.
    pub(super) fn growth(&self, Fingerprint(fingerprint): Fingerprint) -> usize {
        let crowded = self.shards.get(shard_of(fingerprint)).filter(|shard| shard.is_crowded());
        crowded.map_or(0, |shard| (shard.grown() - shard.fingerprints.len()) * SLOT_BYTES)
    }

    /// Traces in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// What it takes, in bytes, empty slots included.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

fn shard_of(fingerprint: u64) -> usize {
    (fingerprint >> (64 - SHARD_BITS)) as usize
}

impl Shard {
    /// Whether one more would make probing slow: beyond five sixths.
    fn is_crowded(&self) -> bool {
        (self.len + 1) * 6 > self.fingerprints.len() * 5
    }

    /// The slots it has after it has grown.
    fn grown(&self) -> usize {
        (self.fingerprints.len() + self.fingerprints.len() / 4).max(SLOTS_MIN)
    }

    fn grow(&mut self) {
        let slots = self.grown();
        let new = Self { fingerprints: vec![0; slots].into(), numbers: vec![0; slots].into(), len: 0 };
        let old = std::mem::replace(self, new);
        for (fingerprint, number) in old.fingerprints.iter().zip(&old.numbers) {
            if *fingerprint != 0 {
                self.set(*fingerprint, *number);
            }
        }
    }

    /// The slot that holds a fingerprint, or the empty one where it belongs. `None` while there are no slots.
    fn slot_of(&self, fingerprint: u64) -> Option<usize> {
        let wanted = fingerprint.max(1);
        let slots = self.fingerprints.len();
        // The high half of a product maps the bits below the shard's evenly to any number of slots.
        let home = ((u128::from(wanted << SHARD_BITS) * slots as u128) >> 64) as usize;
        let is_it = |held: &u64| *held == wanted || *held == 0;
        let (before, after) = self.fingerprints.split_at_checked(home)?;
        after.iter().position(is_it).map(|at| home + at).or_else(|| before.iter().position(is_it))
    }

    /// Whether it is new. There is an empty slot: the caller has looked.
    fn set(&mut self, fingerprint: u64, number: u16) -> bool {
        let Some(slot) = self.slot_of(fingerprint) else { return false };
        let (Some(held), Some(of)) = (self.fingerprints.get_mut(slot), self.numbers.get_mut(slot)) else {
            return false;
        };
        let is_new = *held == 0;
        (*held, *of) = (fingerprint.max(1), number);
        self.len += usize::from(is_new);
        is_new
    }
}
