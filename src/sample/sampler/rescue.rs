//! Dropped traces that are kept after all: a late error or pinned route asks for it, or somebody pins the trace.
//!
//! The sampler has forgotten where a dropped trace lies: it can only wish that somebody looks. What is found comes back
//! as a Rescue record, and acts when that is committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Sampler;
use crate::log::Position;
use crate::runtime::Tenant;
use crate::sample::index::{Entry, Key};
use crate::sample::notes::TraceNote;
use crate::sample::records::Decided;
use crate::sample::rules::Facts;
use crate::sample::services::{ServiceSpans, TraceServices, add_services};
use crate::sample::verdict::{KeptTrace, Pinned, Places, Rescue, Rescued, Verdict};
use crate::wire::TraceId;

/// Wishes that may be open. Beyond it the oldest is given up, and counted.
const WISHES_MAX: usize = 16 * 1024;

/// Wishes by trace.
#[derive(Default)]
pub(super) struct Rescues {
    wishes: BTreeMap<Key, Wish>,
    /// Not handed out yet.
    fresh: Vec<Key>,
}

struct Wish {
    verdict: Arc<Verdict>,
    /// While it is open, the log is needed from here on: after a crash that is what it is wished for by again.
    needed: Position,
    /// Late parts since it was wished: whoever looks the trace up may have looked before they came.
    late: Vec<Late>,
}

/// A late part of a dropped trace.
struct Late {
    place: Position,
    services: TraceServices,
    spans: u32,
    bytes: u32,
    start_unix_nano: u64,
    end_unix_nano: u64,
}

impl Late {
    fn new(place: Position, note: &TraceNote) -> Self {
        let TraceNote { spans, bytes, start_unix_nano, end_unix_nano, .. } = *note;
        Self { place, services: note.services.clone(), spans, bytes, start_unix_nano, end_unix_nano }
    }
}

impl Sampler {
    /// Remembers the late part of a dropped trace if a rescue is under way, and wishes for one if the rules say so.
    pub(super) fn wish_for(&mut self, key: Key, position: Position, note: &TraceNote, dropped: &Verdict) {
        if let Some(wish) = self.rescues.wishes.get_mut(&key) {
            wish.late.push(Late::new(position, note));
            return;
        }
        if let Some(verdict) = self.rescuing_verdict(key, note, dropped) {
            self.wish(key, verdict, position, vec![Late::new(position, note)]);
        }
    }

    /// What comes between a drop and its record in the log is part of the trace, and may be what would have kept it: the
    /// verdict stands, and a rescue is wished for. Read again, nobody knows what came when; what is as it was when it was
    /// decided asks for nothing.
    pub(super) fn reconsider(&mut self, key: Key, entry: &Entry, dropped: &Verdict) {
        let has_more = entry.has_more || !self.counting;
        if !has_more || self.rescues.wishes.contains_key(&key) {
            return;
        }
        let Some(rules) = self.rulebook.version(dropped.rules_version) else { return };
        let verdict = entry.with_facts(key.trace_id, |facts| rules.rescues(facts, &dropped.rule));
        if let (Some(verdict), Some(first)) = (verdict, entry.places.first()) {
            // Its spans are in the log, and found there.
            self.wish(key, verdict, *first, Vec::new());
        }
    }

    fn wish(&mut self, key: Key, verdict: Verdict, needed: Position, late: Vec<Late>) {
        if self.rescues.wishes.len() >= WISHES_MAX
            && let Some(oldest) = self.rescues.wishes.keys().next().copied()
        {
            self.end_wish(&oldest);
            self.stats.rescues_missed += 1;
        }
        self.needed.hold(&Places::from_slice(&[needed]));
        let verdict = self.decisions.share(verdict);
        self.rescues.wishes.insert(key, Wish { verdict, needed, late });
        self.rescues.fresh.push(key);
    }

    /// Ends a wish, and gives the late parts that came meanwhile.
    fn end_wish(&mut self, key: &Key) -> Option<Vec<Late>> {
        let Wish { late, needed, .. } = self.rescues.wishes.remove(key)?;
        self.needed.let_go(&Places::from_slice(&[needed]));
        Some(late)
    }

    fn rescuing_verdict(&self, key: Key, note: &TraceNote, dropped: &Verdict) -> Option<Verdict> {
        let matches = note.matches.iter().find(|m| m.version == dropped.rules_version);
        let matches = matches.or(note.matches.last())?;
        let facts = Facts {
            trace_id: key.trace_id,
            randomness: note.randomness,
            duration_nano: note.end_unix_nano.saturating_sub(note.start_unix_nano),
            has_root: note.has_root,
            spans: note.spans,
            matches: Some(matches),
        };
        self.rulebook.version(matches.version)?.rescues(&facts, &dropped.rule)
    }

    /// The dropped traces that are to be looked up in the log since the last call. Whoever finds one brings it back with
    /// a Rescue record; one that cannot be found is given up with [`Sampler::forget_rescue`].
    pub fn take_rescues(&mut self) -> Vec<Rescue> {
        let fresh = std::mem::take(&mut self.rescues.fresh);
        let rescue = |key: Key| {
            let wish = self.rescues.wishes.get(&key)?;
            let tenant = self.tenants.name(key.tenant);
            Some(Rescue { tenant, trace_id: key.trace_id, verdict: wish.verdict.clone() })
        };
        fresh.into_iter().filter_map(rescue).collect()
    }

