//! The state machine: notes in, verdicts and batches out. No I/O, no clock, no thread.
//!
//! It is fed with the committed records of the log in their order, live and at start alike:
//!
//! - spans → [`Sampler::observe`]: a trace is pending, or inherits its verdict.
//! - [`Sampler::tick`] decides what is due. The decisions become a Verdicts record, and act when that is committed:
//!   [`Sampler::apply_verdicts`]. Spans that come in between still count as the trace's own.
//! - [`Sampler::next_batch`] plans a batch. The plan becomes a Flush record; committed, [`Sampler::apply_flush`] makes the
//!   batch that is to be written.
//! - the batch is in the table → a Done record → [`Sampler::apply_done`]: the log may forget its spans.

mod batches;
mod checkpoint;
mod live;
mod losses;
mod rescue;
mod seed;
mod stats;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use batches::BatchPolicy;
use batches::Planned;
pub use checkpoint::Checkpoint;
use rescue::Rescues;
pub use seed::Waiting;
pub use stats::{SamplerStats, Tally};

use super::actions::Limiter;
use super::balance::Balance;
use super::decisions::Decisions;
use super::due::{Due, DueQueue};
use super::index::{Entries, Entry, Key, Needed, Tenants, places_heap};
use super::notes::{Notes, TraceNote};
use super::records::Decided;
use super::rules::{RuleSet, Rulebook};
use super::verdict::{Batch, KeptTrace, Places, Verdict};
use crate::log::Position;
use crate::runtime::Tenant;

/// Bounds of the sampler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SamplerConfig {
    /// What pending traces, and kept ones that are not stored, may take, in bytes. Beyond it the oldest are decided early.
    pub index_bytes_max: usize,
    /// What verdicts remembered for late spans may take, in bytes.
    pub decisions_bytes_max: usize,
    /// A trace with more than this is decided at once, in bytes on the wire. What comes later is late, and goes into batches
    /// of its own: no trace makes a batch too large to be written.
    pub trace_bytes_max: u32,
    /// What the rate action's buckets may take, in bytes.
    pub limiter_bytes_max: usize,
    /// What the loss ledger's accounts may take, in bytes.
    pub losses_bytes_max: usize,
    /// Keep everything, whatever the rules say.
    pub debug: bool,
}

impl Default for SamplerConfig {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            index_bytes_max: 256 * MIB,
            decisions_bytes_max: 64 * MIB,
            trace_bytes_max: 32 * MIB as u32,
            limiter_bytes_max: 4 * MIB,
            losses_bytes_max: 16 * MIB,
            debug: false,
        }
    }
}

/// Decisions in one record, at most: bounds how long one tick takes.
const DECISIONS_MAX: usize = 8192;
/// Traces that are looked up together: what is fetched of them fits the nearest cache.
const AHEAD: usize = 32;
/// How long rules stay after new ones came: longer than a request takes from its scan to the log.
const RULES_STAY: Duration = Duration::from_secs(60);

/// The sampler's state. Bounded by [`SamplerConfig`].
pub struct Sampler {
    config: SamplerConfig,
    rulebook: Arc<Rulebook>,
    limiter: Limiter,
    tenants: Tenants,
    entries: Entries,
    /// When the traces in the slots are due. A trace whose time changed is in it twice; the entry knows which one holds. A
    /// slot may hold another trace by then: if that is due at the same time, it may as well be decided for it.
    due: DueQueue,
    decisions: Decisions,
    kept: VecDeque<KeptTrace>,
    /// Their spans' bytes on the wire.
    kept_bytes: u64,
    kept_since: Option<Duration>,
    /// A batch whose Flush record is on its way to the disk.
    planned: Option<Planned>,
    in_flight: BTreeMap<u64, Arc<Batch>>,
    next_batch_id: u64,
    needed: Needed,
    applied: Position,
    pending_memory: usize,
    kept_memory: usize,
    /// What became of every span.
    balance: Balance,
    stats: SamplerStats,
    counting: bool,
    /// The waits of the version asked for last.
    known_waits: (u32, Duration, Duration),
    /// The rules in force, and since when they have been seen to be.
    rules_since: (u32, Duration),
    /// Dropped traces that are to be kept after all, as soon as they are found in the log.
    rescues: Rescues,
    /// Verdicts to be recorded again, behind late spans that they hold for: the log may have forgotten the first record.
    again: Vec<Decided>,
}

