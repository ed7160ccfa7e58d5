//! What became of a batch's spans, by service.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::gather::Gathered;
use crate::log::Position;
use crate::sample::KeptTrace;
use crate::sample::services::{OTHER_SERVICES, UNKNOWN_SERVICE};

/// Services that are named in a batch; the spans of the smaller ones beyond count as [`OTHER_SERVICES`].
const SERVICES_MAX: usize = 1_000;
/// Stands for spans that are in the table, but in the log no longer.
const NOT_READ: &str = "(unknown)";

/// Spans of one service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Counts {
    pub(in crate::store) stored: u64,
    /// Came twice, stored once.
    pub(in crate::store) duplicates: u64,
}

/// How many spans of a tenant's part of a batch became what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Tally {
    services: BTreeMap<Arc<str>, Counts>,
    /// Spans that the batch promised.
    expected: u64,
    /// Of these, spans whose record the log has no longer.
    gone: u64,
    /// Spans of traces that could not be encoded.
    pub(in crate::store) left_out: u64,
}

impl Tally {
    /// Of spans that were found, sorted, and written. `gone`: records that the log has no longer.
    pub(super) fn of(gathered: &Gathered<'_>, gone: &BTreeSet<Position>) -> Self {
        let mut tally = Self::default();
        let mut stored = vec![0; gathered.resources.len()];
        gathered.order.iter().for_each(|at| stored[gathered.span(*at).resource as usize] += 1);
        for (at, resource) in gathered.resources.iter().enumerate() {
            let name = resource.service_name().unwrap_or(UNKNOWN_SERVICE);
            tally.add(name.into(), Counts { stored: stored[at], duplicates: gathered.duplicates[at] });
        }
        for (at, trace) in gathered.traces.iter().enumerate() {
            let expected = u64::from(trace.spans);
            tally.expected += expected;
            if trace.places.iter().any(|place| gone.contains(place)) {
                tally.gone += expected.saturating_sub(gathered.found(at as u32));
            }
        }
        tally
    }

    /// Of a trace that could not be encoded.
    pub(super) fn of_left_out(trace: &KeptTrace) -> Self {
        let spans = u64::from(trace.spans);
        Self { expected: spans, left_out: spans, ..Self::default() }
    }

    fn add(&mut self, service: Arc<str>, counts: Counts) {
        let sum = self.services.entry(service).or_default();
        sum.stored += counts.stored;
        sum.duplicates += counts.duplicates;
    }

    pub(super) fn join(&mut self, other: Self) {
        other.services.into_iter().for_each(|(service, counts)| self.add(service, counts));
        self.expected += other.expected;
        self.gone += other.gone;
        self.left_out += other.left_out;
    }

    /// For a batch that was in the table before: spans whose records have left the log since count as stored.
    pub(in crate::store) fn was_stored(&mut self) {
        let gone = std::mem::take(&mut self.gone);
        if gone > 0 {
            self.add(NOT_READ.into(), Counts { stored: gone, duplicates: 0 });
        }
    }

    fn found(&self) -> u64 {
        self.services.values().map(|counts| counts.stored + counts.duplicates).sum()
    }

    /// Spans that came twice.
    pub(in crate::store) fn duplicates(&self) -> u64 {
        self.services.values().map(|counts| counts.duplicates).sum()
    }

    /// Spans that the batch promised, and that are not in the table: unreadable, or left out.
    pub(in crate::store) fn lost(&self) -> u64 {
        self.expected.saturating_sub(self.found())
    }

    /// By service, sorted by name; the small ones beyond a bound together.
    pub(in crate::store) fn services(self) -> BTreeMap<Arc<str>, Counts> {
        if self.services.len() <= SERVICES_MAX {
            return self.services;
        }
        let mut by_size: Vec<_> = self.services.into_iter().collect();
        let size = |counts: &Counts| counts.stored + counts.duplicates;
        by_size.sort_by(|(a, x), (b, y)| size(y).cmp(&size(x)).then_with(|| a.cmp(b)));
        let rest = by_size.split_off(SERVICES_MAX);
        let mut bounded = Self { services: by_size.into_iter().collect(), ..Self::default() };
        rest.into_iter().for_each(|(_, counts)| bounded.add(OTHER_SERVICES.into(), counts));
        bounded.services
    }
}
