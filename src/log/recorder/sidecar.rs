//! The index of a whole segment, in a file beside it: sorted, so that a question reads a few pages.
//!
//! Named as the segment, with `.idx` for `.seg`. All numbers are little endian. A header page, then pages of entries:
//!
//! | header page (4096 bytes) | bytes | | page of entries (4096 bytes) | bytes |
//! | --- | --- | --- | --- | --- |
//! | magic `TWRECIDX` | 8 | | 341 entries: | 341 × 12 |
//! | version, 1 | 4 | | – fingerprint of tenant and trace id | 8 |
//! | 1 if something was left out, else 0 | 4 | | – the record's offset in the segment | 4 |
//! | the segment's base position | 8 | | checksum | 4 |
//! | the position up to which it tells | 8 | | | |
//! | number of entries | 8 | | | |
//! | xxh3 of the above | 8 | | | |
//!
//! Entries are in ascending order; the last page is filled up with zeros. A page's checksum is the low half of its xxh3,
//! seeded with the segment's base and the page's number, so that a page in the wrong place is not taken for the right one.
//! Nothing is synced: a file that a crash left damaged is made again from its segment.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use twox_hash::XxHash3_64;

use super::entry::{ENTRY_BYTES, Entry};
use crate::log::frame::{base_of, checksum, segment_name, u32_at, u64_at};
use crate::runtime::disk::{DiskFile, read_full_at, write_all_at};
use crate::runtime::{Disk, OpenMode};

const MAGIC: [u8; 8] = *b"TWRECIDX";
const VERSION: u32 = 1;
const PAGE_BYTES: usize = 4096;
const PAGE_ENTRIES: u64 = ((PAGE_BYTES - 4) / ENTRY_BYTES) as u64;
const HEADER_BYTES: usize = 48;
/// Pages that are written at once.
const WRITE_PAGES: usize = 64;
/// After so many guesses by interpolation, the middle is taken: fingerprints that somebody chose are not even.
const GUESSES_MAX: u32 = 4;

/// The file beside the segment that begins at `base`.
pub(in crate::log) fn sidecar_path(dir: &Path, base: u64) -> PathBuf {
    dir.join(segment_name(base)).with_extension("idx")
}

/// Whether the name is that of a sidecar, or of one that was never finished; and whose.
pub(super) fn sidecar_of(name: &str) -> Option<u64> {
    let stem = name.strip_suffix(".idx").or_else(|| name.strip_suffix(".idx.tmp"))?;
    base_of(&format!("{stem}.seg"))
}

/// A file that cannot be used: it is made again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error("it is damaged, or of another version")]
    Damaged,
    #[error(transparent)]
    Io(#[from] io::Error),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) base: u64,
    /// Every record of spans before this position is in it.
    pub(super) end: u64,
    pub(super) entries: u64,
    /// Something was left out.
    pub(super) partial: bool,
}

impl Header {
    fn seal(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&u32::from(self.partial).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.base.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.end.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.entries.to_le_bytes());
        let sum = checksum(&bytes[..40]);
        bytes[40..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn parse(bytes: &[u8], base: u64) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        let intact = u64_at(bytes, 40)? == checksum(&bytes[..40]);
        let ours = bytes[..8] == MAGIC && u32_at(bytes, 8)? == VERSION;
        let header = Self {
            base: u64_at(bytes, 16)?,
            end: u64_at(bytes, 24)?,
            entries: u64_at(bytes, 32)?,
            partial: u32_at(bytes, 12)? != 0,
        };
        (intact && ours && header.base == base).then_some(header)
    }

    fn pages(&self) -> u64 {
        self.entries.div_ceil(PAGE_ENTRIES)
    }
}

