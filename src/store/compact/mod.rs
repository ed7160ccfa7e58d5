//! Compaction: many small files of a partition become few large ones, with each trace in one of them.
//!
//! [`plan`] says what to merge, a unit at a time; a unit is merged in bounded memory ([`merge`]) and committed in one
//! transaction that takes the old files out and puts the new ones in, marked as changing no data. It stands or falls as a
//! whole: if any of the old files has left the table meanwhile (another compactor, expiry), nothing is changed, and what was
//! uploaded is swept as orphans later, as after a crash. Old files stay on the store until the grace is over. So nothing
//! needs to be remembered between units, and any number of compactors may run.
//!
//! A trace whose spans started on two days, or were kept under two retention classes, stays in two partitions.

mod failure;
mod merge;
pub(super) mod output;
mod plan;
mod ranges;
pub(super) mod source;
mod trace_rows;

pub use plan::Reason;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;

use self::failure::Failure;
use self::merge::{MergePlan, Merged, merge};
use self::output::OutputPlan;
use self::plan::{PlanRules, Unit, plan};
use super::backends::Labels;
use super::error::{ErrorKind, StoreError};
use super::schema::TableKind;
use super::table::{Change, DataFile, Replaced, Table, blocking};
use super::write::Store;
use crate::runtime::{Random, Tenant};

const MIB: u64 = 1 << 20;
/// Of the memory, what encoding and sending take at least, and at most; between them a third.
const OUTPUT_BYTES_MIN: u64 = 10 * MIB;
pub(super) const OUTPUT_BYTES_MAX: u64 = 64 * MIB;
/// What an open file holds, about: a row group packed, and a few decoded rows.
const OPEN_FILE_BYTES: u64 = 8 * MIB;
const OPEN_FILES_MIN: u64 = 2;
const OPEN_FILES_MAX: u64 = 64;
const ROWS_AT_ONCE: u64 = 4 * 1024;
/// Files much smaller than usual are written in smaller pieces: a row takes at least about so many bytes.
const BYTES_A_ROW: u64 = 16;
/// So many files that cannot be compacted are remembered.
const AVOIDED_MAX: usize = 10_000;

/// How to compact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompactionConfig {
    /// Size that files shall have, in bytes.
    pub target: u64,
    /// So many small files of about one size are merged before their hour is over.
    pub gather: usize,
    /// How long after its end a day is over, and how long nothing may have come.
    pub settle: Duration,
    /// The most bytes that one transaction replaces, as far as files can be cut to that.
    pub unit: u64,
    /// Bound of the memory of one merge, in bytes.
    pub memory: u64,
}

impl Default for CompactionConfig {
    fn default() -> Self {
        Self {
            target: 256 * MIB,
            gather: 16,
            settle: Duration::from_secs(3 * 3_600),
            unit: 1_024 * MIB,
            memory: 192 * MIB,
        }
    }
}

impl CompactionConfig {
    fn rules(&self) -> PlanRules {
        let target = self.target.max(2);
        let open_max = self.open_bytes() / OPEN_FILE_BYTES;
        PlanRules {
            target,
            gather: self.gather,
            settle_ms: i64::try_from(self.settle.as_millis()).unwrap_or(i64::MAX),
            open_max: open_max.clamp(OPEN_FILES_MIN, OPEN_FILES_MAX) as usize,
            // Two small files, and two pieces of a day, must fit.
            unit_bytes: self.unit.max(target.saturating_mul(2)),
        }
    }

    fn output_bytes(&self) -> u64 {
        (self.memory / 3).clamp(OUTPUT_BYTES_MIN, OUTPUT_BYTES_MAX)
    }

    /// What open files may hold. Two are merged whatever they hold, which is little where the memory is: then batches are small.
    fn open_bytes(&self) -> u64 {
        self.memory.saturating_sub(self.output_bytes())
    }
}

/// Keeps a merge within its share of the machine.
pub trait Pace: Send {
    /// Called after each piece of work, of some milliseconds; may sleep. False: the merge is to stop, and to leave no trace.
    fn rest(&mut self) -> bool;
}

/// As fast as it goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpaced;

impl Pace for Unpaced {
    fn rest(&mut self) -> bool {
        true
    }
}

/// Files of one partition that are to become others.
#[derive(Clone, Debug)]
pub struct CompactionUnit {
    /// Whose.
    pub tenant: Tenant,
    /// Of which table.
    pub table: TableKind,
    unit: Unit,
}

impl CompactionUnit {
    /// The retention class.
    pub fn retention(&self) -> &str {
        &self.unit.partition.retention
    }

    /// The day, as `YYYY-MM-DD`.
    pub fn date(&self) -> String {
        super::writer::text::day_name(i64::from(self.unit.partition.day))
    }

    /// Why.
    pub fn reason(&self) -> Reason {
        self.unit.reason
    }

