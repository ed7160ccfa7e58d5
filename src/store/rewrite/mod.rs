//! Rewriting: traces that leave the tables, or go to another retention class. Files are never changed, so each file that
//! holds some of their rows is written again without them, and the old one leaves the table in the same transaction.
//!
//! A file at a time, each a transaction of its own: what was done before something failed stays done, and doing all of it
//! again is harmless. If a file left the table meanwhile (compaction, expiry), its rows are looked for where they went.

mod split;

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use tokio::runtime::Handle;

use self::split::{Split, split};
use super::compact::OUTPUT_BYTES_MAX;
use super::compact::output::OutputPlan;
use super::error::{ErrorKind, StoreError};
use super::index::Sieve;
use super::read::{Reader, ScanHint};
use super::schema::TableKind;
use super::table::{Append, Change, DataFile, PartitionKey, Replaced, Table, blocking};
use super::write::Store;
use crate::runtime::{Random, Tenant};
use crate::wire::TraceId;

/// How often the list of files is looked through again because others changed the table meanwhile.
const ROUNDS_MAX: usize = 20;

/// What becomes of the traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are not in the tables any more.
    Erased,
    /// They are under this retention class.
    MovedTo(Arc<str>),
}

/// A file that was written again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RewrittenFile {
    /// Of which table.
    pub table: TableKind,
    /// Where it was.
    pub object: String,
    /// The files with its rows now; none if nothing was left.
    pub became: Vec<String>,
    /// The rows it had.
    pub rows: u64,
    /// Of these the traces'.
    pub rows_of_traces: u64,
}

/// What a rewriting did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Rows of `spans` that were the traces'.
    pub spans: u64,
    /// Rows of `traces`.
    pub traces: u64,
    /// The files.
    pub files: Vec<RewrittenFile>,
}

impl Store {
    /// Gives the traces their fate, in both tables.
    ///
    /// # Errors
    /// As the store has them; what was done stays done, and doing it again goes on.
    pub async fn rewrite(
        &self,
        reader: &Reader,
        tenant: &Tenant,
        traces: &BTreeSet<TraceId>,
        fate: &Fate,
        random: &dyn Random,
    ) -> Result<Rewritten, StoreError> {
        let mut rewritten = Rewritten::default();
        let ids = Arc::new(traces.iter().map(ToString::to_string).collect());
        let mut wish = Wish { reader, tenant, ids, fate, random, sieve: None };
        for kind in TableKind::ALL {
            // The index is one of spans.
            wish.sieve = match kind {
                TableKind::Spans => {
                    let ids = ScanHint::TraceIds(traces.iter().copied().collect());
                    reader.sieve(tenant, &[ids]).await?
                }
                TableKind::Traces => None,
            };
            let table = self.table(tenant, kind)?;
            let mut is_done = false;
            for _ in 0..ROUNDS_MAX {
                is_done = self.rewrite_table(&wish, &table, &mut rewritten).await?;
                if is_done {
                    break;
                }
            }
            if !is_done {
                let message = format!("other writers changed the files of {} all the time", table.path);
                return Err(StoreError::new(ErrorKind::Transient, message));
            }
        }
        Ok(rewritten)
    }

    /// Rewrites each file of a table that holds some of the traces; false if one had left the table meanwhile.
    async fn rewrite_table(
        &self,
        wish: &Wish<'_>,
        table: &Arc<Table>,
        rewritten: &mut Rewritten,
    ) -> Result<bool, StoreError> {
        let files = self.live_files(table).await?;
        for file in files.iter() {
            let is_there = matches!(wish.fate, Fate::MovedTo(class) if *class == file.retention);
            if is_there || !wish.reader.may_hold_some(file, &wish.ids, wish.sieve.as_ref()).await? {
                continue;
            }
            match self.rewrite_file(wish, table, file).await? {
                FileOutcome::Untouched => {}
                FileOutcome::Gone => return Ok(false),
                FileOutcome::Done(file, commits_since_checkpoint) => {
                    match table.kind {
                        TableKind::Spans => rewritten.spans += file.rows_of_traces,
                        TableKind::Traces => rewritten.traces += file.rows_of_traces,
                    }
                    rewritten.files.push(file);
                    if commits_since_checkpoint >= self.config().checkpoint_every {
                        self.tidy(table).await;
                    }
                }
            }
        }
        Ok(true)
    }

