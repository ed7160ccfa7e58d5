//! Record batches into the bytes of one Parquet file, with the statistics that the table's log wants.

use std::sync::Arc;

use arrow_array::{RecordBatch, StructArray};
use arrow_schema::SchemaRef;
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::expressions::ColumnName;
use delta_kernel::schema::StructType;
use delta_kernel_default_engine::stats::FileStatsAccumulator;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use crate::store::error::{ErrorKind, StoreError};
use crate::store::schema::TableKind;

/// Row groups end after this many rows …
const ROW_GROUP_ROWS_MAX: usize = 128 * 1024;
/// … or about this many bytes before compression.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Rows of a page: what a look-up of one trace reads of a column at least.
const PAGE_ROWS_MAX: usize = 4 * 1024;
const ZSTD_LEVEL: i32 = 3;
/// One look-up in a hundred reads a row group in vain.
const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Columns where hardly a value comes twice: a dictionary would only cost time.
const UNIQUE_TEXT: [&str; 2] = ["span_id", "parent_span_id"];
const UNIQUE_LONG: [&str; 4] = ["start_time", "start_time_unix_nano", "end_time_unix_nano", "duration_nano"];

/// Writes one file in memory.
pub(super) struct ParquetFile {
    writer: ArrowWriter<Vec<u8>>,
    statistics: FileStatsAccumulator,
    projection: Vec<usize>,
    rows: usize,
}

/// A finished file.
pub(super) struct FinishedFile {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: usize,
    pub(super) statistics: StructArray,
}

impl ParquetFile {
    /// A file of `table` that will hold about `traces` different trace ids.
    pub(super) fn new(table: TableKind, traces: usize) -> Result<Self, StoreError> {
        let schema: &SchemaRef = table.arrow();
        let options = ArrowWriterOptions::new()
            .with_properties(properties(table, traces)?)
            .with_skip_arrow_metadata(true);
        let writer = ArrowWriter::try_new_with_options(Vec::new(), Arc::clone(schema), options)
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot begin a Parquet file", e))?;
        let of_kernel: StructType = schema
            .as_ref()
            .try_into_kernel()
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "schema without a Delta type", e))?;
        let names: Vec<_> = table.statistics().iter().map(|name| ColumnName::new([*name])).collect();
        let projection = table.statistics().iter().filter_map(|name| schema.index_of(name).ok()).collect();
        let statistics = FileStatsAccumulator::new(&names, &of_kernel);
        Ok(Self { writer, statistics, projection, rows: 0 })
    }

    /// Appends rows.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        self.rows += batch.num_rows();
        let narrow = batch
            .project(&self.projection)
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot project", e))?;
        self.statistics
            .merge(&narrow)
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot collect statistics", e))?;
        self.writer
            .write(batch)
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot write to a Parquet file", e))
    }

    /// Ends the file.
    pub(super) fn finish(self) -> Result<FinishedFile, StoreError> {
        let bytes = self
            .writer
            .into_inner()
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot end a Parquet file", e))?;
        let statistics = self
            .statistics
            .finish()
            .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot collect statistics", e))?
            .ok_or_else(|| StoreError::new(ErrorKind::Internal, "a Parquet file without rows"))?;
        Ok(FinishedFile { bytes, rows: self.rows, statistics })
    }
}

fn properties(table: TableKind, traces: usize) -> Result<WriterProperties, StoreError> {
    let level = ZstdLevel::try_new(ZSTD_LEVEL)
        .map_err(|e| StoreError::caused(ErrorKind::Internal, "zstd level", e))?;
    let trace_id = ColumnPath::from("trace_id");
    let mut builder = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by(concat!("tracewell ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS_MAX))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES_MAX))
        .set_data_page_row_count_limit(PAGE_ROWS_MAX)
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_column_statistics_enabled(trace_id.clone(), EnabledStatistics::Page)
        .set_column_statistics_enabled(ColumnPath::from("start_time"), EnabledStatistics::Page)
        .set_column_statistics_enabled(ColumnPath::from("duration_nano"), EnabledStatistics::Page)
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: false,
        }]))
        .set_bloom_filter_for_dictionary_encoded_chunks(true)
        .set_column_bloom_filter_enabled(trace_id.clone(), true)
        .set_column_bloom_filter_fpp(trace_id.clone(), BLOOM_FALSE_POSITIVES)
        .set_column_bloom_filter_max_ndv(trace_id, traces.clamp(1, ROW_GROUP_ROWS_MAX) as u64);
    for name in UNIQUE_TEXT.iter().filter(|_| table == TableKind::Spans) {
        builder = builder
            .set_column_dictionary_enabled(ColumnPath::from(*name), false)
            .set_column_encoding(ColumnPath::from(*name), Encoding::DELTA_LENGTH_BYTE_ARRAY)
            .set_column_statistics_enabled(ColumnPath::from(*name), EnabledStatistics::None);
    }
    for name in UNIQUE_LONG {
        builder = builder
            .set_column_dictionary_enabled(ColumnPath::from(name), false)
            .set_column_encoding(ColumnPath::from(name), Encoding::DELTA_BINARY_PACKED);
    }
    Ok(builder.build())
}