    /// How many files.
    pub fn files(&self) -> u64 {
        self.unit.inputs.len() as u64
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.unit.bytes()
    }

    /// Their rows.
    pub fn rows(&self) -> u64 {
        self.unit.inputs.iter().map(|f| f.rows).sum()
    }
}

/// What compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Units done.
    pub units: u64,
    /// Units given up because another writer took one of their files first.
    pub given_up: u64,
    /// Files taken out of the tables.
    pub files_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Files put in their place.
    pub files_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Rows that were read.
    pub rows_in: u64,
    /// Spans that were there more than once and now are once, and rows of `traces` that became part of others.
    pub joined: u64,
}

impl Compacted {
    /// Adds what another did.
    pub fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.given_up += other.given_up;
        self.files_in += other.files_in;
        self.bytes_in += other.bytes_in;
        self.files_out += other.files_out;
        self.bytes_out += other.bytes_out;
        self.rows_in += other.rows_in;
        self.joined += other.joined;
    }
}

/// Compacts the tables of a store.
pub struct Compactor {
    store: Arc<Store>,
    config: CompactionConfig,
    random: Arc<dyn Random>,
    /// Files that cannot be compacted, until the next start.
    avoided: Mutex<HashSet<String>>,
    /// What a merge under way holds, in bytes.
    held: Arc<AtomicU64>,
}

impl Compactor {
    /// A compactor. Contacts nothing.
    pub fn new(store: Arc<Store>, config: CompactionConfig, random: Arc<dyn Random>) -> Self {
        Self { store, config, random, avoided: Mutex::default(), held: Arc::default() }
    }

    /// What the merge under way holds, in bytes, for whoever wants to watch it.
    pub fn held_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.held)
    }

    /// What there is to do for a tenant at this time. When it is done, there may be more.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn plan(&self, tenant: &Tenant, now_unix_nano: u64) -> Result<Vec<CompactionUnit>, StoreError> {
        let mut units = Vec::new();
        for table in TableKind::ALL {
            let live = self.store.live_files(&self.store.table(tenant, table)?).await?;
            let files: Vec<DataFile> = {
                let avoided = self.avoided.lock();
                live.iter().filter(|f| !avoided.contains(f.object.as_ref())).cloned().collect()
            };
            let planned = plan(&files, &self.config.rules(), now_unix_nano);
            units.extend(planned.into_iter().map(|unit| CompactionUnit {
                tenant: tenant.clone(),
                table,
                unit,
            }));
        }
        Ok(units)
    }

    /// Does a unit; `None` if `pace` stopped it. A unit of which a file has left the table counts as given up.
    ///
    /// # Errors
    /// As the store has them; the table then is as it was, or, where the answer to the commit got lost, it is done. A file
    /// that cannot be read or written again is left alone from then on.
    pub async fn compact(
        &self,
        unit: &CompactionUnit,
        pace: Box<dyn Pace>,
    ) -> Result<Option<Compacted>, StoreError> {
        let table = self.store.table(&unit.tenant, unit.table)?;
        let done = self.merge_and_commit(&unit.tenant, &table, unit.unit.clone(), pace).await;
        match done {
            Ok(Some((compacted, commits_since_checkpoint))) => {
                if commits_since_checkpoint >= self.store.config().checkpoint_every {
                    self.store.tidy(&table).await;
                }
                Ok(Some(compacted))
            }
            Ok(None) => Ok(None),
            Err(_) if !self.are_live(&table, &unit.unit).await? => {
                // Their objects go once the grace is over, also from under a slow merge.
                Ok(Some(Compacted { given_up: 1, ..Compacted::default() }))
            }
            Err(error) => {
                if matches!(error.kind(), ErrorKind::Table | ErrorKind::Internal) {
                    self.avoid(&unit.unit);
                }
                Err(error)
            }
        }
    }

    /// Whether all inputs of a unit are in the table still.
    async fn are_live(&self, table: &Arc<Table>, unit: &Unit) -> Result<bool, StoreError> {
        let live = self.store.live_files(table).await?;
        let live: HashSet<&str> = live.iter().map(|f| f.in_log.as_str()).collect();
        Ok(unit.inputs.iter().all(|f| live.contains(f.in_log.as_str())))
    }

    fn avoid(&self, unit: &Unit) {
        let mut avoided = self.avoided.lock();
        for file in &unit.inputs {
            if avoided.len() < AVOIDED_MAX {
                avoided.insert(file.object.to_string());
            }
        }
    }

    async fn merge_and_commit(
        &self,
        tenant: &Tenant,
        table: &Arc<Table>,
        unit: Unit,
        pace: Box<dyn Pace>,
    ) -> Result<Option<(Compacted, u64)>, StoreError> {
        let labels = self.store.labels_of(&unit.partition);
        let begun = self.store.clock().now_unix_nano();
        let work = Work {
            table: Arc::clone(table),
            runtime: Handle::current(),
            config: self.config.clone(),
            random: Arc::clone(&self.random),
            labels,
            tenant: tenant.clone(),
            held: Arc::clone(&self.held),
        };
        let merged = blocking(move || work.merge(unit, pace)).await;
        self.held.store(0, Ordering::Relaxed);
        let (unit, merged) = match merged? {
            Some(done) => done,
            None => return Ok(None),
        };
        // Uploads that are older are swept: a machine that slept must not put into the table what is not there any more.
        let took = Duration::from_nanos(self.store.clock().now_unix_nano().saturating_sub(begun));
        if took > self.store.config().orphan_age / 2 {
            let message = format!("a merge took {} hours and is given up", took.as_secs() / 3_600);
            return Err(StoreError::new(ErrorKind::Transient, message));
        }
        self.store.index_outputs(tenant, &merged.outputs).await;
        let table = Arc::clone(table);
        blocking(move || commit(&table, &unit, &merged).map(Some)).await
    }
}

