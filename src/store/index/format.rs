//! The layout of a run. All numbers are little endian.
//!
//! | part | bytes | what |
//! | --- | --- | --- |
//! | pages of entries | 4 096 each | 341 entries of 12 bytes, ascending: [`Fingerprint`](crate::sample::Fingerprint) of the trace (8), file (2), row group (2); four bytes of zeros, if the page is full none; the low half of the xxh3 of all before it, seeded with the page's number |
//! | sections of filters | see [`super::filter`] | for each size of filter, smallest first: for each block its 32 bytes of each row group, and their xxh3 (8) |
//! | directory | | for each file: bytes (8), length of its path (2), row groups (2), the path as in the Delta log; for each row group: its filter's size, 255 for none (1), flags (1) |
//! | trailer | 56 | magic `TWTRACES` (8), version 1 (4), files (4), entries (8), the directory's offset (8), its length (8), its xxh3 (8), the xxh3 of the trailer up to here (8) |
//!
//! The trailer is at the end, so that a run can be written in one pass without knowing how long it gets.

use std::ops::Range;

use twox_hash::XxHash3_64;

use super::entry::{PAGE_BYTES, pages};
use super::filter::{BLOCK_BYTES, FilterSize, GroupFilter, NO_FILTER, SIZE_MAX, blocks_of};

const MAGIC: [u8; 8] = *b"TWTRACES";
const VERSION: u32 = 1;
/// What the trailer takes.
pub(super) const TRAILER_BYTES: usize = 56;
/// A directory is not read beyond this: one of 65 536 files of 8 row groups with paths of 200 bytes takes half of it.
const DIRECTORY_BYTES_MAX: u64 = 32 << 20;
/// Files of a run: an entry has 16 bits for them.
pub(super) const FILES_MAX: usize = 1 << 16;
/// Row groups of a file that a run covers, likewise.
pub(super) const GROUPS_MAX: usize = 1 << 16;
const SUM_BYTES: usize = 8;

/// What is known of a row group's filter without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupInfo {
    /// Of its filter, or [`NO_FILTER`].
    pub(super) size: FilterSize,
    /// As [`GroupFilter::flags`].
    pub(super) flags: u8,
}

/// A data file that a run covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Covered {
    /// As the Delta log has it.
    pub(super) path: String,
    pub(super) bytes: u64,
    pub(super) groups: Vec<GroupInfo>,
}

impl Covered {
    /// A file with these filters.
    pub(super) fn new(path: String, bytes: u64, filters: &[GroupFilter]) -> Self {
        let info = |f: &GroupFilter| GroupInfo { size: f.size(), flags: f.flags() };
        Self { path, bytes, groups: filters.iter().map(info).collect() }
    }
}

/// Row groups whose filters have the same number of blocks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) size: FilterSize,
    /// Where it begins in the run.
    pub(super) offset: u64,
    /// Its row groups: file and row group, in the order of the directory.
    pub(super) groups: Vec<(u16, u16)>,
}

impl Section {
    /// What the blocks of one number of all row groups take, with their checksum.
    pub(super) fn row_bytes(&self) -> u64 {
        (self.groups.len() * BLOCK_BYTES + SUM_BYTES) as u64
    }

    /// Where the blocks of this number are.
    pub(super) fn row(&self, block: u32) -> Range<u64> {
        let begin = self.offset + u64::from(block) * self.row_bytes();
        begin..begin + self.row_bytes()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.row_bytes() * u64::from(blocks_of(self.size))
    }
}

