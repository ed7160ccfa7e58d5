//! One sorted file from batches of rows: encoded, uploaded as it grows, described for the table's log.

use std::sync::Arc;

use arrow_array::{RecordBatch, StructArray};
use delta_kernel_default_engine::stats::FileStatsAccumulator;
use object_store::path::Path;
use object_store::{MultipartUpload, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use tokio::runtime::Handle;

use crate::runtime::Tenant;
use crate::store::backends::Labels;
use crate::store::checksum::Summing;
use crate::store::error::{ErrorKind, StoreError};
use crate::store::index::{FileIndex, RowsIndex};
use crate::store::schema::{Layout, TableKind};
use crate::store::table::{Append, PartitionKey, Table};
use crate::store::writer::file::{
    BLOOM_FALSE_POSITIVES, CREATED_BY, ROW_GROUP_ROWS_MAX, STRIPE_ROWS_MAX, statistics_of,
};

/// What is sent at a time, once a file is larger than this: an eighth of the memory, and what S3 wants at least.
const PART_BYTES_MIN: usize = 5 << 20;
/// As the writer's.
const ZSTD_LEVEL: i32 = 1;

/// Columns whose values differ from row to row: no dictionary pays for them.
const UNIQUE_TEXTS: [&str; 2] = ["span_id", "parent_span_id"];
/// Integers that differ from row to row: deltas, which no compressor makes shorter.
const UNIQUE_LONGS: [&str; 4] = ["start_time", "start_time_unix_nano", "end_time_unix_nano", "duration_nano"];
/// The same, of the items of `events`.
const EVENT_TIMES: [&str; 2] = ["time", "time_unix_nano"];
/// Columns with bounds of each page.
const INDEXED: [&str; 3] = ["trace_id", "start_time", "duration_nano"];

/// What a file is to be.
pub(in crate::store) struct OutputPlan<'a> {
    /// Whose rows.
    pub(in crate::store) tenant: &'a Tenant,
    pub(in crate::store) table: &'a Table,
    pub(in crate::store) runtime: &'a Handle,
    pub(in crate::store) partition: &'a PartitionKey,
    pub(in crate::store) layout: &'static Layout,
    pub(in crate::store) labels: Labels,
    /// Bound of what encoding and sending hold, in bytes.
    pub(in crate::store) bytes_max: u64,
}

/// A finished file on the store, not yet in the table.
pub(in crate::store) struct Output {
    pub(in crate::store) append: Append,
    pub(in crate::store) rows: u64,
    /// What the table's index wants to know of it: of files of `spans`.
    pub(in crate::store) index: Option<FileIndex>,
}

/// A file in the making. One that is dropped is not on the store, or an orphan there that the sweep removes.
pub(in crate::store) struct OutputFile<'a> {
    plan: &'a OutputPlan<'a>,
    object: String,
    path: Path,
    writer: ArrowWriter<Vec<u8>>,
    statistics: FileStatsAccumulator,
    /// The columns of the statistics in a batch.
    indexes: Vec<usize>,
    /// Bytes not yet sent.
    pending: Vec<u8>,
    /// Of all that was encoded.
    sum: Summing,
    upload: Upload<'a>,
    sent: u64,
    rows: u64,
    index: Option<RowsIndex>,
    /// Where the open row group begins, in bytes.
    group_begin: u64,
    bounds: Bounds,
}

/// What parts of a file in the making may hold, in bytes.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    part: usize,
    /// Row groups end when what is encoded takes so many: what a reader of the file holds …
    group: usize,
    /// … or what encodes it.
    encoder: usize,
}

impl Bounds {
    /// Of all: a part that is full is joined by one more row group before it is sent.
    fn of(bytes_max: u64) -> Self {
        let all = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        let part = (all / 8).max(PART_BYTES_MIN);
        let left = all.saturating_sub(part);
        Self { part, group: left / 7, encoder: left / 7 * 4 }
    }
}

