//! The rows of one file against what the table's log says of them.

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use futures::StreamExt;
use object_store::GetOptions;
use parquet::arrow::async_reader::ParquetRecordBatchStreamBuilder;

use super::Problem;
use crate::store::checksum::{Checksum, Summing};
use crate::store::error::{ErrorKind, StoreError};
use crate::store::read::ObjectFile;
use crate::store::schema::TableKind;
use crate::store::table::{DataFile, Table};

const ROWS_A_BATCH: usize = 1024;

/// Reads all of a file; gives how many rows it has, and what is wrong with it.
pub(super) async fn check_rows(table: &Table, file: &DataFile) -> Result<(u64, Option<Problem>), StoreError> {
    let failed = |e| StoreError::of_parquet(&file.object, e);
    let reader = ObjectFile::new(&table.objects, file);
    let builder = ParquetRecordBatchStreamBuilder::new(reader).await.map_err(failed)?;
    // Files of versions before have none.
    let checksum = Checksum::of(builder.metadata());
    let mut batches = builder.with_batch_size(ROWS_A_BATCH).build().map_err(failed)?;
    let mut check = Check { file, table: table.kind, last_trace_id: String::new(), rows: 0, problem: None };
    while let Some(batch) = batches.next().await {
        check.batch(&batch.map_err(failed)?)?;
    }
    if check.rows != file.rows {
        check.problem.get_or_insert(Problem::Rows { log: file.rows, file: check.rows });
    }
    if let Some(checksum) = checksum
        && !has_checksum(table, file, checksum).await?
    {
        check.problem.get_or_insert(Problem::Checksum);
    }
    Ok((check.rows, check.problem))
}

async fn has_checksum(table: &Table, file: &DataFile, expected: Checksum) -> Result<bool, StoreError> {
    let failed = |e| StoreError::of_objects(&format!("cannot read {}", file.object), e);
    let range = GetOptions { range: Some((0..expected.bytes).into()), ..GetOptions::default() };
    let mut read = table.objects.get_opts(&file.object, range).await.map_err(failed)?.into_stream();
    let mut sum = Summing::default();
    while let Some(bytes) = read.next().await {
        sum.add(&bytes.map_err(failed)?);
    }
    Ok(sum.sum() == expected)
}

struct Check<'a> {
    file: &'a DataFile,
    table: TableKind,
    last_trace_id: String,
    rows: u64,
    /// The first that was found.
    problem: Option<Problem>,
}

impl Check<'_> {
    fn batch(&mut self, batch: &RecordBatch) -> Result<(), StoreError> {
        let lacks = |column: &str| {
            let message = format!("{} lacks the column {column}: it is not of this table", self.file.object);
            StoreError::new(ErrorKind::Table, message)
        };
        let text = |column: &str| batch.column_by_name(column)?.as_string_opt::<i32>();
        let long = |column: &str| batch.column_by_name(column)?.as_primitive_opt::<Int64Type>();
        let trace_ids = text("trace_id").ok_or_else(|| lacks("trace_id"))?;
        let starts = long("start_time_unix_nano").ok_or_else(|| lacks("start_time_unix_nano"))?;
        let durations = long("duration_nano").ok_or_else(|| lacks("duration_nano"))?;
        let services = match self.table {
            TableKind::Spans => Some(text("service_name").ok_or_else(|| lacks("service_name"))?),
            TableKind::Traces => None,
        };
        for row in 0..batch.num_rows() {
            self.trace_id(trace_ids.value(row));
            self.start(starts.value(row) as u64);
            let duration = durations.value(row) as u64;
            self.bound("duration_nano", duration <= self.file.duration_max_nano);
            if let Some(service) = services.filter(|s| s.is_valid(row)).map(|s| s.value(row)) {
                let above = self.file.service_min.as_deref().is_none_or(|min| min <= service);
                let below = self.file.service_max.as_deref().is_none_or(|max| service <= max);
                self.bound("service_name", above && below);
            }
        }
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn bound(&mut self, column: &'static str, holds: bool) {
        if !holds {
            self.problem.get_or_insert(Problem::Bounds(column));
        }
    }

    fn trace_id(&mut self, id: &str) {
        if self.last_trace_id == id {
            return;
        }
        if *self.last_trace_id > *id {
            self.problem.get_or_insert(Problem::Unsorted);
        }
        id.clone_into(&mut self.last_trace_id);
        let above = self.file.trace_id_min.as_deref().is_none_or(|min| min <= id);
        let below = self.file.trace_id_max.as_deref().is_none_or(|max| id <= max);
        self.bound("trace_id", above && below);
    }

    fn start(&mut self, start: u64) {
        let (min, max) = (self.file.start_min_unix_nano, self.file.start_max_unix_nano);
        self.bound("start_time", (min..=max).contains(&start));
    }
}
