//! The index of traces that wait for their verdict: what was noted of each, and where its spans lie. Not the spans.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::notes::{Matches, TraceNote};
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

/// Numbers for tenants. There are few, and they stay.
#[derive(Default)]
pub(super) struct Tenants(Vec<Tenant>);

impl Tenants {
    /// The tenant's number. Beyond 65 535 tenants all others share the last number's name: receivers know far fewer.
    pub(super) fn number(&mut self, tenant: &Tenant) -> u16 {
        let known = self.0.iter().position(|t| t == tenant).unwrap_or_else(|| {
            self.0.push(tenant.clone());
            self.0.len() - 1
        });
        u16::try_from(known).unwrap_or(u16::MAX)
    }

    /// The number of a tenant that has one.
    pub(super) fn find(&self, tenant: &Tenant) -> Option<u16> {
        self.0.iter().position(|t| t == tenant).and_then(|number| u16::try_from(number).ok())
    }

    pub(super) fn name(&self, number: u16) -> Tenant {
        self.0.get(usize::from(number)).cloned().unwrap_or_default()
    }
}

/// What is known of a trace before its verdict.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) places: Places,
    pub(super) spans: u32,
    pub(super) bytes: u64,
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
    /// When it is to be decided, on the monotonic clock.
    pub(super) due: Duration,
    pub(super) has_root: bool,
    pub(super) randomness: Option<u64>,
    /// The rules in force at its first span, and what matched under them.
    pub(super) matches: Matches,
    /// Decided, and the verdict is on its way to the disk.
    pub(super) verdict: Option<Arc<Verdict>>,
}

impl Entry {
    pub(super) fn new(position: Position, note: &TraceNote, due: Duration) -> Self {
        Self {
            places: Places::from_slice(&[position]),
            spans: note.spans,
            bytes: note.bytes.into(),
            start_unix_nano: note.start_unix_nano,
            end_unix_nano: note.end_unix_nano,
            due,
            has_root: note.has_root,
            randomness: note.randomness,
            matches: note.matches.last().cloned().unwrap_or_default(),
            verdict: None,
        }
    }

    /// Adds what a further request told.
    pub(super) fn add(&mut self, position: Position, note: &TraceNote) {
        self.places.push(position);
        self.spans = self.spans.saturating_add(note.spans);
        self.bytes += u64::from(note.bytes);
        self.start_unix_nano = self.start_unix_nano.min(note.start_unix_nano);
        self.end_unix_nano = self.end_unix_nano.max(note.end_unix_nano);
        self.has_root |= note.has_root;
        self.randomness = self.randomness.or(note.randomness);
        if let Some(matches) = note.matches.iter().find(|m| m.version == self.matches.version) {
            self.matches.merge(matches);
        }
    }

    /// What it takes in memory, in bytes: itself in the map at a typical load, its places, its slots in the queues.
    pub(super) fn memory(&self) -> usize {
        let slot = size_of::<(Key, Self)>() * 8 / 7 + 1;
        let queues = 2 * size_of::<(Duration, Key)>() + size_of::<Key>();
        slot + queues + places_heap(&self.places) + self.matches.heap_bytes()
    }
}

/// The bytes of places that do not fit where they are.
pub(super) fn places_heap(places: &Places) -> usize {
    if places.spilled() { places.capacity() * size_of::<Position>() } else { 0 }
}

/// The entries by trace.
pub(super) type Entries = HashMap<Key, Entry, foldhash::fast::RandomState>;

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
