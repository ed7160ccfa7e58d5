//! The ledger of decisions: verdicts that outlive the log's segments.
//!
//! Each Verdicts record that is committed is noted here too, twelve bytes a decision: a [`Fingerprint`] of the trace, its
//! verdict, when, and where in the log. So `trace why` can tell what became of a trace that was dropped yesterday, and late
//! spans inherit their trace's verdict after a restart, although the log has long forgotten it.
//!
//! [`Ledger::append`] only remembers; [`Ledger::flush`] writes and syncs, about once a second. [`Ledger::durable`] says what
//! the log may forget. The bytes on disk are described in [`format`].
//!
//! The ledger may be lost and no span is: what it knew is then unknown to `trace why`, and late spans of a trace that the log
//! has forgotten too are decided as a trace of their own. What cannot be written for a while is given up and counted; the
//! log does not wait for a ledger that fails.

mod block;
mod files;
mod format;
mod run;
mod young;

#[cfg(test)]
mod tests;

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use block::{Block, Group, Waiting, told};
use files::{Files, Meta, young_entries_max};
use format::Form;
use run::{Run, RunError};
use young::{Blocks, Young};

use crate::log::Position;
use crate::runtime::{Clock, Disk, Tenant};
use crate::sample::records::Decided;
use crate::sample::{Fingerprint, Verdict};
use crate::wire::TraceId;

/// The ledger's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerConfig {
    /// Where its files lie; created if missing.
    pub dir: PathBuf,
    /// Tells the log that positions belong to from another one that began anew.
    pub log: u64,
    /// How long a decision is kept at least, where there is room. It may stay for an hour (an eighth of this) longer.
    pub keep: Duration,
    /// What the files may take on disk, in bytes.
    pub bytes_max: u64,
    /// What decisions may take in memory, in bytes: a quarter those that gather, a quarter those that are being written, half
    /// those that are being sorted.
    pub memory_max: u64,
}

/// A young file is sorted when it is this old, or an eighth of what is kept.
const YOUNG_AGE_MAX: Duration = Duration::from_secs(3600);
/// Decisions that could not be written for this long do not hold the log any more.
const PATIENCE: Duration = Duration::from_secs(60);
/// Expiry deletes: only a wall clock that has gone on steadily for this long decides.
const STEADY_FOR: Duration = Duration::from_secs(600);
/// How far the wall clock may drift from the monotonic one between two flushes and still be steady.
const DRIFT_MAX: Duration = Duration::from_secs(60);

/// What the ledger knows of a trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The last verdict given.
    pub verdict: Arc<Verdict>,
    /// Since when it holds, Unix nanoseconds.
    pub decided_unix_nano: u64,
    /// The record of the log that said so, if that log is the one in use.
    pub position: Option<Position>,
}

/// The ledger in numbers. Counts are since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// Decisions it has; a trace that was decided again may count twice.
    pub entries: u64,
    /// What its files take on disk, in bytes.
    pub bytes: u64,
    /// How many files there are.
    pub files: u64,
    /// The oldest decision, Unix nanoseconds; 0 where there is none.
    pub oldest_unix_nano: u64,
    /// Decisions that wait to be written.
    pub waiting: u64,
    /// What they take, and those that are being sorted, in bytes.
    pub memory_bytes: u64,
    /// Files, blocks and pages found that could not be used.
    pub damaged: u64,
    /// Decisions that were never written, because that failed for too long.
    pub lost: u64,
    /// Writes that failed.
    pub failures: u64,
}

/// The ledger. Shared by the thread that decides, the task that flushes, and whoever asks.
pub struct Ledger {
    config: LedgerConfig,
    clock: Arc<dyn Clock>,
    files: Files,
    memory: Mutex<Memory>,
    writer: Mutex<Writer>,
}

#[derive(Default)]
struct Memory {
    waiting: Waiting,
    /// What is being written, or could not be.
    flushing: Option<Arc<Block>>,
    /// Since when writing fails, monotonic.
    failing_since: Option<Duration>,
}

/// One flush at a time.
struct Writer {
    young: Option<Young>,
    /// Since when the young file is written to, monotonic.
    young_since: Duration,
    /// Wall clock and monotonic clock as last seen.
    seen: (u64, Duration),
    /// Since when they agree, monotonic.
    steady_since: Duration,
}