impl Sampler {
    /// An empty sampler, for replay: it does not count what it is fed until [`Sampler::go_live`].
    pub fn new(config: SamplerConfig, rulebook: Arc<Rulebook>) -> Self {
        let balance = Balance::new(config.losses_bytes_max);
        Self {
            limiter: Limiter::new(config.limiter_bytes_max),
            decisions: Decisions::new(config.decisions_bytes_max),
            config,
            rulebook,
            tenants: Tenants::default(),
            entries: Entries::default(),
            due: DueQueue::default(),
            kept: VecDeque::new(),
            kept_bytes: 0,
            kept_since: None,
            planned: None,
            in_flight: BTreeMap::new(),
            next_batch_id: 1,
            needed: Needed::default(),
            applied: Position(0),
            pending_memory: 0,
            kept_memory: 0,
            balance,
            stats: SamplerStats::default(),
            counting: false,
            known_waits: (u32::MAX, Duration::ZERO, Duration::ZERO),
            rules_since: (0, Duration::ZERO),
            rescues: Rescues::default(),
            again: Vec::new(),
        }
    }

    /// Replay is over. Gives the batches that were under way: they have to be written again under their ids.
    pub fn go_live(&mut self) -> Vec<Arc<Batch>> {
        self.counting = true;
        // Requests that were scanned before a change of rules were so before the restart.
        self.retire_before_oldest(self.rulebook.current().version());
        self.stats.spans_lost_in_log = self.balance.settle(&self.outstanding());
        self.in_flight.values().cloned().collect()
    }

    /// Takes the notes of a committed record of spans. `age` is how long ago the record was received: zero live.
    pub fn observe(
        &mut self,
        position: Position,
        tenant: &Tenant,
        notes: &Notes,
        now: Duration,
        age: Duration,
    ) {
        self.applies(position);
        if self.counting {
            self.stats.spans_received += u64::from(notes.spans);
        }
        let tenant = self.tenants.number(tenant);
        if let Some(mut open) = self.balance.at(position) {
            notes.traces.iter().for_each(|note| open.received(tenant, &note.services));
        }
        for notes in notes.traces.chunks(AHEAD) {
            self.fetch(notes.iter().map(|note| Key { tenant, trace_id: note.trace_id }));
            for note in notes {
                let key = Key { tenant, trace_id: note.trace_id };
                match self.entries.find(&key) {
                    Some(slot) => self.observe_more(slot, position, note, now, age),
                    None => match self.decisions.get(self.tenants.fingerprint(&key)).cloned() {
                        Some(verdict) => self.observe_late(key, position, note, &verdict, now),
                        None => self.observe_new(key, position, note, now, age),
                    },
                }
            }
        }
    }

    /// Looks traces up for nothing but that the memory about them is near when it is asked for. Each lies anywhere, and to
    /// wait for it is most of what a trace costs here: lookups in a row that do not depend on each other wait together.
    fn fetch(&self, keys: impl Iterator<Item = Key>) {
        for key in keys {
            let place = self.entries.get(&key).and_then(|entry| entry.places.first());
            std::hint::black_box((place, self.decisions.get(self.tenants.fingerprint(&key)).is_some()));
        }
    }

    /// A record is about to be applied.
    fn applies(&mut self, position: Position) {
        self.applied = self.applied.max(position);
        self.stats.records_applied += u64::from(self.counting);
    }

    fn observe_new(&mut self, key: Key, position: Position, note: &TraceNote, now: Duration, age: Duration) {
        let version = note.matches.last().map_or(0, |m| m.version);
        let (wait, after_root) = self.waits(version);
        let wait = if note.has_root { wait.min(after_root) } else { wait };
        let entry = Entry::new(position, note, (now + wait).saturating_sub(age));
        self.pending_memory += entry.memory();
        self.needed.hold(&entry.places);
        let due = entry.due;
        let slot = self.entries.insert(key, entry);
        self.due.push(due, slot);
    }

    fn observe_more(
        &mut self,
        slot: u32,
        position: Position,
        note: &TraceNote,
        now: Duration,
        age: Duration,
    ) {
        let Some((_, entry)) = self.entries.at_mut(slot) else { return };
        let before = entry.memory();
        entry.add(position, note);
        if !entry.is_decided {
            self.pending_memory += entry.memory().saturating_sub(before);
        }
        let is_giant = entry.bytes > self.config.trace_bytes_max && !entry.is_decided;
        let version = entry.rules_version;
        if !note.has_root && !is_giant {
            return;
        }
        let wait = if is_giant { Duration::ZERO } else { self.waits(version).1 };
        let due = Due::at((now + wait).saturating_sub(age));
        if let Some((_, entry)) = self.entries.at_mut(slot)
            && due < entry.due
        {
            entry.due = due;
            self.due.push(due, slot);
        }
    }

    /// How long traces under a version of the rules wait: from their first span, and from their root.
    fn waits(&mut self, version: u32) -> (Duration, Duration) {
        if self.known_waits.0 != version {
            let rules = rules_of(&self.rulebook, version);
            self.known_waits = (version, rules.wait(), rules.after_root());
        }
        (self.known_waits.1, self.known_waits.2)
    }

