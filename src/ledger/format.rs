//! The bytes of the ledger's files. All numbers are little endian; checksums are xxh3.
//!
//! A file is named after its number, 12 digits, that only grows: the higher, the newer. While it is young, `NUMBER.young`
//! is a header of 32 bytes and blocks behind it; later `NUMBER.run` is the same decisions sorted by fingerprint, each trace
//! once: a header of 96 bytes, pages of 4 096 bytes, a tail.
//!
//! | young header | bytes | | block | bytes |
//! | --- | --- | --- | --- | --- |
//! | magic `TWDECYNG` | 8 | | magic `C7 54 57 44` | 4 |
//! | version, 1 | 4 | | payload length | 4 |
//! | zero | 4 | | file's number | 8 |
//! | log | 8 | | xxh3 of the payload | 8 |
//! | xxh3 of the above, seed: the file's number | 8 | | xxh3 of the above | 8 |
//! | | | | payload: a tail, then entries | |
//!
//! | run header | bytes | | tail | bytes |
//! | --- | --- | --- | --- | --- |
//! | magic `TWDECRUN` | 8 | | groups | 4 |
//! | version, 1 | 4 | | length of the verdicts | 4 |
//! | length of the tail | 4 | | entries | 4 |
//! | log | 8 | | zero | 4 |
//! | entries | 8 | | each group: decided (ns since the epoch), position | 16 |
//! | first and last decision, ns since the epoch | 16 | | the verdicts, as `sample::records` lists them | |
//! | last position | 8 | | **entry** | |
//! | xxh3 of the tail | 8 | | fingerprint | 8 |
//! | zero | 24 | | number of the verdict | 2 |
//! | xxh3 of the above, seed: the file's number | 8 | | number of the group | 2 |
//!
//! A page is 340 entries, 8 zero bytes, and the xxh3 of them with the file's and the page's numbers as seed. "Log" tells
//! logs apart: positions of another log mean nothing.

use std::sync::Arc;

use twox_hash::XxHash3_64;

use super::block::{Block, Entry, GROUPS_MAX, Group};
use crate::log::Position;
use crate::sample::records::{decode_verdict_list, encode_verdict_list};
use crate::sample::{Fingerprint, Verdict};

pub(super) const YOUNG_HEADER_BYTES: usize = 32;
pub(super) const BLOCK_HEADER_BYTES: usize = 32;
pub(super) const RUN_HEADER_BYTES: usize = 96;
pub(super) const PAGE_BYTES: usize = 4096;
/// Entries of a page.
pub(super) const PAGE_ENTRIES: usize = 340;
/// What an entry takes, in bytes.
pub(super) const ENTRY_BYTES: usize = 12;
const GROUP_BYTES: usize = 16;
const TAIL_HEADER_BYTES: usize = 16;
const CHECKED_BYTES: usize = PAGE_BYTES - 8;
const VERSION: u32 = 1;
const YOUNG_MAGIC: [u8; 8] = *b"TWDECYNG";
const RUN_MAGIC: [u8; 8] = *b"TWDECRUN";
/// What a block begins with.
pub(super) const BLOCK_MAGIC: [u8; 4] = [0xc7, b'T', b'W', b'D'];
/// Longer payloads are not written: more than the entries, groups and verdicts of a block can come to.
pub(super) const PAYLOAD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Blocks in the order they came.
    Young,
    /// Sorted.
    Run,
}

impl Form {
    fn suffix(self) -> &'static str {
        match self {
            Self::Young => "young",
            Self::Run => "run",
        }
    }
}

/// The name of a file.
pub(super) fn file_name(number: u64, form: Form) -> String {
    format!("{number:012}.{}", form.suffix())
}

/// The number and form in a name; `None` if it is not one of ours.
pub(super) fn parse_name(name: &str) -> Option<(u64, Form)> {
    let (digits, suffix) = name.split_once('.')?;
    let form = [Form::Young, Form::Run].into_iter().find(|form| form.suffix() == suffix)?;
    let plain = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit());
    Some((digits.parse().ok().filter(|_| plain)?, form))
}

