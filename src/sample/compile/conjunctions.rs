//! Conjunctions of atoms: looked at only where the rarest of their atoms holds.

use super::atom::{Field, Test, is_set, set};
use super::build::{Atom, Output, SpanConjunction};
use crate::sample::notes::Matches;
use crate::traceql::BinaryOp;

/// Conjunctions by the atom that must hold for them to be worth a look.
#[derive(Debug)]
pub(super) struct Conjunctions {
    all: Vec<Ready>,
    /// By atom: the conjunctions it triggers.
    triggered: Vec<Vec<u32>>,
    triggers: Vec<u64>,
    /// Those without any atom that must hold: looked at for every span.
    always: Vec<u32>,
}

/// A conjunction as masks: word, bits that must be set, bits that must not.
#[derive(Debug)]
struct Ready {
    masks: Vec<(usize, u64, u64)>,
    output: Output,
}

impl Conjunctions {
    pub(super) fn new(atoms: &[Atom], conjunctions: Vec<SpanConjunction>) -> Self {
        let mut table = Self {
            all: Vec::new(),
            triggered: vec![Vec::new(); atoms.len()],
            triggers: vec![0; atoms.len().div_ceil(64)],
            always: Vec::new(),
        };
        for (index, conjunction) in (0u32..).zip(conjunctions) {
            let positive = conjunction.terms.iter().filter(|(_, negated)| !negated);
            match positive.map(|(atom, _)| *atom).min_by_key(|atom| frequency(&atoms[*atom as usize])) {
                Some(atom) => {
                    table.triggered[atom as usize].push(index);
                    set(&mut table.triggers, atom);
                }
                None => table.always.push(index),
            }
            table.all.push(Ready { masks: masks(&conjunction.terms), output: conjunction.output });
        }
        table
    }

    #[inline]
    /// Adds what a span whose atoms are `bits` fulfils.
    pub(super) fn conclude(&self, bits: &[u64], counted: &mut Vec<u32>, matches: &mut Matches) {
        counted.clear();
        for (word, (bits_here, triggers)) in bits.iter().zip(&self.triggers).enumerate() {
            let mut hit = bits_here & triggers;
            while hit != 0 {
                let atom = word * 64 + hit.trailing_zeros() as usize;
                hit &= hit - 1;
                self.triggered[atom].iter().for_each(|index| self.check(*index, bits, counted, matches));
            }
        }
        self.always.iter().for_each(|index| self.check(*index, bits, counted, matches));
    }

    #[inline]
    fn check(&self, index: u32, bits: &[u64], counted: &mut Vec<u32>, matches: &mut Matches) {
        let conjunction = &self.all[index as usize];
        if let Output::Bit(bit) = conjunction.output
            && is_set(&matches.bits, bit)
        {
            return;
        }
        let fits = |(word, on, off): &(usize, u64, u64)| bits[*word] & (on | off) == *on;
        if !conjunction.masks.iter().all(fits) {
            return;
        }
        match conjunction.output {
            Output::Bit(bit) => set(&mut matches.bits, bit),
            // A span counts once, however many alternatives it fulfils.
            Output::Counter(counter) if !counted.contains(&counter) => {
                counted.push(counter);
                let count = &mut matches.counts[counter as usize];
                *count = count.saturating_add(1);
            }
            Output::Counter(_) => {}
        }
    }
}

fn masks(terms: &[(u32, bool)]) -> Vec<(usize, u64, u64)> {
    let mut masks: Vec<(usize, u64, u64)> = Vec::new();
    for (atom, negated) in terms {
        let (word, bit) = (*atom as usize / 64, 1u64 << (atom % 64));
        let (on, off) = if *negated { (0, bit) } else { (bit, 0) };
        match masks.iter_mut().find(|mask| mask.0 == word) {
            Some(mask) => *mask = (word, mask.1 | on, mask.2 | off),
            None => masks.push((word, on, off)),
        }
    }
    masks
}

/// How often an atom holds, roughly: the rarest one triggers a conjunction.
fn frequency(atom: &Atom) -> u8 {
    let by_test = match atom.test {
        Test::Compare(BinaryOp::Equal, _) | Test::Match { negated: false, .. } | Test::True | Test::False => {
            0
        }
        Test::Compare(BinaryOp::NotEqual, _) | Test::Match { negated: true, .. } | Test::Exists => 4,
        Test::Compare(..) => 2,
    };
    match atom.field {
        Field::Span(_) | Field::Status | Field::StatusMessage => by_test,
        Field::Name | Field::Duration => by_test + 1,
        Field::Unscoped(_) => by_test + 2,
        Field::Kind | Field::Resource(_) | Field::Parent => by_test + 5,
    }
}
