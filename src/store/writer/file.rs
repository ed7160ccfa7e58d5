//! Rows into the bytes of one Parquet file, with the statistics that the table's log wants.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray};
use arrow_schema::{ArrowError, Schema};
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::expressions::ColumnName;
use delta_kernel::schema::StructType;
use delta_kernel_default_engine::stats::FileStatsAccumulator;
use parquet::arrow::ArrowSchemaConverter;
use parquet::bloom_filter::Sbbf;
use parquet::errors::Result as ParquetResult;
use parquet::file::metadata::SortingColumn;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{ColumnDescPtr, SchemaDescPtr};

use super::NewFile;
use super::gather::Gathered;
use super::leaf::{Bounds, Finished, Press};
use crate::store::checksum::Summing;
use crate::store::error::{ErrorKind, StoreError};
use crate::store::index::{FileIndex, FilterBuilder};
use crate::store::other_types::OtherTypes;
use crate::store::schema::{ColumnType, Layout, TableKind};
use crate::store::table::PartitionKey;

/// Row groups end after this many rows …
pub(in crate::store) const ROW_GROUP_ROWS_MAX: usize = 128 * 1024;
/// … or about this many bytes on the wire.
const ROW_GROUP_BYTES_MAX: usize = 64 << 20;
/// Rows of a stripe, after which pages may end: what a look-up of one trace reads of a large column at least.
pub(in crate::store) const STRIPE_ROWS_MAX: usize = 4 * 1024;
/// A stripe of long rows ends after about so many bytes on the wire.
const STRIPE_BYTES_MAX: usize = 4 << 20;
/// What so many rows are made of is fetched together: it fits into the nearest cache.
const FETCH_ROWS: usize = 16;
/// One look-up in a hundred reads a row group in vain.
pub(in crate::store) const BLOOM_FALSE_POSITIVES: f64 = 0.01;

/// Room for what comes after the row groups, in bytes.
const FOOTER_BYTES: usize = 128 << 10;

/// How this program signs its files.
pub(in crate::store) const CREATED_BY: &str = concat!("tracewell ", env!("CARGO_PKG_VERSION"));