    async fn rewrite_file(
        &self,
        wish: &Wish<'_>,
        table: &Arc<Table>,
        file: &DataFile,
    ) -> Result<FileOutcome, StoreError> {
        let of_class = |retention: &Arc<str>| -> Result<PartitionKey, StoreError> {
            let day = i32::try_from(file.day);
            let day = day.map_err(|e| StoreError::caused(ErrorKind::Table, "a day that is none", e))?;
            Ok(PartitionKey { retention: Arc::clone(retention), day })
        };
        let rest = of_class(&file.retention)?;
        let moved = match wish.fate {
            Fate::Erased => None,
            Fate::MovedTo(class) => Some(of_class(class)?),
        };
        let (rest_labels, moved_labels) =
            (self.labels_of(&rest), moved.as_ref().map(|moved| self.labels_of(moved)));
        let (of_task, of_file, ids) = (Arc::clone(table), file.clone(), Arc::clone(&wish.ids));
        let (whose, attempt) = (wish.tenant.clone(), wish.random.bits());
        let split = blocking(move || {
            let (runtime, table, tenant) = (Handle::current(), of_task.as_ref(), &whose);
            let layout = table.layout()?;
            let plan = |partition, labels| OutputPlan {
                tenant,
                table,
                runtime: &runtime,
                partition,
                layout,
                labels,
                bytes_max: OUTPUT_BYTES_MAX,
            };
            let moved = moved.as_ref().zip(moved_labels).map(|(partition, labels)| plan(partition, labels));
            split(&of_file, &ids, &plan(&rest, rest_labels), moved.as_ref(), attempt)
        });
        let Some(split) = split.await? else { return Ok(FileOutcome::Untouched) };
        self.index_outputs(wish.tenant, &split.outputs).await;
        let (of_task, of_file) = (Arc::clone(table), file.clone());
        blocking(move || commit(&of_task, &of_file, split)).await
    }
}

/// Which traces are to have which fate.
struct Wish<'a> {
    reader: &'a Reader,
    tenant: &'a Tenant,
    /// In hexadecimal.
    ids: Arc<HashSet<String>>,
    fate: &'a Fate,
    /// Names the new files.
    random: &'a dyn Random,
    /// What the index knows of where the traces are.
    sieve: Option<Sieve>,
}

enum FileOutcome {
    /// It holds none of the traces after all.
    Untouched,
    /// It left the table before.
    Gone,
    /// It is written again: how, and the commits since the last checkpoint.
    Done(RewrittenFile, u64),
}

/// Takes the file out of the table and puts what was made of it in. Blocks.
fn commit(table: &Table, file: &DataFile, split: Split) -> Result<FileOutcome, StoreError> {
    let adds: Vec<Append> = split.outputs.into_iter().map(|output| output.append).collect();
    let became = adds.iter().map(|add| format!("{}/{}", table.path, add.object)).collect();
    let victims = HashSet::from([file.in_log.clone()]);
    match table.replace(&victims, &adds, file.committed_ms, Change::OfRows)? {
        Replaced::Gone => Ok(FileOutcome::Gone),
        Replaced::Committed { commits_since_checkpoint } => {
            let rewritten = RewrittenFile {
                table: table.kind,
                object: file.object.to_string(),
                became,
                rows: split.rows,
                rows_of_traces: split.rows_of_traces,
            };
            Ok(FileOutcome::Done(rewritten, commits_since_checkpoint))
        }
    }
}

#[cfg(test)]
mod tests;
