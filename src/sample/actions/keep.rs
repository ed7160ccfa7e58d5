//! `keep: 10%`: consistent probability sampling, so that agents and gateways that do not know of each other agree.

use super::{Outcome, Subject};
use crate::sample::Threshold;
use crate::sample::probability::PRECISION_DEFAULT;

/// Keeps a share of the traces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::sample) struct Keep {
    /// `None` for 100 %: the rule keeps for what the trace is, and says nothing about probability.
    threshold: Option<Threshold>,
}

impl Keep {
    /// The action for a percentage; `Err` says what is wrong with it.
    pub fn percent(percent: f64) -> Result<Self, String> {
        if percent == 100.0 {
            return Ok(Self { threshold: None });
        }
        if percent == 0.0 {
            return Err("0% keeps nothing; write `drop: true`".to_owned());
        }
        let threshold = Threshold::from_probability(percent / 100.0, PRECISION_DEFAULT);
        let message = || format!("{percent}% is not a share: more than 0% and at most 100%");
        threshold.map(|threshold| Self { threshold: Some(threshold) }).ok_or_else(message)
    }

    pub(super) fn keeps_all(self) -> bool {
        self.threshold.is_none()
    }

    pub(super) fn decide(self, subject: Subject<'_>) -> Outcome {
        match self.threshold {
            None => Outcome::KEPT,
            Some(threshold) => Outcome {
                keep: threshold.keeps(subject.randomness),
                threshold: Some(threshold),
                erase_threshold: false,
            },
        }
    }
}