/// Builds the row groups of one table.
pub(super) trait Rows<'a>: Sized {
    /// What becomes a row.
    type Item;
    const TABLE: TableKind;

    /// An empty row group, with a filter for its trace ids.
    fn begin(gathered: &'a Gathered<'a>, trace_ids: Sbbf) -> Self;

    /// How many different trace ids these have.
    fn trace_ids(gathered: &Gathered<'_>, items: &[Self::Item]) -> usize;

    /// Tells the index of a row group of these items.
    fn index(gathered: &Gathered<'_>, items: &[Self::Item], group: &mut RowGroup, index: &mut FileIndex);

    /// Looks at what rows will be made of, so that memory is fetched side by side and not span by span.
    fn fetch(&self, _items: &[Self::Item]) {}

    /// Appends a row; gives the bytes on the wire it is made of.
    fn append(&mut self, item: &Self::Item) -> Result<usize, StoreError>;

    /// Pages may end here.
    fn end_stripe(&mut self, press: &mut Press) -> ParquetResult<()>;

    /// Rows so far.
    fn rows(&self) -> u32;

    /// Whether the row group must end: its dictionaries are large.
    fn is_full(&mut self) -> bool;

    /// The column chunks in the order of the schema, whose leaves are given.
    fn finish(self, columns: &[ColumnDescPtr], press: &mut Press) -> ParquetResult<RowGroup>;
}

/// A row group ready for the file.
pub(super) struct RowGroup {
    pub(super) rows: u32,
    pub(super) chunks: Vec<Finished>,
    /// Of the attributes of spans.
    pub(super) filter: Option<FilterBuilder>,
    /// Attributes of spans that are not only in the columns they have.
    pub(super) other_types: OtherTypes,
}

/// Writes a file in memory; `items` are in the order of the table, and not none.
pub(super) fn write_file<'a, R: Rows<'a>>(
    gathered: &'a Gathered<'a>,
    mut items: &[R::Item],
    partition: PartitionKey,
) -> Result<NewFile, StoreError> {
    let mut press = Press::new().map_err(|e| internal("cannot begin to compress", e))?;
    let mut file = ParquetFile::new(R::TABLE, gathered.layout)?;
    let mut index = FileIndex::default();
    while !items.is_empty() {
        let group = &items[..items.len().min(ROW_GROUP_ROWS_MAX)];
        let traces = R::trace_ids(gathered, group).max(1) as u64;
        let trace_ids = Sbbf::new_with_ndv_fpp(traces, BLOOM_FALSE_POSITIVES);
        let mut rows = R::begin(gathered, trace_ids.map_err(|e| internal("cannot begin a filter", e))?);
        append_group(&mut rows, group, &mut press)?;
        let (taken, left) = items.split_at(rows.rows() as usize);
        items = left;
        let group = rows.finish(file.schema.columns(), &mut press);
        let mut group = group.map_err(|e| internal("cannot end a row group", e))?;
        R::index(gathered, taken, &mut group, &mut index);
        file.push(group)?;
    }
    file.finish(partition, index)
}

/// Appends rows until the row group is full.
fn append_group<'a, R: Rows<'a>>(
    rows: &mut R,
    items: &[R::Item],
    press: &mut Press,
) -> Result<(), StoreError> {
    let mut end_stripe = |rows: &mut R| rows.end_stripe(press).map_err(|e| internal("cannot end a page", e));
    let (mut bytes, mut stripe_bytes, mut stripe_rows) = (0, 0, 0);
    for (at, item) in items.iter().enumerate() {
        if at % FETCH_ROWS == 0 {
            rows.fetch(&items[at..items.len().min(at + FETCH_ROWS)]);
        }
        stripe_bytes += rows.append(item)?;
        stripe_rows += 1;
        if stripe_rows >= STRIPE_ROWS_MAX || stripe_bytes >= STRIPE_BYTES_MAX {
            end_stripe(rows)?;
            bytes += stripe_bytes;
            (stripe_bytes, stripe_rows) = (0, 0);
            if bytes >= ROW_GROUP_BYTES_MAX || rows.is_full() {
                return Ok(());
            }
        }
    }
    if stripe_rows > 0 { end_stripe(rows) } else { Ok(()) }
}

/// One file in memory.
struct ParquetFile {
    table: TableKind,
    schema: SchemaDescPtr,
    writer: SerializedFileWriter<Vec<u8>>,
    statistics: Vec<ColumnStatistics>,
    rows: u64,
    other_types: OtherTypes,
}

/// What the table's log says of a column.
struct ColumnStatistics {
    name: &'static str,
    leaf: usize,
    kind: ColumnType,
    bounds: Vec<Bounds>,
    nulls: u64,
}

impl ParquetFile {
    fn new(table: TableKind, layout: &Layout) -> Result<Self, StoreError> {
        let schema = ArrowSchemaConverter::new().convert(layout.arrow(table)).map(Arc::new);
        let schema = schema.map_err(|e| internal("the schema has no Parquet form", e))?;
        let sorting = SortingColumn { column_idx: 0, descending: false, nulls_first: false };
        let properties = WriterProperties::builder()
            .set_created_by(CREATED_BY.to_owned())
            .set_sorting_columns(Some(vec![sorting]))
            .build();
        let writer = SerializedFileWriter::new(Vec::new(), schema.root_schema_ptr(), Arc::new(properties))
            .map_err(|e| internal("cannot begin a Parquet file", e))?;
        let statistics = table.statistics().iter().filter_map(|name| {
            let leaf = schema.columns().iter().position(|c| c.path().string() == *name)?;
            let kind = table.columns().iter().find(|c| c.name == *name)?.kind;
            Some(ColumnStatistics { name, leaf, kind, bounds: Vec::new(), nulls: 0 })
        });
        let statistics = statistics.collect();
        Ok(Self { table, schema, writer, statistics, rows: 0, other_types: OtherTypes::default() })
    }

    fn push(&mut self, group: RowGroup) -> Result<(), StoreError> {
        self.rows += u64::from(group.rows);
        self.other_types.join(group.other_types);
        for column in &mut self.statistics {
            if let Some(chunk) = group.chunks.get(column.leaf) {
                column.bounds.extend(chunk.bounds.clone());
                column.nulls += chunk.nulls;
            }
        }
        // At once, and with room for the footer: growing would copy it all, and touch new memory each time.
        let bytes: usize = group.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        self.writer.inner_mut().reserve(bytes + bytes / 16 + FOOTER_BYTES);
        let append = || -> ParquetResult<()> {
            let mut writer = self.writer.next_row_group()?;
            for chunk in group.chunks {
                writer.append_column(&chunk.bytes, chunk.close)?;
            }
            writer.close()?;
            Ok(())
        };
        append().map_err(|e| internal("cannot write to a Parquet file", e))
    }

    fn finish(mut self, partition: PartitionKey, index: FileIndex) -> Result<NewFile, StoreError> {
        let statistics = delta_statistics(self.table, self.rows, &self.statistics)?;
        self.writer.flush().map_err(|e| internal("cannot end a Parquet file", e))?;
        let mut sum = Summing::default();
        sum.add(self.writer.inner());
        self.writer.append_key_value_metadata(sum.sum().key_value());
        if self.table == TableKind::Spans {
            self.writer.append_key_value_metadata(self.other_types.key_value());
        }
        let bytes = self.writer.into_inner().map_err(|e| internal("cannot end a Parquet file", e))?;
        Ok(NewFile { partition, bytes: bytes.into(), rows: self.rows, statistics, index })
    }
}

/// One row of Delta's `stats`. The library cuts long texts as the protocol asks: it is given the bounds as if they were rows.
fn delta_statistics(
    table: TableKind,
    rows: u64,
    columns: &[ColumnStatistics],
) -> Result<StructArray, StoreError> {
    let failed = |e: String| internal("cannot collect statistics", e);
    let names: Vec<_> = columns.iter().map(|c| c.name).collect();
    let (schema, mut accumulator) = statistics_of(table, &names)?;
    let bounds = bounds_as_rows(schema, columns).map_err(|e| failed(e.to_string()))?;
    accumulator.merge(&bounds).map_err(|e| failed(e.to_string()))?;
    let collected = accumulator.finish().map_err(|e| failed(e.to_string()))?;
    let collected = collected.ok_or_else(|| failed("a Parquet file without rows".to_owned()))?;
    let count = |value: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![value as i64])) };
    let (fields, arrays, _) = collected.into_parts();
    let with_counts = fields.iter().zip(arrays).map(|(field, array)| match field.name().as_str() {
        "numRecords" => Ok(count(rows)),
        "nullCount" => {
            let nulls = array.as_struct().fields().clone();
            let of = |name: &str| columns.iter().find(|c| c.name == name).map_or(0, |c| c.nulls);
            let counts = nulls.iter().map(|field| count(of(field.name()))).collect();
            Ok(Arc::new(StructArray::try_new(nulls, counts, None)?) as ArrayRef)
        }
        _ => Ok(array),
    });
    let arrays = with_counts.collect::<Result<Vec<_>, ArrowError>>().map_err(|e| failed(e.to_string()))?;
    StructArray::try_new(fields, arrays, None).map_err(|e| failed(e.to_string()))
}

