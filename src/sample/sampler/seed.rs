//! Verdicts from before the log begins, and traces that wait for theirs.

use std::sync::Arc;
use std::time::Duration;

use super::Sampler;
use crate::runtime::Tenant;
use crate::sample::index::Key;
use crate::sample::{Fingerprint, Verdict};
use crate::wire::TraceId;

/// What a remembered verdict takes at most, in bytes.
const DECISION_BYTES: usize = 16;

/// A trace that waits for its verdict, or for that to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// When it is to be decided at the latest, on the monotonic clock.
    pub due: Duration,
    /// The rules it is decided by.
    pub rules_version: u32,
}

impl Sampler {
    /// Whether a trace waits for its verdict.
    pub fn waiting(&self, tenant: &Tenant, trace_id: &TraceId) -> Option<Waiting> {
        let key = Key { tenant: self.tenants.find(tenant)?, trace_id: *trace_id };
        let entry = self.entries.get(&key)?;
        Some(Waiting { due: entry.due.time(), rules_version: entry.rules_version })
    }

    /// How many verdicts are worth seeding: more would not be remembered.
    pub fn seeds_max(&self) -> usize {
        self.config.decisions_bytes_max / DECISION_BYTES
    }

    /// Remembers a verdict that the log has forgotten: late spans inherit it. For before replay; the last one given holds.
    pub fn seed(&mut self, trace: Fingerprint, verdict: &Arc<Verdict>) {
        self.decisions.replace(trace, verdict);
    }
}
