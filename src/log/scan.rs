//! Reads a segment record by record, and finds its way again after damage.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use memchr::memmem;

use super::frame::{RECORD_HEADER_BYTES, RECORD_MAGIC, RecordHeader, SEGMENT_HEADER_BYTES, checksum};
use super::record::{Position, Record, RecordKind};
use crate::runtime::disk::{DiskFile, read_full_at};

/// What is read at once.
const CHUNK_BYTES: usize = 256 * 1024;
/// What is given up at once where the disk cannot read.
const SECTOR_BYTES: usize = 4096;

/// What could not be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Damage {
    /// Damaged places; each is at least one record.
    pub(super) places: u64,
    pub(super) bytes: u64,
}

impl Damage {
    pub(super) fn add(&mut self, other: Self) {
        self.places += other.places;
        self.bytes += other.bytes;
    }
}

/// The records of one segment, in order.
pub(super) struct Scanner {
    file: Arc<dyn DiskFile>,
    base: u64,
    /// The file's offset of the first byte in `buffer`.
    at: u64,
    /// The file's offset where reading ends.
    end: u64,
    buffer: BytesMut,
    /// Between good records.
    damage: Damage,
    /// Since the last good record: at the end of the segment, perhaps torn.
    pending_places: u64,
    good_end: u64,
    lost: bool,
}

impl Scanner {
    /// Reads the segment with this base up to the file's offset `end`.
    pub(super) fn new(file: Arc<dyn DiskFile>, base: u64, end: u64) -> Self {
        Self::starting(file, base, SEGMENT_HEADER_BYTES, end)
    }

    /// The same from the file's offset `at`, where a record begins.
    pub(super) fn starting(file: Arc<dyn DiskFile>, base: u64, at: u64, end: u64) -> Self {
        Self {
            file,
            base,
            at,
            end,
            buffer: BytesMut::new(),
            damage: Damage::default(),
            pending_places: 0,
            good_end: at.min(end),
            lost: false,
        }
    }

    /// The file's offset after the last good record.
    pub(super) fn good_end(&self) -> u64 {
        self.good_end
    }

    /// Damage that has good records behind it.
    pub(super) fn damage(&self) -> Damage {
        self.damage
    }

    /// Once the scanner has given `None`: what lies behind the last good record.
    pub(super) fn tail(&self) -> Damage {
        let bytes = self.end.saturating_sub(self.good_end);
        Damage { places: self.pending_places.max(u64::from(bytes > 0)), bytes }
    }

    /// The next good record; `None` at the end of the segment.
    pub(super) fn next_record(&mut self) -> Option<Record> {
        loop {
            if !self.fill(RECORD_HEADER_BYTES) {
                return None;
            }
            match RecordHeader::parse(&self.buffer, self.base + self.at) {
                Some(header) if self.fill(header.record_bytes()) => {
                    let whole = self.take(header.record_bytes());
                    if let Some(record) = self.checked(&header, &whole) {
                        return Some(record);
                    }
                }
                _ => self.seek(),
            }
        }
    }

    fn checked(&mut self, header: &RecordHeader, whole: &Bytes) -> Option<Record> {
        let payload = whole.slice(RECORD_HEADER_BYTES..);
        let intact = checksum(&payload) == header.payload_checksum;
        let kind = RecordKind::from_number(header.kind).filter(|_| intact);
        self.lost = false;
        let Some(kind) = kind else {
            // The header is whole, so where the next record begins is known.
            self.pending_places += 1;
            return None;
        };
        let begin = self.at - whole.len() as u64;
        self.damage.add(Damage { places: self.pending_places, bytes: begin - self.good_end });
        self.pending_places = 0;
        self.good_end = self.at;
        Some(Record { position: Position(header.position), kind, payload })
    }

    /// Skips to the next place that may be a record's beginning.
    fn seek(&mut self) {
        if !self.lost {
            self.lost = true;
            self.pending_places += 1;
        }
        let found = memmem::find(&self.buffer[1..], &RECORD_MAGIC);
        let skipped =
            found.map_or_else(|| self.buffer.len().saturating_sub(RECORD_MAGIC.len() - 1), |i| i + 1);
        self.take(skipped.max(1));
    }

    fn take(&mut self, bytes: usize) -> Bytes {
        self.at += bytes as u64;
        self.buffer.split_to(bytes).freeze()
    }

    /// Has at least `bytes` in the buffer; `false` if the segment ends before.
    fn fill(&mut self, bytes: usize) -> bool {
        while self.buffer.len() < bytes {
            let have = self.buffer.len();
            let from = self.at + have as u64;
            let left = usize::try_from(self.end.saturating_sub(from)).unwrap_or(usize::MAX);
            if have + left < bytes {
                return false;
            }
            let step = left.min(CHUNK_BYTES.max(bytes - have));
            self.buffer.resize(have + step, 0);
            let read = read_or_zero(&*self.file, &mut self.buffer[have..], from);
            self.buffer.truncate(have + read);
            if read < step {
                self.end = from + read as u64;
            }
        }
        true
    }
}

/// Reads until `buf` is full or the file ends. Where the disk fails the bytes are zeros, which no checksum takes.
fn read_or_zero(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> usize {
    if let Ok(read) = read_full_at(file, buf, offset) {
        return read;
    }
    let mut done = 0;
    for sector in buf.chunks_mut(SECTOR_BYTES) {
        let wanted = sector.len();
        let read = read_full_at(file, sector, offset + done as u64).unwrap_or_else(|_| {
            sector.fill(0);
            wanted
        });
        done += read;
        if read < wanted {
            break;
        }
    }
    done
}
