//! The files of the ledger: what is there at the start, which is written to, which are sorted, which go.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::block::Block;
use super::format::{ENTRY_BYTES, Form, YOUNG_HEADER_BYTES, file_name, parse_name};
use super::run::{Run, RunError, Sorter};
use super::young::{Blocks, Young};
use crate::log::Position;
use crate::runtime::{Disk, OpenMode};

/// A young file with so many decisions is sorted. Sorting holds them in memory: 4 MiB.
pub(super) const YOUNG_ENTRIES_MAX: usize = 256 * 1024;
/// Files that could not be used and are kept for somebody to look at.
const QUARANTINED_MAX: usize = 4;
const QUARANTINED: &str = ".damaged";

/// A file, and what is known of it without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) number: u64,
    pub(super) form: Form,
    pub(super) log: u64,
    pub(super) entries: u64,
    pub(super) bytes: u64,
    pub(super) oldest_unix_nano: u64,
    pub(super) newest_unix_nano: u64,
    pub(super) last_position: Position,
}

impl Meta {
    fn young(number: u64, log: u64) -> Self {
        Self {
            number,
            form: Form::Young,
            log,
            entries: 0,
            bytes: 0,
            oldest_unix_nano: u64::MAX,
            newest_unix_nano: 0,
            last_position: Position(0),
        }
    }

    /// Counts a block of it.
    pub(super) fn add(&mut self, block: &Block, bytes: u64) {
        let (oldest, newest) = block.times();
        self.entries += block.entries.len() as u64;
        self.bytes += bytes;
        self.oldest_unix_nano = self.oldest_unix_nano.min(oldest);
        self.newest_unix_nano = self.newest_unix_nano.max(newest);
        self.last_position = self.last_position.max(block.positions().map_or(Position(0), |(_, last)| last));
    }
}

/// Numbers since the ledger was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Files, blocks and pages that could not be used.
    pub(super) damaged: AtomicU64,
    /// Decisions that were never written.
    pub(super) lost: AtomicU64,
    /// Writes that failed.
    pub(super) failures: AtomicU64,
    /// What is being sorted takes, in bytes: a gauge.
    pub(super) sorting: AtomicU64,
}

/// All files, oldest first.
pub(super) struct Files {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    pub(super) log: u64,
    pub(super) list: Mutex<Vec<Meta>>,
    pub(super) counters: Counters,
}

impl Files {
    /// Looks at what is there. Gives the young file that is to be gone on with. Nothing here is an error: what cannot be
    /// used is put aside and counted.
    pub(super) fn open(disk: Arc<dyn Disk>, dir: PathBuf, log: u64) -> (Self, Option<Young>) {
        let files = Self { disk, dir, log, list: Mutex::default(), counters: Counters::default() };
        let found = files.look();
        let last = found.last().copied();
        let (mut list, mut active) = (Vec::with_capacity(found.len()), None);
        for (number, form) in found {
            match form {
                Form::Run => list.extend(files.look_at_run(number)),
                Form::Young => {
                    let is_last = last == Some((number, form));
                    let (meta, young) = files.look_at_young(number, is_last);
                    list.extend(meta);
                    active = young;
                }
            }
        }
        *files.list.lock() = list;
        (files, active)
    }

    /// The files by number and form, ascending; leftovers are removed.
    fn look(&self) -> Vec<(u64, Form)> {
        let names = self.disk.create_dir_all(&self.dir).and_then(|()| self.disk.list(&self.dir));
        let names = names.unwrap_or_else(|error| {
            tracing::error!(dir = %self.dir.display(), %error, "the ledger of decisions cannot be read");
            self.counters.damaged.fetch_add(1, Ordering::Relaxed);
            Vec::new()
        });
        for name in names.iter().filter(|name| is_temporary(name)) {
            self.remove_name(name);
        }
        let mut put_aside: Vec<_> = names.iter().filter(|name| is_quarantined(name)).collect();
        put_aside.sort_unstable();
        for name in put_aside.iter().rev().skip(QUARANTINED_MAX) {
            self.remove_name(name);
        }
        let mut found: Vec<_> = names.iter().filter_map(|name| parse_name(name)).collect();
        found.sort_unstable_by_key(|(number, form)| (*number, *form == Form::Young));
        // Sorted, and the process ended before the young file was removed: the run has it all.
        let runs: Vec<u64> =
            found.iter().filter(|(_, form)| *form == Form::Run).map(|(number, _)| *number).collect();
        found.retain(|(number, form)| {
            let superseded = *form == Form::Young && runs.binary_search(number).is_ok();
            if superseded {
                self.remove_name(&file_name(*number, Form::Young));
            }
            !superseded
        });
        found
    }

