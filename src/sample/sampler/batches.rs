//! Kept traces, on their way into the table in batches: planned, flushed, done.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::{Sampler, kept_memory};
use crate::log::Position;
use crate::sample::index::Key;
use crate::sample::records::{Decided, Done, Flush};
use crate::sample::services::add_services;
use crate::sample::verdict::{Batch, KeptTrace, Places};

/// When kept traces become a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchPolicy {
    /// As soon as there are so many bytes of spans; a batch takes about so many.
    pub bytes: u64,
    /// As soon as the oldest has waited so long.
    pub age: Duration,
}

impl BatchPolicy {
    /// Whatever there is, now.
    pub fn at_once(self) -> Self {
        Self { age: Duration::ZERO, ..self }
    }
}

/// A batch whose Flush record is on its way to the disk.
#[derive(Debug)]
pub(super) struct Planned {
    flush: Arc<Flush>,
    /// The record was refused, and has to be written again.
    refused: bool,
}

impl Sampler {
    /// Plans the next batch, one at a time: what its Flush record is to say. `None` while one is under way, or
    /// too little waits. Nothing moves until the record is committed: [`Sampler::apply_flush`].
    ///
    /// The table takes an id that it has seen for a batch that it has, so ids must grow even over a restart with a log
    /// that holds no batch any more. Positions of the log do: each batch is followed by records of its own, so the last
    /// position applied is beyond every id given before.
    pub fn next_batch(&mut self, now: Duration, policy: BatchPolicy) -> Option<Arc<Flush>> {
        if !self.in_flight.is_empty() {
            return None;
        }
        if let Some(planned) = &mut self.planned {
            return std::mem::take(&mut planned.refused).then(|| planned.flush.clone());
        }
        let waited = now.saturating_sub(self.kept_since?);
        if self.kept_bytes < policy.bytes && waited < policy.age {
            return None;
        }
        let batch = self.next_batch_id.max(self.applied.0);
        let flush = Arc::new(Flush { batch, traces: self.plan(policy.bytes) });
        self.planned = Some(Planned { flush: flush.clone(), refused: false });
        Some(flush)
    }

    /// The traces at the front of the queue, up to so many bytes, each once with its last place.
    fn plan(&self, bytes_max: u64) -> Vec<Decided> {
        let mut plan: Vec<Decided> = Vec::new();
        let mut known: HashMap<_, usize, foldhash::fast::RandomState> = HashMap::default();
        let mut bytes = 0;
        for trace in &self.kept {
            if bytes >= bytes_max.max(1) {
                break;
            }
            bytes += trace.bytes;
            let up_to = trace.places.last().copied().unwrap_or_default();
            match known.get(&(&trace.tenant, trace.trace_id)) {
                Some(index) => plan[*index].up_to = plan[*index].up_to.max(up_to),
                None => {
                    known.insert((&trace.tenant, trace.trace_id), plan.len());
                    let (tenant, verdict) = (trace.tenant.clone(), trace.verdict.clone());
                    plan.push(Decided { tenant, trace_id: trace.trace_id, verdict, up_to });
                }
            }
        }
        plan
    }

    /// The Flush record of the planned batch could not be written: [`Sampler::next_batch`] gives it again. The very same:
    /// a record that was refused may yet be read in replay.
    pub fn flush_refused(&mut self) {
        if let Some(planned) = &mut self.planned {
            planned.refused = true;
        }
    }

    /// A Flush record is committed: the batch that is to be written to the table.
    ///
    /// In replay a trace may still be pending here, because its verdict was in a segment that is gone: the record carries
    /// the verdict, and the places it names are the batch's.
    pub fn apply_flush(&mut self, position: Position, flush: &Flush) -> Arc<Batch> {
        self.applies(position);
        self.planned = None;
        self.next_batch_id = self.next_batch_id.max(flush.batch.saturating_add(1));
        if let Some(known) = self.in_flight.get(&flush.batch) {
            return known.clone();
        }
        let wanted: HashMap<Key, &Decided, foldhash::fast::RandomState> = flush
            .traces
            .iter()
            .map(|t| (Key { tenant: self.tenants.number(&t.tenant), trace_id: t.trace_id }, t))
            .collect();
        let mut taken: HashMap<Key, KeptTrace, foldhash::fast::RandomState> = HashMap::default();
        let mut left = std::collections::VecDeque::with_capacity(self.kept.len());
        for trace in std::mem::take(&mut self.kept) {
            let tenant = self.tenants.number(&trace.tenant);
            let key = Key { tenant, trace_id: trace.trace_id };
            match wanted.get(&key) {
                Some(flushed) if trace.places.first().is_some_and(|first| *first <= flushed.up_to) => {
                    self.kept_memory = self.kept_memory.saturating_sub(kept_memory(&trace.places));
                    self.kept_bytes = self.kept_bytes.saturating_sub(trace.bytes);
                    let (trace, rest) = self.split_kept(trace, flushed.up_to);
                    self.join(&mut taken, key, trace);
                    if let Some(rest) = rest {
                        self.kept_memory += kept_memory(&rest.places);
                        left.push_back(rest);
                    }
                }
                _ => left.push_back(trace),
            }
        }
        self.kept = left;
        self.kept_since = self.kept_since.filter(|_| !self.kept.is_empty());
        // In the record's order, so that every replay is the same.
        for flushed in &flush.traces {
            let key = &Key { tenant: self.tenants.number(&flushed.tenant), trace_id: flushed.trace_id };
            self.decisions.insert(self.tenants.fingerprint(key), &flushed.verdict);
            if let Some(trace) = self.split_pending(key, flushed) {
                self.join(&mut taken, *key, trace);
            }
        }
        let mut traces: Vec<_> = taken.into_values().collect();
        traces.sort_by(|a, b| (&a.tenant, a.trace_id).cmp(&(&b.tenant, b.trace_id)));
        let batch = Arc::new(Batch { id: flush.batch, traces });
        self.in_flight.insert(batch.id, batch.clone());
        batch
    }

