//! Who the members were when a record was written: what is read from the log again goes to whom it was meant for.

use std::sync::Arc;

use super::ring::Ring;
use crate::log::Position;

/// So many rings are told apart. They are forgotten as soon as every lane is past them.
const EPOCHS_MAX: usize = 1000;

/// The rings of the log, each from a position on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Epochs(Vec<(Position, Arc<Ring>)>);

impl Epochs {
    /// One ring for everything.
    pub fn new(ring: Ring) -> Self {
        Self(vec![(Position(0), Arc::new(ring))])
    }

    /// These rings, in the order of their positions; `None` if they are not, or there are none.
    pub fn of(epochs: Vec<(Position, Ring)>) -> Option<Self> {
        let in_order = epochs.is_sorted_by(|a, b| a.0 < b.0);
        let epochs: Vec<_> = epochs.into_iter().map(|(from, ring)| (from, Arc::new(ring))).collect();
        (in_order && !epochs.is_empty()).then_some(Self(epochs))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Position, &Arc<Ring>)> {
        self.0.iter().map(|(from, ring)| (*from, ring))
    }

    /// The newest.
    pub fn current(&self) -> &Arc<Ring> {
        // There always is one.
        &self.0[self.0.len() - 1].1
    }

    /// The ring of the record at this position.
    pub fn at(&self, position: Position) -> &Arc<Ring> {
        let later = self.0.partition_point(|(from, _)| *from <= position);
        &self.0[later.saturating_sub(1)].1
    }

    /// From the position on it is this ring. `false` if there are too many already: to be tried again when lanes have moved on.
    pub fn begin(&mut self, from: Position, ring: Ring) -> bool {
        let (ring, is_full) = (Arc::new(ring), self.0.len() >= EPOCHS_MAX);
        match self.0.last_mut() {
            Some(last) if *last.1 == *ring => return true,
            // No record was written in between.
            Some(last) if last.0 >= from => last.1 = ring,
            _ if is_full => return false,
            _ => self.0.push((from, ring)),
        }
        true
    }

    /// Nobody will ask about records below the position any more.
    pub fn forget_below(&mut self, position: Position) {
        let first = self.0.partition_point(|(from, _)| *from <= position).saturating_sub(1);
        self.0.drain(..first);
    }
}

#[cfg(test)]
mod tests;