impl Ledger {
    /// Opens the ledger, or begins one. Damage is no error: what cannot be used is put aside and counted; nor is a disk that
    /// fails, that shows when it is written to.
    pub fn open(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>, config: LedgerConfig) -> Self {
        let (files, young) = Files::open(disk, config.dir.clone(), config.log);
        let now = clock.monotonic();
        let seen = (clock.now_unix_nano(), now);
        let memory = Memory { waiting: Waiting::new(config.memory_max / 4), ..Memory::default() };
        let writer = Writer { young, young_since: now, seen, steady_since: now };
        Self { config, clock, files, memory: Mutex::new(memory), writer: Mutex::new(writer) }
    }

    /// Notes what a committed record of the log decided. Costs no I/O. Records come in the order of the log.
    pub fn append(&self, position: Position, decided_unix_nano: u64, decided: &[Decided]) {
        if decided.is_empty() {
            return;
        }
        let mut memory = self.memory.lock();
        if !memory.waiting.is_empty() && !memory.waiting.has_room(decided.len()) {
            // Nobody has written for long: the oldest go.
            let given_up = memory.flushing.take().map_or(0, |block| block.entries.len());
            self.lost(given_up);
            memory.flushing = Some(Arc::new(memory.waiting.take()));
        }
        let left_out = memory.waiting.add(Group { decided_unix_nano, position }, decided);
        drop(memory);
        self.lost(left_out);
    }

    fn lost(&self, decisions: usize) {
        if decisions > 0 {
            tracing::error!(decisions, "decisions are lost to the ledger, which cannot be written");
            self.files.counters.lost.fetch_add(decisions as u64, Ordering::Relaxed);
        }
    }

    /// The log may forget every record at or below this: what it decided is on disk here too, or given up. The highest
    /// position there is where nothing waits.
    pub fn durable(&self) -> Position {
        let memory = self.memory.lock();
        let patient = |since: Duration| self.clock.monotonic().saturating_sub(since) < PATIENCE;
        if !memory.failing_since.is_none_or(patient) {
            return Position(u64::MAX);
        }
        let flushing = memory.flushing.iter().map(|block| &**block);
        let first = flushing.chain([memory.waiting.block()]).find_map(Block::positions);
        first.map_or(Position(u64::MAX), |(first, _)| Position(first.0.saturating_sub(1)))
    }

    /// The last record of the log in use whose decisions are on disk. Those behind it are to be appended again at start.
    pub fn last(&self) -> Option<Position> {
        let list = self.files.list.lock();
        let ours = list.iter().filter(|meta| meta.log == self.config.log && meta.entries > 0);
        ours.map(|meta| meta.last_position).max()
    }