    /// Parts of one trace become one in the batch.
    fn join(
        &mut self,
        taken: &mut HashMap<Key, KeptTrace, foldhash::fast::RandomState>,
        key: Key,
        part: KeptTrace,
    ) {
        let Some(whole) = taken.get_mut(&key) else {
            taken.insert(key, part);
            return;
        };
        self.needed.let_go(&whole.places);
        self.needed.let_go(&part.places);
        whole.places.extend(part.places);
        whole.places.sort_unstable();
        whole.places.dedup();
        self.needed.hold(&whole.places);
        let mut services = whole.services.to_vec();
        add_services(&mut services, &part.services);
        whole.services = services.into();
        whole.spans = whole.spans.saturating_add(part.spans);
        whole.bytes += part.bytes;
        whole.start_unix_nano = whole.start_unix_nano.min(part.start_unix_nano);
        whole.end_unix_nano = whole.end_unix_nano.max(part.end_unix_nano);
        if whole.verdict.late && !part.verdict.late {
            whole.verdict = part.verdict;
        }
    }

    /// Parts a kept trace at the last place that a Flush record names. Live, what lies behind it is a part of its own; in
    /// replay, both may have been gathered before one verdict.
    fn split_kept(&mut self, mut trace: KeptTrace, up_to: Position) -> (KeptTrace, Option<KeptTrace>) {
        let behind: Places = trace.places.iter().copied().filter(|place| *place > up_to).collect();
        if behind.is_empty() {
            return (trace, None);
        }
        self.needed.let_go(&trace.places);
        trace.places.retain(|place| *place <= up_to);
        self.needed.hold(&trace.places);
        self.needed.hold(&behind);
        // How many of the spans lie in which part is not known: all are counted with the first.
        let rest =
            KeptTrace { places: behind, spans: 0, bytes: 0, services: Default::default(), ..trace.clone() };
        (trace, Some(rest))
    }

    /// Replay only: takes the places that a Flush record names out of a trace that seems pending.
    fn split_pending(&mut self, key: &Key, flushed: &Decided) -> Option<KeptTrace> {
        let mut entry = self.take_entry(key)?;
        let (stored, rest): (Places, Places) =
            entry.places.iter().copied().partition(|place| *place <= flushed.up_to);
        self.needed.let_go(&entry.places);
        self.needed.hold(&stored);
        let part = KeptTrace {
            tenant: flushed.tenant.clone(),
            trace_id: flushed.trace_id,
            places: stored,
            // How many of the spans lie in which part is not known: all are counted with the first.
            spans: entry.spans,
            services: entry.services(),
            bytes: entry.bytes.into(),
            start_unix_nano: entry.start_unix_nano,
            end_unix_nano: entry.end_unix_nano,
            verdict: flushed.verdict.clone(),
        };
        if !rest.is_empty() {
            entry.places = rest;
            entry.forget_counts();
            self.needed.hold(&entry.places);
            // Its verdict is known now, and it is to be kept.
            self.keep(*key, entry, flushed.verdict.clone(), Duration::ZERO);
        }
        (!part.places.is_empty()).then_some(part)
    }

    /// A Done record is committed: the batch is in the table.
    pub fn apply_done(&mut self, position: Position, done: &Done) {
        self.applies(position);
        self.next_batch_id = self.next_batch_id.max(done.batch.saturating_add(1));
        let Some(batch) = self.in_flight.remove(&done.batch) else { return };
        for trace in &batch.traces {
            self.needed.let_go(&trace.places);
        }
        self.count_stored(position, &batch, done);
    }

    fn count_stored(&mut self, position: Position, batch: &Batch, done: &Done) {
        let Some(mut open) = self.balance.at(position) else { return };
        let mut expected: BTreeMap<(u16, u16), u64> = BTreeMap::new();
        for trace in &batch.traces {
            let tenant = self.tenants.number(&trace.tenant);
            for one in &trace.services {
                *expected.entry((tenant, one.service)).or_default() += u64::from(one.spans);
            }
        }
        let mut stored: BTreeMap<(u16, u16), (u64, u64)> = BTreeMap::new();
        for one in &done.stored {
            let service = self.rulebook.services().number(&one.service);
            let sums = stored.entry((self.tenants.number(&one.tenant), service)).or_default();
            *sums = (sums.0 + one.stored, sums.1 + one.duplicates);
        }
        open.stored(&expected, &stored);
    }
}
