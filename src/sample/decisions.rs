//! What was decided about traces that are gone from the index: their late spans inherit it.

mod table;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use super::Fingerprint;
use super::verdict::Verdict;
use table::Table;

/// Below this there is nothing to be saved, in bytes.
const BYTES_MIN: usize = 128 * 1024;

/// Recent verdicts by trace, bounded in bytes.
///
/// Two generations: new verdicts go into the younger one; when that has half the room, the older one is forgotten and a new
/// one begun. So at least the last half of what fits is always known, and forgetting costs nothing.
pub(super) struct Decisions {
    young: Generation,
    old: Generation,
    bytes_max: usize,
}

/// Verdicts of a time, each a number in a table of the distinct ones: rules × versions × thresholds.
struct Generation {
    verdicts: Vec<Arc<Verdict>>,
    numbers: HashMap<Arc<Verdict>, u16, foldhash::fast::RandomState>,
    verdict_bytes: usize,
    traces: Table,
}

impl Generation {
    fn new() -> Self {
        Self { verdicts: Vec::new(), numbers: HashMap::default(), verdict_bytes: 0, traces: Table::new() }
    }

    fn get(&self, trace: Fingerprint) -> Option<&Arc<Verdict>> {
        self.traces.get(trace).and_then(|number| self.verdicts.get(usize::from(number)))
    }

    /// Gives a verdict that has none a number. `None`: there are no more.
    fn add(&mut self, verdict: &Arc<Verdict>) -> Option<u16> {
        let number = u16::try_from(self.verdicts.len()).ok()?;
        self.verdicts.push(verdict.clone());
        self.numbers.insert(verdict.clone(), number);
        self.verdict_bytes += verdict_bytes(verdict);
        Some(number)
    }

    fn bytes(&self) -> usize {
        self.traces.bytes() + self.verdict_bytes
    }
}

/// What a distinct verdict takes, in bytes: itself behind its counts, its names, its slot in the list and in the map.
fn verdict_bytes(verdict: &Verdict) -> usize {
    const COUNTS: usize = 2 * size_of::<usize>();
    let names = verdict.rule.len() + verdict.retention.len() + 2 * COUNTS;
    COUNTS + size_of::<Verdict>() + names + 2 * (2 * size_of::<Arc<Verdict>>() + size_of::<u16>())
}

impl Decisions {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { young: Generation::new(), old: Generation::new(), bytes_max: bytes_max.max(BYTES_MIN) }
    }

    /// What was decided, if it is still known.
    pub(super) fn get(&self, trace: Fingerprint) -> Option<&Arc<Verdict>> {
        self.young.get(trace).or_else(|| self.old.get(trace))
    }

    /// Remembers a verdict. The first one given to a trace holds.
    pub(super) fn insert(&mut self, trace: Fingerprint, verdict: &Arc<Verdict>) {
        if self.get(trace).is_none() {
            self.replace(trace, verdict);
        }
    }

    /// Gives a trace this verdict, whatever was known before.
    pub(super) fn replace(&mut self, trace: Fingerprint, verdict: &Arc<Verdict>) {
        if self.young.bytes() + self.young.traces.growth(trace) > self.bytes_max / 2 {
            self.forget();
        }
        let number = self.number(verdict);
        self.young.traces.set(trace, number);
    }

    /// One shared copy of equal verdicts.
    pub(super) fn share(&mut self, verdict: Verdict) -> Arc<Verdict> {
        if let Some((known, _)) = self.young.numbers.get_key_value(&verdict) {
            return known.clone();
        }
        let verdict = Arc::new(verdict);
        self.number(&verdict);
        verdict
    }

    fn number(&mut self, verdict: &Arc<Verdict>) -> u16 {
        if let Some(number) = self.young.numbers.get(verdict) {
            return *number;
        }
        if self.young.bytes() + verdict_bytes(verdict) > self.bytes_max / 2 {
            self.forget();
        }
        self.young.add(verdict).unwrap_or_else(|| {
            self.forget();
            self.young.add(verdict).unwrap_or_default()
        })
    }

    /// Forgets the older generation, and begins a new one.
    fn forget(&mut self) {
        self.old = std::mem::replace(&mut self.young, Generation::new());
    }

    /// How many traces' verdicts it holds. One that was overridden may count twice.
    pub(super) fn len(&self) -> usize {
        self.young.traces.len() + self.old.traces.len()
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.young.bytes() + self.old.bytes()
    }
}
