//! What goes into the log and comes out of it.

use std::cell::RefCell;
use std::fmt;

use bytes::Bytes;
use lz4::block::{CompressionMode, compress_bound, compress_to_buffer, decompress_to_buffer};

use super::buffers::SPARE;
use super::error::RecordError;
use super::frame::{PAYLOAD_BYTES_MAX, checksum, u32_at, u64_at};
use crate::runtime::{RequestId, Tenant};

/// Where a record lies: a byte offset over all segments. Never given twice, grows with time, has gaps.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position(pub u64);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a record is. The log itself only knows that spans may be refused before the others.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum RecordKind {
    /// A request's spans.
    Spans = 1,
    /// Decisions about traces.
    Verdicts = 2,
    /// A batch of kept traces is on its way into the table.
    Flush = 3,
    /// The batch is in the table.
    Done = 4,
    /// Rules that came into force.
    Rules = 5,
    /// Traces that were dropped, found again, and kept after all.
    Rescue = 6,
}

impl RecordKind {
    /// The kind of a number; `None` for one from a later version.
    pub fn from_number(number: u8) -> Option<Self> {
        [Self::Spans, Self::Verdicts, Self::Flush, Self::Done, Self::Rules, Self::Rescue]
            .into_iter()
            .find(|kind| *kind as u8 == number)
    }
}

/// What is known of a request beside its spans.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpansMeta {
    /// Whose spans they are.
    pub tenant: Tenant,
    /// Correlates the request through our own logs.
    pub request_id: RequestId,
    /// When it was received, wall clock, nanoseconds since the epoch.
    pub received_unix_nano: u64,
    /// The version of the rules in force then.
    pub rules_version: u32,
}

/// A request's spans, read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SpansRecord {
    /// What is known beside them.
    pub meta: SpansMeta,
    /// The request: a protobuf `ExportTraceServiceRequest`.
    pub body: Bytes,
}

/// A record ready for the log: compressed and checksummed, which is the work worth doing in parallel.
#[derive(Clone, Debug)]
pub struct Encoded {
    kind: RecordKind,
    payload: Bytes,
    checksum: u64,
}

/// The payload of spans: codec (1), length of the tenant's name (1), length of the body (4), request id (8),
/// received (8), version of the rules (4), the tenant's name, the body.
const META_BYTES: usize = 26;
const CODEC_RAW: u8 = 0;
const CODEC_LZ4: u8 = 1;

/// LZ4's acceleration: how soon it gives up looking for what comes again. Against 1, a fifth of the time for an eighth more
/// bytes, and the log is where they stay for minutes.
const MODE: CompressionMode = CompressionMode::FAST(8);

impl Encoded {
    /// A request's spans, compressed with LZ4 (block format) unless that makes them longer.
    pub fn spans(meta: &SpansMeta, body: &[u8]) -> Self {
        let payload = compressed(meta, body).unwrap_or_else(|| {
            let mut payload = Vec::with_capacity(META_BYTES + meta.tenant.as_str().len() + body.len());
            put_meta(&mut payload, meta, body.len(), CODEC_RAW);
            payload.extend_from_slice(body);
            payload
        });
        Self::new(RecordKind::Spans, payload.into())
    }

    /// Any other record, as it is.
    pub fn control(kind: RecordKind, payload: &[u8]) -> Self {
        Self::new(kind, Bytes::copy_from_slice(payload))
    }

    fn new(kind: RecordKind, payload: Bytes) -> Self {
        let checksum = checksum(&payload);
        Self { kind, payload, checksum }
    }

    /// What kind of record it is.
    pub fn kind(&self) -> RecordKind {
        self.kind
    }

    /// The length of the payload, in bytes.
    pub fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    pub(super) fn payload(&self) -> &[u8] {
        &self.payload
    }

    pub(super) fn payload_checksum(&self) -> u64 {
        self.checksum
    }
}

/// Compression needs room for the worst case, several times what it usually fills. Each thread keeps that room, up to
/// this, so that a record takes no more memory while it waits than it has bytes.
const SCRATCH_BYTES_MAX: usize = 2 * 1024 * 1024;

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

