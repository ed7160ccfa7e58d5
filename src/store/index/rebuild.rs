//! Making runs for live files that have none, and comparing runs with the data: both read the files' `trace_id` column.

use std::collections::HashMap;
use std::sync::Arc;

use futures::TryStreamExt;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};

use super::build::{FileIndex, Indexed};
use super::cover::Used;
use super::entry::pages;
use super::run::Trouble;
use super::{Coverage, Index, RowsIndex};
use crate::runtime::Tenant;
use crate::store::error::StoreError;
use crate::store::read::ObjectFile;
use crate::store::schema::TableKind;
use crate::store::table::DataFile;
use crate::store::write::Store;

/// A run of rebuilt files ends when its entries take so much memory.
const RUN_BYTES_MAX: usize = 16 << 20;
/// Pages of a run that are read at once.
const PAGES_AT_ONCE: u64 = 256;

/// What a rebuild of the index did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Files that no run covered, and one does now.
    pub files: u64,
    /// Runs written for them.
    pub runs: u64,
}

/// What a comparison of the index with the data found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedIndex {
    /// Live files that a run covers.
    pub files: u64,
    /// Live files that none covers, by their paths in the Delta log: a rebuild makes runs for them.
    pub uncovered: Vec<String>,
    /// Runs that cannot be read: a rebuild makes them again.
    pub damaged: Vec<String>,
    /// Files of which run and data tell different things.
    pub disagreements: Vec<Disagreement>,
}

/// A file of which run and data tell different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The run's name.
    pub run: String,
    /// The file's path in the Delta log.
    pub file: String,
    /// How many pairs of trace and row group the run has of it.
    pub in_run: u64,
    /// How many there are.
    pub in_data: u64,
}

/// A set of entries as a number and a sum of hashes: in any order the same, whatever their number in no more memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Summary {
    count: u64,
    sum: u64,
}

impl Summary {
    fn add(&mut self, fingerprint: u64, group: u16) {
        self.count += 1;
        // The fingerprint is a hash already; an odd factor keeps the row groups apart.
        self.sum = self.sum.wrapping_add(fingerprint.wrapping_mul(2 * u64::from(group) + 1));
    }

    fn of(index: &FileIndex) -> Self {
        let mut summary = Self::default();
        index.traces().iter().for_each(|entry| summary.add(entry.fingerprint(), entry.group()));
        summary
    }
}

impl Store {
    /// Makes index runs for the live files of a tenant's spans that no run covers; of the files only the column `trace_id` is
    /// read. Their attributes get no filters: scans for attributes read such files as if there were no index.
    ///
    /// # Errors
    /// As the store has them; the runs that were made stay.
    pub async fn rebuild_index(&self, tenant: &Tenant) -> Result<Rebuilt, StoreError> {
        let coverage = self.covered(tenant).await?;
        let mut rebuilt = Rebuilt::default();
        let mut open: Vec<(DataFile, FileIndex)> = Vec::new();
        for at in &coverage.uncovered {
            let file = coverage.files[*at as usize].clone();
            let index = self.read_traces(tenant, &file).await?;
            open.push((file, index));
            if open.iter().map(|(_, index)| index.bytes()).sum::<usize>() >= RUN_BYTES_MAX {
                self.end_run(tenant, &mut open, &mut rebuilt).await?;
            }
        }
        self.end_run(tenant, &mut open, &mut rebuilt).await?;
        Ok(rebuilt)
    }

    /// Merges the index runs of a tenant's spans until there are at most seven of each order of magnitude (of 8 in entries), so
    /// that a reader has few to fetch; gives how many went. Runs of 134 million entries and more stay as they are.
    ///
    /// # Errors
    /// As the store has them; what was merged stays so.
    pub async fn merge_index(&self, tenant: &Tenant) -> Result<u64, StoreError> {
        let mut merged = 0;
        loop {
            let coverage = self.covered(tenant).await?;
            match self.index().merge(tenant, &coverage).await? {
                0 => return Ok(merged),
                more => merged += more,
            }
        }
    }