    fn observe_late(
        &mut self,
        key: Key,
        position: Position,
        note: &TraceNote,
        verdict: &Arc<Verdict>,
        now: Duration,
    ) {
        if self.counting {
            self.stats.count_late(verdict, note.spans);
            let (tenant, verdict) = (self.tenants.name(key.tenant), verdict.clone());
            self.again.push(Decided { tenant, trace_id: key.trace_id, verdict, up_to: Position(0) });
        }
        if !verdict.keep {
            if let Some(mut open) = self.balance.at(position) {
                open.decided(key.tenant, &note.services, verdict);
            }
            self.wish_for(key, position, note, verdict);
            return;
        }
        let verdict = self.decisions.share(Verdict { late: true, ..Verdict::clone(verdict) });
        let entry = Entry::new(position, note, now);
        self.needed.hold(&entry.places);
        self.keep(key, entry, verdict, now);
    }

    /// Decides what is due, and the oldest beyond the bound of memory. The caller writes the decisions to the log and gives
    /// them back with [`Sampler::apply_verdicts`] once they are committed. `None` when nothing is to be decided; call again
    /// until then.
    pub fn tick(&mut self, now: Duration) -> Option<Vec<Decided>> {
        let mut decided = std::mem::take(&mut self.again);
        if self.pending_memory + self.kept_memory > self.config.index_bytes_max {
            self.decide_oldest(now, &mut decided);
        }
        while decided.len() < DECISIONS_MAX
            && let Some((due, slot)) = self.due.pop(now)
        {
            if self.entries.is_due(slot, due) {
                self.decide(slot, now, false, &mut decided);
            }
        }
        self.forget_due();
        (!decided.is_empty()).then_some(decided)
    }

    /// Traces that were decided early are still in the queue of times: drops them before they are most of it.
    fn forget_due(&mut self) {
        if self.due.len() > 2 * self.entries.len() + DECISIONS_MAX {
            let entries = &self.entries;
            self.due.retain(|due, slot| entries.is_due(slot, due));
        }
    }

    /// Decides the oldest, until what waits is within the bound.
    fn decide_oldest(&mut self, now: Duration, decided: &mut Vec<Decided>) {
        let mut excess = (self.pending_memory + self.kept_memory).saturating_sub(self.config.index_bytes_max);
        let mut oldest = Vec::new();
        for (slot, _, entry) in self.entries.oldest_first().filter(|(_, _, entry)| !entry.is_decided) {
            if excess == 0 || decided.len() + oldest.len() >= DECISIONS_MAX {
                break;
            }
            oldest.push(slot);
            excess = excess.saturating_sub(entry.memory());
        }
        oldest.into_iter().for_each(|slot| self.decide(slot, now, true, decided));
    }

    fn decide(&mut self, slot: u32, now: Duration, early: bool, decided: &mut Vec<Decided>) {
        let Some((key, entry)) = self.entries.at(slot).filter(|(_, entry)| !entry.is_decided) else { return };
        let verdict = if self.config.debug {
            debug_verdict(entry.rules_version)
        } else {
            let rules = rules_of(&self.rulebook, entry.rules_version);
            entry.with_facts(key.trace_id, |facts| rules.decide(facts, &mut self.limiter, now))
        };
        // Its memory counts until it leaves the index; what cannot be decided again must not be counted as too much.
        self.pending_memory = self.pending_memory.saturating_sub(entry.memory());
        let verdict = self.decisions.share(Verdict { early, ..verdict });
        self.entries.decide(slot, verdict.clone());
        let tenant = self.tenants.name(key.tenant);
        decided.push(Decided { tenant, trace_id: key.trace_id, verdict, up_to: Position(0) });
    }

    /// Acts on verdicts that are in the log at `position`: kept traces go on to the store, dropped ones are let go.
    pub fn apply_verdicts(&mut self, position: Position, decided: &[Decided], now: Duration) {
        self.applies(position);
        for decided in decided.chunks(AHEAD) {
            let keys = decided.iter().map(|d| (self.tenants.find(&d.tenant), d.trace_id));
            self.fetch(keys.filter_map(|(tenant, trace_id)| Some(Key { tenant: tenant?, trace_id })));
            decided.iter().for_each(|decision| self.apply_verdict(position, decision, now));
        }
        self.retire_rules(now);
    }

    fn apply_verdict(&mut self, position: Position, decision: &Decided, now: Duration) {
        let key = Key { tenant: self.tenants.number(&decision.tenant), trace_id: decision.trace_id };
        let verdict = self.settled(&key, decision);
        let Some(entry) = self.take_entry(&key) else { return };
        if self.counting {
            self.stats.count_verdict(&verdict, entry.spans);
        }
        if let Some(mut open) = self.balance.at(position) {
            open.decided(key.tenant, &entry.services(), &verdict);
        }
        if verdict.keep {
            self.keep(key, entry, verdict, now);
        } else {
            self.reconsider(key, &entry, &verdict);
            self.needed.let_go(&entry.places);
        }
    }

