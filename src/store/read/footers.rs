//! A bounded cache of files' footers. Files never change, so what is in it stays true.

use std::collections::HashMap;
use std::sync::Arc;

use object_store::path::Path;
use parking_lot::Mutex;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::bloom_filter::Sbbf;
use tokio::sync::OnceCell;

use crate::store::other_types::OtherTypes;

/// What is known of a file without reading its data.
pub(super) struct Footer {
    pub(super) metadata: ArrowReaderMetadata,
    /// Attributes whose own columns do not have all of their values.
    pub(super) other_types: OtherTypes,
    /// Of each row group the bloom filter of its trace ids, once somebody wanted them.
    pub(super) trace_id_filters: OnceCell<Vec<Option<Sbbf>>>,
}

impl Footer {
    fn bytes(&self) -> usize {
        let metadata = self.metadata.metadata();
        let filters = metadata.row_groups().iter().flat_map(|g| g.columns());
        let filters =
            filters.filter_map(|c| c.bloom_filter_length()).map(|l| usize::try_from(l).unwrap_or(0));
        metadata.memory_size() + filters.sum::<usize>()
    }
}

/// The cache.
pub(super) struct Footers {
    bytes_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Path, Entry>,
    bytes: usize,
    uses: u64,
}

struct Entry {
    footer: Arc<Footer>,
    bytes: usize,
    last_use: u64,
}

impl Footers {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, state: Mutex::default() }
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.state.lock().bytes
    }

    pub(super) fn get(&self, file: &Path) -> Option<Arc<Footer>> {
        let mut state = self.state.lock();
        state.uses += 1;
        let now = state.uses;
        let entry = state.entries.get_mut(file)?;
        entry.last_use = now;
        Some(Arc::clone(&entry.footer))
    }

    pub(super) fn insert(&self, file: Path, metadata: ArrowReaderMetadata) -> Arc<Footer> {
        let other_types = OtherTypes::of(metadata.metadata());
        let footer = Arc::new(Footer { metadata, other_types, trace_id_filters: OnceCell::new() });
        let bytes = footer.bytes();
        let mut state = self.state.lock();
        state.uses += 1;
        let entry = Entry { footer: Arc::clone(&footer), bytes, last_use: state.uses };
        state.bytes += bytes;
        if let Some(before) = state.entries.insert(file, entry) {
            state.bytes -= before.bytes;
        }
        state.shrink_to(self.bytes_max);
        footer
    }
}

impl State {
    /// Drops the least recently used half when the bound is passed, so that the search for them is rare.
    fn shrink_to(&mut self, bytes_max: usize) {
        if self.bytes <= bytes_max {
            return;
        }
        let mut oldest: Vec<_> = self.entries.iter().map(|(path, e)| (e.last_use, path.clone())).collect();
        oldest.sort_unstable();
        for (_, path) in oldest {
            if self.bytes <= bytes_max / 2 {
                break;
            }
            if let Some(entry) = self.entries.remove(&path) {
                self.bytes -= entry.bytes;
            }
        }
    }
}
