//! Reads records back by position.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::error::ReadError;
use super::frame::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, checksum, segment_name};
use super::record::{Position, Record, RecordKind, SpansRecord};
use super::segments::Segment;
use super::shared::Shared;
use super::tail::Tail;
use crate::runtime::OpenMode;
use crate::runtime::disk::{DiskFile, read_full_at};

/// Reads durable records. Cheap to clone; clones share their cache. Calls block on the disk.
#[derive(Clone)]
pub struct LogReader {
    shared: Arc<Shared>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Reads a record from the disk.
    ///
    /// # Errors
    /// [`ReadError`]; a release in the middle gives the record or [`ReadError::Released`], nothing else.
    pub fn read(&self, position: Position) -> Result<Record, ReadError> {
        let segment = self.segment(position)?;
        let file = self.file(segment)?;
        let offset = position.0 - segment.base;
        if offset < SEGMENT_HEADER_BYTES {
            return Err(ReadError::Unknown);
        }
        let mut header = [0; RECORD_HEADER_BYTES];
        read_exact(&*file, &mut header, offset)?;
        let header = RecordHeader::parse(&header, position.0).ok_or(ReadError::Damaged)?;
        if position.0 + header.record_bytes() as u64 > segment.end {
            return Err(ReadError::Damaged);
        }
        let mut payload = vec![0; header.payload_bytes as usize];
        read_exact(&*file, &mut payload, offset + RECORD_HEADER_BYTES as u64)?;
        if checksum(&payload) != header.payload_checksum {
            return Err(ReadError::Damaged);
        }
        let kind = RecordKind::from_number(header.kind).ok_or(ReadError::Damaged)?;
        Ok(Record { position, kind, payload: Bytes::from(payload) })
    }

    /// Reads a record of spans, decompressed, through the cache.
    ///
    /// # Errors
    /// As [`LogReader::read`]; a record of another kind is [`ReadError::Unknown`].
    pub fn spans(&self, position: Position) -> Result<Arc<SpansRecord>, ReadError> {
        if let Some(record) = self.shared.records.get(position) {
            return Ok(record);
        }
        let record = self.read(position)?;
        if record.kind != RecordKind::Spans {
            return Err(ReadError::Unknown);
        }
        let spans = Arc::new(record.spans().map_err(|_| ReadError::Damaged)?);
        self.shared.records.put(position, &spans);
        Ok(spans)
    }

    /// The oldest position kept; where nothing is, the end.
    pub fn oldest(&self) -> Position {
        let oldest = self.shared.segments.lock().oldest();
        oldest.unwrap_or_else(|| Position(self.shared.counters.durable.load(Ordering::Relaxed)))
    }

    /// Reads every durable record from a position on, and those that come behind it later.
    pub fn tail(&self, from: Position) -> Tail {
        Tail::new(Arc::clone(&self.shared), from)
    }

    fn segment(&self, position: Position) -> Result<Segment, ReadError> {
        let segments = self.shared.segments.lock();
        if let Some(segment) = segments.holding(position) {
            return Ok(segment);
        }
        let durable = self.shared.counters.durable.load(Ordering::Relaxed);
        let oldest = segments.oldest().map_or(durable, |oldest| oldest.0);
        Err(if position.0 < oldest { ReadError::Released } else { ReadError::Unknown })
    }

    fn file(&self, segment: Segment) -> Result<Arc<dyn DiskFile>, ReadError> {
        if let Some(file) = self.shared.files.get(segment.base) {
            return Ok(file);
        }
        let path = self.shared.config.dir.join(segment_name(segment.base));
        let file = self.shared.disk.open(&path, OpenMode::Read).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ReadError::Released,
            _ => ReadError::Io(error),
        })?;
        self.shared.files.put(segment.base, Arc::clone(&file));
        if self.shared.segments.lock().holding(Position(segment.base)).is_none() {
            // Released meanwhile: kept open, it would still take its room on the disk.
            self.shared.files.remove(segment.base);
        }
        Ok(file)
    }
}

fn read_exact(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> Result<(), ReadError> {
    let read = read_full_at(file, buf, offset).map_err(|error| match error.raw_os_error() {
        // A bad sector stays bad: whoever waits for it to become good waits for ever.
        Some(errno) if errno == rustix::io::Errno::IO.raw_os_error() => ReadError::Damaged,
        _ => ReadError::Io(error),
    })?;
    if read == buf.len() { Ok(()) } else { Err(ReadError::Damaged) }
}
