//! Group commit: whatever has gathered is written at once, synced once, handed on, acknowledged.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::active::{Journal, record_bytes};
use super::error::AppendError;
use super::pace::Pace;
use super::queue::{Entry, Queue};
use super::record::{Position, RecordKind};
use super::shared::Shared;

/// A record that is durable.
#[derive(Debug)]
pub struct Committed<A> {
    /// Where it lies.
    pub position: Position,
    /// Where the next one can begin.
    pub end: Position,
    /// What it is.
    pub kind: RecordKind,
    /// What came with it.
    pub attachment: A,
}

/// A submitted record that is not in the log.
#[derive(Debug)]
pub struct Refused<A> {
    /// What it was.
    pub kind: RecordKind,
    /// What came with it.
    pub attachment: A,
    /// Why.
    pub error: AppendError,
}

/// The log's one writer. Its [`run`](Self::run) wants a thread of its own.
pub struct LogWriter<A> {
    shared: Arc<Shared>,
    queue: Arc<Queue<A>>,
    journal: Journal,
    space: SpaceWatch,
    /// What our own log was last told about refusals, so that it hears of changes only.
    told: Option<AppendError>,
}

impl<A> Drop for LogWriter<A> {
    fn drop(&mut self) {
        // However the writer ends, nobody waits for it any more.
        self.queue.close();
        drop(self.queue.take());
    }
}

impl<A> LogWriter<A> {
    pub(super) fn new(shared: Arc<Shared>, queue: Arc<Queue<A>>, journal: Journal) -> Self {
        Self { shared, queue, journal, space: SpaceWatch::default(), told: None }
    }

    /// Writes until the log is closed and its queue empty. `on_commit` gets each batch in log order, once it is durable and
    /// before it is acknowledged; it is on the way of the next batch, so it should be quick.
    pub fn run(self, on_commit: impl FnMut(Vec<Committed<A>>)) {
        self.run_with(on_commit, drop);
    }

    /// The same, and `on_refused` gets the submitted records that could not be written.
    pub fn run_with(
        mut self,
        mut on_commit: impl FnMut(Vec<Committed<A>>),
        mut on_refused: impl FnMut(Vec<Refused<A>>),
    ) {
        let mut pace = Pace::default();
        while let Some(batch) = self.queue.wait(pace.more()) {
            let (records, begun) = (batch.len(), self.shared.clock.monotonic());
            self.commit(batch, &mut on_commit, &mut on_refused);
            pace.saw(records, self.shared.clock.monotonic().saturating_sub(begun));
        }
    }

    /// Writes what has gathered, without waiting for more; `false` if there was nothing. For a test that takes the place
    /// of the writer's thread.
    pub fn step(
        &mut self,
        mut on_commit: impl FnMut(Vec<Committed<A>>),
        mut on_refused: impl FnMut(Vec<Refused<A>>),
    ) -> bool {
        let batch = self.queue.take();
        let some = !batch.is_empty();
        if some {
            self.commit(batch, &mut on_commit, &mut on_refused);
        }
        some
    }

    fn commit(
        &mut self,
        batch: Vec<Entry<A>>,
        on_commit: &mut impl FnMut(Vec<Committed<A>>),
        on_refused: &mut impl FnMut(Vec<Refused<A>>),
    ) {
        let taken: usize = batch.iter().map(|entry| entry.encoded.payload_bytes()).sum();
        let Gated { admitted: batch, refused } = self.gate(batch);
        if let Some((error, refused)) = refused {
            self.refuse(refused, error, on_refused);
        }
        let written = match batch.is_empty() {
            true => None,
            false => Some(self.journal.append(batch.iter().map(|entry| &entry.encoded))),
        };
        // Before anybody is told, so that who was told finds the numbers right.
        self.shared.counters.queue_bytes.fetch_sub(taken as u64, Ordering::Relaxed);
        match written {
            Some(Ok(first)) => self.acknowledge(batch, first, on_commit),
            Some(Err(error)) => self.fail(batch, error, on_refused),
            None => {}
        }
    }

    /// Takes the spans out if there is no room for them. The other records are what makes room again: they may go on for
    /// a while longer.
    fn gate(&mut self, batch: Vec<Entry<A>>) -> Gated<A> {
        let now = self.shared.clock.monotonic();
        let refusing = self.shared.refusing.now(now);
        let Some(error) = refusing.or_else(|| self.no_room(bytes_of(&batch), now)) else {
            return Gated { admitted: batch, refused: None };
        };
        if refusing.is_none() {
            self.begin_refusing(error, now);
        }
        let (mut refused, mut others): (Vec<_>, Vec<_>) =
            batch.into_iter().partition(|entry| entry.encoded.kind() == RecordKind::Spans);
        if self.is_overdrawn(bytes_of(&others)) {
            refused.append(&mut others);
        }
        Gated { admitted: others, refused: Some((error, refused)) }
    }

    fn begin_refusing(&mut self, error: AppendError, now: Duration) {
        self.shared.refusing.begin(error, now + self.shared.config.retry_after);
        if self.told != Some(error) {
            tracing::warn!(%error, "the log refuses spans");
            self.told = Some(error);
        }
    }

    fn takes_again(&mut self, batch: &[Entry<A>]) {
        if self.told.is_some() && batch.iter().any(|entry| entry.encoded.kind() == RecordKind::Spans) {
            tracing::info!("the log takes spans again");
            self.told = None;
        }
    }

