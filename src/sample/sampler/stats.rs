//! What the sampler counts. Spans read again at start are not counted a second time.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::sample::verdict::Verdict;

/// Traces and their spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many traces.
    pub traces: u64,
    /// How many spans they have.
    pub spans: u64,
}

impl Tally {
    pub(super) fn add(&mut self, spans: u32) {
        self.traces += 1;
        self.spans += u64::from(spans);
    }
}

/// Counters since the start of the process, and gauges of now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SamplerStats {
    /// Records of the log that were applied: as many as were written, once all that was acknowledged is known here.
    pub records_applied: u64,
    /// Spans that came in.
    pub spans_received: u64,
    /// What each rule kept.
    pub kept_by_rule: BTreeMap<Arc<str>, Tally>,
    /// What each rule dropped.
    pub dropped_by_rule: BTreeMap<Arc<str>, Tally>,
    /// Spans of kept traces that came after the verdict.
    pub late_spans_kept: u64,
    /// Spans of dropped traces that came after the verdict.
    pub late_spans_dropped: u64,
    /// Traces that were dropped, found again in the log, and kept after all.
    pub rescued: Tally,
    /// Dropped traces that were to be kept after all, and could not be.
    pub rescues_missed: u64,
    /// Spans that were acknowledged before the restart and could not be found in the log again: a part of it is damaged.
    pub spans_lost_in_log: u64,
    /// Traces decided before they were due, because the index was full.
    pub decided_early: u64,
    /// An estimate of the spans received, from the adjusted counts of those kept.
    pub adjusted_count_spans: f64,
    /// Traces that wait for their verdict.
    pub pending_traces: u64,
    /// Traces kept and not stored yet.
    pub kept_traces_not_stored: u64,
    /// What the index and the kept traces take, in bytes.
    pub index_bytes: u64,
    /// Verdicts remembered for late spans.
    pub decisions: u64,
    /// What they take, in bytes.
    pub decisions_bytes: u64,
    /// What the accounts of the loss ledger take, in bytes.
    pub losses_bytes: u64,
}

impl SamplerStats {
    pub(super) fn count_verdict(&mut self, verdict: &Verdict, spans: u32) {
        let by_rule = if verdict.keep { &mut self.kept_by_rule } else { &mut self.dropped_by_rule };
        match by_rule.get_mut(&verdict.rule) {
            Some(tally) => tally.add(spans),
            None => by_rule.entry(verdict.rule.clone()).or_default().add(spans),
        }
        self.decided_early += u64::from(verdict.early);
        self.count_adjusted(verdict, spans);
    }

    pub(super) fn count_late(&mut self, verdict: &Verdict, spans: u32) {
        if verdict.keep {
            self.late_spans_kept += u64::from(spans);
        } else {
            self.late_spans_dropped += u64::from(spans);
        }
        self.count_adjusted(verdict, spans);
    }

    fn count_adjusted(&mut self, verdict: &Verdict, spans: u32) {
        if verdict.keep {
            let each = verdict.threshold.map_or(1.0, |t| t.adjusted_count());
            self.adjusted_count_spans += each * f64::from(spans);
        }
    }
}