    fn look_at_run(&self, number: u64) -> Option<Meta> {
        match Run::open(&*self.disk, &self.dir, number) {
            Ok(run) => Some(Meta {
                number,
                form: Form::Run,
                log: run.header.log,
                entries: run.header.entries,
                bytes: run.header.bytes(),
                oldest_unix_nano: run.header.oldest_unix_nano,
                newest_unix_nano: run.header.newest_unix_nano,
                last_position: run.header.last_position,
            }),
            Err(error) => {
                self.quarantine(number, Form::Run, &error);
                None
            }
        }
    }

    fn look_at_young(&self, number: u64, is_last: bool) -> (Option<Meta>, Option<Young>) {
        let mut blocks = match Blocks::open(&*self.disk, &self.dir, number) {
            Ok(Some(blocks)) => blocks,
            Ok(None) => {
                self.put_aside_young(number);
                return (None, None);
            }
            Err(error) => {
                self.quarantine(number, Form::Young, &RunError::Io(error));
                return (None, None);
            }
        };
        let mut meta = Meta::young(number, blocks.log);
        let all: Vec<Block> = blocks.by_ref().collect();
        all.iter().for_each(|block| meta.add(block, 0));
        meta.bytes = blocks.good_end;
        self.count_damage(number, blocks.damaged);
        let mut young = None;
        if is_last && meta.log == self.log {
            // Where it cannot be gone on with, a new one is begun.
            young = Young::resume(&*self.disk, &self.dir, number, blocks.good_end).ok();
        }
        if let Some(young) = &mut young {
            all.iter().for_each(|block| young.count(block));
        }
        (Some(meta), young)
    }

    pub(super) fn count_damage(&self, number: u64, places: u64) {
        if places > 0 {
            tracing::error!(file = number, places, "the ledger of decisions is damaged; the rest is used");
            self.counters.damaged.fetch_add(places, Ordering::Relaxed);
        }
    }

    /// A young file without a header: just begun when the machine went down, or damaged.
    fn put_aside_young(&self, number: u64) {
        let path = self.dir.join(file_name(number, Form::Young));
        let size = self.disk.open(&path, OpenMode::Read).and_then(|file| file.size());
        if size.is_ok_and(|size| size < YOUNG_HEADER_BYTES as u64) {
            self.remove_name(&file_name(number, Form::Young));
        } else {
            self.quarantine(number, Form::Young, &RunError::Damaged);
        }
    }

    /// Puts a file that cannot be used aside.
    fn quarantine(&self, number: u64, form: Form, error: &RunError) {
        let name = file_name(number, form);
        tracing::error!(file = name, %error, "a file of the ledger of decisions cannot be used; it is put aside");
        self.counters.damaged.fetch_add(1, Ordering::Relaxed);
        let aside = self.dir.join(format!("{name}{QUARANTINED}"));
        let moved = self.disk.rename(&self.dir.join(&name), &aside);
        if let Err(error) = moved.and_then(|()| self.disk.sync_dir(&self.dir)) {
            tracing::warn!(file = name, %error, "it could not be put aside");
        }
    }

    /// The number of the next file.
    pub(super) fn next_number(&self) -> u64 {
        self.list.lock().last().map_or(1, |last| last.number + 1)
    }

    /// Begins a young file.
    pub(super) fn begin(&self) -> io::Result<Young> {
        let number = self.next_number();
        let begun = self.disk.create_dir_all(&self.dir);
        let begun = begun.and_then(|()| Young::create(&*self.disk, &self.dir, number, self.log));
        match &begun {
            Ok(_) => self.list.lock().push(Meta::young(number, self.log)),
            Err(_) => self.remove_name(&file_name(number, Form::Young)),
        }
        begun
    }

