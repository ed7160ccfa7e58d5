//! The index of a file from its rows, for who has them as Arrow: compaction, and the rebuilding of runs.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, MapArray, RecordBatch};

use super::build::FileIndex;
use super::filter::{FilterBuilder, FilterScope, key_seed};
use crate::runtime::Tenant;
use crate::sample::Fingerprint;
use crate::wire::TraceId;

/// How an array begins in a map.
const ARRAY: &[u8] = b"{\"arrayValue\":";
/// Keys whose seeds are remembered.
const KEYS_MAX: usize = 4096;

/// What keys add to the hashes of their values, for spans and for resources.
type Seeds = [HashMap<String, u64, foldhash::fast::RandomState>; 2];

/// The index of a file of `spans` in the making: told of all its rows in order, and of where its row groups end.
pub(in crate::store) struct RowsIndex {
    seed: u64,
    index: FileIndex,
    /// Of the open row group.
    traces: Vec<u64>,
    last_trace: String,
    /// `None`: nobody tells of attributes.
    filter: Option<FilterBuilder>,
    seeds: Seeds,
}

impl RowsIndex {
    /// Of a file of this tenant whose rows come with all columns.
    pub(in crate::store) fn new(tenant: &Tenant) -> Self {
        Self { filter: Some(FilterBuilder::default()), ..Self::of_traces(tenant) }
    }

    /// Of a file of this tenant whose rows come with `trace_id` alone: their attributes get no filter.
    pub(in crate::store) fn of_traces(tenant: &Tenant) -> Self {
        Self {
            seed: Fingerprint::seed(tenant),
            index: FileIndex::default(),
            traces: Vec::new(),
            last_trace: String::new(),
            filter: None,
            seeds: Default::default(),
        }
    }

    /// The next rows.
    pub(in crate::store) fn add(&mut self, rows: &RecordBatch) {
        if let Some(ids) = rows.column_by_name("trace_id").and_then(|c| c.as_string_opt::<i32>()) {
            for id in ids.iter().flatten() {
                if id != self.last_trace {
                    self.last_trace = id.to_owned();
                    self.traces
                        .extend(id.parse().ok().map(|id: TraceId| Fingerprint::seeded(self.seed, &id).0));
                }
            }
        }
        let Some(filter) = &mut self.filter else { return };
        for (scope, map, raw) in [
            (FilterScope::Span, "attributes", "attributes_raw"),
            (FilterScope::Resource, "resource_attributes", "resource_raw"),
        ] {
            match rows.column_by_name(map).and_then(|c| c.as_map_opt()) {
                Some(map) => add_attributes(filter, &mut self.seeds, scope, map),
                None => filter.has_unknown(scope),
            }
            // What the map cannot hold is there.
            if rows.column_by_name(raw).is_none_or(|raw| raw.null_count() < raw.len()) {
                filter.has_unknown(scope);
            }
        }
    }

    /// The open row group ends; it takes so many bytes.
    pub(in crate::store) fn end_group(&mut self, bytes: usize) {
        let filter = self.filter.as_mut().map(|filter| std::mem::take(filter).finish(bytes));
        // Those who write to the table sort by trace; another may not have.
        self.traces.sort_unstable();
        self.traces.dedup();
        self.index.push_group(self.traces.drain(..), filter);
        // Its trace may go on in the next one.
        self.last_trace.clear();
    }

    /// The index; the last row group has ended.
    pub(in crate::store) fn finish(self) -> FileIndex {
        self.index
    }
}

fn add_attributes(filter: &mut FilterBuilder, seeds: &mut Seeds, scope: FilterScope, map: &MapArray) {
    let (Some(keys), Some(values)) = (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>())
    else {
        return filter.has_unknown(scope);
    };
    let offsets = map.value_offsets();
    let (Some(begin), Some(end)) = (offsets.first(), offsets.last()) else { return };
    let seeds = &mut seeds[usize::from(scope == FilterScope::Resource)];
    for at in *begin as usize..*end as usize {
        if values.is_null(at) {
            continue;
        }
        let (seed, text) = (seed_of(seeds, scope, keys.value(at)), values.value(at).as_bytes());
        filter.insert(seed, text);
        if text.starts_with(ARRAY) {
            filter.insert_array(scope, seed);
        }
    }
}

fn seed_of(
    seeds: &mut HashMap<String, u64, foldhash::fast::RandomState>,
    scope: FilterScope,
    key: &str,
) -> u64 {
    if let Some(seed) = seeds.get(key) {
        return *seed;
    }
    if seeds.len() >= KEYS_MAX {
        seeds.clear();
    }
    let seed = key_seed(scope, key.as_bytes());
    seeds.insert(key.to_owned(), seed);
    seed
}