    /// A trace that was to be rescued is not in the log any more: it stays dropped.
    pub fn forget_rescue(&mut self, tenant: &Tenant, trace_id: TraceId) {
        let key = Key { tenant: self.tenants.number(tenant), trace_id };
        if self.end_wish(&key).is_some() {
            self.stats.rescues_missed += 1;
        }
    }

    /// Somebody wants the trace kept. If it is pending the verdict is given at the next tick.
    pub fn pin(&mut self, tenant: &Tenant, trace_id: TraceId, verdict: Verdict) -> Pinned {
        let key = Key { tenant: self.tenants.number(tenant), trace_id };
        if let Some(slot) = self.entries.find(&key) {
            if let Some(decided) = self.entries.verdict(&key) {
                return if decided.keep { Pinned::Kept(decided.clone()) } else { Pinned::NotHere };
            }
            let memory = self.entries.at(slot).map_or(0, |(_, entry)| entry.memory());
            self.pending_memory = self.pending_memory.saturating_sub(memory);
            let verdict = self.decisions.share(verdict);
            self.entries.decide(slot, verdict.clone());
            self.again.push(Decided { tenant: tenant.clone(), trace_id, verdict, up_to: Position(0) });
            return Pinned::Decided;
        }
        match self.decisions.get(self.tenants.fingerprint(&key)) {
            Some(decided) if decided.keep => Pinned::Kept(decided.clone()),
            _ => Pinned::NotHere,
        }
    }

    /// Acts on traces that were found again and are in a Rescue record at `position`: they are kept from now on.
    pub fn apply_rescue(&mut self, position: Position, rescued: &[Rescued], now: Duration) {
        self.applies(position);
        for found in rescued {
            let key = Key { tenant: self.tenants.number(&found.tenant), trace_id: found.trace_id };
            let late = self.end_wish(&key);
            // Found twice, by a pin and a late error: the first brought it all.
            if self.decisions.get(self.tenants.fingerprint(&key)).is_some_and(|known| known.keep) {
                continue;
            }
            // Late spans may have asked to record the drop again: not any more.
            self.again.retain(|other| other.trace_id != found.trace_id || other.tenant != found.tenant);
            let verdict = self.decisions.share(Verdict::clone(&found.verdict));
            self.decisions.replace(self.tenants.fingerprint(&key), &verdict);
            // What came late is found too, unless it came after the search.
            let mut late = late.unwrap_or_default();
            late.retain(|part| !found.places.contains(&part.place));
            let mut places = found.places.clone();
            places.extend(late.iter().map(|part| part.place));
            // Still in the index: it came back after it was forgotten. Its spans are among those found.
            let mut known = Vec::new();
            if let Some(entry) = self.take_entry(&key) {
                self.needed.let_go(&entry.places);
                places.extend(entry.places.iter().copied());
                known = entry.services().to_vec();
            }
            places.sort_unstable();
            places.dedup();
            if self.counting {
                self.stats.rescued.add(found.spans);
            }
            let late_spans: u32 = late.iter().map(|part| part.spans).sum();
            let mut services = self.numbered(&found.services).to_vec();
            late.iter().for_each(|part| add_services(&mut services, &part.services));
            let again: Vec<_> = services
                .iter()
                .map(|one| {
                    let here = known.iter().find(|k| k.service == one.service).map_or(0, |k| k.spans);
                    ServiceSpans { spans: one.spans.saturating_sub(here), ..*one }
                })
                .collect();
            if let Some(mut open) = self.balance.at(position) {
                open.rescued(key.tenant, &again);
            }
            self.needed.hold(&places);
            let trace = KeptTrace {
                tenant: found.tenant.clone(),
                trace_id: found.trace_id,
                places,
                spans: found.spans.saturating_add(late_spans),
                bytes: found.bytes + late.iter().map(|part| u64::from(part.bytes)).sum::<u64>(),
                start_unix_nano: late
                    .iter()
                    .fold(found.start_unix_nano, |start, part| start.min(part.start_unix_nano)),
                end_unix_nano: late.iter().fold(found.end_unix_nano, |end, part| end.max(part.end_unix_nano)),
                services: services.into(),
                verdict,
            };
            self.push_kept(trace, now);
        }
    }

    fn numbered(&self, services: &[(Arc<str>, u32)]) -> TraceServices {
        let mut numbered = Vec::new();
        for (name, spans) in services {
            let service = self.rulebook.services().number(name);
            add_services(&mut numbered, &[ServiceSpans { service, spans: *spans }]);
        }
        numbered.into()
    }

    /// What is remembered of a trace that was decided.
    pub fn verdict(&self, tenant: &Tenant, trace_id: &TraceId) -> Option<Arc<Verdict>> {
        let key = Key { tenant: self.tenants.find(tenant)?, trace_id: *trace_id };
        self.entries.verdict(&key).or_else(|| self.decisions.get(self.tenants.fingerprint(&key))).cloned()
    }
}