impl<'a> OutputFile<'a> {
    /// An empty file of this name. Contacts nothing.
    pub(in crate::store) fn begin(plan: &'a OutputPlan<'a>, name: &str) -> Result<Self, StoreError> {
        let kind = plan.table.kind;
        let object = plan.partition.object(name);
        let path = Path::parse(format!("{}/{object}", plan.table.path));
        let path = path.map_err(|e| StoreError::of_objects("not a path", e.into()))?;
        let (_, statistics) = statistics_of(kind, kind.statistics())?;
        let schema = plan.layout.arrow(kind);
        let indexes = kind.statistics().iter().filter_map(|c| schema.index_of(c).ok()).collect();
        let properties = properties(kind).map_err(|e| internal("cannot begin a Parquet file", e))?;
        let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options);
        let writer = writer.map_err(|e| internal("cannot begin a Parquet file", e))?;
        Ok(Self {
            plan,
            object,
            path,
            writer,
            statistics,
            indexes,
            pending: Vec::new(),
            sum: Summing::default(),
            upload: Upload { runtime: plan.runtime, begun: None },
            sent: 0,
            rows: 0,
            index: (kind == TableKind::Spans).then(|| RowsIndex::new(plan.tenant)),
            group_begin: 0,
            bounds: Bounds::of(plan.bytes_max),
        })
    }

    /// What it holds that is not sent, in bytes.
    pub(in crate::store) fn held_bytes(&self) -> usize {
        self.pending.len() + self.writer.memory_size() + self.writer.inner().len()
    }

    /// Appends rows, which come after all before them in the order of the table. Blocks.
    pub(in crate::store) fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let failed = |e: ParquetError| internal("cannot write to a Parquet file", e);
        let columns = batch.project(&self.indexes).map_err(|e| internal("cannot collect statistics", e))?;
        let merged = self.statistics.merge(&columns);
        merged.map_err(|e| StoreError::of_kernel("cannot collect statistics", e))?;
        // The library would begin a row group in the middle of a batch, unseen.
        if self.writer.in_progress_rows() + batch.num_rows() > ROW_GROUP_ROWS_MAX {
            self.end_group()?;
        }
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(failed)?;
        if let Some(index) = &mut self.index {
            index.add(batch);
        }
        let is_full = self.writer.in_progress_rows() >= ROW_GROUP_ROWS_MAX
            || self.writer.in_progress_size() >= self.bounds.group
            || self.writer.memory_size() >= self.bounds.encoder;
        if is_full {
            self.end_group()?;
            if self.pending.len() >= self.bounds.part {
                self.send_pending()?;
            }
        }
        Ok(())
    }

    fn end_group(&mut self) -> Result<(), StoreError> {
        if self.writer.in_progress_rows() == 0 {
            return Ok(());
        }
        self.writer.flush().map_err(|e| internal("cannot write to a Parquet file", e))?;
        self.take_encoded();
        let end = self.sent + self.pending.len() as u64;
        if let Some(index) = &mut self.index {
            index.end_group((end - self.group_begin) as usize);
        }
        self.group_begin = end;
        Ok(())
    }

    /// Its size so far, in bytes, about.
    pub(super) fn bytes(&self) -> u64 {
        let unsent = self.pending.len() + self.writer.inner().len() + self.writer.in_progress_size();
        self.sent + unsent as u64
    }

    /// Ends the file; then all of it is on the store. Blocks.
    pub(in crate::store) fn finish(mut self) -> Result<Output, StoreError> {
        self.end_group()?;
        self.writer.sync().map_err(|e| internal("cannot end a Parquet file", e))?;
        self.take_encoded();
        self.writer.append_key_value_metadata(self.sum.sum().key_value());
        if let Some(index) = &self.index {
            self.writer.append_key_value_metadata(index.other_types().key_value());
        }
        self.writer.finish().map_err(|e| internal("cannot end a Parquet file", e))?;
        self.take_encoded();
        if self.upload.begun.is_some() {
            self.send_pending()?;
        }
        match self.upload.begun.take() {
            Some(mut upload) => {
                let completed = self.plan.runtime.block_on(upload.complete());
                completed.map_err(|e| self.cannot_write(e))?;
            }
            None => {
                let payload = PutPayload::from(std::mem::take(&mut self.pending));
                self.sent = payload.content_length() as u64;
                let put = self.plan.table.objects.put_opts(&self.path, payload, self.plan.labels.put());
                self.plan.runtime.block_on(put).map_err(|e| self.cannot_write(e))?;
            }
        }
        let statistics = self.statistics.finish();
        let statistics = statistics.map_err(|e| StoreError::of_kernel("cannot collect statistics", e))?;
        let empty = || StoreError::new(ErrorKind::Internal, "a Parquet file without rows");
        let statistics: StructArray = statistics.ok_or_else(empty)?;
        let partition = self.plan.partition.clone();
        let append = Append { object: self.object, partition, bytes: self.sent, statistics };
        Ok(Output { append, rows: self.rows, index: self.index.map(RowsIndex::finish) })
    }

    fn take_encoded(&mut self) {
        self.sum.add(self.writer.inner());
        self.pending.append(self.writer.inner_mut());
    }

    fn send_pending(&mut self) -> Result<(), StoreError> {
        let (objects, runtime) = (&self.plan.table.objects, self.plan.runtime);
        if self.upload.begun.is_none() {
            let begun =
                runtime.block_on(objects.put_multipart_opts(&self.path, self.plan.labels.multipart()));
            self.upload.begun = Some(begun.map_err(|e| self.cannot_write(e))?);
        }
        let part = std::mem::take(&mut self.pending);
        self.sent += part.len() as u64;
        if let Some(upload) = &mut self.upload.begun {
            let sent = runtime.block_on(upload.put_part(part.into()));
            sent.map_err(|e| self.cannot_write(e))?;
        }
        Ok(())
    }

    fn cannot_write(&self, error: object_store::Error) -> StoreError {
        StoreError::of_objects(&format!("cannot write {}", self.path), error)
    }
}

