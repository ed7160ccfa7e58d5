//! What a rule does with a trace: one file an action, and one list of them all.

mod drop;
mod keep;
mod rate;

pub(super) use keep::Keep;
pub use rate::Limiter;
pub(super) use rate::Rate;

use std::time::Duration;

use super::Threshold;

/// An action, ready to be carried out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    /// `keep: 10%`
    Keep(Keep),
    /// `drop: true`
    Drop,
    /// `keep: { per_second: 50, by: […] }`
    Rate(Rate),
}

/// The trace an action decides about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// 56 bits: `rv`, or of the trace id.
    pub randomness: u64,
    /// The captured fields of the trace, by number; 0 where it has none.
    pub captures: &'a [u64],
    /// Monotonic time.
    pub now: Duration,
}

/// What an action decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outcome {
    pub keep: bool,
    /// The threshold passed, or failed.
    pub threshold: Option<Threshold>,
    /// Kept with a probability that nobody knows.
    pub erase_threshold: bool,
}

impl Outcome {
    /// Kept for what it is: `th` stays as it came.
    pub const KEPT: Self = Self { keep: true, threshold: None, erase_threshold: false };
    /// Dropped.
    pub const DROPPED: Self = Self { keep: false, threshold: None, erase_threshold: false };
}

impl Action {
    /// Whether it keeps every trace that it decides about.
    pub fn keeps_all(&self) -> bool {
        matches!(self, Self::Keep(keep) if keep.keeps_all())
    }

    /// Decides about one trace.
    pub fn decide(&self, subject: Subject<'_>, limiter: &mut Limiter) -> Outcome {
        match self {
            Self::Keep(keep) => keep.decide(subject),
            Self::Drop => drop::decide(),
            Self::Rate(rate) => rate.decide(subject, limiter),
        }
    }
}

#[cfg(test)]
mod tests;
