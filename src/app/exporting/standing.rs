//! How far an export log is: which batches are in it, and how many spans went into it so far.
//!
//! Every record of spans says how many were before it, and a marker behind a batch says which one it was. So where the log is
//! read from says how much is behind, and the file beside it only spares reading the whole log at the start.

use std::path::Path;

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use crate::log::{Encoded, LogReader, Position, Record, RecordKind, SpansMeta};
use crate::runtime::disk::{read_bounded, write_atomic};
use crate::runtime::{Disk, RequestId, Tenant};

const FILE: &str = "standing";
const FILE_BYTES_MAX: u64 = 64 << 10;
const FORMAT: u32 = 1;

/// How far a log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The last record that this takes into account.
    pub last: Position,
    /// Spans that were ever put into the log.
    pub spans: u64,
    /// The last batch that is in the log as a whole; none of another data directory.
    pub batch: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    /// The export log's id: positions of another one mean nothing.
    log: String,
    /// The data directory's id: so do batches of another one.
    data: String,
    last: u64,
    spans: u64,
    batch: Option<u64>,
}

impl Standing {
    /// What was written down for the log of this id; the beginning, where nothing was.
    pub fn load(disk: &dyn Disk, folder: &Path, (log, data): (&str, &str)) -> Self {
        let read = read_bounded(disk, &folder.join(FILE), FILE_BYTES_MAX).ok();
        let Some(file) = read.as_deref().and_then(decode).filter(|file| file.format == FORMAT) else {
            return Self::default();
        };
        // A log of which nothing was needed any more has begun anew; what was in it was in it.
        let batch = file.batch.filter(|_| file.data == data);
        let (last, spans) =
            if file.log == log { (Position(file.last), file.spans) } else { Default::default() };
        Self { last, spans, batch }
    }

    /// Writes it down: a line with the checksum of what follows, in hexadecimal, then JSON.
    ///
    /// # Errors
    /// What the disk says.
    pub fn save(&self, disk: &dyn Disk, folder: &Path, (log, data): (&str, &str)) -> std::io::Result<()> {
        let (log, data) = (log.to_owned(), data.to_owned());
        let file =
            File { format: FORMAT, log, data, last: self.last.0, spans: self.spans, batch: self.batch };
        let json = serde_json::to_vec(&file)?;
        let mut bytes = format!("{:016x}\n", XxHash3_64::oneshot(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        write_atomic(disk, &folder.join(FILE), &bytes)
    }

    /// Takes a record of the log into account, which may have been before.
    pub fn add(&mut self, record: &Record, data: &str) {
        self.last = self.last.max(record.position);
        if let Some((before, spans)) = spans_of(record) {
            self.spans = self.spans.max(before + spans);
        }
        if let Some(batch) = batch_of(record, data) {
            self.batch = self.batch.max(Some(batch));
        }
    }
}

fn decode(bytes: &[u8]) -> Option<File> {
    let (checksum, json) = bytes.split_at_checked(17)?;
    if checksum != format!("{:016x}\n", XxHash3_64::oneshot(json)).as_bytes() {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// What a record of spans says of itself: `before` spans went into the log before it. The fields of the daemon's own log are
/// there for that: requests have no ids any more, nor are rules asked.
pub fn meta(tenant: &Tenant, before: u64, spans: u32, now_unix_nano: u64) -> SpansMeta {
    SpansMeta {
        tenant: tenant.clone(),
        request_id: RequestId(before),
        received_unix_nano: now_unix_nano,
        rules_version: spans,
    }
}

/// How many spans were before a record, and how many are in it; `None` for a record of another kind.
fn spans_of(record: &Record) -> Option<(u64, u64)> {
    let meta = record.spans_meta().ok()?;
    Some((meta.request_id.0, meta.rules_version.into()))
}

/// The marker behind a batch: its id, and that of the data directory.
pub fn marker(batch: u64, data: &str) -> Encoded {
    let mut payload = batch.to_le_bytes().to_vec();
    payload.extend_from_slice(data.as_bytes());
    Encoded::control(RecordKind::Done, &payload)
}

fn batch_of(record: &Record, data: &str) -> Option<u64> {
    let (batch, of) = record.payload.split_first_chunk()?;
    (record.kind == RecordKind::Done && of == data.as_bytes()).then(|| u64::from_le_bytes(*batch))
}

/// How many spans went into the log before those that lie at the position or behind it; `all` where none do.
///
/// # Errors
/// If the log cannot be read.
pub fn spans_before(records: &LogReader, position: Position, all: u64) -> std::io::Result<u64> {
    let mut tail = records.tail(position);
    while let Some(record) = tail.next_record()? {
        if let Some((before, _)) = spans_of(&record) {
            return Ok(before);
        }
    }
    Ok(all)
}
