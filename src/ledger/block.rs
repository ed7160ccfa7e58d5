//! Decisions in memory: before they are written, and as they are read again.

use std::collections::HashMap;
use std::sync::Arc;

use crate::log::Position;
use crate::runtime::Tenant;
use crate::sample::records::Decided;
use crate::sample::{Fingerprint, Verdict};

/// The most groups of one file: their numbers have two bytes.
pub(super) const GROUPS_MAX: usize = 1 << 16;
/// The most distinct verdicts of one file. Far more than rules × versions × thresholds are in an hour.
pub(super) const VERDICTS_MAX: usize = 1 << 14;

/// What a verdict takes in a table and in what finds its number, in bytes; the verdict itself is shared.
const VERDICT_BYTES: usize = 64;

/// What a record of the log decided, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) decided_unix_nano: u64,
    pub(super) position: Position,
}

/// One decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) trace: Fingerprint,
    /// The number of its verdict in the block or file.
    pub(super) verdict: u16,
    /// The number of its group in the block or file.
    pub(super) group: u16,
}

/// Decisions with the tables that their numbers point into, in the order they were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) groups: Vec<Group>,
    pub(super) verdicts: Vec<Arc<Verdict>>,
    pub(super) entries: Vec<Entry>,
}

impl Block {
    /// What it takes, about, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let verdicts = self.verdicts.capacity() * VERDICT_BYTES;
        let groups = self.groups.capacity() * size_of::<Group>();
        self.entries.capacity() * size_of::<Entry>() + groups + verdicts
    }

    /// What an entry says; `None` if its numbers point nowhere.
    pub(super) fn told(&self, entry: &Entry) -> Option<(&Arc<Verdict>, Group)> {
        told(&self.verdicts, &self.groups, entry)
    }

    /// The first and the last time anything in it was decided.
    pub(super) fn times(&self) -> (u64, u64) {
        let times = self.groups.iter().map(|group| group.decided_unix_nano);
        (times.clone().min().unwrap_or(0), times.max().unwrap_or(0))
    }

    /// The positions of its first and last record.
    pub(super) fn positions(&self) -> Option<(Position, Position)> {
        let positions = self.groups.iter().map(|group| group.position);
        Some((positions.clone().min()?, positions.max()?))
    }
}

/// What an entry says, by the tables of its block or file.
pub(super) fn told<'t>(
    verdicts: &'t [Arc<Verdict>],
    groups: &[Group],
    entry: &Entry,
) -> Option<(&'t Arc<Verdict>, Group)> {
    Some((verdicts.get(usize::from(entry.verdict))?, *groups.get(usize::from(entry.group))?))
}

/// Gives verdicts their numbers.
#[derive(Debug, Default)]
pub(super) struct Numbers(HashMap<Arc<Verdict>, u16, foldhash::fast::RandomState>);

/// So many verdicts are looked for by where they lie before what they say is hashed.
const LOOKED_AT: usize = 16;

impl Numbers {
    /// The number of a verdict in the table, where it is put if it is new. `None`: the table is full.
    pub(super) fn number(&mut self, table: &mut Vec<Arc<Verdict>>, verdict: &Arc<Verdict>) -> Option<u16> {
        if let Some(known) = table.iter().take(LOOKED_AT).position(|known| Arc::ptr_eq(known, verdict)) {
            return u16::try_from(known).ok();
        }
        if let Some(known) = self.0.get(verdict) {
            return Some(*known);
        }
        let number = u16::try_from(table.len()).ok().filter(|_| table.len() < VERDICTS_MAX)?;
        table.push(verdict.clone());
        self.0.insert(verdict.clone(), number);
        Some(number)
    }

    /// How many of these it does not know yet.
    pub(super) fn unknown(&self, verdicts: &[Arc<Verdict>]) -> usize {
        verdicts.iter().filter(|verdict| !self.0.contains_key(*verdict)).count()
    }

    /// How many it knows.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Takes over verdicts that have been written; their numbers do not matter.
    pub(super) fn know(&mut self, verdicts: &[Arc<Verdict>]) {
        for verdict in verdicts {
            self.0.entry(verdict.clone()).or_default();
        }
    }
}

/// Decisions that wait to be written.
#[derive(Default)]
pub(super) struct Waiting {
    entries_max: usize,
    block: Block,
    numbers: Numbers,
    /// What the last tenant adds to its fingerprints.
    seed: Option<(Tenant, u64)>,
}

/// Decisions of one block, at most. A block that is full before it is written is a disk that fails.
pub(super) const BLOCK_ENTRIES_MAX: usize = 128 * 1024;
/// Records of one block, at most.
pub(super) const BLOCK_GROUPS_MAX: usize = 8 * 1024;

impl Waiting {
    /// Nothing, with room for so many bytes.
    pub(super) fn new(bytes_max: u64) -> Self {
        // Vectors double when they grow.
        let entries = bytes_max / 2 / size_of::<Entry>() as u64;
        let entries_max = usize::try_from(entries).unwrap_or(usize::MAX).clamp(1, BLOCK_ENTRIES_MAX);
        Self { entries_max, ..Self::default() }
    }

    /// Whether a record with so many decisions has room.
    pub(super) fn has_room(&self, decisions: usize) -> bool {
        self.block.entries.len() + decisions <= self.entries_max
            && self.block.groups.len() < BLOCK_GROUPS_MAX
            && self.block.verdicts.len() <= VERDICTS_MAX / 2
    }

    /// Adds what a record of the log decided. Gives how many decisions found no room.
    pub(super) fn add(&mut self, group: Group, decided: &[Decided]) -> usize {
        let Some(number) = u16::try_from(self.block.groups.len()).ok() else { return decided.len() };
        self.block.groups.push(group);
        let mut left_out = 0;
        for one in decided {
            let seed = self.seed(&one.tenant);
            match self.numbers.number(&mut self.block.verdicts, &one.verdict) {
                Some(verdict) if self.block.entries.len() < self.entries_max => {
                    let trace = Fingerprint::seeded(seed, &one.trace_id);
                    self.block.entries.push(Entry { trace, verdict, group: number });
                }
                _ => left_out += 1,
            }
        }
        left_out
    }

    fn seed(&mut self, tenant: &Tenant) -> u64 {
        match &self.seed {
            Some((last, seed)) if last == tenant => *seed,
            _ => {
                let seed = Fingerprint::seed(tenant);
                self.seed = Some((tenant.clone(), seed));
                seed
            }
        }
    }

    pub(super) fn block(&self) -> &Block {
        &self.block
    }

    pub(super) fn is_empty(&self) -> bool {
        self.block.entries.is_empty()
    }

    /// Takes out what waits.
    pub(super) fn take(&mut self) -> Block {
        self.numbers = Numbers::default();
        std::mem::take(&mut self.block)
    }
}