/// An upload in parts, if one was begun; aborted if it is dropped.
struct Upload<'a> {
    runtime: &'a Handle,
    begun: Option<Box<dyn MultipartUpload>>,
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let Some(mut upload) = self.begun.take() {
            // Parts that stay behind cost money on some stores. If this fails, the bucket's rule aborts it.
            let _ = self.runtime.block_on(upload.abort());
        }
    }
}

/// How the writer of batches has it, as far as the library's writer can.
fn properties(table: TableKind) -> Result<WriterProperties, ParquetError> {
    let sorting = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
    let mut builder = WriterProperties::builder()
        .set_created_by(CREATED_BY.to_owned())
        .set_sorting_columns(Some(vec![sorting]))
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(ZSTD_LEVEL)?))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_data_page_row_count_limit(STRIPE_ROWS_MAX)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_column_bloom_filter_max_ndv("trace_id".into(), ROW_GROUP_ROWS_MAX as u64)
        .set_column_bloom_filter_fpp("trace_id".into(), BLOOM_FALSE_POSITIVES);
    let has = |name: &&&str| table.arrow().index_of(name).is_ok();
    for name in INDEXED.iter().filter(has) {
        builder = builder.set_column_statistics_enabled(ColumnPath::from(*name), EnabledStatistics::Page);
    }
    for name in UNIQUE_TEXTS.iter().filter(has) {
        builder = builder.set_column_dictionary_enabled(ColumnPath::from(*name), false);
    }
    for name in UNIQUE_LONGS.iter().filter(has) {
        builder = builder
            .set_column_dictionary_enabled(ColumnPath::from(*name), false)
            .set_column_encoding(ColumnPath::from(*name), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(ColumnPath::from(*name), Compression::UNCOMPRESSED);
    }
    for name in if table == TableKind::Spans { &EVENT_TIMES[..] } else { &[] } {
        let path = ColumnPath::new(["events", "list", "element", name].map(str::to_owned).into());
        builder = builder
            .set_column_dictionary_enabled(path.clone(), false)
            .set_column_encoding(path.clone(), Encoding::DELTA_BINARY_PACKED)
            .set_column_compression(path, Compression::UNCOMPRESSED);
    }
    Ok(builder.build())
}

fn internal(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::caused(ErrorKind::Internal, what, error)
}
