//! The index of traces that wait for their verdict: what was noted of each, and where its spans lie. Not the spans.
//!
//! There may be millions, so an entry is small: about a hundred bytes beside its places. What few traces need (many
//! conditions, counters, several services, a randomness of their own) is in a box beside it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use hashbrown::HashTable;

use super::Fingerprint;
use super::due::{Due, DueQueue};
use super::notes::{Matches, TraceNote};
use super::rules::Facts;
use super::services::{ServiceSpans, add_services};
use super::verdict::{Places, Verdict};
use crate::log::Position;
use crate::runtime::Tenant;
use crate::wire::TraceId;

/// A trace of a tenant; the tenant by its number in [`Tenants`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) tenant: u16,
    pub(super) trace_id: TraceId,
}

/// Numbers for tenants, and what each adds to its traces' fingerprints. There are few, and they stay.
#[derive(Default)]
pub(super) struct Tenants(Vec<(Tenant, u64)>);

impl Tenants {
    /// The tenant's number. Beyond 65 535 tenants all others share the last number's name: receivers know far fewer.
    pub(super) fn number(&mut self, tenant: &Tenant) -> u16 {
        let known = self.0.iter().position(|(t, _)| t == tenant).unwrap_or_else(|| {
            self.0.push((tenant.clone(), Fingerprint::seed(tenant)));
            self.0.len() - 1
        });
        u16::try_from(known).unwrap_or(u16::MAX)
    }

    /// The number of a tenant that has one.
    pub(super) fn find(&self, tenant: &Tenant) -> Option<u16> {
        self.0.iter().position(|(t, _)| t == tenant).and_then(|number| u16::try_from(number).ok())
    }

    pub(super) fn name(&self, number: u16) -> Tenant {
        self.0.get(usize::from(number)).map(|(tenant, _)| tenant.clone()).unwrap_or_default()
    }

    /// What stands for a trace among remembered verdicts.
    pub(super) fn fingerprint(&self, key: &Key) -> Fingerprint {
        let seed = self.0.get(usize::from(key.tenant)).map_or(0, |(_, seed)| *seed);
        Fingerprint::seeded(seed, &key.trace_id)
    }
}

/// What is known of a trace before its verdict.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) places: Places,
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
    /// The first 64 conditions that matched.
    bits: u64,
    extra: Option<Box<Extra>>,
    pub(super) bytes: u32,
    pub(super) spans: u32,
    pub(super) due: Due,
    /// The rules in force at its first span.
    pub(super) rules_version: u32,
    /// Its service, if there is one only.
    service: u16,
    pub(super) has_root: bool,
    /// A verdict is on its way to the disk: [`Entries::verdict`].
    pub(super) is_decided: bool,
    /// Spans came after that, before the verdict was in the log.
    pub(super) has_more: bool,
}

/// What few traces need.
#[derive(Clone, Debug, Default)]
struct Extra {
    randomness: Option<u64>,
    /// All that matched, where it is more than fits the entry.
    matches: Option<Matches>,
    /// Its services, where there are several.
    services: Vec<ServiceSpans>,
}

impl Extra {
    fn heap_bytes(&self) -> usize {
        size_of::<Self>()
            + self.services.capacity() * size_of::<ServiceSpans>()
            + self.matches.as_ref().map_or(0, Matches::heap_bytes)
    }
}

/// Whether an entry's 64 bits say it all.
fn fits_bits(matches: &Matches) -> bool {
    matches.bits.len() <= 1
        && matches.counts.is_empty()
        && matches.root.is_empty()
        && matches.captures.is_empty()
}