/// The header of a young file.
pub(super) fn young_header(number: u64, log: u64) -> [u8; YOUNG_HEADER_BYTES] {
    let mut bytes = [0; YOUNG_HEADER_BYTES];
    bytes[..8].copy_from_slice(&YOUNG_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&log.to_le_bytes());
    let sum = XxHash3_64::oneshot_with_seed(number, &bytes[..24]);
    bytes[24..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The log that a young file belongs to; `None` if this is not an undamaged header.
pub(super) fn parse_young_header(bytes: &[u8], number: u64) -> Option<u64> {
    let bytes: &[u8; YOUNG_HEADER_BYTES] = bytes.first_chunk()?;
    let intact = u64_at(bytes, 24)? == XxHash3_64::oneshot_with_seed(number, &bytes[..24]);
    (intact && bytes[..8] == YOUNG_MAGIC && u32_at(bytes, 8)? == VERSION).then(|| u64_at(bytes, 16))?
}

/// The header of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) payload_bytes: usize,
    checksum: u64,
}

impl BlockHeader {
    /// `None` if this is not the undamaged header of a block of this file.
    pub(super) fn parse(bytes: &[u8], number: u64) -> Option<Self> {
        let bytes: &[u8; BLOCK_HEADER_BYTES] = bytes.first_chunk()?;
        let intact = u64_at(bytes, 24)? == XxHash3_64::oneshot(&bytes[..24]);
        let ours = bytes[..4] == BLOCK_MAGIC && u64_at(bytes, 8)? == number;
        let payload_bytes = u32_at(bytes, 4)? as usize;
        let header = Self { payload_bytes, checksum: u64_at(bytes, 16)? };
        (intact && ours && payload_bytes <= PAYLOAD_BYTES_MAX).then_some(header)
    }

    /// The block; `None` if the payload is damaged.
    pub(super) fn block(&self, payload: &[u8]) -> Option<Block> {
        let intact = payload.len() == self.payload_bytes && XxHash3_64::oneshot(payload) == self.checksum;
        if intact { decode_block(payload) } else { None }
    }
}

/// A block as it is written. `None` if it is too long, which the bounds of a block exclude.
pub(super) fn encode_block(number: u64, block: &Block) -> Option<Vec<u8>> {
    let mut bytes = vec![0; BLOCK_HEADER_BYTES];
    bytes.extend_from_slice(&encode_tail(&block.groups, &block.verdicts, block.entries.len()));
    bytes.reserve(block.entries.len() * ENTRY_BYTES);
    block.entries.iter().for_each(|entry| put_entry(&mut bytes, entry));
    let (header, payload) = bytes.split_at_mut(BLOCK_HEADER_BYTES);
    let length = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_BYTES_MAX)?;
    header[..4].copy_from_slice(&BLOCK_MAGIC);
    header[4..8].copy_from_slice(&length.to_le_bytes());
    header[8..16].copy_from_slice(&number.to_le_bytes());
    header[16..24].copy_from_slice(&XxHash3_64::oneshot(payload).to_le_bytes());
    let sum = XxHash3_64::oneshot(&header[..24]);
    header[24..].copy_from_slice(&sum.to_le_bytes());
    Some(bytes)
}

fn decode_block(payload: &[u8]) -> Option<Block> {
    let (Tail { groups, verdicts }, entries, rest) = decode_tail(payload)?;
    let (entries_bytes, rest) = rest.split_at_checked(entries.checked_mul(ENTRY_BYTES)?)?;
    let entries = entries_bytes.chunks_exact(ENTRY_BYTES).filter_map(entry_of).collect();
    rest.is_empty().then_some(Block { groups, verdicts, entries })
}

/// The tables that the numbers of entries point into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) groups: Vec<Group>,
    pub(super) verdicts: Vec<Arc<Verdict>>,
}

pub(super) fn encode_tail(groups: &[Group], verdicts: &[Arc<Verdict>], entries: usize) -> Vec<u8> {
    let verdicts = encode_verdict_list(verdicts);
    let mut bytes = Vec::with_capacity(TAIL_HEADER_BYTES + groups.len() * GROUP_BYTES + verdicts.len());
    for count in [groups.len(), verdicts.len(), entries, 0] {
        // All are bounded far below.
        bytes.extend_from_slice(&u32::try_from(count).unwrap_or(u32::MAX).to_le_bytes());
    }
    for group in groups {
        bytes.extend_from_slice(&group.decided_unix_nano.to_le_bytes());
        bytes.extend_from_slice(&group.position.0.to_le_bytes());
    }
    bytes.extend_from_slice(&verdicts);
    bytes
}

/// The tables, how many entries there are, and what follows.
fn decode_tail(bytes: &[u8]) -> Option<(Tail, usize, &[u8])> {
    let count = |at| u32_at(bytes, at).map(|count| count as usize);
    let (groups, verdicts, entries) = (count(0)?, count(4)?, count(8)?);
    if groups > GROUPS_MAX {
        return None;
    }
    let rest = bytes.get(TAIL_HEADER_BYTES..)?;
    let (groups, rest) = rest.split_at_checked(groups * GROUP_BYTES)?;
    let (verdicts, rest) = rest.split_at_checked(verdicts)?;
    let group = |bytes: &[u8]| {
        Some(Group { decided_unix_nano: u64_at(bytes, 0)?, position: Position(u64_at(bytes, 8)?) })
    };
    let groups = groups.chunks_exact(GROUP_BYTES).filter_map(group).collect();
    Some((Tail { groups, verdicts: decode_verdict_list(verdicts).ok()? }, entries, rest))
}

/// The first bytes of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RunHeader {
    pub(super) log: u64,
    pub(super) entries: u64,
    pub(super) oldest_unix_nano: u64,
    pub(super) newest_unix_nano: u64,
    pub(super) last_position: Position,
    pub(super) tail_bytes: u32,
    pub(super) tail_checksum: u64,
}

