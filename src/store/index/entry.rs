//! One entry of a run, and the pages that entries are in.

use twox_hash::XxHash3_64;

/// What an entry takes, in memory and in a run, in bytes.
pub(super) const ENTRY_BYTES: usize = 12;
/// What a page takes; its last four bytes are a checksum.
pub(super) const PAGE_BYTES: usize = 4096;
/// Entries of a page.
pub(super) const PAGE_ENTRIES: usize = (PAGE_BYTES - CHECKSUM_BYTES) / ENTRY_BYTES;
const CHECKSUM_BYTES: usize = 4;

/// A trace has spans in a row group of a file. 12 bytes without padding, ordered by fingerprint, then by place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::store) struct Entry {
    high: u32,
    low: u32,
    file: u16,
    group: u16,
}

const _: () = assert!(size_of::<Entry>() == ENTRY_BYTES);

impl Entry {
    /// `file`: which of the run's files; `group`: which of its row groups.
    pub(in crate::store) fn new(fingerprint: u64, file: u16, group: u16) -> Self {
        Self { high: (fingerprint >> 32) as u32, low: fingerprint as u32, file, group }
    }

    pub(in crate::store) fn fingerprint(&self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    pub(super) fn file(&self) -> u16 {
        self.file
    }

    pub(super) fn group(&self) -> u16 {
        self.group
    }

    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.fingerprint().to_le_bytes());
        bytes[8..10].copy_from_slice(&self.file.to_le_bytes());
        bytes[10..].copy_from_slice(&self.group.to_le_bytes());
        bytes
    }

    fn of_bytes(bytes: &[u8; ENTRY_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, file @ .., i, j] = *bytes;
        let fingerprint = u64::from_le_bytes([a, b, c, d, e, f, g, h]);
        Self::new(fingerprint, u16::from_le_bytes(file), u16::from_le_bytes([i, j]))
    }
}

/// How many pages so many entries take.
pub(super) fn pages(entries: u64) -> u64 {
    entries.div_ceil(PAGE_ENTRIES as u64)
}

/// Appends the page of this number; `entries` are its own, sorted, and at most [`PAGE_ENTRIES`].
pub(super) fn write_page(number: u64, entries: &[Entry], out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend(entries.iter().flat_map(|entry| entry.to_bytes()));
    out.resize(begin + PAGE_BYTES - CHECKSUM_BYTES, 0);
    let sum = page_checksum(number, &out[begin..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// The entries of the page of this number in a run of `total`; `None` if it is damaged.
pub(super) fn read_page(number: u64, total: u64, page: &[u8]) -> Option<Vec<Entry>> {
    let (body, sum) = page.split_last_chunk::<CHECKSUM_BYTES>()?;
    if page.len() != PAGE_BYTES || u32::from_le_bytes(*sum) != page_checksum(number, body) {
        return None;
    }
    let left = total.checked_sub(number * PAGE_ENTRIES as u64)?;
    let count = left.min(PAGE_ENTRIES as u64) as usize;
    Some(body.as_chunks::<ENTRY_BYTES>().0.iter().take(count).map(Entry::of_bytes).collect())
}

/// Seeded with the page's number, so that a page in the wrong place is not taken for the right one.
fn page_checksum(number: u64, body: &[u8]) -> u32 {
    XxHash3_64::oneshot_with_seed(number, body) as u32
}