    /// The verdict that holds when a record says this one. A trace that was kept after all stays kept: a drop that was on
    /// its way to the log by then is answered by recording the other once more, behind it.
    fn settled(&mut self, key: &Key, decision: &Decided) -> Arc<Verdict> {
        let trace = self.tenants.fingerprint(key);
        match self.decisions.get(trace).cloned() {
            Some(known) if known.keep && !decision.verdict.keep => {
                let (tenant, verdict) = (decision.tenant.clone(), known.clone());
                self.again.push(Decided { verdict, tenant, trace_id: key.trace_id, up_to: Position(0) });
                known
            }
            Some(known) if !known.keep && decision.verdict.keep => {
                self.decisions.replace(trace, &decision.verdict);
                decision.verdict.clone()
            }
            _ => {
                self.decisions.insert(trace, &decision.verdict);
                decision.verdict.clone()
            }
        }
    }

    fn take_entry(&mut self, key: &Key) -> Option<Entry> {
        let entry = self.entries.remove(key)?;
        if !entry.is_decided {
            self.pending_memory = self.pending_memory.saturating_sub(entry.memory());
        }
        Some(entry)
    }

    /// Rules that no pending trace began under are not needed any more. Traces leave in the order they came, nearly: the
    /// oldest one still here tells.
    ///
    /// A request that was scanned just before new rules came may be committed after: old rules stay for a while.
    fn retire_rules(&mut self, now: Duration) {
        let current = self.rulebook.current().version();
        if self.rules_since.0 != current {
            self.rules_since = (current, now);
        }
        if now.saturating_sub(self.rules_since.1) < RULES_STAY {
            return;
        }
        self.retire_before_oldest(current);
    }

    /// `current` are the rules in force.
    fn retire_before_oldest(&self, current: u32) {
        let oldest = self.entries.oldest_first().next().map(|(_, _, entry)| entry.rules_version);
        self.rulebook.retire_before(oldest.unwrap_or(current));
    }

    fn keep(&mut self, key: Key, entry: Entry, verdict: Arc<Verdict>, now: Duration) {
        let trace = KeptTrace {
            tenant: self.tenants.name(key.tenant),
            trace_id: key.trace_id,
            services: entry.services(),
            spans: entry.spans,
            bytes: entry.bytes.into(),
            start_unix_nano: entry.start_unix_nano,
            end_unix_nano: entry.end_unix_nano,
            places: entry.places,
            verdict,
        };
        self.push_kept(trace, now);
    }

    fn push_kept(&mut self, trace: KeptTrace, now: Duration) {
        self.kept_memory += kept_memory(&trace.places);
        self.kept_bytes += trace.bytes;
        self.kept.push_back(trace);
        self.kept_since.get_or_insert(now);
    }

    /// When the next trace is due, on the monotonic clock.
    pub fn next_due(&self) -> Option<Duration> {
        self.due.first().map(Due::time)
    }

    /// Whether kept traces that cannot be stored take so much that no more should be taken in.
    pub fn is_full(&self) -> bool {
        self.kept_memory > self.config.index_bytes_max / 2
    }

    /// No span before this position of the log is needed here any more.
    pub fn low_watermark(&self) -> Position {
        self.needed.lowest().unwrap_or(self.applied)
    }

    /// The counters, and the gauges as of now.
    pub fn stats(&self) -> SamplerStats {
        let in_flight: usize = self.in_flight.values().map(|batch| batch.traces.len()).sum();
        SamplerStats {
            pending_traces: self.entries.len() as u64,
            kept_traces_not_stored: (self.kept.len() + in_flight) as u64,
            index_bytes: (self.pending_memory + self.kept_memory) as u64,
            decisions: self.decisions.len() as u64,
            decisions_bytes: self.decisions.bytes() as u64,
            losses_bytes: self.balance.bytes() as u64,
            ..self.stats.clone()
        }
    }
}

fn rules_of(rulebook: &Rulebook, version: u32) -> Arc<RuleSet> {
    rulebook.version(version).unwrap_or_else(|| rulebook.current())
}

fn debug_verdict(rules_version: u32) -> Verdict {
    Verdict {
        keep: true,
        rule: "trace-debug".into(),
        rules_version,
        retention: "default".into(),
        threshold: None,
        erase_threshold: false,
        early: false,
        late: false,
        debug: true,
    }
}

fn kept_memory(places: &Places) -> usize {
    size_of::<KeptTrace>() + places_heap(places)
}
