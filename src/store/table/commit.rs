//! Transactions: appending a batch, removing files. Both are rebuilt on the newest version when another writer was first.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::builder::{MapBuilder, MapFieldNames, StringBuilder};
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow_schema::{ArrowError, Field, Schema};
use delta_kernel::SnapshotRef;
use delta_kernel::committer::FileSystemCommitter;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::engine_data::FilteredEngineData;
use delta_kernel::transaction::{CommitResult, CommittedTransaction, Transaction, UpdateTableOperation};

use super::files::columns_of;
use super::paths::in_log;
use super::{ENGINE_INFO, PartitionKey, Table};
use crate::store::error::{ErrorKind, StoreError};

/// How often a transaction is built again before the caller has to come back.
const ATTEMPTS_MAX: u32 = 24;
const BACKOFF_FIRST: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_millis(500);

/// A file that is on the store already, to be made part of the table.
#[derive(Clone)]
pub(in crate::store) struct Append {
    /// Its path relative to the table, as it is on the store.
    pub(in crate::store) object: String,
    pub(in crate::store) partition: PartitionKey,
    pub(in crate::store) bytes: u64,
    /// One row of Delta's `stats`.
    pub(in crate::store) statistics: StructArray,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Appended {
    /// It is in the table now.
    Committed {
        /// Commits since the table's log was last summarised in a checkpoint.
        commits_since_checkpoint: u64,
    },
    /// It was there before: the batch came a second time.
    Already,
}

/// What a replacement means to those who follow the table's changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Change {
    /// The same rows, in other files: nothing.
    OfPlace,
    /// Rows are gone, or in another partition.
    OfRows,
}

/// What became of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Replaced {
    /// The new files stand in place of the old.
    Committed {
        /// Commits since the table's log was last summarised in a checkpoint.
        commits_since_checkpoint: u64,
    },
    /// One of the old files has left the table meanwhile: another was first, and nothing was changed.
    Gone,
}

impl Table {
    /// The last batch of this application in the table. Nobody else writes under its name, so the log is read for it once, and
    /// again only after a commit of which the end is not known: it is in every commit since the last checkpoint. Blocks.
    pub(in crate::store) fn last_batch(
        &self,
        snapshot: &SnapshotRef,
        app_id: &str,
    ) -> Result<Option<u64>, StoreError> {
        if let Some((_, last)) = self.own.lock().as_ref().filter(|(own, _)| own == app_id) {
            return Ok(*last);
        }
        let last = self.last_batch_in_log(snapshot, app_id)?;
        *self.own.lock() = Some((app_id.to_owned(), last));
        Ok(last)
    }

    fn last_batch_in_log(&self, snapshot: &SnapshotRef, app_id: &str) -> Result<Option<u64>, StoreError> {
        let version = snapshot.get_app_id_version(app_id, self.engine.as_ref());
        let version =
            version.map_err(|e| StoreError::of_kernel("cannot read the table's transactions", e))?;
        Ok(version.and_then(|v| u64::try_from(v).ok()))
    }