/// Appends the checksum of a section's row, which begins at `begin`.
pub(super) fn seal_row(block: u32, begin: usize, out: &mut Vec<u8>) {
    let sum = XxHash3_64::oneshot_with_seed(u64::from(block), &out[begin..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// The blocks of a section's row; `None` if it is damaged.
pub(super) fn open_row(block: u32, row: &[u8]) -> Option<&[u8]> {
    let (blocks, sum) = row.split_last_chunk::<SUM_BYTES>()?;
    let intact = XxHash3_64::oneshot_with_seed(u64::from(block), blocks) == u64::from_le_bytes(*sum);
    intact.then_some(blocks)
}

/// What a run holds, and where.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Directory {
    pub(super) entries: u64,
    pub(super) files: Vec<Covered>,
    pub(super) sections: Vec<Section>,
}

impl Directory {
    pub(super) fn new(entries: u64, files: Vec<Covered>) -> Self {
        let sections = sections(&files, pages(entries) * PAGE_BYTES as u64);
        Self { entries, files, sections }
    }

    /// Where it is in the run.
    pub(super) fn offset(&self) -> u64 {
        pages(self.entries) * PAGE_BYTES as u64 + self.sections.iter().map(Section::bytes).sum::<u64>()
    }

    /// The run's name: of a hash of what it covers, so that the same files have the same run whoever makes it.
    pub(super) fn name(&self) -> String {
        name_of(self.files.iter().map(|f| (f.path.as_str(), f.bytes)))
    }

    /// Directory and trailer.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let begin = out.len();
        for file in &self.files {
            out.extend_from_slice(&file.bytes.to_le_bytes());
            out.extend_from_slice(&(file.path.len() as u16).to_le_bytes());
            // 65 536 row groups are written as 0: no file has none.
            out.extend_from_slice(&(file.groups.len() as u16).to_le_bytes());
            out.extend_from_slice(file.path.as_bytes());
            out.extend(file.groups.iter().flat_map(|g| [g.size, g.flags]));
        }
        let (bytes, sum) = ((out.len() - begin) as u64, XxHash3_64::oneshot(&out[begin..]));
        let begin = out.len();
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(self.files.len() as u32).to_le_bytes());
        for number in [self.entries, self.offset(), bytes, sum] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        let sum = XxHash3_64::oneshot(&out[begin..]);
        out.extend_from_slice(&sum.to_le_bytes());
    }

    /// The directory from its bytes, as the trailer describes them; `None` if they are damaged.
    pub(super) fn read(trailer: &Trailer, bytes: &[u8]) -> Option<Self> {
        if XxHash3_64::oneshot(bytes) != trailer.sum {
            return None;
        }
        let mut left = bytes;
        let mut files = Vec::new();
        for _ in 0..trailer.files {
            let bytes = u64::from_le_bytes(*take::<8>(&mut left)?);
            let path = usize::from(u16::from_le_bytes(*take::<2>(&mut left)?));
            let groups = usize::from(u16::from_le_bytes(*take::<2>(&mut left)?));
            let groups = if groups == 0 { GROUPS_MAX } else { groups };
            let path = left.split_off(..path)?;
            let groups = left.split_off(..groups * 2)?.as_chunks::<2>().0.iter();
            let groups = groups.map(|[size, flags]| GroupInfo { size: *size, flags: *flags });
            let path = String::from_utf8(path.to_vec()).ok()?;
            files.push(Covered { path, bytes, groups: groups.collect() });
        }
        let known = |g: &GroupInfo| g.size == NO_FILTER || g.size <= SIZE_MAX;
        if !left.is_empty() || !files.iter().flat_map(|f| &f.groups).all(known) {
            return None;
        }
        let directory = Self::new(trailer.entries, files);
        (directory.offset() == trailer.offset).then_some(directory)
    }
}

/// The name of the run of these files: path as in the Delta log, and bytes.
pub(super) fn name_of<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut files: Vec<_> = files.collect();
    files.sort_unstable();
    let mut text = Vec::new();
    for (path, bytes) in files {
        text.extend_from_slice(path.as_bytes());
        text.push(0);
        text.extend_from_slice(&bytes.to_le_bytes());
    }
    format!("run-{:016x}.idx", XxHash3_64::oneshot(&text))
}

/// Whether this is the name of a run.
pub(super) fn is_name(name: &str) -> bool {
    let digits = name.strip_prefix("run-").and_then(|rest| rest.strip_suffix(".idx"));
    digits.is_some_and(|d| d.len() == 16 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}

fn sections(files: &[Covered], mut offset: u64) -> Vec<Section> {
    let mut by_size = std::collections::BTreeMap::<u8, Vec<(u16, u16)>>::new();
    for (file, covered) in files.iter().enumerate() {
        for (group, info) in covered.groups.iter().enumerate().filter(|(_, g)| g.size != NO_FILTER) {
            by_size.entry(info.size).or_default().push((file as u16, group as u16));
        }
    }
    let section = |(size, groups)| {
        let section = Section { size, offset, groups };
        offset += section.bytes();
        section
    };
    by_size.into_iter().map(section).collect()
}

/// The end of a run, which says where its directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    files: u32,
    entries: u64,
    offset: u64,
    bytes: u64,
    sum: u64,
}

impl Trailer {
    /// The trailer of a run of `run_bytes` whose last bytes are given; `None` if it is damaged, or of another version.
    pub(super) fn read(tail: &[u8], run_bytes: u64) -> Option<Self> {
        let bytes = tail.last_chunk::<TRAILER_BYTES>()?;
        let (head, sum) = bytes.split_last_chunk::<SUM_BYTES>()?;
        let mut left = head;
        let ours = *take::<8>(&mut left)? == MAGIC && *take::<4>(&mut left)? == VERSION.to_le_bytes();
        if !ours || u64::from_le_bytes(*sum) != XxHash3_64::oneshot(head) {
            return None;
        }
        let files = u32::from_le_bytes(*take::<4>(&mut left)?);
        let mut number = || take::<8>(&mut left).map(|bytes| u64::from_le_bytes(*bytes));
        let trailer = Self { files, entries: number()?, offset: number()?, bytes: number()?, sum: number()? };
        let ends = trailer.offset.checked_add(trailer.bytes)?.checked_add(TRAILER_BYTES as u64)?;
        let fits = trailer.bytes <= DIRECTORY_BYTES_MAX && trailer.files as usize <= FILES_MAX;
        (ends == run_bytes && fits).then_some(trailer)
    }

    /// Where the directory is.
    pub(super) fn directory(&self) -> Range<u64> {
        self.offset..self.offset + self.bytes
    }
}

fn take<'a, const N: usize>(left: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = left.split_first_chunk::<N>()?;
    *left = rest;
    Some(head)
}
