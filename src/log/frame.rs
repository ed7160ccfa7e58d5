//! The bytes of a segment. All numbers are little endian.
//!
//! A segment is a file named after its base position, 20 decimal digits and `.seg`: a header of
//! [`SEGMENT_HEADER_BYTES`], then records without gaps. A record's position is the base plus its offset in the file.
//!
//! | segment header | bytes | | record header | bytes |
//! | --- | --- | --- | --- | --- |
//! | magic `TWLOGSEG` | 8 | | magic `C7 54 57 52` | 4 |
//! | version, 1 | 4 | | kind | 1 |
//! | zero | 4 | | version, 1 | 1 |
//! | base position | 8 | | zero | 2 |
//! | end of what came before | 8 | | payload length | 4 |
//! | created, ns since the epoch | 8 | | header checksum | 4 |
//! | xxh3 of the above | 8 | | position | 8 |
//! | | | | xxh3 of the payload | 8 |
//!
//! The header checksum is the low half of xxh3 over the header without itself. The position is under it, so a record
//! that an earlier write left behind, or that went to the wrong place, is not taken for the right one.
//!
//! "End of what came before" is the position after the last durable record when the segment was begun: whatever an
//! earlier segment holds from there on was never acknowledged and does not count.

use twox_hash::XxHash3_64;

/// The length of a segment's header.
pub const SEGMENT_HEADER_BYTES: u64 = 48;

/// The length of a record's header.
pub const RECORD_HEADER_BYTES: usize = 32;

/// The longest payload of a record: a request of 64 MiB that does not compress, and room to spare.
pub const PAYLOAD_BYTES_MAX: usize = 128 * 1024 * 1024;

/// What a record begins with.
pub(super) const RECORD_MAGIC: [u8; 4] = [0xc7, b'T', b'W', b'R'];

const SEGMENT_MAGIC: [u8; 8] = *b"TWLOGSEG";
const VERSION: u8 = 1;

/// The checksum of a payload.
pub(super) fn checksum(payload: &[u8]) -> u64 {
    XxHash3_64::oneshot(payload)
}

/// The file name of the segment that begins at `base`.
pub(super) fn segment_name(base: u64) -> String {
    format!("{base:020}.seg")
}

/// Positions beyond this are never reached by writing; a file that claims one is not ours, and sums stay in range.
const BASE_MAX: u64 = 1 << 62;

/// The base in a file name; `None` if it is not a segment's.
pub(super) fn base_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".seg")?;
    let plain = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok())?.filter(|base| *base <= BASE_MAX)
}

/// The first bytes of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    pub(super) base: u64,
    pub(super) previous_end: u64,
    pub(super) created_unix_nano: u64,
}

impl SegmentHeader {
    pub(super) fn seal(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8] = VERSION;
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.previous_end.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.created_unix_nano.to_le_bytes());
        let sum = checksum(&bytes[..40]);
        bytes[40..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not the undamaged header of the segment at `base`.
    pub(super) fn parse(bytes: &[u8], base: u64) -> Option<Self> {
        let bytes = bytes.get(..SEGMENT_HEADER_BYTES as usize)?;
        let header = Self {
            base: u64_at(bytes, 16)?,
            previous_end: u64_at(bytes, 24)?,
            created_unix_nano: u64_at(bytes, 32)?,
        };
        let intact = u64_at(bytes, 40)? == checksum(&bytes[..40]);
        let ours = bytes[..8] == SEGMENT_MAGIC && bytes[8] == VERSION && header.base == base;
        (intact && ours && header.previous_end <= base).then_some(header)
    }
}

/// The first bytes of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHeader {
    pub(super) kind: u8,
    pub(super) payload_bytes: u32,
    pub(super) position: u64,
    pub(super) payload_checksum: u64,
}

impl RecordHeader {
    pub(super) fn seal(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4] = self.kind;
        bytes[5] = VERSION;
        bytes[8..12].copy_from_slice(&self.payload_bytes.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.position.to_le_bytes());
        bytes[24..].copy_from_slice(&self.payload_checksum.to_le_bytes());
        let sum = header_checksum(&bytes);
        bytes[12..16].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not the undamaged header of the record at `position`.
    pub(super) fn parse(bytes: &[u8], position: u64) -> Option<Self> {
        let bytes: &[u8; RECORD_HEADER_BYTES] = bytes.first_chunk()?;
        let header = Self {
            kind: bytes[4],
            payload_bytes: u32_at(bytes, 8)?,
            position: u64_at(bytes, 16)?,
            payload_checksum: u64_at(bytes, 24)?,
        };
        let ours = bytes[..4] == RECORD_MAGIC && bytes[5] == VERSION && header.position == position;
        let fits = header.payload_bytes as usize <= PAYLOAD_BYTES_MAX;
        (ours && fits && u32_at(bytes, 12)? == header_checksum(bytes)).then_some(header)
    }

    /// The length of the whole record.
    pub(super) fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.payload_bytes as usize
    }
}

fn header_checksum(bytes: &[u8; RECORD_HEADER_BYTES]) -> u32 {
    let mut without = *bytes;
    without[12..16].fill(0);
    checksum(&without) as u32
}

/// The number at an offset; `None` past the end.
pub(super) fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

/// The number at an offset; `None` past the end.
pub(super) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}