    /// Makes files part of the table, once for each (application, batch). Blocks.
    pub(in crate::store) fn append(
        &self,
        files: &[Append],
        app_id: &str,
        batch: u64,
        now_unix_nano: u64,
    ) -> Result<Appended, StoreError> {
        let version = i64::try_from(batch)
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "a batch id over 2^63", e))?;
        let adds = add_rows(files, now_unix_nano)
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot describe files", e))?;
        let mut already = false;
        let committed = self.transact(|snapshot| {
            if self.last_batch(snapshot, app_id)?.is_some_and(|last| last >= batch) {
                already = true;
                return Ok(None);
            }
            *self.own.lock() = None;
            let builder = Arc::clone(snapshot).update_table(UpdateTableOperation::Write, ENGINE_INFO, true);
            let txn = builder.with_blind_append().build(self.engine.as_ref(), Box::new(FileSystemCommitter));
            let txn = txn.map_err(|e| StoreError::of_kernel("cannot begin a transaction", e))?;
            let mut txn = txn.with_transaction_id(app_id.to_owned(), version);
            txn.add_files(Box::new(ArrowEngineData::new(adds.clone())));
            Ok(Some(txn))
        })?;
        Ok(match committed {
            Some(done) if !already => {
                *self.own.lock() = Some((app_id.to_owned(), Some(batch)));
                Appended::Committed {
                    commits_since_checkpoint: done.post_commit_stats().commits_since_checkpoint,
                }
            }
            _ => Appended::Already,
        })
    }

    /// Takes those of these files (paths as in the log) that are still live out of the table; gives how many. Blocks.
    pub(in crate::store) fn remove(&self, victims: &HashSet<String>) -> Result<u64, StoreError> {
        let mut removed = 0;
        self.transact(|snapshot| {
            let (batches, count) = self.live_among(snapshot, victims)?;
            removed = count;
            if removed == 0 {
                return Ok(None);
            }
            let builder = Arc::clone(snapshot).update_table(UpdateTableOperation::Delete, ENGINE_INFO, true);
            let txn = builder.build(self.engine.as_ref(), Box::new(FileSystemCommitter));
            let mut txn = txn.map_err(|e| StoreError::of_kernel("cannot begin a transaction", e))?;
            batches.into_iter().for_each(|batch| txn.remove_files(batch));
            Ok(Some(txn))
        })?;
        Ok(removed)
    }

    /// Puts files (`adds`) in place of others (`victims`, paths as in the log), if all of those are still live.
    /// `committed_ms`: when the newest of the rows came into the table. Blocks.
    pub(in crate::store) fn replace(
        &self,
        victims: &HashSet<String>,
        adds: &[Append],
        committed_ms: i64,
        change: Change,
    ) -> Result<Replaced, StoreError> {
        let names: HashSet<String> = adds.iter().map(|add| in_log(&add.object)).collect();
        let mut already = false;
        let adds = if adds.is_empty() { None } else { Some(add_rows_at(adds, committed_ms)) };
        let adds = adds.transpose();
        let adds = adds.map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot describe files", e))?;
        let committed = self.transact(|snapshot| {
            let (batches, live) = self.live_among(snapshot, victims)?;
            if live < victims.len() as u64 {
                // Or it was this commit, and its answer got lost.
                already = !names.is_empty() && self.live_among(snapshot, &names)?.1 == names.len() as u64;
                return Ok(None);
            }
            let (operation, changes_data) = match change {
                Change::OfPlace => (UpdateTableOperation::Optimize, false),
                Change::OfRows => (UpdateTableOperation::Update, true),
            };
            let builder = Arc::clone(snapshot).update_table(operation, ENGINE_INFO, changes_data);
            let txn = builder.build(self.engine.as_ref(), Box::new(FileSystemCommitter));
            let mut txn = txn.map_err(|e| StoreError::of_kernel("cannot begin a transaction", e))?;
            batches.into_iter().for_each(|batch| txn.remove_files(batch));
            if let Some(adds) = &adds {
                txn.add_files(Box::new(ArrowEngineData::new(adds.clone())));
            }
            Ok(Some(txn))
        })?;
        Ok(match committed {
            Some(done) => Replaced::Committed {
                commits_since_checkpoint: done.post_commit_stats().commits_since_checkpoint,
            },
            None if already => Replaced::Committed { commits_since_checkpoint: 0 },
            None => Replaced::Gone,
        })
    }

    /// Those of these files that are live, as a removal, and how many.
    fn live_among(
        &self,
        snapshot: &SnapshotRef,
        victims: &HashSet<String>,
    ) -> Result<(Vec<FilteredEngineData>, u64), StoreError> {
        let (mut batches, mut live) = (Vec::new(), 0);
        for batch in self.scan_rows(snapshot)? {
            if let Some((batch, count)) = narrowed(batch, victims)? {
                live += count;
                batches.push(batch);
            }
        }
        Ok((batches, live))
    }

    /// Commits what `build` makes of the newest version, again on each newer one, until it is in or `build` has nothing.
    pub(super) fn transact(
        &self,
        mut build: impl FnMut(&SnapshotRef) -> Result<Option<Transaction>, StoreError>,
    ) -> Result<Option<CommittedTransaction>, StoreError> {
        let mut backoff = BACKOFF_FIRST;
        for attempt in 1..=ATTEMPTS_MAX {
            let snapshot = self.refresh()?;
            let snapshot = snapshot
                .ok_or_else(|| StoreError::new(ErrorKind::Transient, format!("no table at {}", self.url)))?;
            let Some(txn) = build(&snapshot)? else { return Ok(None) };
            let result = txn.commit(self.engine.as_ref());
            match result.map_err(|e| StoreError::of_kernel(&format!("cannot commit to {}", self.url), e))? {
                CommitResult::Committed(done) => {
                    if let Some(after) = done.post_commit_snapshot() {
                        *self.latest.lock() = Some(Arc::clone(after));
                    }
                    return Ok(Some(done));
                }
                CommitResult::Conflicted(_) | CommitResult::Retryable(_) => {
                    tracing::debug!(table = %self.url, attempt, "another writer was first");
                    std::thread::sleep(backoff);
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
        let message = format!("other writers were first {ATTEMPTS_MAX} times at {}", self.url);
        Err(StoreError::new(ErrorKind::Transient, message))
    }
}

/// The rows of `batch` whose path is a victim's, as a removal; `None` if there are none.
fn narrowed(
    batch: FilteredEngineData,
    victims: &HashSet<String>,
) -> Result<Option<(FilteredEngineData, u64)>, StoreError> {
    let (rows, selected) = columns_of(batch)?;
    let paths = rows.column_by_name("path").and_then(|c| c.as_string_opt::<i32>()).cloned();
    let paths =
        paths.ok_or_else(|| StoreError::new(ErrorKind::Internal, "the table library gave no path"))?;
    let is_victim = |row: usize| {
        let live = selected.get(row).copied().unwrap_or(true) && !paths.is_null(row);
        live && victims.contains(paths.value(row))
    };
    let narrow: Vec<bool> = (0..rows.num_rows()).map(is_victim).collect();
    let count = narrow.iter().filter(|v| **v).count() as u64;
    if count == 0 {
        return Ok(None);
    }
    let data = FilteredEngineData::try_new(Box::new(ArrowEngineData::new(rows)), narrow);
    let data = data.map_err(|e| StoreError::of_kernel("cannot select files", e))?;
    Ok(Some((data, count)))
}

/// Rows in the shape of the library's `add_files_schema`.
fn add_rows(files: &[Append], now_unix_nano: u64) -> Result<RecordBatch, ArrowError> {
    add_rows_at(files, (now_unix_nano / 1_000_000) as i64)
}

fn add_rows_at(files: &[Append], now_ms: i64) -> Result<RecordBatch, ArrowError> {
    let names = MapFieldNames { entry: "key_value".into(), key: "key".into(), value: "value".into() };
    let mut partitions = MapBuilder::new(Some(names), StringBuilder::new(), StringBuilder::new());
    for file in files {
        for (column, value) in file.partition.values() {
            partitions.keys().append_value(column);
            partitions.values().append_value(value);
        }
        partitions.append(true)?;
    }
    let paths: StringArray = files.iter().map(|f| Some(in_log(&f.object))).collect();
    let sizes: Int64Array = files.iter().map(|f| Some(f.bytes as i64)).collect();
    let times: Int64Array = files.iter().map(|_| Some(now_ms)).collect();
    let statistics: Vec<&dyn Array> = files.iter().map(|f| &f.statistics as &dyn Array).collect();
    let columns: Vec<(&str, ArrayRef, bool)> = vec![
        ("path", Arc::new(paths), false),
        ("partitionValues", Arc::new(partitions.finish()), false),
        ("size", Arc::new(sizes), false),
        ("modificationTime", Arc::new(times), false),
        ("stats", arrow_select::concat::concat(&statistics)?, true),
    ];
    let field = |(name, array, nullable): &(&str, ArrayRef, bool)| {
        Field::new(*name, array.data_type().clone(), *nullable)
    };
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(Arc::new(schema), columns.into_iter().map(|(_, array, _)| array).collect())
}