impl Entry {
    pub(super) fn new(position: Position, note: &TraceNote, due: Duration) -> Self {
        let matches = note.matches.last();
        let mut entry = Self {
            places: Places::from_slice(&[position]),
            spans: note.spans,
            bytes: note.bytes,
            start_unix_nano: note.start_unix_nano,
            end_unix_nano: note.end_unix_nano,
            due: Due::at(due),
            has_root: note.has_root,
            rules_version: matches.map_or(0, |m| m.version),
            bits: matches.and_then(|m| m.bits.first()).copied().unwrap_or(0),
            service: note.services.first().map_or(0, |s| s.service),
            extra: None,
            is_decided: false,
            has_more: false,
        };
        if let Some(matches) = matches.filter(|m| !fits_bits(m)) {
            entry.extra().matches = Some(matches.clone());
        }
        if note.randomness.is_some() {
            entry.extra().randomness = note.randomness;
        }
        if note.services.len() > 1 {
            entry.extra().services = note.services.to_vec();
        }
        entry
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Adds what a further request told.
    pub(super) fn add(&mut self, position: Position, note: &TraceNote) {
        self.has_more |= self.is_decided;
        self.add_services(&note.services);
        self.places.push(position);
        self.spans = self.spans.saturating_add(note.spans);
        self.bytes = self.bytes.saturating_add(note.bytes);
        self.start_unix_nano = self.start_unix_nano.min(note.start_unix_nano);
        self.end_unix_nano = self.end_unix_nano.max(note.end_unix_nano);
        self.has_root |= note.has_root;
        if note.randomness.is_some() && self.randomness().is_none() {
            self.extra().randomness = note.randomness;
        }
        if let Some(matches) = note.matches.iter().find(|m| m.version == self.rules_version) {
            self.bits |= matches.bits.first().copied().unwrap_or(0);
            if let Some(known) = self.extra.as_mut().and_then(|extra| extra.matches.as_mut()) {
                known.merge(matches);
            }
        }
    }

    /// Before the note's spans are added to its own.
    fn add_services(&mut self, more: &[ServiceSpans]) {
        let is_one = self.extra.as_ref().is_none_or(|extra| extra.services.is_empty());
        if is_one && more.iter().all(|s| s.service == self.service) {
            return;
        }
        let own = ServiceSpans { service: self.service, spans: self.spans };
        let services = &mut self.extra().services;
        if is_one {
            services.push(own);
        }
        add_services(services, more);
    }

    /// Its spans by service.
    pub(super) fn services(&self) -> smallvec::SmallVec<[ServiceSpans; 2]> {
        match &self.extra {
            Some(extra) if !extra.services.is_empty() => extra.services.iter().copied().collect(),
            _ => smallvec::smallvec![ServiceSpans { service: self.service, spans: self.spans }],
        }
    }

    /// Its spans are counted elsewhere.
    pub(super) fn forget_counts(&mut self) {
        self.spans = 0;
        if let Some(extra) = &mut self.extra {
            extra.services.clear();
        }
    }

    /// `rv` of its tracestate.
    fn randomness(&self) -> Option<u64> {
        self.extra.as_ref().and_then(|extra| extra.randomness)
    }

    /// What rules ask of the trace with this id: what matched is of those in force at its first span.
    pub(super) fn with_facts<T>(&self, trace_id: TraceId, tell: impl FnOnce(&Facts<'_>) -> T) -> T {
        let facts = |matches| Facts {
            trace_id,
            randomness: self.randomness(),
            duration_nano: self.end_unix_nano.saturating_sub(self.start_unix_nano),
            has_root: self.has_root,
            spans: self.spans,
            matches: Some(matches),
        };
        match self.extra.as_ref().and_then(|extra| extra.matches.as_ref()) {
            Some(matches) => tell(&facts(matches)),
            None => tell(&facts(&Matches {
                version: self.rules_version,
                bits: smallvec::smallvec![self.bits],
                ..Matches::default()
            })),
        }
    }

    /// What it takes in memory, in bytes: its slot, its place in the table, its times in the queue, what is beside it.
    pub(super) fn memory(&self) -> usize {
        let table = (size_of::<u32>() + 1) * 8 / 7 + 1;
        let queue = 2 * DueQueue::SLOT_BYTES;
        let beside = self.extra.as_ref().map_or(0, |extra| extra.heap_bytes());
        size_of::<Slot>() + table + queue + places_heap(&self.places) + beside
    }
}

/// The bytes of places that do not fit where they are.
pub(super) fn places_heap(places: &Places) -> usize {
    if places.spilled() { places.capacity() * size_of::<Position>() } else { 0 }
}

/// No slot.
const NONE: u32 = u32::MAX;
/// Slots are made in blocks, so that growing moves none.
const BLOCK: usize = 1024;

#[derive(Debug)]
struct Slot {
    key: Key,
    /// The slots that came before and after, in the order of first spans; of a free slot, `next` is the next free one.
    before: u32,
    next: u32,
    entry: Option<Entry>,
}

fn slot_in(blocks: &[Vec<Slot>], number: u32) -> Option<&Slot> {
    blocks.get(number as usize / BLOCK)?.get(number as usize % BLOCK)
}

/// The entries by trace, and in the order of their first spans.
pub(super) struct Entries {
    blocks: Vec<Vec<Slot>>,
    table: HashTable<u32>,
    hasher: foldhash::fast::RandomState,
    free: u32,
    oldest: u32,
    newest: u32,
    /// Verdicts on their way to the disk.
    verdicts: HashMap<u32, Arc<Verdict>, foldhash::fast::RandomState>,
}

impl Default for Entries {
    fn default() -> Self {
        Self {
            blocks: Vec::new(),
            table: HashTable::new(),
            hasher: foldhash::fast::RandomState::default(),
            free: NONE,
            oldest: NONE,
            newest: NONE,
            verdicts: HashMap::default(),
        }
    }
}

impl Entries {
    fn slot(&self, number: u32) -> Option<&Slot> {
        slot_in(&self.blocks, number)
    }

    fn slot_mut(&mut self, number: u32) -> Option<&mut Slot> {
        self.blocks.get_mut(number as usize / BLOCK)?.get_mut(number as usize % BLOCK)
    }

    /// The number of a trace's slot.
    pub(super) fn find(&self, key: &Key) -> Option<u32> {
        let is_it = |number: &u32| self.slot(*number).is_some_and(|slot| slot.key == *key);
        self.table.find(self.hasher.hash_one(key), is_it).copied()
    }

    /// The entry of a trace.
    pub(super) fn get(&self, key: &Key) -> Option<&Entry> {
        self.at(self.find(key)?).map(|(_, entry)| entry)
    }

    /// What is in a slot, if it is in use.
    pub(super) fn at(&self, number: u32) -> Option<(Key, &Entry)> {
        let slot = self.slot(number)?;
        Some((slot.key, slot.entry.as_ref()?))
    }

    /// The same, to be changed.
    pub(super) fn at_mut(&mut self, number: u32) -> Option<(Key, &mut Entry)> {
        let slot = self.slot_mut(number)?;
        Some((slot.key, slot.entry.as_mut()?))
    }

    /// Whether what is in a slot waits for its verdict, and is due at this time and no other.
    pub(super) fn is_due(&self, number: u32, due: Due) -> bool {
        self.at(number).is_some_and(|(_, entry)| entry.due == due && !entry.is_decided)
    }

    /// Puts in a trace that is not there, as the newest, and gives its slot.
    pub(super) fn insert(&mut self, key: Key, entry: Entry) -> u32 {
        let newest = self.newest;
        let number = self.take_free(Slot { key, before: newest, next: NONE, entry: Some(entry) });
        match self.slot_mut(newest) {
            Some(slot) => slot.next = number,
            None => self.oldest = number,
        }
        self.newest = number;
        let hash = self.hasher.hash_one(key);
        let (blocks, hasher) = (&self.blocks, &self.hasher);
        let hash_of = |number: &u32| slot_in(blocks, *number).map_or(0, |slot| hasher.hash_one(slot.key));
        self.table.insert_unique(hash, number, hash_of);
        number
    }

    fn take_free(&mut self, filled: Slot) -> u32 {
        let free = self.free;
        if let Some(slot) = self.slot_mut(free) {
            let next = slot.next;
            *slot = filled;
            self.free = next;
            return free;
        }
        if self.blocks.last().is_none_or(|block| block.len() == BLOCK) {
            self.blocks.push(Vec::with_capacity(BLOCK));
        }
        let before = (self.blocks.len() - 1) * BLOCK;
        match self.blocks.last_mut() {
            Some(block) => {
                block.push(filled);
                // The bound of memory is far below four thousand million entries.
                u32::try_from(before + block.len() - 1).unwrap_or(NONE)
            }
            None => NONE,
        }
    }

    /// Takes a trace out.
    pub(super) fn remove(&mut self, key: &Key) -> Option<Entry> {
        let hash = self.hasher.hash_one(key);
        let blocks = &self.blocks;
        let is_it = |number: &u32| slot_in(blocks, *number).is_some_and(|slot| slot.key == *key);
        let number = self.table.find_entry(hash, is_it).ok()?.remove().0;
        let free = self.free;
        let slot = self.slot_mut(number)?;
        let (entry, before, next) = (slot.entry.take(), slot.before, slot.next);
        slot.next = free;
        self.free = number;
        match self.slot_mut(before) {
            Some(slot) => slot.next = next,
            None => self.oldest = next,
        }
        match self.slot_mut(next) {
            Some(slot) => slot.before = before,
            None => self.newest = before,
        }
        self.verdicts.remove(&number);
        entry
    }

    /// Notes the verdict that is on its way to the disk.
    pub(super) fn decide(&mut self, number: u32, verdict: Arc<Verdict>) {
        if let Some((_, entry)) = self.at_mut(number) {
            entry.is_decided = true;
            self.verdicts.insert(number, verdict);
        }
    }

    /// The verdict that is on its way to the disk.
    pub(super) fn verdict(&self, key: &Key) -> Option<&Arc<Verdict>> {
        self.verdicts.get(&self.find(key)?)
    }

    /// The slots in the order of first spans, from the oldest on.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = (u32, Key, &Entry)> {
        std::iter::successors(Some(self.oldest), |number| Some(self.slot(*number)?.next))
            .map_while(|number| self.at(number).map(|(key, entry)| (number, key, entry)))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }
}

/// Which records of the log are still needed: how many traces have their first place there.
#[derive(Default)]
pub(super) struct Needed(BTreeMap<Position, u32>);

impl Needed {
    pub(super) fn hold(&mut self, places: &Places) {
        if let Some(first) = places.first() {
            *self.0.entry(*first).or_insert(0) += 1;
        }
    }

    pub(super) fn let_go(&mut self, places: &Places) {
        let Some(first) = places.first() else { return };
        if let Some(count) = self.0.get_mut(first) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(first);
            }
        }
    }

    /// The first record that is needed.
    pub(super) fn lowest(&self) -> Option<Position> {
        self.0.keys().next().copied()
    }
}
