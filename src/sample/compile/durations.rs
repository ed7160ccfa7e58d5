//! Comparisons with a span's duration, answered ahead: between two constants nothing changes.

use super::atom::{Test, set};
use crate::traceql::{Literal, Value};

/// Ranges of durations in nanoseconds, ascending, and the atoms that hold in each.
#[derive(Debug, Default)]
pub(super) struct Durations {
    /// Where a range begins; it ends where the next one does.
    starts: Vec<i64>,
    /// By range, so many words each.
    bits: Vec<u64>,
    words: usize,
}

impl Durations {
    /// The table for these atoms; empty for none.
    pub fn new(atoms: &[(u32, Test)], words: usize) -> Self {
        if atoms.is_empty() {
            return Self::default();
        }
        let mut starts: Vec<i64> = atoms.iter().flat_map(|(_, test)| changes(test)).collect();
        starts.push(0);
        starts.retain(|start| *start >= 0);
        starts.sort_unstable();
        starts.dedup();
        let mut table = Self { bits: vec![0; starts.len() * words], starts, words };
        for (start, bits) in table.starts.iter().zip(table.bits.chunks_mut(words)) {
            let holding = atoms.iter().filter(|(_, test)| test.holds(&Value::Duration(*start).into()));
            holding.for_each(|(atom, _)| set(bits, *atom));
        }
        table
    }

    /// The bits of the atoms that hold; empty where nobody asks.
    #[inline]
    pub fn holding(&self, nanos: u64) -> &[u64] {
        if self.starts.is_empty() {
            return &[];
        }
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        let range = self.starts.partition_point(|start| *start <= nanos).saturating_sub(1);
        &self.bits[range * self.words..(range + 1) * self.words]
    }
}

/// The durations at which the answer may become another.
fn changes(test: &Test) -> Vec<i64> {
    let at = match test {
        Test::Compare(_, Literal::Int(value) | Literal::Duration(value)) => *value,
        Test::Compare(_, Literal::Float(value)) => value.floor() as i64,
        _ => return Vec::new(),
    };
    vec![at, at.saturating_add(1)]
}
