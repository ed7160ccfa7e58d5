//! Randomness comes in as a parameter: the machine's, or a seeded one that replays exactly.
#![allow(clippy::disallowed_methods)]

#[cfg(test)]
mod tests;

use std::time::Duration;

use parking_lot::Mutex;

/// A source of random numbers. Not for secrets.
pub trait Random: Send + Sync + 'static {
    /// 64 random bits.
    fn bits(&self) -> u64;

    /// A number in `0..below`; 0 if `below` is 0.
    fn below(&self, below: u64) -> u64 {
        // The high half of a 128-bit product: no modulo bias worth speaking of.
        ((u128::from(self.bits()) * u128::from(below)) >> 64) as u64
    }

    /// A number in `0.0..1.0`.
    fn unit(&self) -> f64 {
        const STEPS: f64 = (1u64 << 53) as f64;
        (self.bits() >> 11) as f64 / STEPS
    }

    /// 16 random bytes: an id.
    fn id(&self) -> [u8; 16] {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&self.bits().to_be_bytes());
        id[8..].copy_from_slice(&self.bits().to_be_bytes());
        id
    }

    /// A version 4 UUID (RFC 9562) as text.
    fn uuid(&self) -> String {
        let mut id = self.id();
        id[6] = (id[6] & 0x0f) | 0x40;
        id[8] = (id[8] & 0x3f) | 0x80;
        let hex = hex::encode(id);
        format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
    }

    /// Between half of `wait` and all of it, so that those who failed together do not come back together.
    fn jittered(&self, wait: Duration) -> Duration {
        wait.mul_f64(0.5 + 0.5 * self.unit())
    }
}

/// The machine's randomness: seeded by the system, one generator a thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bits(&self) -> u64 {
        fastrand::u64(..)
    }
}

/// The same numbers for the same seed.
#[derive(Debug)]
pub struct SeededRandom(Mutex<fastrand::Rng>);

impl SeededRandom {
    /// A generator that starts at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(fastrand::Rng::with_seed(seed)))
    }
}

impl Random for SeededRandom {
    fn bits(&self) -> u64 {
        self.0.lock().u64(..)
    }
}