/// What collects Delta's `stats` of a file from rows with these columns of the table, in the shape of the schema that comes
/// with it.
pub(in crate::store) fn statistics_of(
    table: TableKind,
    columns: &[&str],
) -> Result<(Schema, FileStatsAccumulator), StoreError> {
    let failed = |e: ArrowError| internal("cannot collect statistics", e);
    let indexes = columns.iter().filter_map(|c| table.arrow().index_of(c).ok()).collect::<Vec<_>>();
    let schema = table.arrow().project(&indexes).map_err(failed)?;
    let of_kernel: StructType = (&schema).try_into_kernel().map_err(failed)?;
    let names: Vec<_> = columns.iter().map(|c| ColumnName::new([*c])).collect();
    Ok((schema, FileStatsAccumulator::new(&names, &of_kernel)))
}

fn bounds_as_rows(schema: Schema, columns: &[ColumnStatistics]) -> Result<RecordBatch, ArrowError> {
    // Columns that are all null in a row group have fewer bounds: what is missing is null.
    let rows = columns.iter().map(|c| c.bounds.len()).max().unwrap_or(0) * 2;
    let arrays = columns.iter().map(|column| -> ArrayRef {
        let values = column.bounds.iter().flat_map(|b| [&b.min, &b.max]).map(Some);
        let mut values: Vec<Option<&Vec<u8>>> = values.collect();
        values.resize(rows, None);
        let long = |value: &Vec<u8>| value.as_slice().try_into().map_or(0, i64::from_le_bytes);
        match column.kind {
            ColumnType::Text => Arc::new(StringArray::from_iter(
                values.into_iter().map(|value| value.map(|value| String::from_utf8_lossy(value))),
            )),
            ColumnType::Timestamp => {
                let micros = TimestampMicrosecondArray::from_iter(values.into_iter().map(|v| v.map(long)));
                Arc::new(micros.with_timezone("UTC"))
            }
            _ => Arc::new(Int64Array::from_iter(values.into_iter().map(|v| v.map(long)))),
        }
    });
    RecordBatch::try_new(Arc::new(schema), arrays.collect())
}

fn internal(what: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::caused(ErrorKind::Internal, what, error)
}
