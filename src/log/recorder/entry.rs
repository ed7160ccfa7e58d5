//! One entry of the index, and the entries of a segment that is still being written.

use std::sync::Arc;

use twox_hash::XxHash3_64;

use crate::runtime::Tenant;
use crate::wire::TraceId;

/// What an entry takes, in memory and on disk, in bytes.
pub(super) const ENTRY_BYTES: usize = 12;

/// A trace has spans in a record. 12 bytes without padding, ordered by fingerprint, then by offset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entry {
    high: u32,
    low: u32,
    offset: u32,
}

const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);

impl Entry {
    pub(super) fn new(fingerprint: u64, offset: u32) -> Self {
        Self { high: (fingerprint >> 32) as u32, low: fingerprint as u32, offset }
    }

    pub(super) fn fingerprint(&self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    /// Where the record begins in its segment's file.
    pub(super) fn offset(&self) -> u32 {
        self.offset
    }

    /// Fingerprint and offset, little endian.
    pub(super) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.fingerprint().to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }
}

/// Makes fingerprints of one tenant's traces.
#[derive(Clone, Copy)]
pub(super) struct Fingerprints(u64);

impl Fingerprints {
    pub(super) fn of(tenant: &Tenant) -> Self {
        Self(XxHash3_64::oneshot(tenant.as_str().as_bytes()))
    }

    #[inline]
    pub(super) fn trace(self, trace_id: &TraceId) -> u64 {
        XxHash3_64::oneshot_with_seed(self.0, &trace_id.0)
    }
}

/// Entries that are copied by those who look for one while more are added.
const CHUNK_ENTRIES: usize = 4096;

/// Entries in the order they came, in chunks: what is full is shared with those who look, without a copy.
#[derive(Clone, Default)]
pub(super) struct Gathered {
    full: Vec<Arc<Vec<Entry>>>,
    open: Vec<Entry>,
    /// Something was left out.
    pub(super) partial: bool,
}

impl Gathered {
    #[inline]
    pub(super) fn push(&mut self, entry: Entry) {
        if self.open.len() == self.open.capacity() {
            self.next_chunk();
        }
        self.open.push(entry);
    }

    #[cold]
    fn next_chunk(&mut self) {
        let full = std::mem::replace(&mut self.open, Vec::with_capacity(CHUNK_ENTRIES));
        if !full.is_empty() {
            self.full.push(Arc::new(full));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.full.iter().map(|chunk| chunk.len()).sum::<usize>() + self.open.len()
    }

    /// The memory it takes.
    pub(super) fn bytes(&self) -> usize {
        (self.full.len() + usize::from(self.open.capacity() > 0)) * CHUNK_ENTRIES * ENTRY_BYTES
    }

    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.full.iter().flat_map(|chunk| chunk.iter()).chain(&self.open)
    }

    /// The offsets of the records that hold spans of a trace, in the order they came.
    pub(super) fn offsets(&self, fingerprint: u64) -> Vec<u32> {
        self.entries().filter(|entry| entry.fingerprint() == fingerprint).map(Entry::offset).collect()
    }

    pub(super) fn sorted(&self) -> Vec<Entry> {
        let mut entries = Vec::with_capacity(self.len());
        entries.extend(self.entries().copied());
        entries.sort_unstable();
        entries
    }
}
