//! `keep: { per_second: 50, by: [resource.service.name] }`: so many traces a second for each value of the fields.
//!
//! What share of traces that is nobody knows, so `th` is erased from what is kept.

use std::collections::HashMap;
use std::time::Duration;

use super::{Outcome, Subject};

/// Keeps up to so many traces a second.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sample) struct Rate {
    per_second: f64,
    /// Tells this rule's buckets from others'; the same over reloads while the rule's name is.
    seed: u64,
    by: Vec<u32>,
}

impl Rate {
    /// The action of the rule named `rule`; `by` are captures. `Err` says what is wrong.
    pub fn new(rule: &str, per_second: f64, by: Vec<u32>) -> Result<Self, String> {
        if !(per_second.is_finite() && per_second > 0.0) {
            return Err("`per_second` must be more than 0".to_owned());
        }
        Ok(Self { per_second, seed: twox_hash::XxHash3_64::oneshot(rule.as_bytes()), by })
    }

    pub(super) fn decide(&self, subject: Subject<'_>, limiter: &mut Limiter) -> Outcome {
        // The lowest bit of a capture only tells where it came from.
        let capture = |index: &u32| subject.captures.get(*index as usize).copied().unwrap_or(0) >> 1;
        let key = self.by.iter().map(capture).fold(self.seed, mix);
        let keep = limiter.take(key, self.seed, self.per_second, subject.now);
        Outcome { keep, threshold: None, erase_threshold: keep }
    }
}

fn mix(seed: u64, value: u64) -> u64 {
    (seed.rotate_left(23) ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// The token buckets of all rate rules. Bounded: when it is full, keys that have no bucket share one for each rule.
#[derive(Debug)]
pub struct Limiter {
    buckets: HashMap<u64, Bucket, foldhash::fast::FixedState>,
    buckets_max: usize,
    swept: Option<Duration>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    per_second: f64,
    at: Duration,
}

/// What a bucket takes, with its key and the table's slack.
const BUCKET_BYTES: usize = 2 * (size_of::<Bucket>() + size_of::<u64>());
/// A sweep looks at every bucket: not more often than this.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

impl Limiter {
    /// A table that takes at most about so many bytes.
    pub fn new(bytes_max: usize) -> Self {
        let buckets_max = (bytes_max / BUCKET_BYTES).max(1);
        Self { buckets: HashMap::default(), buckets_max, swept: None }
    }

    /// The memory it takes, in bytes.
    pub fn bytes(&self) -> usize {
        self.buckets.len() * BUCKET_BYTES
    }

    /// Takes one token from the bucket of `key`, or where there is no room for it, from the bucket of `shared`.
    fn take(&mut self, key: u64, shared: u64, per_second: f64, now: Duration) -> bool {
        let key = if self.has_room_for(key, now) { key } else { !shared };
        let burst = per_second.max(1.0);
        let bucket = self.buckets.entry(key).or_insert(Bucket { tokens: burst, per_second, at: now });
        let refilled = bucket.tokens + now.saturating_sub(bucket.at).as_secs_f64() * per_second;
        *bucket = Bucket { tokens: refilled.min(burst), per_second, at: now.max(bucket.at) };
        let granted = bucket.tokens >= 1.0;
        if granted {
            bucket.tokens -= 1.0;
        }
        granted
    }

    fn has_room_for(&mut self, key: u64, now: Duration) -> bool {
        if self.buckets.len() >= self.buckets_max && !self.buckets.contains_key(&key) {
            self.sweep(now);
        }
        self.buckets.len() < self.buckets_max || self.buckets.contains_key(&key)
    }

    /// Drops buckets that are full again: a new one would be the same.
    fn sweep(&mut self, now: Duration) {
        if self.swept.is_some_and(|swept| now.saturating_sub(swept) < SWEEP_EVERY) {
            return;
        }
        self.swept = Some(now);
        self.buckets.retain(|_, bucket| {
            let refilled = now.saturating_sub(bucket.at).as_secs_f64() * bucket.per_second;
            bucket.tokens + refilled < bucket.per_second.max(1.0)
        });
    }
}
