//! One file into the rows of some traces and the others.

use std::collections::HashSet;

use arrow_array::cast::AsArray;
use arrow_array::{BooleanArray, RecordBatch};
use arrow_select::filter::filter_record_batch;
use futures::StreamExt;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use crate::store::compact::output::{Output, OutputFile, OutputPlan};
use crate::store::compact::source::conform;
use crate::store::error::{ErrorKind, StoreError};
use crate::store::read::ObjectFile;
use crate::store::table::{DataFile, compacted_name};

const ROWS_A_BATCH: usize = 4 * 1024;

/// A file's rows, parted. On the store, not yet in the table.
pub(super) struct Split {
    /// The files with what stays, and with what is moved.
    pub(super) outputs: Vec<Output>,
    /// All its rows.
    pub(super) rows: u64,
    /// Those of the traces.
    pub(super) rows_of_traces: u64,
}

/// Writes the rows of other traces as `rest` says, and those of these traces as `moved` says, if it says anything. `None` if
/// the file has none of the traces' rows: nothing is written then. Blocks.
pub(super) fn split(
    file: &DataFile,
    ids: &HashSet<String>,
    rest: &OutputPlan<'_>,
    moved: Option<&OutputPlan<'_>>,
    attempt: u64,
) -> Result<Option<Split>, StoreError> {
    let mut parts =
        Parts { rest: Part::new(rest, attempt, 0), moved: moved.map(|plan| Part::new(plan, attempt, 1)) };
    let failed = |e| StoreError::of_parquet(&file.object, e);
    let table = rest.table;
    let reader = ObjectFile::new(&table.objects, file);
    let runtime = rest.runtime;
    let builder = runtime.block_on(ParquetRecordBatchStreamBuilder::new(reader)).map_err(failed)?;
    let mut stream = builder.with_batch_size(ROWS_A_BATCH).build().map_err(failed)?;
    let (mut rows, mut rows_of_traces) = (0, 0);
    while let Some(batch) = runtime.block_on(stream.next()) {
        let name = file.object.to_string();
        let batch = conform(&batch.map_err(failed)?, table.kind, rest.layout, &name)?;
        rows += batch.num_rows() as u64;
        rows_of_traces += parts.take(&batch, ids)?;
    }
    if file.rows > 0 && rows != file.rows {
        let message =
            format!("{} has {rows} rows, not {} as the log says: nothing is changed", file.object, file.rows);
        return Err(StoreError::new(ErrorKind::Table, message));
    }
    if rows_of_traces == 0 {
        // What was uploaded until here is swept like any orphan.
        return Ok(None);
    }
    Ok(Some(Split { outputs: parts.finish()?, rows, rows_of_traces }))
}

struct Parts<'a> {
    rest: Part<'a>,
    moved: Option<Part<'a>>,
}

impl Parts<'_> {
    /// Takes rows in; gives how many were the traces'.
    fn take(&mut self, batch: &RecordBatch, ids: &HashSet<String>) -> Result<u64, StoreError> {
        let lacks = || StoreError::new(ErrorKind::Table, "a file of the table lacks trace ids");
        let trace_ids =
            batch.column_by_name("trace_id").and_then(|c| c.as_string_opt::<i32>()).ok_or_else(lacks)?;
        let is_of_traces: BooleanArray =
            trace_ids.iter().map(|id| Some(id.is_some_and(|id| ids.contains(id)))).collect();
        let count = is_of_traces.true_count();
        if count == 0 {
            return self.rest.write(batch).map(|()| 0);
        }
        let of = |rows: &BooleanArray| {
            filter_record_batch(batch, rows)
                .map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot part rows", e))
        };
        if let Some(moved) = &mut self.moved {
            moved.write(&of(&is_of_traces)?)?;
        }
        let others: BooleanArray = is_of_traces.iter().map(|is| is.map(|is| !is)).collect();
        if count < batch.num_rows() {
            self.rest.write(&of(&others)?)?;
        }
        Ok(count as u64)
    }

    fn finish(self) -> Result<Vec<Output>, StoreError> {
        let files = [Some(self.rest), self.moved].into_iter().flatten().filter_map(|part| part.file);
        files.map(OutputFile::finish).collect()
    }
}

/// A file that is begun when it has its first row.
struct Part<'a> {
    plan: &'a OutputPlan<'a>,
    name: String,
    file: Option<OutputFile<'a>>,
}

impl<'a> Part<'a> {
    fn new(plan: &'a OutputPlan<'a>, attempt: u64, number: usize) -> Self {
        Self { plan, name: compacted_name(attempt, number), file: None }
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(OutputFile::begin(self.plan, &self.name)?),
        };
        file.write(batch)
    }
}