    /// Writes what waits and syncs it; sorts what is not young any more, and lets go what is too old or too much. Blocks on
    /// the disk.
    ///
    /// # Errors
    /// When the disk does not take it. It stays in memory for the next time, as far as there is room.
    pub fn flush(&self) -> io::Result<()> {
        let mut writer = self.writer.lock();
        let result = self.write_waiting(&mut writer).and_then(|()| self.tidy(&mut writer));
        if result.is_err() {
            self.files.counters.failures.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn write_waiting(&self, writer: &mut Writer) -> io::Result<()> {
        // What could not be written comes first; then, once, what gathered since.
        for _ in 0..2 {
            let Some(block) = self.take_waiting() else { return Ok(()) };
            let written = self.write(writer, &block);
            let mut memory = self.memory.lock();
            match &written {
                Ok(()) => {
                    memory.failing_since = None;
                    if memory.flushing.as_ref().is_some_and(|flushing| Arc::ptr_eq(flushing, &block)) {
                        memory.flushing = None;
                    }
                }
                Err(_) => {
                    memory.failing_since.get_or_insert(self.clock.monotonic());
                }
            }
            drop(memory);
            written?;
        }
        Ok(())
    }

    fn take_waiting(&self) -> Option<Arc<Block>> {
        let mut memory = self.memory.lock();
        if memory.flushing.is_none() && !memory.waiting.is_empty() {
            memory.flushing = Some(Arc::new(memory.waiting.take()));
        }
        memory.flushing.clone()
    }

    fn write(&self, writer: &mut Writer, block: &Block) -> io::Result<()> {
        let mut young = match writer.young.take().filter(|young| young.has_room(block)) {
            Some(young) => young,
            None => {
                writer.young_since = self.clock.monotonic();
                self.files.begin()?
            }
        };
        match young.append(block) {
            Ok(bytes) => {
                self.files.appended(young.number, block, bytes);
                writer.young = Some(young);
                Ok(())
            }
            Err(error) => {
                // After a failed sync nobody knows what the file holds: what comes next goes into a new one.
                self.files.abandon(young.number);
                Err(error)
            }
        }
    }

    fn tidy(&self, writer: &mut Writer) -> io::Result<()> {
        let (now, now_unix) = (self.clock.monotonic(), self.clock.now_unix_nano());
        let age_max = YOUNG_AGE_MAX.min(self.config.keep / 8);
        let entries_max = young_entries_max(self.config.bytes_max, self.config.memory_max / 2);
        let is_old = |young: &Young| young.entries() > 0 && now.saturating_sub(writer.young_since) >= age_max;
        if writer.young.as_ref().is_some_and(|young| young.entries() >= entries_max || is_old(young)) {
            writer.young = None;
        }
        let active = writer.young.as_ref().map(|young| young.number);
        let is_steady = writer.look(now_unix, now);
        let keep = u64::try_from(self.config.keep.as_nanos()).unwrap_or(u64::MAX);
        let before = is_steady.then(|| now_unix.saturating_sub(keep));
        let files = self.files.expire(active, self.config.bytes_max, before);
        if files > 0 {
            tracing::info!(files, "decisions expired");
        }
        self.files.sort(active)
    }

    /// What is known of a trace: its last verdict. Blocks on the disk.
    pub fn find(&self, tenant: &Tenant, trace_id: &TraceId) -> Option<Told> {
        self.find_fingerprint(Fingerprint::of(tenant, trace_id))
    }

    fn find_fingerprint(&self, trace: Fingerprint) -> Option<Told> {
        let mut found: Option<Told> = None;
        // From the newest on: further back the same verdict only tells since when.
        let mut look = |told: Told| match &mut found {
            Some(last) if last.verdict != told.verdict => ControlFlow::Break(()),
            Some(last) => {
                (last.decided_unix_nano, last.position) = (told.decided_unix_nano, told.position);
                ControlFlow::Continue(())
            }
            None => {
                found = Some(told);
                ControlFlow::Continue(())
            }
        };
        // What is written meanwhile is found in its file: the files are listed after memory was looked at.
        let in_memory = {
            let memory = self.memory.lock();
            let flushing = memory.flushing.iter().map(|block| last_in(block, trace));
            let found: Vec<_> =
                [last_in(memory.waiting.block(), trace)].into_iter().chain(flushing).collect();
            found.into_iter().flatten().collect::<Vec<_>>()
        };
        for (verdict, group) in in_memory {
            let told = self.told(verdict, group, self.config.log);
            if look(told).is_break() {
                return found;
            }
        }
        let list = self.files.list.lock().clone();
        for meta in list.iter().rev() {
            match self.find_in_file(meta, trace) {
                Ok(Some((verdict, group))) => {
                    if look(self.told(verdict, group, meta.log)).is_break() {
                        return found;
                    }
                }
                Ok(None) => {}
                Err(error) => self.unreadable(meta, &error),
            }
        }
        found
    }

    fn told(&self, verdict: Arc<Verdict>, group: Group, log: u64) -> Told {
        let position = (log == self.config.log).then_some(group.position);
        Told { verdict, decided_unix_nano: group.decided_unix_nano, position }
    }

    fn find_in_file(
        &self,
        meta: &Meta,
        trace: Fingerprint,
    ) -> Result<Option<(Arc<Verdict>, Group)>, RunError> {
        let (disk, dir) = (&*self.files.disk, &self.files.dir);
        if meta.form == Form::Young {
            match Blocks::open(disk, dir, meta.number) {
                Ok(Some(blocks)) => {
                    let mut found: Option<(Arc<Verdict>, Group)> = None;
                    for told in blocks.filter_map(|block| last_in(&block, trace)) {
                        if found.as_ref().is_none_or(|(verdict, _)| *verdict != told.0) {
                            found = Some(told);
                        }
                    }
                    return Ok(found);
                }
                Ok(None) => return Err(RunError::Damaged),
                // Sorted meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        match Run::open(disk, dir, meta.number) {
            Ok(run) => run.find(trace),
            // Expired meanwhile, or taken away.
            Err(RunError::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn unreadable(&self, meta: &Meta, error: &RunError) {
        tracing::error!(file = meta.number, %error, "a file of the ledger of decisions cannot be read");
        self.files.counters.damaged.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives about the `max` newest decisions of records of the log below a position, to seed a memory of verdicts: the
    /// older ones first, so that the last one given of a trace holds. Blocks on the disk.
    pub fn recent(&self, max: usize, below: Position, mut give: impl FnMut(Fingerprint, &Arc<Verdict>)) {
        let list = self.files.list.lock().clone();
        let mut entries = 0;
        let enough = |meta: &&Meta| {
            let before = entries;
            entries += meta.entries;
            before < max as u64
        };
        let newest: Vec<&Meta> = list.iter().rev().take_while(enough).collect();
        for meta in newest.into_iter().rev() {
            let is_below = |group: Group| meta.log != self.config.log || group.position < below;
            if let Err(error) = self.each(meta, |trace, verdict, group| {
                if is_below(group) {
                    give(trace, verdict);
                }
            }) {
                self.unreadable(meta, &error);
            }
        }
    }

    /// Each decision of a file that can be read.
    fn each(
        &self,
        meta: &Meta,
        mut give: impl FnMut(Fingerprint, &Arc<Verdict>, Group),
    ) -> Result<(), RunError> {
        let (disk, dir) = (&*self.files.disk, &self.files.dir);
        if meta.form == Form::Young {
            let blocks = Blocks::open(disk, dir, meta.number)?.ok_or(RunError::Damaged)?;
            for block in blocks {
                for entry in &block.entries {
                    block
                        .told(entry)
                        .into_iter()
                        .for_each(|(verdict, group)| give(entry.trace, verdict, group));
                }
            }
            return Ok(());
        }
        let run = Run::open(disk, dir, meta.number)?;
        let tail = run.tail()?;
        let mut damaged = 0;
        for page in 0..run.header.pages() {
            let Ok(entries) = run.page(page) else {
                damaged += 1;
                continue;
            };
            for entry in &entries {
                let told = told(&tail.verdicts, &tail.groups, entry);
                told.into_iter().for_each(|(verdict, group)| give(entry.trace, verdict, group));
            }
        }
        self.files.count_damage(meta.number, damaged);
        Ok(())
    }

    /// The ledger in numbers.
    pub fn stats(&self) -> LedgerStats {
        let (waiting, memory_bytes) = {
            let memory = self.memory.lock();
            let blocks = || memory.flushing.iter().map(|block| &**block).chain([memory.waiting.block()]);
            let entries: usize = blocks().map(|block| block.entries.len()).sum();
            (entries as u64, blocks().map(Block::bytes).sum::<usize>() as u64)
        };
        let list = self.files.list.lock();
        let oldest = list.iter().filter(|meta| meta.entries > 0).map(|meta| meta.oldest_unix_nano).min();
        let counters = &self.files.counters;
        LedgerStats {
            entries: list.iter().map(|meta| meta.entries).sum::<u64>() + waiting,
            bytes: list.iter().map(|meta| meta.bytes).sum(),
            files: list.len() as u64,
            oldest_unix_nano: oldest.unwrap_or(0),
            waiting,
            memory_bytes: memory_bytes + counters.sorting.load(Ordering::Relaxed),
            damaged: counters.damaged.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
            failures: counters.failures.load(Ordering::Relaxed),
        }
    }
}

/// The last verdict of a trace in a block, and since when it holds there.
fn last_in(block: &Block, trace: Fingerprint) -> Option<(Arc<Verdict>, Group)> {
    let mut found: Option<(&Arc<Verdict>, Group)> = None;
    for entry in block.entries.iter().filter(|entry| entry.trace == trace) {
        let Some(told) = block.told(entry) else { continue };
        if found.is_none_or(|(verdict, _)| verdict != told.0) {
            found = Some(told);
        }
    }
    found.map(|(verdict, group)| (verdict.clone(), group))
}

impl Writer {
    /// Whether the wall clock has gone on as the monotonic one did for long enough to be believed.
    fn look(&mut self, now_unix: u64, now: Duration) -> bool {
        let expected = i128::from(self.seen.0) + now.saturating_sub(self.seen.1).as_nanos() as i128;
        if (i128::from(now_unix) - expected).unsigned_abs() > DRIFT_MAX.as_nanos() {
            self.steady_since = now;
        }
        self.seen = (now_unix, now);
        now.saturating_sub(self.steady_since) >= STEADY_FOR
    }
}
