//! Opens the log: finds its segments, cuts what was never finished off its end.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::active::Journal;
use super::config::LogConfig;
use super::error::LogError;
use super::frame::{SEGMENT_HEADER_BYTES, SegmentHeader, base_of, segment_name};
use super::handle::LogHandle;
use super::queue::Queue;
use super::reader::LogReader;
use super::recorder::RecorderIndex;
use super::replay::Replay;
use super::scan::Scanner;
use super::segments::Segment;
use super::shared::Shared;
use super::writer::LogWriter;
use crate::runtime::disk::{is_full, read_full_at, write_all_at};
use crate::runtime::{Clock, Disk, DiskFile, OpenMode};

/// The log; see [`Log::open`].
pub struct Log;

/// An open log, in the parts that different threads hold.
pub struct Opened<A> {
    /// Appends records.
    pub handle: LogHandle<A>,
    /// Writes what is appended; its `run` wants a thread.
    pub writer: LogWriter<A>,
    /// Reads records by position.
    pub reader: LogReader,
    /// Gives what was in the log before.
    pub replay: Replay,
    /// Finds traces in all of the log.
    pub recorder: RecorderIndex,
}

impl Log {
    /// Opens the log, or begins one. The caller holds the data directory's lock. A torn end is cut off; writing goes on in
    /// a segment of its own, at positions that were never used.
    ///
    /// # Errors
    /// If the directory cannot be created or read, or a segment cannot be opened or synced. Damage is no error.
    pub fn open<A>(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        config: LogConfig,
    ) -> Result<Opened<A>, LogError> {
        let shared = Arc::new(Shared::new(disk, clock, config));
        let found = Found::look(&shared)?;
        let next = found.settle(&shared)?;
        let queue = Arc::new(Queue::new(shared.config.queue_bytes));
        shared.counters.durable.store(next.durable_end, Ordering::Relaxed);
        let journal = Journal::new(Arc::clone(&shared), next.durable_end, next.base);
        Ok(Opened {
            replay: Replay::new(Arc::clone(&shared)),
            recorder: RecorderIndex::open(Arc::clone(&shared), next.base),
            reader: LogReader::new(Arc::clone(&shared)),
            handle: LogHandle::new(Arc::clone(&shared), Arc::clone(&queue)),
            writer: LogWriter::new(shared, queue, journal),
        })
    }
}

/// Where writing goes on.
struct Next {
    durable_end: u64,
    base: u64,
}

struct FoundSegment {
    base: u64,
    file_bytes: u64,
    header: Option<SegmentHeader>,
}

/// The segments in the directory, oldest first.
struct Found(Vec<FoundSegment>);

fn failed(path: PathBuf) -> impl FnOnce(io::Error) -> LogError {
    move |source| LogError::Io { path, source }
}

impl Found {
    fn look(shared: &Shared) -> Result<Self, LogError> {
        let dir = &shared.config.dir;
        shared.disk.create_dir_all(dir).map_err(failed(dir.clone()))?;
        let names = shared.disk.list(dir).map_err(failed(dir.clone()))?;
        let mut bases: Vec<u64> = names.iter().filter_map(|name| base_of(name)).collect();
        bases.sort_unstable();
        let segments = bases.into_iter().map(|base| FoundSegment::look(shared, base));
        Ok(Self(segments.collect::<Result<_, _>>()?))
    }

    /// Takes the segments over, each up to where it counts, and prepares the last one.
    fn settle(self, shared: &Shared) -> Result<Next, LogError> {
        let now = shared.clock.monotonic().as_nanos().cast_signed();
        let now_unix = shared.clock.now_unix_nano();
        let Some(last) = self.0.last() else { return Ok(Next { durable_end: 0, base: 0 }) };
        let next_base = last.base + last.file_bytes.max(SEGMENT_HEADER_BYTES);
        // What a later header excludes was never acknowledged, wherever it lies before that header.
        let mut limit = last.base + cut_tail(shared, last)?;
        let mut durable_end = 0;
        let mut written = now;
        for segment in self.0.iter().rev() {
            let end = limit.min(segment.base + segment.file_bytes).max(segment.base);
            shared.segments.lock().put(Segment { base: segment.base, end, written });
            durable_end = durable_end.max(end);
            limit = limit.min(segment.base);
            if let Some(header) = segment.header {
                limit = limit.min(header.previous_end);
                // The next one was begun when this one got its last record.
                let age = now_unix.saturating_sub(header.created_unix_nano);
                written = written.min(now - i128::from(age));
            }
        }
        Ok(Next { durable_end, base: next_base })
    }
}

impl FoundSegment {
    fn look(shared: &Shared, base: u64) -> Result<Self, LogError> {
        let path = shared.config.dir.join(segment_name(base));
        let file = shared.disk.open(&path, OpenMode::Read).map_err(failed(path.clone()))?;
        let file_bytes = file.size().map_err(failed(path))?;
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        // Where the disk cannot read, the header is damaged, and one can do without it.
        let read = read_full_at(&*file, &mut bytes, 0).unwrap_or(0);
        let header = SegmentHeader::parse(&bytes[..read], base);
        if header.is_none() {
            tracing::error!(segment = segment_name(base), "a log segment has a damaged header");
        }
        Ok(Self { base, file_bytes, header })
    }
}

/// Cuts off what was not finished at the end of the last segment, and makes the rest durable: what is read now acts, so it
/// must still be there after a power cut. Gives the file's length.
fn cut_tail(shared: &Shared, last: &FoundSegment) -> Result<u64, LogError> {
    let path = shared.config.dir.join(segment_name(last.base));
    // A read-only disk still lets its log be read; nothing can be torn off it, nor written behind it.
    let (file, writable) = match shared.disk.open(&path, OpenMode::Write) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {
            (shared.disk.open(&path, OpenMode::Read).map_err(failed(path.clone()))?, false)
        }
        file => (file.map_err(failed(path.clone()))?, true),
    };
    let mut scanner = Scanner::new(Arc::clone(&file), last.base, last.file_bytes);
    while scanner.next_record().is_some() {}
    let end = scanner.good_end();
    let torn = scanner.tail().bytes;
    if torn > 0 {
        tracing::warn!(segment = segment_name(last.base), bytes = torn, "cut the torn end off the log");
        shared.counters.torn_bytes.store(torn, Ordering::Relaxed);
    }
    if writable {
        if torn > 0 {
            file.truncate(end).map_err(failed(path.clone()))?;
        }
        write_again(&*file, end).and_then(|()| file.sync_data()).map_err(failed(path))?;
        // Its name may not be durable yet either.
        let dir = &shared.config.dir;
        shared.disk.sync_dir(dir).map_err(failed(dir.clone()))?;
    }
    Ok(end)
}

/// Writes what the file holds over itself. After a failed sync the system takes pages for clean that never reached the disk:
/// it still shows them, and another sync would pass them over.
fn write_again(file: &dyn DiskFile, bytes: u64) -> io::Result<()> {
    let mut chunk = vec![0; (1 << 20).min(bytes as usize)];
    let mut at = 0;
    while at < bytes {
        let wanted = chunk.len().min((bytes - at) as usize);
        // What cannot be read is damage, and stays as it is; so does what a full disk cannot take a second time.
        let read = read_full_at(file, &mut chunk[..wanted], at).unwrap_or(0);
        match write_all_at(file, &mut [IoSlice::new(&chunk[..read])], at) {
            Err(error) if !is_full(&error) => return Err(error),
            _ => at += wanted as u64,
        }
    }
    Ok(())
}