    /// Whether even the records that let the log shrink again would be too many.
    fn is_overdrawn(&self, bytes: u64) -> bool {
        let limit = self.shared.config.limit_bytes;
        self.shared.segments.lock().bytes().saturating_add(bytes) > limit.saturating_add(limit / 8)
    }

    /// Why this many more bytes should not be written. What only the recorder keeps goes first.
    fn no_room(&mut self, bytes: u64, now: Duration) -> Option<AppendError> {
        let limit = self.shared.config.limit_bytes;
        let used = self.shared.segments.lock().bytes();
        if used.saturating_add(bytes) > limit {
            self.make_room(used.saturating_add(bytes) - limit);
            if self.shared.segments.lock().bytes().saturating_add(bytes) > limit {
                return Some(AppendError::LimitReached);
            }
        }
        let missing = self.space.missing(&self.shared, bytes, now)?;
        self.make_room(missing);
        self.space.forget();
        self.space.missing(&self.shared, bytes, now).map(|_| AppendError::DiskFull)
    }

    /// Releases what only the recorder keeps, until this many bytes are free.
    fn make_room(&self, bytes: u64) {
        let goal = self.shared.segments.lock().bytes().saturating_sub(bytes);
        match self.shared.release(None, |segments| segments.bytes() <= goal) {
            Ok(0) => {}
            Ok(segments) => {
                tracing::warn!(segments, "the flight recorder is cut short to make room in the log")
            }
            Err(error) => tracing::error!(%error, "cannot release log segments"),
        }
    }

    fn acknowledge(
        &mut self,
        batch: Vec<Entry<A>>,
        first: u64,
        on_commit: &mut impl FnMut(Vec<Committed<A>>),
    ) {
        self.takes_again(&batch);
        self.shared.counters.records.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let mut next = first;
        let mut replies = Vec::with_capacity(batch.len());
        let mut committed = Vec::with_capacity(batch.len());
        for entry in batch {
            let position = Position(next);
            next += record_bytes(&entry.encoded);
            let (end, kind) = (Position(next), entry.encoded.kind());
            committed.push(Committed { position, end, kind, attachment: entry.attachment });
            replies.extend(entry.reply.map(|reply| (reply, position)));
        }
        on_commit(committed);
        for (reply, position) in replies {
            // Whoever asked may have gone away.
            let _ = reply.send(Ok(position));
        }
    }

    /// Nothing of the batch was written.
    fn fail(
        &mut self,
        batch: Vec<Entry<A>>,
        error: AppendError,
        on_refused: &mut impl FnMut(Vec<Refused<A>>),
    ) {
        let now = self.shared.clock.monotonic();
        self.space.forget();
        self.begin_refusing(error, now);
        if error == AppendError::DiskFull {
            // Whoever comes back finds room if the recorder had some to give.
            self.make_room(bytes_of(&batch));
        }
        self.refuse(batch, error, on_refused);
    }

    fn refuse(&self, batch: Vec<Entry<A>>, error: AppendError, on_refused: &mut impl FnMut(Vec<Refused<A>>)) {
        self.shared.counters.refused.fetch_add(batch.len() as u64, Ordering::Relaxed);
        let mut refused = Vec::new();
        for entry in batch {
            match entry.reply {
                Some(reply) => drop(reply.send(Err(error))),
                None => {
                    let (kind, attachment) = (entry.encoded.kind(), entry.attachment);
                    refused.push(Refused { kind, attachment, error });
                }
            }
        }
        if !refused.is_empty() {
            on_refused(refused);
        }
    }
}

/// A batch, parted by whether there is room for it.
struct Gated<A> {
    admitted: Vec<Entry<A>>,
    refused: Option<(AppendError, Vec<Entry<A>>)>,
}

fn bytes_of<A>(batch: &[Entry<A>]) -> u64 {
    batch.iter().map(|entry| record_bytes(&entry.encoded)).sum()
}

/// Looks at the file system's free space, but not for every batch.
#[derive(Default)]
struct SpaceWatch {
    /// When it looked, and what could still be written then or since, in bytes.
    seen: Option<(Duration, u64)>,
}

impl SpaceWatch {
    const FRESH: Duration = Duration::from_millis(100);

    /// What is missing for this many bytes beside the reserve; `None` if nothing is.
    fn missing(&mut self, shared: &Shared, bytes: u64, now: Duration) -> Option<u64> {
        let fresh = self.seen.filter(|(at, left)| now.saturating_sub(*at) < Self::FRESH && *left >= bytes);
        let (at, left) = match fresh {
            Some(seen) => seen,
            None => (now, Self::look(shared)?),
        };
        self.seen = Some((at, left.saturating_sub(bytes)));
        if left >= bytes { None } else { Some(bytes - left) }
    }

    fn forget(&mut self) {
        self.seen = None;
    }

    /// What may be written beside the reserve. `None` where the file system does not say.
    fn look(shared: &Shared) -> Option<u64> {
        let space = shared.disk.space(&shared.config.dir).ok().filter(|space| space.total > 0)?;
        let reserve = shared.config.reserve_bytes.min(space.total / 20);
        Some(space.free.saturating_sub(reserve))
    }
}