impl RunHeader {
    pub(super) fn seal(&self, number: u64) -> [u8; RUN_HEADER_BYTES] {
        let mut bytes = [0; RUN_HEADER_BYTES];
        bytes[..8].copy_from_slice(&RUN_MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.tail_bytes.to_le_bytes());
        let numbers = [
            self.log,
            self.entries,
            self.oldest_unix_nano,
            self.newest_unix_nano,
            self.last_position.0,
            self.tail_checksum,
        ];
        for (place, number) in bytes[16..64].chunks_exact_mut(8).zip(numbers) {
            place.copy_from_slice(&number.to_le_bytes());
        }
        let sum = XxHash3_64::oneshot_with_seed(number, &bytes[..88]);
        bytes[88..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// `None` if the bytes are not the undamaged header of this file, or the file has another length than it says.
    pub(super) fn parse(bytes: &[u8], number: u64, file_bytes: u64) -> Option<Self> {
        let bytes: &[u8; RUN_HEADER_BYTES] = bytes.first_chunk()?;
        let intact = u64_at(bytes, 88)? == XxHash3_64::oneshot_with_seed(number, &bytes[..88]);
        let ours = bytes[..8] == RUN_MAGIC && u32_at(bytes, 8)? == VERSION;
        let header = Self {
            tail_bytes: u32_at(bytes, 12)?,
            log: u64_at(bytes, 16)?,
            entries: u64_at(bytes, 24)?,
            oldest_unix_nano: u64_at(bytes, 32)?,
            newest_unix_nano: u64_at(bytes, 40)?,
            last_position: Position(u64_at(bytes, 48)?),
            tail_checksum: u64_at(bytes, 56)?,
        };
        let whole = header.entries < u64::from(u32::MAX) && header.bytes() == file_bytes;
        (intact && ours && whole).then_some(header)
    }

    pub(super) fn pages(&self) -> u64 {
        self.entries.div_ceil(PAGE_ENTRIES as u64)
    }

    /// The length of the file.
    pub(super) fn bytes(&self) -> u64 {
        Self::page_offset(self.pages()) + u64::from(self.tail_bytes)
    }

    /// Where a page begins.
    pub(super) fn page_offset(page: u64) -> u64 {
        RUN_HEADER_BYTES as u64 + page * PAGE_BYTES as u64
    }

    /// How many entries a page has.
    pub(super) fn page_entries(&self, page: u64) -> usize {
        let before = page.saturating_mul(PAGE_ENTRIES as u64);
        self.entries.saturating_sub(before).min(PAGE_ENTRIES as u64) as usize
    }

    /// The tail; `None` if it is damaged.
    pub(super) fn tail(&self, bytes: &[u8]) -> Option<Tail> {
        let (tail, entries, rest) =
            decode_tail(bytes).filter(|_| tail_checksum(bytes) == self.tail_checksum)?;
        (rest.is_empty() && entries as u64 == self.entries).then_some(tail)
    }
}

pub(super) fn tail_checksum(tail: &[u8]) -> u64 {
    XxHash3_64::oneshot(tail)
}

/// Adds a page with these entries, at most [`PAGE_ENTRIES`].
pub(super) fn put_page(bytes: &mut Vec<u8>, number: u64, page: u64, entries: &[Entry]) {
    let begin = bytes.len();
    entries.iter().for_each(|entry| put_entry(bytes, entry));
    bytes.resize(begin + CHECKED_BYTES, 0);
    let sum = XxHash3_64::oneshot_with_seed(page_seed(number, page), &bytes[begin..]);
    bytes.extend_from_slice(&sum.to_le_bytes());
}

/// The first `entries` entries of a page; `None` if it is damaged.
pub(super) fn parse_page(bytes: &[u8], number: u64, page: u64, entries: usize) -> Option<Vec<Entry>> {
    let (checked, sum) = bytes.split_at_checked(CHECKED_BYTES)?;
    let intact = u64_at(sum, 0)? == XxHash3_64::oneshot_with_seed(page_seed(number, page), checked);
    intact.then(|| checked.chunks_exact(ENTRY_BYTES).take(entries).filter_map(entry_of).collect())
}

fn page_seed(number: u64, page: u64) -> u64 {
    number.rotate_left(32) ^ page
}

fn put_entry(bytes: &mut Vec<u8>, entry: &Entry) {
    bytes.extend_from_slice(&entry.trace.0.to_le_bytes());
    bytes.extend_from_slice(&entry.verdict.to_le_bytes());
    bytes.extend_from_slice(&entry.group.to_le_bytes());
}

fn entry_of(bytes: &[u8]) -> Option<Entry> {
    let number = |at: usize| bytes.get(at..)?.first_chunk().map(|b| u16::from_le_bytes(*b));
    Some(Entry { trace: Fingerprint(u64_at(bytes, 0)?), verdict: number(8)?, group: number(10)? })
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|b| u64::from_le_bytes(*b))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|b| u32::from_le_bytes(*b))
}
