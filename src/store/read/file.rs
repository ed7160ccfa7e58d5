//! Reading one Parquet file.

use std::ops::Range;
use std::sync::Arc;

use futures::stream::{BoxStream, StreamExt};
use object_store::ObjectStore;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;
use parquet::bloom_filter::Sbbf;

use super::filter::row_filter;
use super::footers::{Footer, Footers};
use super::lookup::place;
use super::object::ObjectFile;
use super::prune::may_match_row_group;
use super::request::{Projection, ScanHint};
use super::rows::SpanRows;
use crate::store::error::StoreError;
use crate::store::table::DataFile;

const ROWS_A_BATCH: usize = 4 * 1024;

/// Columns that every scan of spans gets.
const ALWAYS: [&str; 5] = ["trace_id", "span_id", "kind", "start_time_unix_nano", "duration_nano"];

/// What to read of a file.
pub(super) struct FileScan<'a> {
    pub(super) start_unix_nano: Range<u64>,
    pub(super) projection: &'a Projection,
    pub(super) hints: &'a [ScanHint],
}

/// A file whose footer is known.
pub(super) struct OpenFile {
    file: DataFile,
    reader: ObjectFile,
    footer: Arc<Footer>,
}

impl OpenFile {
    /// Opens a file: no request at all if its footer is cached.
    pub(super) async fn open(
        objects: &Arc<dyn ObjectStore>,
        file: DataFile,
        footers: &Footers,
    ) -> Result<Self, StoreError> {
        let reader = ObjectFile::new(objects, &file);
        let footer = match footers.get(&file.object) {
            Some(footer) => footer,
            None => {
                let metadata = reader.metadata().await;
                let metadata = metadata.map_err(|e| StoreError::of_parquet(&file.object, e))?;
                footers.insert(file.object.clone(), metadata)
            }
        };
        Ok(Self { file, reader, footer })
    }

    fn builder(&self) -> ParquetRecordBatchStreamBuilder<ObjectFile> {
        ParquetRecordBatchStreamBuilder::new_with_metadata(self.reader.clone(), self.footer.metadata.clone())
    }

    /// The row groups that may hold a trace (given in hexadecimal), by their bloom filters.
    pub(super) async fn row_groups_with_trace(&self, trace_id: &str) -> Result<Vec<usize>, StoreError> {
        let filters = self.footer.trace_id_filters.get_or_try_init(|| self.load_filters()).await?;
        let may_hold = |filter: &Option<Sbbf>| filter.as_ref().is_none_or(|f| f.check(trace_id));
        Ok(filters.iter().enumerate().filter(|(_, f)| may_hold(f)).map(|(at, _)| at).collect())
    }

    async fn load_filters(&self) -> Result<Vec<Option<Sbbf>>, StoreError> {
        let metadata = self.footer.metadata.metadata();
        let columns = metadata.file_metadata().schema_descr().columns();
        let column = columns.iter().position(|c| c.path().string() == "trace_id");
        let mut builder = self.builder();
        let mut filters = Vec::with_capacity(metadata.num_row_groups());
        for row_group in 0..metadata.num_row_groups() {
            filters.push(match column {
                Some(column) => builder
                    .get_row_group_column_bloom_filter(row_group, column)
                    .await
                    .map_err(|e| StoreError::of_parquet(&self.file.object, e))?,
                None => None,
            });
        }
        Ok(filters)
    }

    /// How many row groups it has.
    pub(super) fn row_groups(&self) -> usize {
        self.footer.metadata.metadata().num_row_groups()
    }

    /// Rows that may match, from the row groups that may by their statistics, and by `sieved`, as far as that tells.
    pub(super) fn scan(
        self,
        scan: &FileScan<'_>,
        sieved: Option<&[bool]>,
    ) -> Result<BoxStream<'static, Result<SpanRows, StoreError>>, StoreError> {
        let metadata = self.footer.metadata.metadata();
        let is_sieved = |at: &usize| sieved.is_none_or(|s| s.get(*at).copied().unwrap_or(true));
        let may_match = |at: &usize| {
            let group = metadata.row_group(*at);
            is_sieved(at) && may_match_row_group(group, scan, self.footer.other_types)
        };
        let row_groups = (0..metadata.num_row_groups()).filter(may_match).collect();
        self.scan_row_groups(row_groups, None, scan)
    }

    /// The rows of one trace (given in hexadecimal), from these row groups. Everything that is read of them is read at once:
    /// in one request where the pages lie close together, in three at most but for giant traces.
    pub(super) async fn trace_rows(
        mut self,
        row_groups: Vec<usize>,
        trace_id: &str,
        scan: &FileScan<'_>,
    ) -> Result<BoxStream<'static, Result<SpanRows, StoreError>>, StoreError> {
        let Some(place) = place(self.footer.metadata.metadata(), &row_groups, trace_id) else {
            return self.scan_row_groups(row_groups, None, scan);
        };
        let read = self.reader.read_ahead(place.bytes).await;
        read.map_err(|e| StoreError::of_parquet(&self.file.object, e))?;
        self.scan_row_groups(row_groups, Some(place.rows), scan)
    }

    /// Rows that may match, from these row groups, and of `rows` of them.
    fn scan_row_groups(
        self,
        row_groups: Vec<usize>,
        rows: Option<RowSelection>,
        scan: &FileScan<'_>,
    ) -> Result<BoxStream<'static, Result<SpanRows, StoreError>>, StoreError> {
        if row_groups.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let builder = self.builder();
        let schema = builder.parquet_schema();
        let mask = match scan.projection {
            Projection::All => ProjectionMask::all(),
            Projection::Columns(names) => {
                let names = names.iter().map(String::as_str).chain(ALWAYS);
                ProjectionMask::columns(schema, names)
            }
        };
        let filter = row_filter(schema, scan, self.footer.other_types);
        let builder = match rows {
            Some(rows) => builder.with_row_selection(rows),
            None => builder,
        };
        let stream = builder
            .with_row_groups(row_groups)
            .with_projection(mask)
            .with_batch_size(ROWS_A_BATCH)
            .with_row_filter(filter)
            .build()
            .map_err(|e| StoreError::of_parquet(&self.file.object, e))?;
        let (object, retention) = (self.file.object, self.file.retention);
        let rows = stream.map(move |batch| match batch {
            Ok(batch) => Ok(SpanRows::new(batch, Arc::clone(&retention))),
            Err(error) => Err(StoreError::of_parquet(&object, error)),
        });
        Ok(rows.boxed())
    }
}