/// Takes the inputs out of the table and puts the outputs in, if all of the inputs are still there. Blocks.
fn commit(table: &Table, unit: &Unit, merged: &Merged) -> Result<(Compacted, u64), StoreError> {
    let victims: HashSet<String> = unit.inputs.iter().map(|f| f.in_log.clone()).collect();
    let appends: Vec<_> = merged.outputs.iter().map(|output| output.append.clone()).collect();
    let mut compacted = Compacted::default();
    match table.replace(&victims, &appends, unit.committed_ms(), Change::OfPlace)? {
        Replaced::Gone => {
            compacted.given_up = 1;
            Ok((compacted, 0))
        }
        Replaced::Committed { commits_since_checkpoint } => {
            compacted.units = 1;
            compacted.files_in = unit.inputs.len() as u64;
            compacted.bytes_in = unit.bytes();
            compacted.files_out = appends.len() as u64;
            compacted.bytes_out = appends.iter().map(|a| a.bytes).sum();
            compacted.rows_in = merged.read;
            compacted.joined = merged.joined;
            Ok((compacted, commits_since_checkpoint))
        }
    }
}

/// What the thread that merges needs.
struct Work {
    table: Arc<Table>,
    runtime: Handle,
    config: CompactionConfig,
    random: Arc<dyn Random>,
    labels: Labels,
    tenant: Tenant,
    held: Arc<AtomicU64>,
}

impl Work {
    /// Merges a unit, or as much of it as there is memory for; gives what was merged. `None`: stopped. Blocks.
    fn merge(&self, mut unit: Unit, mut pace: Box<dyn Pace>) -> Result<Option<(Unit, Merged)>, StoreError> {
        let mut unsorted = HashSet::new();
        let layout = self.table.layout()?;
        loop {
            let attempt = self.random.bits();
            let plan = MergePlan {
                unit: &unit,
                unsorted: &unsorted,
                target: self.config.target,
                rows_at_once: (self.config.target / BYTES_A_ROW).clamp(16, ROWS_AT_ONCE) as usize,
                bytes_max: self.config.open_bytes(),
                held_max: (self.config.output_bytes() / 8) as usize,
                holds: &self.held,
                attempt,
            };
            let output = OutputPlan {
                tenant: &self.tenant,
                table: &self.table,
                runtime: &self.runtime,
                partition: &unit.partition,
                layout,
                labels: self.labels.clone(),
                bytes_max: self.config.output_bytes(),
            };
            match merge(&plan, &output, pace.as_mut()) {
                Ok(merged) => {
                    check_rows(&unit, &merged)?;
                    return Ok(Some((unit, merged)));
                }
                Err(Failure::Store(error)) => return Err(error),
                Err(Failure::Stopped) => return Ok(None),
                Err(Failure::Unsorted(input)) => {
                    if !unsorted.insert(input) {
                        let message = format!("{} cannot be sorted", unit.inputs[input].object);
                        return Err(StoreError::new(ErrorKind::Table, message));
                    }
                }
                Err(Failure::Crowded) => {
                    unit.halve();
                    unsorted.clear();
                }
            }
        }
    }
}

/// Nothing may get lost: all rows that the log promises must have been read, and written or joined with others.
fn check_rows(unit: &Unit, merged: &Merged) -> Result<(), StoreError> {
    let promised: u64 = unit.inputs.iter().map(|f| f.rows).sum();
    let is_known = unit.inputs.iter().all(|f| f.rows > 0);
    let written: u64 = merged.outputs.iter().map(|output| output.rows).sum();
    if (is_known && promised != merged.read) || written + merged.joined != merged.read {
        let (read, joined) = (merged.read, merged.joined);
        let message = format!(
            "rows do not add up and nothing is changed: {promised} in the log, {read} read, {joined} joined, {written} written"
        );
        return Err(StoreError::new(ErrorKind::Table, message));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
