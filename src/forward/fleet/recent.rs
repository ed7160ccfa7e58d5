//! What was seen lately, by fingerprint: two generations, of which the older one is forgotten when the younger one is as old
//! as the window, or full. So everything is remembered for one window at least, as long as the bytes suffice.

use std::time::Duration;

use hashbrown::HashMap;

/// A map that forgets.
pub(in crate::forward) struct Recent<T> {
    young: HashMap<u64, T, foldhash::fast::RandomState>,
    old: HashMap<u64, T, foldhash::fast::RandomState>,
    entries_max: usize,
    begun: Duration,
}

impl<T: Clone> Recent<T> {
    /// At most so many bytes, roughly.
    pub(in crate::forward) fn new(bytes_max: usize) -> Self {
        // Two generations, tables at least half full, a byte of control each.
        let entry = 2 * 2 * (size_of::<(u64, T)>() + 1);
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            entries_max: (bytes_max / entry).max(1024),
            begun: Duration::ZERO,
        }
    }

    pub(in crate::forward) fn insert(&mut self, key: u64, value: T) {
        if self.young.len() >= self.entries_max {
            self.next_generation();
        }
        self.young.insert(key, value);
    }

    pub(in crate::forward) fn remove(&mut self, key: u64) {
        self.young.remove(&key);
        self.old.remove(&key);
    }

    /// What is remembered, for another window from now on.
    pub(in crate::forward) fn refresh(&mut self, key: u64) -> Option<T> {
        if let Some(value) = self.young.get(&key) {
            return Some(value.clone());
        }
        let value = self.old.remove(&key)?;
        self.insert(key, value.clone());
        Some(value)
    }

    /// What is remembered, without remembering it for longer.
    pub(in crate::forward) fn peek(&self, key: u64) -> Option<&T> {
        self.young.get(&key).or_else(|| self.old.get(&key))
    }

    pub(in crate::forward) fn turn(&mut self, window: Duration, now: Duration) {
        if now.saturating_sub(self.begun) >= window {
            self.begun = now;
            self.next_generation();
        }
    }

    fn next_generation(&mut self) {
        std::mem::swap(&mut self.young, &mut self.old);
        self.young.clear();
    }

    pub(in crate::forward) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests;