fn compressed(meta: &SpansMeta, body: &[u8]) -> Option<Vec<u8>> {
    let room = compress_bound(body.len()).ok()?;
    if room > SCRATCH_BYTES_MAX {
        return compressed_in(&mut vec![0; room], meta, body);
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < room {
            scratch.resize(room, 0);
        }
        compressed_in(scratch, meta, body)
    })
}

fn compressed_in(scratch: &mut [u8], meta: &SpansMeta, body: &[u8]) -> Option<Vec<u8>> {
    let length =
        compress_to_buffer(body, Some(MODE), false, scratch).ok().filter(|length| *length < body.len())?;
    let mut payload = Vec::with_capacity(META_BYTES + meta.tenant.as_str().len() + length);
    put_meta(&mut payload, meta, body.len(), CODEC_LZ4);
    payload.extend_from_slice(&scratch[..length]);
    Some(payload)
}

/// Decompresses to just so many bytes; `None` if that is not what they are.
fn decompressed(body: &[u8], length: usize) -> Option<Bytes> {
    let claimed = i32::try_from(length).ok()?;
    SPARE.filled(length, |whole| {
        let written = decompress_to_buffer(body, Some(claimed), whole).ok()?;
        (written == length).then_some(())
    })
}

fn put_meta(payload: &mut Vec<u8>, meta: &SpansMeta, body_bytes: usize, codec: u8) {
    let tenant = meta.tenant.as_str().as_bytes();
    payload.push(codec);
    // `Tenant::BYTES_MAX` is below 256. A body beyond 4 GiB is refused by its payload's length.
    payload.push(u8::try_from(tenant.len()).unwrap_or(u8::MAX));
    payload.extend_from_slice(&u32::try_from(body_bytes).unwrap_or(u32::MAX).to_le_bytes());
    payload.extend_from_slice(&meta.request_id.0.to_le_bytes());
    payload.extend_from_slice(&meta.received_unix_nano.to_le_bytes());
    payload.extend_from_slice(&meta.rules_version.to_le_bytes());
    payload.extend_from_slice(tenant);
}

/// A record read back.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// Where it lies.
    pub position: Position,
    /// What it is.
    pub kind: RecordKind,
    /// Its bytes: for spans the encoded form, see [`Record::spans`].
    pub payload: Bytes,
}

impl Record {
    /// The spans, decompressed.
    ///
    /// # Errors
    /// If it is another kind of record, or malformed (which its checksum makes unlikely).
    pub fn spans(&self) -> Result<SpansRecord, RecordError> {
        let (meta, codec, body_bytes, body) = self.spans_parts()?;
        let body = match codec {
            CODEC_RAW => self.payload.slice_ref(body),
            // LZ4 makes a block at most 255 times as short: a claim beyond is a lie, and not worth an allocation.
            CODEC_LZ4 if body_bytes <= body.len().saturating_mul(255).min(PAYLOAD_BYTES_MAX) => {
                decompressed(body, body_bytes).ok_or(RecordError::Malformed)?
            }
            _ => return Err(RecordError::Malformed),
        };
        if body.len() == body_bytes { Ok(SpansRecord { meta, body }) } else { Err(RecordError::Malformed) }
    }

    /// What is known of the spans, without decompressing them.
    ///
    /// # Errors
    /// As [`Record::spans`].
    pub fn spans_meta(&self) -> Result<SpansMeta, RecordError> {
        Ok(self.spans_parts()?.0)
    }

    fn spans_parts(&self) -> Result<(SpansMeta, u8, usize, &[u8]), RecordError> {
        if self.kind != RecordKind::Spans {
            return Err(RecordError::WrongKind);
        }
        split_spans(&self.payload).ok_or(RecordError::Malformed)
    }
}

fn split_spans(payload: &[u8]) -> Option<(SpansMeta, u8, usize, &[u8])> {
    let [codec, tenant_bytes, ..] = *payload else { return None };
    let body_bytes = u32_at(payload, 2)? as usize;
    let (tenant, body) = payload.get(META_BYTES..)?.split_at_checked(tenant_bytes.into())?;
    let meta = SpansMeta {
        tenant: Tenant::new(std::str::from_utf8(tenant).ok()?)?,
        request_id: RequestId(u64_at(payload, 6)?),
        received_unix_nano: u64_at(payload, 14)?,
        rules_version: u32_at(payload, 22)?,
    };
    Some((meta, codec, body_bytes, body))
}
