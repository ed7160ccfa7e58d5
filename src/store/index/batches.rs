//! The index of a file from its rows, for who has them as Arrow: compaction, and the rebuilding of runs.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, MapArray, RecordBatch};

use super::build::FileIndex;
use super::filter::{FilterBuilder, FilterScope, GroupFilter, key_seed};
use crate::runtime::Tenant;
use crate::sample::Fingerprint;
use crate::store::other_types::{OtherTypes, is_text_elsewhere};
use crate::store::schema::{ColumnType, Layout, WELL_KNOWN, WellKnownScope};
use crate::wire::TraceId;

/// How an array begins in a map.
const ARRAY: &[u8] = b"{\"arrayValue\":";
/// Keys whose seeds are remembered.
const KEYS_MAX: usize = 4096;

/// What is remembered of keys, of those of spans and of resources.
type Keys = [HashMap<String, Key, foldhash::fast::RandomState>; 2];

/// A key of attributes.
#[derive(Clone, Copy)]
struct Key {
    /// What it adds to the hashes of its values.
    seed: u64,
    /// The column it has in every table: its place among them, and its type.
    known: Option<(usize, ColumnType)>,
}

/// The index of a file of `spans` in the making: told of all its rows in order, and of where its row groups end.
pub(in crate::store) struct RowsIndex {
    seed: u64,
    index: FileIndex,
    /// Of the open row group.
    traces: Vec<u64>,
    last_trace: String,
    filter: FilterBuilder,
    keys: Keys,
    other_types: OtherTypes,
}

impl RowsIndex {
    /// Of a file of this tenant whose rows come with their trace ids and attributes, those of their resources too.
    pub(in crate::store) fn new(tenant: &Tenant) -> Self {
        Self {
            seed: Fingerprint::seed(tenant),
            index: FileIndex::default(),
            traces: Vec::new(),
            last_trace: String::new(),
            filter: FilterBuilder::default(),
            keys: Default::default(),
            other_types: OtherTypes::default(),
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
        let filter = &mut self.filter;
        for (scope, map, raw) in [
            (FilterScope::Span, "attributes", "attributes_raw"),
            (FilterScope::Resource, "resource_attributes", "resource_raw"),
        ] {
            // What the map cannot hold is there.
            let has_raw = rows.column_by_name(raw).is_none_or(|raw| raw.null_count() < raw.len());
            if has_raw {
                filter.has_unknown(scope);
            }
            match rows.column_by_name(map).and_then(|c| c.as_map_opt()) {
                Some(map) => {
                    let mut told = Told { filter, keys: &mut self.keys, other_types: &mut self.other_types };
                    told.add_attributes(scope, map, has_raw);
                }
                None => filter.has_unknown(scope),
            }
        }
    }

    /// The open row group ends; it takes so many bytes.
    pub(in crate::store) fn end_group(&mut self, bytes: usize) {
        self.end_group_with(|filter| Some(filter.finish(bytes)));
    }

    /// The open row group ends; its filter is what `finish` makes of its attributes.
    pub(super) fn end_group_with(&mut self, finish: impl FnOnce(FilterBuilder) -> Option<GroupFilter>) {
        let filter = finish(std::mem::take(&mut self.filter));
        // Those who write to the table sort by trace; another may not have.
        self.traces.sort_unstable();
        self.traces.dedup();
        self.index.push_group(self.traces.drain(..), filter);
        // Its trace may go on in the next one.
        self.last_trace.clear();
    }

    /// Which attributes of all rows so far are not only in the columns they have.
    pub(in crate::store) fn other_types(&self) -> OtherTypes {
        self.other_types
    }

    /// The index; the last row group has ended.
    pub(in crate::store) fn finish(self) -> FileIndex {
        self.index
    }
}

/// Who is told of attributes.
struct Told<'a> {
    filter: &'a mut FilterBuilder,
    keys: &'a mut Keys,
    other_types: &'a mut OtherTypes,
}

impl Told<'_> {
    /// `has_raw`: a value that is null in the map may be one that the map cannot hold.
    fn add_attributes(&mut self, scope: FilterScope, map: &MapArray, has_raw: bool) {
        let (Some(keys), Some(values)) =
            (map.keys().as_string_opt::<i32>(), map.values().as_string_opt::<i32>())
        else {
            return self.filter.has_unknown(scope);
        };
        let offsets = map.value_offsets();
        let (Some(begin), Some(end)) = (offsets.first(), offsets.last()) else { return };
        let known_keys = &mut self.keys[usize::from(scope == FilterScope::Resource)];
        for at in *begin as usize..*end as usize {
            let key = key_of(known_keys, scope, keys.value(at));
            if values.is_null(at) {
                key.known.filter(|_| has_raw).into_iter().for_each(|(of, _)| self.other_types.note(of));
                continue;
            }
            let text = values.value(at).as_bytes();
            self.filter.insert(key.seed, text);
            if text.starts_with(ARRAY) {
                self.filter.insert_array(scope, key.seed);
            }
            if let Some((of, _)) = key.known.filter(|(_, kind)| is_text_elsewhere(*kind, text)) {
                self.other_types.note(of);
            }
        }
    }
}

fn key_of(
    keys: &mut HashMap<String, Key, foldhash::fast::RandomState>,
    scope: FilterScope,
    text: &str,
) -> Key {
    if let Some(key) = keys.get(text) {
        return *key;
    }
    if keys.len() >= KEYS_MAX {
        keys.clear();
    }
    let of = match scope {
        FilterScope::Span => WellKnownScope::Span,
        FilterScope::Resource => WellKnownScope::Resource,
    };
    let known = Layout::standard().position(of, text).map(|at| (at, WELL_KNOWN[at].kind));
    let key = Key { seed: key_seed(scope, text.as_bytes()), known };
    keys.insert(text.to_owned(), key);
    key
}
