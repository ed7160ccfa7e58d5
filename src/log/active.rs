//! The end of the log that is being written: one segment at a time, written at once, synced once.

use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::AppendError;
use super::frame::{RECORD_HEADER_BYTES, RecordHeader, SEGMENT_HEADER_BYTES, SegmentHeader, segment_name};
use super::record::Encoded;
use super::segments::Segment;
use super::shared::Shared;
use crate::runtime::OpenMode;
use crate::runtime::disk::{DiskFile, is_full, write_all_at};

/// Writes batches of records durably. Whatever fails, what it said is durable stays so, and it goes on by itself.
pub(super) struct Journal {
    shared: Arc<Shared>,
    active: Option<Active>,
    /// The position after the last durable record.
    durable_end: u64,
    /// Where the next segment begins: beyond every position that may ever have been written.
    next_base: u64,
}

struct Active {
    file: Arc<dyn DiskFile>,
    base: u64,
    /// What is durable of the file; 0 if not even its header and name are.
    bytes: u64,
}

/// What failed decides what can still be trusted.
enum Fault {
    /// Nothing was synced since the last success: the file can be cut back to it.
    Write(io::Error),
    /// The system may have dropped what was written and forgotten about it: the file can no longer be written to.
    Sync(io::Error),
}

/// The length of a record in the log.
pub(super) fn record_bytes(encoded: &Encoded) -> u64 {
    (RECORD_HEADER_BYTES + encoded.payload_bytes()) as u64
}

impl Journal {
    pub(super) fn new(shared: Arc<Shared>, durable_end: u64, next_base: u64) -> Self {
        Self { shared, active: None, durable_end, next_base }
    }

    /// Writes the records one behind the other and syncs once; gives the position of the first.
    ///
    /// # Errors
    /// None of the records is in the log.
    pub(super) fn append<'a>(
        &mut self,
        records: impl Iterator<Item = &'a Encoded> + Clone,
    ) -> Result<u64, AppendError> {
        let bytes: u64 = records.clone().map(record_bytes).sum();
        let active = self.ready(bytes)?;
        let header_bytes = if active.bytes == 0 { SEGMENT_HEADER_BYTES } else { 0 };
        let first = active.base + active.bytes + header_bytes;
        let end = first + bytes;
        match self.write(&active, first, records) {
            Ok(()) => {
                self.commit(active, end);
                Ok(first)
            }
            Err(fault) => Err(self.recover(active, end, fault)),
        }
    }

    /// The segment to write to: the active one if it has room, or a new one.
    fn ready(&mut self, bytes: u64) -> Result<Active, AppendError> {
        if let Some(active) = self.active.take() {
            if active.bytes + bytes <= self.shared.config.segment_bytes {
                return Ok(active);
            }
            self.next_base = active.base + active.bytes;
            self.shared.segments.lock().set_active(None);
        }
        self.create().map_err(|error| {
            tracing::error!(%error, "cannot begin a log segment");
            reason(&error)
        })
    }

    fn create(&mut self) -> io::Result<Active> {
        /// A file that could not be removed may have the name.
        const TRIES: usize = 16;
        for _ in 0..TRIES {
            let path = self.shared.config.dir.join(segment_name(self.next_base));
            match self.shared.disk.open(&path, OpenMode::CreateNew) {
                Ok(file) => return Ok(Active { file, base: self.next_base, bytes: 0 }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    self.next_base += SEGMENT_HEADER_BYTES;
                }
                Err(error) => return Err(error),
            }
        }
        Err(io::ErrorKind::AlreadyExists.into())
    }

    fn write<'a>(
        &self,
        active: &Active,
        first: u64,
        records: impl Iterator<Item = &'a Encoded> + Clone,
    ) -> Result<(), Fault> {
        let headers = sealed(first, records.clone());
        let segment_header = self.segment_header(active);
        let mut slices = Vec::with_capacity(1 + 2 * headers.len());
        if active.bytes == 0 {
            slices.push(IoSlice::new(&segment_header));
        }
        for (header, record) in headers.iter().zip(records) {
            slices.push(IoSlice::new(header));
            slices.push(IoSlice::new(record.payload()));
        }
        write_all_at(&*active.file, &mut slices, active.bytes).map_err(Fault::Write)?;
        self.sync(active).map_err(Fault::Sync)
    }

    fn segment_header(&self, active: &Active) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let created_unix_nano = self.shared.clock.now_unix_nano();
        SegmentHeader { base: active.base, previous_end: self.durable_end, created_unix_nano }.seal()
    }

    fn sync(&self, active: &Active) -> io::Result<()> {
        let begun = self.shared.clock.monotonic();
        active.file.sync_data()?;
        if active.bytes == 0 {
            self.shared.disk.sync_dir(&self.shared.config.dir)?;
        }
        let took = self.shared.clock.monotonic().saturating_sub(begun);
        let counters = &self.shared.counters;
        counters.fsyncs.fetch_add(1, Ordering::Relaxed);
        counters.fsync_nanos.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn commit(&mut self, active: Active, end: u64) {
        let base = active.base;
        self.durable_end = end;
        self.next_base = end;
        self.active = Some(Active { bytes: end - base, ..active });
        let written = self.shared.clock.monotonic().as_nanos().cast_signed();
        let mut segments = self.shared.segments.lock();
        segments.put(Segment { base, end, written });
        segments.set_active(Some(base));
        self.shared.counters.durable.store(end, Ordering::Relaxed);
    }

    /// Brings the log back to its last durable record, and says what to tell those whose records are lost.
    fn recover(&mut self, active: Active, attempted_end: u64, fault: Fault) -> AppendError {
        let (error, trusted) = match fault {
            Fault::Write(error) => {
                let cut = is_full(&error) && active.file.truncate(active.bytes).is_ok();
                (error, cut)
            }
            Fault::Sync(error) => (error, false),
        };
        let refusal = reason(&error);
        tracing::error!(segment = segment_name(active.base), %error, abandoned = !trusted, "cannot write the log");
        if trusted && active.bytes > 0 {
            self.active = Some(active);
            return refusal;
        }
        if !trusted {
            self.shared.counters.abandoned.fetch_add(1, Ordering::Relaxed);
            self.next_base = attempted_end;
        }
        self.abandon(&active);
        refusal
    }

    /// Lets go of a segment. What it holds beyond its durable part does not count, because the next segment's header says
    /// so; that it is also cut off, or the file removed, only saves room.
    fn abandon(&mut self, active: &Active) {
        self.shared.segments.lock().set_active(None);
        let done = if active.bytes > 0 {
            active.file.truncate(active.bytes)
        } else {
            self.shared.disk.remove(&self.shared.config.dir.join(segment_name(active.base)))
        };
        if let Err(error) = done {
            tracing::warn!(segment = segment_name(active.base), %error, "cannot tidy up a log segment");
        }
    }
}

fn sealed<'a>(first: u64, records: impl Iterator<Item = &'a Encoded>) -> Vec<[u8; RECORD_HEADER_BYTES]> {
    let mut position = first;
    let seal = |record: &Encoded| {
        let header = RecordHeader {
            kind: record.kind() as u8,
            // The queue takes none longer than `PAYLOAD_BYTES_MAX`.
            payload_bytes: record.payload_bytes() as u32,
            position,
            payload_checksum: record.payload_checksum(),
        };
        position += record_bytes(record);
        header.seal()
    };
    records.map(seal).collect()
}

fn reason(error: &io::Error) -> AppendError {
    if is_full(error) { AppendError::DiskFull } else { AppendError::Failed }
}