    /// Compares the index of a tenant's spans with the data.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn verify_index(&self, tenant: &Tenant) -> Result<VerifiedIndex, StoreError> {
        let coverage = self.covered(tenant).await?;
        let path = |at: &u32| coverage.files[*at as usize].in_log.clone();
        let mut verified = VerifiedIndex {
            uncovered: coverage.uncovered.iter().map(path).collect(),
            ..VerifiedIndex::default()
        };
        for used in &coverage.runs {
            match self.index().summaries(tenant, used).await {
                Ok(summaries) => {
                    for (at, in_run) in summaries {
                        let file = &coverage.files[at as usize];
                        let in_data = Summary::of(&self.read_traces(tenant, file).await?);
                        verified.files += 1;
                        if in_run != in_data {
                            verified.disagreements.push(Disagreement {
                                run: used.run.name.clone(),
                                file: file.in_log.clone(),
                                in_run: in_run.count,
                                in_data: in_data.count,
                            });
                        }
                    }
                }
                Err(Trouble::Store(error)) => return Err(error),
                Err(trouble) => {
                    self.index().tenant(tenant).report(&used.run, &trouble).await;
                    verified.damaged.push(used.run.name.clone());
                }
            }
        }
        Ok(verified)
    }

    /// The newest version of a tenant's spans, and the runs that cover it.
    async fn covered(&self, tenant: &Tenant) -> Result<Arc<Coverage>, StoreError> {
        let table = self.table(tenant, TableKind::Spans)?;
        self.index().coverage(tenant, &self.listing(&table).await?).await
    }

    async fn end_run(
        &self,
        tenant: &Tenant,
        open: &mut Vec<(DataFile, FileIndex)>,
        rebuilt: &mut Rebuilt,
    ) -> Result<(), StoreError> {
        if open.is_empty() {
            return Ok(());
        }
        let indexed = open.iter().map(|(file, index)| Indexed {
            in_log: file.in_log.clone(),
            bytes: file.bytes,
            index,
        });
        self.index().write(tenant, &indexed.collect::<Vec<_>>()).await?;
        rebuilt.files += open.len() as u64;
        rebuilt.runs += 1;
        open.clear();
        Ok(())
    }

    /// The traces of each row group of a file.
    async fn read_traces(&self, tenant: &Tenant, file: &DataFile) -> Result<FileIndex, StoreError> {
        let failed = |e| StoreError::of_parquet(&file.object, e);
        let reader = ObjectFile::new(&self.location().objects, file);
        let metadata = reader.metadata().await.map_err(failed)?;
        let mut index = RowsIndex::of_traces(tenant);
        for group in 0..metadata.metadata().num_row_groups() {
            let builder =
                ParquetRecordBatchStreamBuilder::new_with_metadata(reader.clone(), metadata.clone());
            let mask = ProjectionMask::columns(builder.parquet_schema(), ["trace_id"]);
            let mut rows =
                builder.with_row_groups(vec![group]).with_projection(mask).build().map_err(failed)?;
            while let Some(batch) = rows.try_next().await.map_err(failed)? {
                index.add(&batch);
            }
            index.end_group(0);
        }
        Ok(index.finish())
    }
}

impl Index {
    /// What a run says of each live file that it answers for.
    async fn summaries(&self, tenant: &Tenant, used: &Used) -> Result<HashMap<u32, Summary>, Trouble> {
        let shelf = &self.tenant(tenant).shelf;
        let mut summaries: HashMap<u32, Summary> =
            used.live.iter().flatten().map(|at| (*at, Summary::default())).collect();
        let end = pages(used.run.directory.entries);
        let mut at = 0;
        while at < end {
            let next = end.min(at + PAGES_AT_ONCE);
            for entry in shelf.entries(&used.run, at..next).await? {
                if let Some(Some(at)) = used.live.get(usize::from(entry.file()))
                    && let Some(summary) = summaries.get_mut(at)
                {
                    summary.add(entry.fingerprint(), entry.group());
                }
            }
            at = next;
        }
        Ok(summaries)
    }
}
