//! What queries see of the log: traces that are not in the table yet.

use super::Sampler;
use crate::sample::index::{Entry, Key};
use crate::sample::verdict::{KeptTrace, LiveFilter, LiveState, LiveTrace};

impl Sampler {
    /// The traces of a filter that are pending, kept, or in a batch under way; those that started last come first.
    pub fn live(&self, filter: &LiveFilter) -> Vec<LiveTrace> {
        let Some(tenant) = self.tenants.find(&filter.tenant) else { return Vec::new() };
        let mut found: Vec<LiveTrace> = match filter.trace_id {
            Some(trace_id) => {
                let key = Key { tenant, trace_id };
                self.entries.get(&key).into_iter().map(|entry| pending(filter, &key, entry)).collect()
            }
            None => self.newest_pending(tenant, filter),
        };
        let in_flight = self.in_flight.values().flat_map(|batch| &batch.traces);
        let matching = self.kept.iter().chain(in_flight).filter(|trace| {
            trace.tenant == filter.tenant
                && filter.trace_id.is_none_or(|id| id == trace.trace_id)
                && overlaps(filter, trace.start_unix_nano, trace.end_unix_nano)
        });
        found.extend(matching.map(kept));
        found.sort_by_key(|trace| std::cmp::Reverse((trace.start_unix_nano, trace.trace_id)));
        found.truncate(filter.traces_max);
        found
    }
}

impl Sampler {
    /// At most as many as the filter wants: a question must not take the memory of the index once more.
    fn newest_pending(&self, tenant: u16, filter: &LiveFilter) -> Vec<LiveTrace> {
        let fits = |key: &Key, entry: &Entry| {
            key.tenant == tenant && overlaps(filter, entry.start_unix_nano, entry.end_unix_nano)
        };
        let all = self.entries.oldest_first().filter(|(_, key, entry)| fits(key, entry));
        let mut slots: Vec<_> = all.map(|(slot, _, entry)| (entry.start_unix_nano, slot)).collect();
        if slots.len() > filter.traces_max {
            slots.select_nth_unstable_by(filter.traces_max, |a, b| b.cmp(a));
            slots.truncate(filter.traces_max);
        }
        let found = slots.into_iter().filter_map(|(_, slot)| self.entries.at(slot));
        found.map(|(key, entry)| pending(filter, &key, entry)).collect()
    }
}

fn overlaps(filter: &LiveFilter, start: u64, end: u64) -> bool {
    end >= filter.start_unix_nano && start <= filter.end_unix_nano
}

fn pending(filter: &LiveFilter, key: &Key, entry: &Entry) -> LiveTrace {
    LiveTrace {
        tenant: filter.tenant.clone(),
        trace_id: key.trace_id,
        places: entry.places.clone(),
        start_unix_nano: entry.start_unix_nano,
        end_unix_nano: entry.end_unix_nano,
        state: LiveState::Pending,
    }
}

fn kept(trace: &KeptTrace) -> LiveTrace {
    LiveTrace {
        tenant: trace.tenant.clone(),
        trace_id: trace.trace_id,
        places: trace.places.clone(),
        start_unix_nano: trace.start_unix_nano,
        end_unix_nano: trace.end_unix_nano,
        state: LiveState::Kept(trace.verdict.clone()),
    }
}
