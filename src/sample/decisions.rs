//! What was decided about traces that are gone from the index: their late spans inherit it.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::index::Key;
use super::verdict::Verdict;

/// What one decision costs, in bytes: its entry in the map (at a typical load) and its place in the queue.
const DECISION_BYTES: usize = 2 * (size_of::<Key>() + size_of::<u32>()) + size_of::<Key>();

/// Recent verdicts by trace, bounded in bytes: the oldest are forgotten first.
pub(super) struct Decisions {
    verdicts: Vec<Arc<Verdict>>,
    numbers: HashMap<Arc<Verdict>, u32, foldhash::fast::RandomState>,
    traces: HashMap<Key, u32, foldhash::fast::RandomState>,
    order: VecDeque<Key>,
    traces_max: usize,
}

/// Distinct verdicts: rules × versions × thresholds. Beyond it the cache starts anew rather than grow without bound.
const VERDICTS_MAX: usize = 65_536;

impl Decisions {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self {
            verdicts: Vec::new(),
            numbers: HashMap::default(),
            traces: HashMap::default(),
            order: VecDeque::new(),
            traces_max: (bytes_max / DECISION_BYTES).max(1),
        }
    }

    /// What was decided, if it is still known.
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Verdict>> {
        self.traces.get(key).and_then(|number| self.verdicts.get(*number as usize))
    }

    /// Remembers a verdict. The first one given to a trace holds.
    pub(super) fn insert(&mut self, key: Key, verdict: &Arc<Verdict>) {
        if self.traces.contains_key(&key) {
            return;
        }
        let number = self.number(verdict);
        self.traces.insert(key, number);
        self.order.push_back(key);
        while self.order.len() > self.traces_max {
            if let Some(oldest) = self.order.pop_front() {
                self.traces.remove(&oldest);
            }
        }
    }

    /// Gives a trace another verdict.
    pub(super) fn replace(&mut self, key: Key, verdict: &Arc<Verdict>) {
        let number = self.number(verdict);
        match self.traces.get_mut(&key) {
            Some(known) => *known = number,
            None => self.insert(key, verdict),
        }
    }

    /// One shared copy of equal verdicts.
    pub(super) fn share(&mut self, verdict: Verdict) -> Arc<Verdict> {
        let verdict = Arc::new(verdict);
        let number = self.number(&verdict);
        self.verdicts.get(number as usize).cloned().unwrap_or(verdict)
    }

    fn number(&mut self, verdict: &Arc<Verdict>) -> u32 {
        if let Some(number) = self.numbers.get(verdict) {
            return *number;
        }
        if self.verdicts.len() >= VERDICTS_MAX {
            *self = Self { traces_max: self.traces_max, ..Self::new(0) };
        }
        let number = self.verdicts.len() as u32;
        self.verdicts.push(verdict.clone());
        self.numbers.insert(verdict.clone(), number);
        number
    }

    /// How many traces' verdicts it holds.
    pub(super) fn len(&self) -> usize {
        self.traces.len()
    }

    /// What it takes, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.len() * DECISION_BYTES
    }
}
