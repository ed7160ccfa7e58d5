//! From the log's records to the bytes of Parquet files. Blocking CPU work; no I/O but reading the log.
//!
//! # Memory
//! For a batch of B bytes of spans on the wire: the bodies of their records, B to 2 B (shared with the log's cache where it
//! has them); 90 bytes a span to sort them; the finished files, a tenth of B; and the open pages, the largest of which holds
//! the attributes of 4 096 spans or 4 MiB on the wire, twice (as they are, and compressed). The bodies go before files are uploaded.

pub(super) mod file;
mod gather;
mod leaf;
mod maps;
mod nested;
mod repeats;
mod shapes;
mod shared;
mod span_fields;
mod span_rows;
mod tally;
pub(super) mod text;
mod trace_rows;

pub(super) use tally::Tally;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::StructArray;
use bytes::Bytes;

use self::file::{Rows, write_file};
use self::gather::Gathered;
use self::span_rows::SpanRows;
use self::trace_rows::TraceRows;
use super::error::{ErrorKind, StoreError};
use crate::log::{LogReader, Position, ReadError, SpansRecord};
use crate::sample::KeptTrace;
use crate::store::index::FileIndex;
use crate::store::schema::Layout;
use crate::store::table::PartitionKey;

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
    /// What the index is told of it; nothing of a file of `traces`.
    pub(super) index: FileIndex,
}

/// What one tenant's part of a batch becomes. Of several files of a partition the order is the same each time.
#[derive(Default)]
pub(super) struct NewFiles {
    pub(super) spans: Vec<NewFile>,
    pub(super) traces: Vec<NewFile>,
    /// How many spans became what.
    pub(super) tally: Tally,
    /// Records that the log cannot give back undamaged; their spans are lost.
    pub(super) unreadable: BTreeSet<Position>,
}

impl NewFiles {
    fn join(&mut self, other: Self) {
        self.spans.extend(other.spans);
        self.traces.extend(other.traces);
        self.tally.join(other.tally);
        self.unreadable.extend(other.unreadable);
    }
}

/// Reads the spans of these traces, which are of one tenant and sorted by id, and encodes them.
///
/// A record that the log cannot give back (released, unknown, damaged) is counted and left out: waiting would not
/// bring it back, and the other traces' spans must not wait with it. So is a trace that cannot be encoded: it is found by
/// halves, and the other traces are written, in more files than usual. The same batch gives the same files each time.
///
/// # Errors
/// Only where trying again may help: [`StoreError::is_transient`].
pub(super) fn encode(
    traces: &[KeptTrace],
    records: &impl Records,
    layout: &'static Layout,
) -> Result<NewFiles, StoreError> {
    match encode_whole(traces, records, layout) {
        Err(error) if !error.is_transient() => match traces {
            [] => Ok(NewFiles::default()),
            [trace] => {
                let (tenant, trace_id, spans) = (&trace.tenant, trace.trace_id, trace.spans);
                tracing::error!(%tenant, %trace_id, spans, %error, "a kept trace cannot be stored and is left out");
                Ok(NewFiles { tally: Tally::of_left_out(trace), ..NewFiles::default() })
            }
            _ => {
                let (first, second) = traces.split_at(traces.len() / 2);
                let mut files = encode(first, records, layout)?;
                files.join(encode(second, records, layout)?);
                Ok(files)
            }
        },
        done => done,
    }
}

fn encode_whole(
    traces: &[KeptTrace],
    records: &impl Records,
    layout: &'static Layout,
) -> Result<NewFiles, StoreError> {
    let mut gathered = Gathered::new(traces, layout);
    let (mut unreadable, mut gone) = (BTreeSet::new(), BTreeSet::new());
    for position in gathered.positions() {
        match records.spans(position) {
            Ok(record) => gathered.take(position, &record)?,
            Err(ReadError::Io(error)) => {
                return Err(StoreError::caused(ErrorKind::Transient, "cannot read the log", error));
            }
            Err(error) => {
                tracing::error!(position = position.0, %error, "spans of kept traces are lost");
                if matches!(error, ReadError::Released | ReadError::Unknown) {
                    gone.insert(position);
                }
                unreadable.insert(position);
            }
        }
    }
    gathered.sort();
    let groups = trace_rows::groups(&gathered);
    let of_span = |at: &u32| (gathered.span(*at).trace, gathered.span(*at).day);
    Ok(NewFiles {
        spans: files::<SpanRows<'_>>(&gathered, gathered.order.iter().copied(), of_span)?,
        traces: files::<TraceRows<'_>>(&gathered, groups.into_iter(), |group| (group.trace, group.day))?,
        tally: Tally::of(&gathered, &gone),
        unreadable,
    })
}

/// A file for each partition; `place` gives an item's trace and day.
fn files<'a, R: Rows<'a>>(
    gathered: &'a Gathered<'a>,
    items: impl Iterator<Item = R::Item>,
    place: impl Fn(&R::Item) -> (u32, i32),
) -> Result<Vec<NewFile>, StoreError> {
    // Nearly all are of the same partition as the one before.
    let mut partitions: Vec<(PartitionKey, Vec<R::Item>)> = Vec::new();
    let mut index: BTreeMap<PartitionKey, usize> = BTreeMap::new();
    let mut last: Option<(u32, i32, usize)> = None;
    for item in items {
        let (trace, day) = place(&item);
        let verdict = gathered.verdict(trace);
        let at = match last {
            Some((of, on, at)) if of == verdict && on == day => at,
            _ => {
                let retention = Arc::clone(&gathered.verdicts[verdict as usize].retention);
                let key = PartitionKey { retention, day };
                *index.entry(key.clone()).or_insert_with(|| {
                    partitions.push((key, Vec::new()));
                    partitions.len() - 1
                })
            }
        };
        last = Some((verdict, day, at));
        partitions[at].1.push(item);
    }
    partitions.sort_by(|(a, _), (b, _)| a.cmp(b));
    partitions.into_iter().map(|(key, items)| write_file::<R>(gathered, &items, key)).collect()
}
