//! One file of a unit, row by row in the order of the table.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, new_null_array};
use futures::StreamExt;
use parquet::arrow::async_reader::{ParquetRecordBatchStream, ParquetRecordBatchStreamBuilder};
use tokio::runtime::Handle;

use super::failure::Failure;
use crate::store::error::{ErrorKind, StoreError};
use crate::store::read::ObjectFile;
use crate::store::read::typed_column;
use crate::store::schema::{Layout, TableKind};
use crate::store::table::{DataFile, Table};
use crate::store::writer::text::{KINDS, value_of_word};

/// Decoded rows of a file held at once, about, in bytes …
const BATCH_BYTES: u64 = 1 << 20;
/// … and in rows.
const BATCH_ROWS_MAX: u64 = 1_024;
const BATCH_ROWS_MIN: u64 = 16;
/// Rows in memory are larger than in a file by this, about: what repeats is there once only.
const IN_MEMORY: u64 = 8;

/// Where spans stand within their trace.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Place<'a> {
    start_unix_nano: u64,
    pub(super) span_id: &'a str,
    pub(super) kind: i32,
}

/// A batch of rows, and the columns they are ordered by.
#[derive(Clone)]
pub(super) struct Rows {
    pub(super) batch: RecordBatch,
    trace_id: StringArray,
    start: Int64Array,
    /// Span id and kind, where rows are spans.
    span: Option<(StringArray, StringArray)>,
}

impl Rows {
    fn new(batch: RecordBatch, table: TableKind) -> Option<Self> {
        let text = |name: &str| batch.column_by_name(name)?.as_string_opt::<i32>().cloned();
        let start = batch.column_by_name("start_time_unix_nano")?.as_primitive_opt::<Int64Type>()?.clone();
        let span = match table {
            TableKind::Spans => Some((text("span_id")?, text("kind")?)),
            TableKind::Traces => None,
        };
        Some(Self { trace_id: text("trace_id")?, start, span, batch })
    }

    pub(super) fn trace_id(&self, row: usize) -> &str {
        self.trace_id.value(row)
    }

    pub(super) fn place(&self, row: usize) -> Place<'_> {
        let (span_id, kind) = match &self.span {
            Some((ids, kinds)) => (ids.value(row), value_of_word(&KINDS, kinds.value(row))),
            None => ("", 0),
        };
        Place { start_unix_nano: self.start.value(row) as u64, span_id, kind }
    }

    /// How two rows compare in the order of the table.
    fn compare(&self, row: usize, other: &Self, other_row: usize) -> Ordering {
        let ids = self.trace_id(row).cmp(other.trace_id(other_row));
        ids.then_with(|| self.place(row).cmp(&other.place(other_row)))
    }
}

/// Where a source gets its rows from.
enum Feed {
    File(Box<ParquetRecordBatchStream<ObjectFile>>),
    /// Of a file that was not sorted: all of it, the next rows last.
    Sorted(Vec<RecordBatch>),
}

/// A file being read. Not at its end until [`Source::advance`] says so.
pub(super) struct Source {
    /// Its number in the unit.
    pub(super) input: usize,
    feed: Feed,
    table: TableKind,
    layout: &'static Layout,
    name: String,
    pub(super) rows: Rows,
    pub(super) row: usize,
    /// Where the rows are among those of the merge that are not written yet.
    pub(super) slot: Option<usize>,
    /// What it holds at most, in bytes, about.
    pub(super) bytes: u64,
}

/// What to open.
pub(super) struct Opening<'a> {
    pub(super) table: &'a Table,
    /// The columns that rows shall have.
    pub(super) layout: &'static Layout,
    pub(super) runtime: &'a Handle,
    pub(super) file: &'a DataFile,
    pub(super) input: usize,
    /// The file is not sorted: sort it in memory, if it takes no more than so many bytes.
    pub(super) sort_within: Option<u64>,
}

impl Source {
    /// Opens a file at its first row; `None` if it has none. Blocks.
    pub(super) fn open(opening: &Opening<'_>) -> Result<Option<Self>, Failure> {
        let Opening { table, layout, runtime, file, input, sort_within } = opening;
        let failed = |e| StoreError::of_parquet(&file.object, e);
        let reader = ObjectFile::new(&table.objects, file);
        let builder = runtime.block_on(ParquetRecordBatchStreamBuilder::new(reader)).map_err(failed)?;
        let groups = builder.metadata().row_groups();
        let packed = groups.iter().map(|g| g.compressed_size().max(0) as u64).max().unwrap_or(0);
        let plain: u64 = groups.iter().map(|g| g.total_byte_size().max(0) as u64).sum();
        let rows: u64 = groups.iter().map(|g| g.num_rows().max(0) as u64).sum();
        let a_row = (plain * IN_MEMORY / rows.max(1)).max(1);
        let batch_rows = (BATCH_BYTES / a_row).clamp(BATCH_ROWS_MIN, BATCH_ROWS_MAX);
        let stream = builder.with_batch_size(batch_rows as usize).build().map_err(failed)?;
        let mut feed = Feed::File(Box::new(stream));
        let mut bytes = packed + 2 * batch_rows * a_row;
        if let Some(bytes_max) = sort_within {
            bytes = plain * IN_MEMORY;
            if bytes > *bytes_max {
                let message = format!("{} is not sorted, and too large to be sorted here", file.object);
                return Err(StoreError::new(ErrorKind::Table, message).into());
            }
            feed = Feed::Sorted(sorted(feed, (table.kind, layout), file, runtime)?);
        }
        let name = file.object.to_string();
        let first = next_rows(&mut feed, (table.kind, layout), &name, runtime)?;
        Ok(first.map(|rows| Self {
            input: *input,
            feed,
            table: table.kind,
            layout,
            name,
            rows,
            row: 0,
            slot: None,
            bytes,
        }))
    }

