//! Everything random in a simulation comes from its seed, in streams of their own, so that one room's draws do not shift
//! another's.

use std::ops::RangeInclusive;
use std::time::Duration;

use tracewell::runtime::{Random, SeededRandom};
use twox_hash::XxHash3_64;

/// A stream of random numbers.
pub struct Dice(SeededRandom);

impl Dice {
    /// The stream of this name.
    pub fn new(seed: u64, stream: &str) -> Self {
        Self(SeededRandom::new(XxHash3_64::oneshot_with_seed(seed, stream.as_bytes())))
    }

    pub fn bits(&self) -> u64 {
        self.0.bits()
    }

    /// A number in `0..below`.
    pub fn below(&self, below: usize) -> usize {
        self.0.below(below as u64) as usize
    }

    pub fn between(&self, range: RangeInclusive<u64>) -> u64 {
        range.start() + self.0.below(range.end() - range.start() + 1)
    }

    pub fn chance(&self, probability: f64) -> bool {
        self.0.unit() < probability
    }

    pub fn pick<'a, T>(&self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    pub fn millis(&self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.between(range))
    }
}

impl Random for Dice {
    fn bits(&self) -> u64 {
        self.0.bits()
    }
}
