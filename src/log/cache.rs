//! Caches of the readers: decompressed records, bounded in bytes, and open files, bounded in number.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use super::record::{Position, SpansRecord};
use crate::runtime::disk::DiskFile;

/// The least recently used records go when the bytes are used up.
#[derive(Debug)]
pub(super) struct RecordCache {
    bytes_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    records: HashMap<Position, (Arc<SpansRecord>, u64), foldhash::fast::RandomState>,
    /// By when they were last used.
    order: BTreeMap<u64, Position>,
    uses: u64,
    bytes: usize,
}

/// What a record costs beside its body, in bytes.
const ENTRY_BYTES: usize = 256;

fn cost(record: &SpansRecord) -> usize {
    record.body.len() + ENTRY_BYTES
}

impl RecordCache {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, inner: Mutex::default() }
    }

    pub(super) fn get(&self, position: Position) -> Option<Arc<SpansRecord>> {
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let (record, used) = inner.records.get_mut(&position)?;
        inner.order.remove(used);
        inner.uses += 1;
        *used = inner.uses;
        inner.order.insert(inner.uses, position);
        Some(Arc::clone(record))
    }

    /// Keeps the record, unless it is larger than half of what there is for all.
    pub(super) fn put(&self, position: Position, record: &Arc<SpansRecord>) {
        if cost(record) > self.bytes_max / 2 {
            return;
        }
        let mut inner = self.inner.lock();
        inner.remove(position);
        inner.uses += 1;
        let use_number = inner.uses;
        inner.bytes += cost(record);
        inner.records.insert(position, (Arc::clone(record), use_number));
        inner.order.insert(use_number, position);
        while inner.bytes > self.bytes_max {
            let Some(oldest) = inner.order.values().next().copied() else { break };
            inner.remove(oldest);
        }
    }

    /// Forgets what lies below.
    pub(super) fn forget_below(&self, below: Position) {
        let mut inner = self.inner.lock();
        let gone: Vec<Position> =
            inner.records.keys().copied().filter(|position| *position < below).collect();
        for position in gone {
            inner.remove(position);
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.inner.lock().bytes
    }
}

impl Inner {
    fn remove(&mut self, position: Position) {
        if let Some((record, used)) = self.records.remove(&position) {
            self.bytes -= cost(&record);
            self.order.remove(&used);
        }
    }
}

/// Open segments, the most recently used first.
#[derive(Default)]
pub(super) struct FileCache(Mutex<Vec<(u64, Arc<dyn DiskFile>)>>);

/// What the readers keep open, so that a log of thousands of segments does not use up the process's files.
const FILES_MAX: usize = 32;

impl FileCache {
    pub(super) fn get(&self, base: u64) -> Option<Arc<dyn DiskFile>> {
        let mut files = self.0.lock();
        let index = files.iter().position(|(of, _)| *of == base)?;
        files[..=index].rotate_right(1);
        files.first().map(|(_, file)| Arc::clone(file))
    }

    pub(super) fn put(&self, base: u64, file: Arc<dyn DiskFile>) {
        let mut files = self.0.lock();
        files.retain(|(of, _)| *of != base);
        files.insert(0, (base, file));
        files.truncate(FILES_MAX);
    }

    pub(super) fn remove(&self, base: u64) {
        self.0.lock().retain(|(of, _)| *of != base);
    }
}
