//! From the log's records to the bytes of Parquet files. Blocking CPU work; no I/O but reading the log.

mod attributes;
mod gather;
mod nested;
mod parquet_file;
mod shared;
mod span_rows;
pub(super) mod text;
mod trace_rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::StructArray;
use bytes::Bytes;

use self::gather::{Gathered, SpanEntry};
use self::parquet_file::{FinishedFile, ParquetFile};
use self::span_rows::SpanRowsBuilder;
use self::trace_rows::{TraceGroup, TraceRowsBuilder};
use super::error::{ErrorKind, StoreError};
use super::schema::TableKind;
use crate::log::{LogReader, Position, ReadError, SpansRecord};
use crate::sample::KeptTrace;
use crate::store::table::PartitionKey;

const ROWS_A_BATCH: usize = 8 * 1024;
const BYTES_A_BATCH: usize = 32 << 20;

/// Where records of spans are read back from. The log's reader, above all.
pub trait Records {
    /// The spans recorded at a position.
    ///
    /// # Errors
    /// As the log has them.
    fn spans(&self, position: Position) -> Result<Arc<SpansRecord>, ReadError>;
}

impl Records for LogReader {
    fn spans(&self, position: Position) -> Result<Arc<SpansRecord>, ReadError> {
        LogReader::spans(self, position)
    }
}

/// A file ready to be uploaded and committed.
pub(super) struct NewFile {
    pub(super) partition: PartitionKey,
    pub(super) bytes: Bytes,
    pub(super) rows: u64,
    /// One row in the shape of Delta's `stats`.
    pub(super) statistics: StructArray,
}

/// What one tenant's part of a batch becomes.
pub(super) struct NewFiles {
    pub(super) spans: Vec<NewFile>,
    pub(super) traces: Vec<NewFile>,
    /// Spans that came twice, written once.
    pub(super) duplicates: u64,
    /// Records that the log cannot give back undamaged; their spans are lost.
    pub(super) unreadable_records: u64,
}

/// Reads the spans of these traces, which are of one tenant, and encodes them.
///
/// A record that the log cannot give back (released, unknown, damaged) is counted and left out: waiting would not
/// bring it back, and the other traces' spans must not wait with it.
pub(super) fn encode(traces: &[KeptTrace], records: &impl Records) -> Result<NewFiles, StoreError> {
    let mut gathered = Gathered::default();
    let mut unreadable_records = 0;
    for (position, wanted) in gather::plan(traces.iter()) {
        match records.spans(position) {
            Ok(record) => gathered.take(&record, &wanted)?,
            Err(ReadError::Io(error)) => {
                return Err(StoreError::caused(ErrorKind::Transient, "cannot read the log", error));
            }
            Err(error) => {
                tracing::error!(position = position.0, %error, "spans of kept traces are lost");
                unreadable_records += 1;
            }
        }
    }
    encode_gathered(gathered, unreadable_records)
}

fn encode_gathered(mut gathered: Gathered, unreadable_records: u64) -> Result<NewFiles, StoreError> {
    gathered.sort();
    let trace_groups: Vec<_> = trace_rows::groups(&gathered.spans).collect();
    Ok(NewFiles {
        spans: span_files(&gathered)?,
        traces: trace_files(&gathered, &trace_groups)?,
        duplicates: gathered.duplicates,
        unreadable_records,
    })
}

/// Items by partition, in the order they came.
fn partitioned<'a, T>(
    gathered: &Gathered,
    items: impl Iterator<Item = &'a T>,
    of: impl Fn(&T) -> (u32, i32),
) -> BTreeMap<PartitionKey, Vec<&'a T>> {
    let mut partitions: BTreeMap<PartitionKey, Vec<&T>> = BTreeMap::new();
    for item in items {
        let (verdict, day) = of(item);
        let retention = Arc::clone(&gathered.verdicts[verdict as usize].retention);
        partitions.entry(PartitionKey { retention, day }).or_default().push(item);
    }
    partitions
}

fn span_files(gathered: &Gathered) -> Result<Vec<NewFile>, StoreError> {
    let mut rows = SpanRowsBuilder::default();
    let partitions = partitioned(gathered, gathered.spans.iter(), |s: &SpanEntry| (s.verdict, s.day));
    let encode_one = |(partition, spans): (PartitionKey, Vec<&SpanEntry>)| {
        let traces = spans.chunk_by(|a, b| a.trace_id == b.trace_id).count();
        let mut file = ParquetFile::new(TableKind::Spans, traces)?;
        for span in spans {
            rows.append(gathered, span)?;
            if rows.rows() >= ROWS_A_BATCH || rows.bytes() >= BYTES_A_BATCH {
                file.write(&rows.finish().map_err(columns)?)?;
            }
        }
        if rows.rows() > 0 {
            file.write(&rows.finish().map_err(columns)?)?;
        }
        Ok(new_file(partition, file.finish()?))
    };
    partitions.into_iter().map(encode_one).collect()
}

fn trace_files(gathered: &Gathered, groups: &[TraceGroup<'_>]) -> Result<Vec<NewFile>, StoreError> {
    let mut rows = TraceRowsBuilder::default();
    let partitions = partitioned(gathered, groups.iter(), |g: &TraceGroup<'_>| (g.verdict, g.day));
    let encode_one = |(partition, groups): (PartitionKey, Vec<&TraceGroup<'_>>)| {
        let mut file = ParquetFile::new(TableKind::Traces, groups.len())?;
        for group in groups {
            rows.append(gathered, group)?;
            if rows.rows() >= ROWS_A_BATCH || rows.bytes() >= BYTES_A_BATCH {
                file.write(&rows.finish().map_err(columns)?)?;
            }
        }
        if rows.rows() > 0 {
            file.write(&rows.finish().map_err(columns)?)?;
        }
        Ok(new_file(partition, file.finish()?))
    };
    partitions.into_iter().map(encode_one).collect()
}

fn new_file(partition: PartitionKey, file: FinishedFile) -> NewFile {
    NewFile { partition, bytes: file.bytes.into(), rows: file.rows as u64, statistics: file.statistics }
}

fn columns(error: arrow_schema::ArrowError) -> StoreError {
    StoreError::caused(ErrorKind::Internal, "columns do not fit the schema", error)
}