    pub(super) fn trace_id(&self) -> &str {
        self.rows.trace_id(self.row)
    }

    pub(super) fn place(&self) -> Place<'_> {
        self.rows.place(self.row)
    }

    /// Goes to the next row; false at the end. Blocks.
    pub(super) fn advance(&mut self, runtime: &Handle) -> Result<bool, Failure> {
        let before = self.row;
        let order = if before + 1 < self.rows.batch.num_rows() {
            self.row += 1;
            self.rows.compare(before, &self.rows, self.row)
        } else {
            let Some(next) = next_rows(&mut self.feed, (self.table, self.layout), &self.name, runtime)?
            else {
                return Ok(false);
            };
            let order = self.rows.compare(before, &next, 0);
            (self.rows, self.row, self.slot) = (next, 0, None);
            order
        };
        if order == Ordering::Greater { Err(Failure::Unsorted(self.input)) } else { Ok(true) }
    }
}

fn next_rows(
    feed: &mut Feed,
    (table, layout): (TableKind, &'static Layout),
    name: &str,
    runtime: &Handle,
) -> Result<Option<Rows>, StoreError> {
    loop {
        let batch = match feed {
            Feed::Sorted(batches) => batches.pop(),
            Feed::File(stream) => match runtime.block_on(stream.next()) {
                Some(Ok(batch)) => Some(conform(&batch, table, layout, name)?),
                Some(Err(error)) => return Err(StoreError::of_parquet(&name.into(), error)),
                None => None,
            },
        };
        let Some(batch) = batch else { return Ok(None) };
        if batch.num_rows() > 0 {
            let lacks = || foreign(name, "it lacks a column that rows are ordered by");
            return Ok(Some(Rows::new(batch, table).ok_or_else(lacks)?));
        }
    }
}

/// All rows of a file that is not sorted, sorted, in batches, the first ones last.
fn sorted(
    mut feed: Feed,
    shape: (TableKind, &'static Layout),
    file: &DataFile,
    runtime: &Handle,
) -> Result<Vec<RecordBatch>, StoreError> {
    let name = file.object.to_string();
    let mut all = Vec::new();
    while let Some(rows) = next_rows(&mut feed, shape, &name, runtime)? {
        all.push(rows);
    }
    let mut order: Vec<(usize, usize)> = Vec::new();
    for (at, rows) in all.iter().enumerate() {
        order.extend((0..rows.batch.num_rows()).map(|row| (at, row)));
    }
    order.sort_by(|a, b| all[a.0].compare(a.1, &all[b.0], b.1));
    let batches: Vec<&RecordBatch> = all.iter().map(|rows| &rows.batch).collect();
    let chunks = order.chunks(BATCH_ROWS_MAX as usize).rev();
    let sorted = chunks.map(|rows| arrow_select::interleave::interleave_record_batch(&batches, rows));
    sorted.collect::<Result<_, _>>().map_err(|e| foreign(&name, &e.to_string()))
}

/// The rows in the table's schema: columns for attributes that an older file lacks are filled from the maps, others that it
/// lacks are null.
pub(in crate::store) fn conform(
    batch: &RecordBatch,
    table: TableKind,
    layout: &Layout,
    name: &str,
) -> Result<RecordBatch, StoreError> {
    let schema = layout.arrow(table);
    let typed = |column: &str| match table {
        TableKind::Spans => layout.well_known().iter().find(|known| known.column == column),
        TableKind::Traces => None,
    };
    let known = |column: &str| schema.column_with_name(column).is_some();
    if let Some(other) = batch.schema_ref().fields().iter().find(|f| !known(f.name())) {
        // It would be lost.
        return Err(foreign(
            name,
            &format!("it has a column that this version does not know: {}", other.name()),
        ));
    }
    let columns = schema.fields().iter().map(|field| -> Result<ArrayRef, StoreError> {
        match batch.column_by_name(field.name()) {
            Some(column) if column.data_type() == field.data_type() => Ok(Arc::clone(column)),
            Some(column) => {
                let (of, not) = (column.data_type(), field.data_type());
                Err(foreign(name, &format!("its column {} is {of} and not {not}", field.name())))
            }
            None if let Some(known) = typed(field.name()) => Ok(typed_column(batch, known)),
            None if field.is_nullable() => Ok(new_null_array(field.data_type(), batch.num_rows())),
            None => Err(foreign(name, &format!("it lacks the column {}", field.name()))),
        }
    });
    let columns = columns.collect::<Result<_, _>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(|e| foreign(name, &e.to_string()))
}

fn foreign(name: &str, why: &str) -> StoreError {
    StoreError::new(ErrorKind::Table, format!("{name} cannot be written again: {why}"))
}
