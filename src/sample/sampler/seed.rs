//! Verdicts from before the log begins.

use std::sync::Arc;

use super::Sampler;
use crate::sample::{Fingerprint, Verdict};

/// What a remembered verdict takes at most, in bytes.
const DECISION_BYTES: usize = 16;

impl Sampler {
    /// How many verdicts are worth seeding: more would not be remembered.
    pub fn seeds_max(&self) -> usize {
        self.config.decisions_bytes_max / DECISION_BYTES
    }

    /// Remembers a verdict that the log has forgotten: late spans inherit it. For before replay; the last one given holds.
    pub fn seed(&mut self, trace: Fingerprint, verdict: &Arc<Verdict>) {
        self.decisions.replace(trace, verdict);
    }
}