    /// Counts a block that was appended.
    pub(super) fn appended(&self, number: u64, block: &Block, bytes: u64) {
        if let Some(meta) = self.list.lock().iter_mut().find(|meta| meta.number == number) {
            meta.add(block, bytes);
        }
    }

    /// A young file failed: it is not written to any more, and goes if nothing in it counts.
    pub(super) fn abandon(&self, number: u64) {
        let mut list = self.list.lock();
        let empty = |meta: &Meta| meta.number == number && meta.entries == 0;
        if list.iter().any(empty) {
            list.retain(|meta| !empty(meta));
            drop(list);
            self.remove_name(&file_name(number, Form::Young));
        }
    }

    /// Sorts the young files that are not written to.
    pub(super) fn sort(&self, active: Option<u64>) -> io::Result<()> {
        let young = |meta: &&Meta| meta.form == Form::Young && Some(meta.number) != active;
        let sealed: Vec<Meta> = self.list.lock().iter().filter(young).copied().collect();
        sealed.into_iter().try_for_each(|meta| self.sort_one(meta))
    }

    fn sort_one(&self, young: Meta) -> io::Result<()> {
        let Some(mut blocks) = Blocks::open(&*self.disk, &self.dir, young.number)? else {
            self.put_aside_young(young.number);
            self.list.lock().retain(|meta| meta.number != young.number);
            return Ok(());
        };
        let mut sorter = Sorter::default();
        blocks.by_ref().for_each(|block| sorter.add(&block));
        self.counters.sorting.store(young.entries * SORTING_BYTES_AN_ENTRY, Ordering::Relaxed);
        let run = sorter.write(&*self.disk, &self.dir, young.number, young.log);
        self.counters.sorting.store(0, Ordering::Relaxed);
        let run = run?;
        {
            let mut list = self.list.lock();
            match (run, list.iter_mut().find(|meta| meta.number == young.number)) {
                (Some((header, bytes)), Some(meta)) => {
                    *meta = Meta { form: Form::Run, entries: header.entries, bytes, ..young };
                }
                _ => list.retain(|meta| meta.number != young.number),
            }
        }
        self.remove_name(&file_name(young.number, Form::Young));
        Ok(())
    }

    /// Removes the oldest files beyond a size, in bytes, and with `before_unix_nano` those whose last decision is older.
    pub(super) fn expire(&self, active: Option<u64>, bytes_max: u64, before_unix_nano: Option<u64>) -> u64 {
        let mut removed = Vec::new();
        {
            let mut list = self.list.lock();
            let mut bytes: u64 = list.iter().map(|meta| meta.bytes).sum();
            list.retain(|meta| {
                let too_old = before_unix_nano.is_some_and(|before| meta.newest_unix_nano < before);
                let goes = (too_old || bytes > bytes_max) && Some(meta.number) != active;
                if goes {
                    bytes -= meta.bytes;
                    removed.push(*meta);
                }
                !goes
            });
        }
        for meta in &removed {
            self.remove_name(&file_name(meta.number, meta.form));
        }
        if !removed.is_empty() {
            // Not synced it comes back after a crash, and goes again.
            let _ = self.disk.sync_dir(&self.dir);
        }
        removed.len() as u64
    }

    fn remove_name(&self, name: &str) {
        match self.disk.remove(&self.dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = name, %error, "a file of the ledger of decisions cannot be removed");
            }
            _ => {}
        }
    }
}

fn is_temporary(name: &str) -> bool {
    name.strip_suffix(".tmp").is_some_and(|name| parse_name(name).is_some())
}

fn is_quarantined(name: &str) -> bool {
    name.strip_suffix(QUARANTINED).is_some_and(|name| parse_name(name).is_some())
}

/// A young file is at most this share of the ledger's size: what expires is a whole file.
const SHARE: u64 = 8;

/// What a decision takes while a young file is sorted: itself twice, and its part of the tables.
const SORTING_BYTES_AN_ENTRY: u64 = 32;

/// The decisions after which a young file is sorted.
pub(super) fn young_entries_max(bytes_max: u64, memory_max: u64) -> usize {
    let share = (bytes_max / SHARE / ENTRY_BYTES as u64).min(memory_max / SORTING_BYTES_AN_ENTRY);
    usize::try_from(share).unwrap_or(usize::MAX).clamp(1, YOUNG_ENTRIES_MAX)
}
