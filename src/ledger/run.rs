//! Runs: the decisions of a file sorted by fingerprint, each trace once.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::block::{Block, Entry, Group, Numbers, told};
use super::format::{
    Form, PAGE_BYTES, PAGE_ENTRIES, RUN_HEADER_BYTES, RunHeader, Tail, encode_tail, file_name, parse_page,
    put_page, tail_checksum,
};
use crate::runtime::disk::{DiskFile, read_full_at, write_all_at};
use crate::runtime::{Disk, OpenMode};
use crate::sample::{Fingerprint, Verdict};

/// Gathers blocks, in their order, to be written as one run.
#[derive(Default)]
pub(super) struct Sorter {
    block: Block,
    numbers: Numbers,
}

impl Sorter {
    /// Adds a block. What finds no room in the tables is left out, which a young file's bounds exclude.
    pub(super) fn add(&mut self, block: &Block) {
        let first_group = self.block.groups.len();
        self.block.groups.extend_from_slice(&block.groups);
        let verdicts: Vec<Option<u16>> = block
            .verdicts
            .iter()
            .map(|verdict| self.numbers.number(&mut self.block.verdicts, verdict))
            .collect();
        let renumbered = block.entries.iter().filter_map(|entry| {
            let verdict = verdicts.get(usize::from(entry.verdict)).copied().flatten()?;
            let group = u16::try_from(first_group + usize::from(entry.group)).ok()?;
            Some(Entry { trace: entry.trace, verdict, group })
        });
        self.block.entries.extend(renumbered);
    }

    /// The decisions sorted, each trace once: its last verdict, since when it holds.
    fn sorted(self) -> Block {
        let Block { groups, verdicts, mut entries } = self.block;
        entries.sort_by_key(|entry| entry.trace);
        let mut kept: usize = 0;
        for at in 0..entries.len() {
            let entry = entries[at];
            match kept.checked_sub(1).and_then(|last| entries.get_mut(last)) {
                Some(last) if last.trace == entry.trace => {
                    if last.verdict != entry.verdict {
                        *last = entry;
                    }
                }
                _ => {
                    entries[kept] = entry;
                    kept += 1;
                }
            }
        }
        entries.truncate(kept);
        Block { groups, verdicts, entries }
    }

    /// Writes the run: whole, under its name, or not at all. `None` if there is nothing to write.
    pub(super) fn write(
        self,
        disk: &dyn Disk,
        dir: &Path,
        number: u64,
        log: u64,
    ) -> io::Result<Option<(RunHeader, u64)>> {
        let block = self.sorted();
        let (Some((_, last_position)), false) = (block.positions(), block.entries.is_empty()) else {
            return Ok(None);
        };
        let tail = encode_tail(&block.groups, &block.verdicts, block.entries.len());
        let (oldest_unix_nano, newest_unix_nano) = block.times();
        let header = RunHeader {
            log,
            entries: block.entries.len() as u64,
            oldest_unix_nano,
            newest_unix_nano,
            last_position,
            tail_bytes: u32::try_from(tail.len()).map_err(|_| io::ErrorKind::InvalidInput)?,
            tail_checksum: tail_checksum(&tail),
        };
        let path = dir.join(file_name(number, Form::Run));
        let temporary = path.with_extension("run.tmp");
        let written = write_run(disk, &temporary, number, &header, &block.entries, &tail);
        let written = written.and_then(|bytes| disk.rename(&temporary, &path).map(|()| bytes));
        if written.is_err() {
            // Best effort: the first error is the one to tell.
            let _ = disk.remove(&temporary);
        }
        let bytes = written?;
        disk.sync_dir(dir)?;
        Ok(Some((header, bytes)))
    }
}

fn write_run(
    disk: &dyn Disk,
    path: &Path,
    number: u64,
    header: &RunHeader,
    entries: &[Entry],
    tail: &[u8],
) -> io::Result<u64> {
    const BUFFER_BYTES: usize = 64 * PAGE_BYTES;
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = disk.open(path, OpenMode::CreateNew)?;
    let mut buffer = header.seal(number).to_vec();
    let mut end = 0;
    for (page, entries) in (0..).zip(entries.chunks(PAGE_ENTRIES)) {
        put_page(&mut buffer, number, page, entries);
        if buffer.len() >= BUFFER_BYTES {
            write_all_at(&*file, &mut [IoSlice::new(&buffer)], end)?;
            end += buffer.len() as u64;
            buffer.clear();
        }
    }
    write_all_at(&*file, &mut [IoSlice::new(&buffer), IoSlice::new(tail)], end)?;
    file.sync_data()?;
    Ok(end + (buffer.len() + tail.len()) as u64)
}

/// What cannot be read of a run.
#[derive(Debug, thiserror::Error)]
pub(super) enum RunError {
    /// A page or the tail is damaged.
    #[error("damaged")]
    Damaged,
    /// The disk does not give it.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A run, open.
pub(super) struct Run {
    file: Arc<dyn DiskFile>,
    number: u64,
    pub(super) header: RunHeader,
}

impl Run {
    /// Opens a run and reads its header.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, number: u64) -> Result<Self, RunError> {
        let file = disk.open(&dir.join(file_name(number, Form::Run)), OpenMode::Read)?;
        let mut header = [0; RUN_HEADER_BYTES];
        let read = read_full_at(&*file, &mut header, 0)?;
        let header = RunHeader::parse(&header[..read], number, file.size()?).ok_or(RunError::Damaged)?;
        Ok(Self { file, number, header })
    }

    /// The entries of a page.
    pub(super) fn page(&self, page: u64) -> Result<Vec<Entry>, RunError> {
        let mut bytes = [0; PAGE_BYTES];
        read_full_at(&*self.file, &mut bytes, RunHeader::page_offset(page))?;
        parse_page(&bytes, self.number, page, self.header.page_entries(page)).ok_or(RunError::Damaged)
    }

    /// The tables of verdicts and groups.
    pub(super) fn tail(&self) -> Result<Tail, RunError> {
        let mut bytes = vec![0; self.header.tail_bytes as usize];
        read_full_at(&*self.file, &mut bytes, RunHeader::page_offset(self.header.pages()))?;
        self.header.tail(&bytes).ok_or(RunError::Damaged)
    }

    /// What is known of a trace. Fingerprints are uniform: the page is nearly always the one where it should be, or next
    /// to it. Where somebody chose his trace ids so that it is not, halving finds it.
    pub(super) fn find(&self, trace: Fingerprint) -> Result<Option<(Arc<Verdict>, Group)>, RunError> {
        const GUESSES: u32 = 4;
        let (mut low, mut high) = (0, self.header.pages());
        let mut guess = ((u128::from(trace.0) * u128::from(high)) >> 64) as u64;
        let mut guesses = 0;
        while low < high {
            let page = if guesses < GUESSES { guess.clamp(low, high - 1) } else { low + (high - low) / 2 };
            guesses += 1;
            let entries = self.page(page)?;
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                return Err(RunError::Damaged);
            };
            if trace < first.trace {
                (high, guess) = (page, page.saturating_sub(1));
            } else if trace > last.trace {
                (low, guess) = (page + 1, page + 1);
            } else {
                let found = entries.binary_search_by_key(&trace, |entry| entry.trace).ok();
                let Some(entry) = found.and_then(|at| entries.get(at)) else { return Ok(None) };
                let tail = self.tail()?;
                return match told(&tail.verdicts, &tail.groups, entry) {
                    Some((verdict, group)) => Ok(Some((verdict.clone(), group))),
                    None => Err(RunError::Damaged),
                };
            }
        }
        Ok(None)
    }
}
