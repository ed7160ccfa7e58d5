//! Making runs for live files that have none, from their rows.

use std::sync::Arc;

use futures::TryStreamExt;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};

use super::build::{FileIndex, Indexed};
use super::filter::{FilterBuilder, GroupFilter};
use super::{Coverage, RowsIndex};
use crate::runtime::Tenant;
use crate::store::error::StoreError;
use crate::store::read::ObjectFile;
use crate::store::schema::TableKind;
use crate::store::table::DataFile;
use crate::store::write::Store;

/// A run of rebuilt files ends when its entries and filters take so much memory.
const RUN_BYTES_MAX: usize = 16 << 20;
/// What the index of a file is made from.
const COLUMNS: [&str; 5] =
    ["trace_id", "attributes", "attributes_raw", "resource_attributes", "resource_raw"];

/// What a rebuild of the index did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebuilt {
    /// Files that no run covered, and one does now.
    pub files: u64,
    /// Runs written for them.
    pub runs: u64,
}

impl Store {
    /// Makes index runs for the live files of a tenant's spans that no run covers, the same as if they had been made with the
    /// files: of these the trace ids and attributes are read, a row group at a time.
    ///
    /// # Errors
    /// As the store has them; the runs that were made stay.
    pub async fn rebuild_index(&self, tenant: &Tenant) -> Result<Rebuilt, StoreError> {
        let coverage = self.covered(tenant).await?;
        let mut rebuilt = Rebuilt::default();
        if self.index().is_full(tenant).await {
            // Files without a run may have one that there is no room to know of.
            return Ok(rebuilt);
        }
        let mut open: Vec<(DataFile, FileIndex)> = Vec::new();
        for at in &coverage.uncovered {
            let file = coverage.files[*at as usize].clone();
            let index = self.read_index(tenant, &file, |_, bytes, filter| Some(filter.finish(bytes))).await?;
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

    /// The newest version of a tenant's spans, and the runs that cover it.
    pub(super) async fn covered(&self, tenant: &Tenant) -> Result<Arc<Coverage>, StoreError> {
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

    /// The traces of each row group of a file, and what `filter` makes of its number, bytes and attributes.
    pub(super) async fn read_index(
        &self,
        tenant: &Tenant,
        file: &DataFile,
        mut filter: impl FnMut(usize, usize, FilterBuilder) -> Option<GroupFilter>,
    ) -> Result<FileIndex, StoreError> {
        let failed = |e| StoreError::of_parquet(&file.object, e);
        let reader = ObjectFile::new(&self.location().objects, file);
        let metadata = reader.metadata().await.map_err(failed)?;
        let mut index = RowsIndex::new(tenant);
        for group in 0..metadata.metadata().num_row_groups() {
            let builder =
                ParquetRecordBatchStreamBuilder::new_with_metadata(reader.clone(), metadata.clone());
            let mask = ProjectionMask::columns(builder.parquet_schema(), COLUMNS);
            let mut rows =
                builder.with_row_groups(vec![group]).with_projection(mask).build().map_err(failed)?;
            while let Some(batch) = rows.try_next().await.map_err(failed)? {
                index.add(&batch);
            }
            let bytes = usize::try_from(metadata.metadata().row_group(group).compressed_size()).unwrap_or(0);
            index.end_group_with(|of_group| filter(group, bytes, of_group));
        }
        Ok(index.finish())
    }
}