/// Writes the entries, which are sorted, as the segment's sidecar. Either all of it gets the name or nothing does.
pub(super) fn write(disk: &dyn Disk, dir: &Path, header: Header, entries: &[Entry]) -> io::Result<()> {
    let path = sidecar_path(dir, header.base);
    let unfinished = path.with_extension("idx.tmp");
    match disk.remove(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(&unfinished, OpenMode::CreateNew)?;
    let written = write_pages(&*file, header, entries).and_then(|()| disk.rename(&unfinished, &path));
    if written.is_err() {
        // Best effort: the next try removes it first.
        let _ = disk.remove(&unfinished);
    }
    written
}

fn write_pages(file: &dyn DiskFile, header: Header, entries: &[Entry]) -> io::Result<()> {
    let mut first = header.seal().to_vec();
    first.resize(PAGE_BYTES, 0);
    write_all_at(file, &mut [IoSlice::new(&first)], 0)?;
    let mut at = PAGE_BYTES as u64;
    let mut number = 0;
    let mut buffer = Vec::with_capacity(WRITE_PAGES * PAGE_BYTES);
    for pages in entries.chunks(WRITE_PAGES * PAGE_ENTRIES as usize) {
        buffer.clear();
        for page in pages.chunks(PAGE_ENTRIES as usize) {
            let begin = buffer.len();
            buffer.extend(page.iter().flat_map(|entry| entry.to_bytes()));
            buffer.resize(begin + PAGE_BYTES - 4, 0);
            let sum = page_checksum(header.base, number, &buffer[begin..]);
            buffer.extend_from_slice(&sum.to_le_bytes());
            number += 1;
        }
        write_all_at(file, &mut [IoSlice::new(&buffer)], at)?;
        at += buffer.len() as u64;
    }
    Ok(())
}

fn page_checksum(base: u64, number: u64, entries: &[u8]) -> u32 {
    XxHash3_64::oneshot_with_seed(base ^ number.rotate_right(20), entries) as u32
}

/// A sidecar that is open.
pub(super) struct Sidecar {
    file: std::sync::Arc<dyn DiskFile>,
    pub(super) header: Header,
}

impl Sidecar {
    /// Opens the sidecar of the segment at `base`: its header and length are checked, its pages when they are read.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, base: u64) -> Result<Self, Unusable> {
        let file = disk.open(&sidecar_path(dir, base), OpenMode::Read)?;
        let mut bytes = [0; HEADER_BYTES];
        let read = read_full_at(&*file, &mut bytes, 0)?;
        let header = Header::parse(&bytes[..read], base).ok_or(Unusable::Damaged)?;
        let whole = header.pages().checked_add(1).and_then(|pages| pages.checked_mul(PAGE_BYTES as u64));
        if whole == Some(file.size()?) { Ok(Self { file, header }) } else { Err(Unusable::Damaged) }
    }

    /// The offsets of the records that hold spans of a trace, ascending, at most `most`.
    pub(super) fn offsets(&self, fingerprint: u64, most: usize) -> Result<Vec<u32>, Unusable> {
        let mut offsets = Vec::new();
        let Some(first) = self.first_page(fingerprint)? else { return Ok(offsets) };
        let mut page = first;
        loop {
            let equal = page.entries().skip_while(|(of, _)| *of < fingerprint);
            let before = offsets.len();
            offsets.extend(equal.take_while(|(of, _)| *of == fingerprint).map(|(_, offset)| offset));
            let goes_on = page.last() == fingerprint && page.number + 1 < self.header.pages();
            if !goes_on || offsets.len() == before || offsets.len() >= most {
                offsets.truncate(most);
                return Ok(offsets);
            }
            page = self.page(page.number + 1)?;
        }
    }

    /// The first page that may hold the fingerprint: guessed by interpolation, for fingerprints are spread evenly.
    fn first_page(&self, fingerprint: u64) -> Result<Option<Page>, Unusable> {
        let (mut low, mut high) = (0, self.header.pages());
        let (mut floor, mut ceiling) = (0, u64::MAX);
        let mut found: Option<Page> = None;
        let mut guesses = 0;
        while low < high {
            let number = if guesses < GUESSES_MAX {
                guess(fingerprint, floor..=ceiling, low..high)
            } else {
                low + (high - low) / 2
            };
            guesses += 1;
            let page = self.page(number)?;
            if page.last() < fingerprint {
                (low, floor) = (number + 1, page.last());
            } else if page.first() < fingerprint {
                return Ok(Some(page));
            } else {
                // All pages before it may end with the same fingerprint.
                (high, ceiling) = (number, page.first());
                if page.first() == fingerprint {
                    found = Some(page);
                }
            }
        }
        Ok(found)
    }

    fn page(&self, number: u64) -> Result<Page, Unusable> {
        let mut bytes = vec![0; PAGE_BYTES];
        let read = read_full_at(&*self.file, &mut bytes, (number + 1) * PAGE_BYTES as u64)?;
        let sum = u32_at(&bytes, PAGE_BYTES - 4);
        bytes.truncate(PAGE_BYTES - 4);
        if read < PAGE_BYTES || sum != Some(page_checksum(self.header.base, number, &bytes)) {
            return Err(Unusable::Damaged);
        }
        let entries = (self.header.entries - number * PAGE_ENTRIES).min(PAGE_ENTRIES);
        bytes.truncate(entries as usize * ENTRY_BYTES);
        Ok(Page { number, bytes })
    }
}

/// Where between the pages the fingerprint should lie, if those between `values` were spread evenly over `pages`.
fn guess(fingerprint: u64, values: std::ops::RangeInclusive<u64>, pages: std::ops::Range<u64>) -> u64 {
    let width = u128::from(values.end().saturating_sub(*values.start())) + 1;
    let into = u128::from(fingerprint.saturating_sub(*values.start()));
    let share = into * u128::from(pages.end - pages.start) / width;
    (pages.start + share as u64).min(pages.end - 1)
}

/// A page that was checked; never empty.
struct Page {
    number: u64,
    bytes: Vec<u8>,
}

impl Page {
    fn entries(&self) -> impl Iterator<Item = (u64, u32)> {
        self.bytes
            .chunks_exact(ENTRY_BYTES)
            .map(|entry| (u64_at(entry, 0).unwrap_or_default(), u32_at(entry, 8).unwrap_or_default()))
    }

    fn first(&self) -> u64 {
        u64_at(&self.bytes, 0).unwrap_or_default()
    }

    fn last(&self) -> u64 {
        u64_at(&self.bytes, self.bytes.len() - ENTRY_BYTES).unwrap_or_default()
    }
}
