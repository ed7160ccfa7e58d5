//! How records get into the log.

use std::io;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::error::AppendError;
use super::queue::{Entry, Queue};
use super::record::{Encoded, Position, RecordKind};
use super::shared::{LogStats, Shared};

/// Appends to the log and looks after its size. Cheap to clone. When the last one is dropped the log closes.
pub struct LogHandle<A> {
    inner: Arc<Inner<A>>,
}

impl<A> Clone for LogHandle<A> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<A> {
    shared: Arc<Shared>,
    queue: Arc<Queue<A>>,
}

impl<A> Drop for Inner<A> {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl<A> LogHandle<A> {
    pub(super) fn new(shared: Arc<Shared>, queue: Arc<Queue<A>>) -> Self {
        Self { inner: Arc::new(Inner { shared, queue }) }
    }

    /// Whether spans would be taken now; what an admission asks before it does any work for a request.
    ///
    /// # Errors
    /// Why they would not.
    pub fn admits(&self) -> Result<(), AppendError> {
        if self.inner.queue.is_closed() {
            return Err(AppendError::Closed);
        }
        let shared = &self.inner.shared;
        shared.refusing.now(shared.clock.monotonic()).map_or(Ok(()), Err)
    }

    /// Appends a record and waits until it is durable; first for room in the queue if there is none. `attachment` goes to
    /// the writer's `on_commit` with it. If this future is dropped while it waits, the record may be in the log or not.
    ///
    /// # Errors
    /// The record is not in the log, and why.
    pub async fn append(&self, encoded: Encoded, attachment: A) -> Result<Position, AppendError> {
        if encoded.kind() == RecordKind::Spans {
            self.admits()?;
        }
        let share = self.inner.queue.share(&encoded).await?;
        let (reply, outcome) = oneshot::channel();
        let entry = Entry { encoded, attachment, reply: Some(reply), _share: share };
        self.inner.queue.push(&self.inner.shared, entry)?;
        // Without an answer the writer is gone.
        outcome.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Appends a record without waiting: it comes to `on_commit` once it is durable, or to `on_refused`. May be called
    /// from either of them.
    ///
    /// # Errors
    /// [`AppendError::Busy`] if too much waits already, [`AppendError::TooLarge`], [`AppendError::Closed`].
    pub fn submit(&self, encoded: Encoded, attachment: A) -> Result<(), AppendError> {
        let share = match self.inner.queue.share_now(&encoded) {
            Err(AppendError::Busy) if self.inner.queue.is_closed() => return Err(AppendError::Closed),
            share => share?,
        };
        self.inner.queue.push(&self.inner.shared, Entry { encoded, attachment, reply: None, _share: share })
    }

    /// Takes no more records. What waits in the queue is still written; then the writer's `run` returns.
    pub fn close(&self) {
        self.inner.queue.close();
    }

    /// Nothing below the position is needed any more: deletes the segments that end below it (now or at an earlier call)
    /// and that the recorder does not want either. To be called now and then even if the position stays, as the
    /// recorder's time passes. Blocks on the disk. Gives how many segments went.
    ///
    /// # Errors
    /// If the disk does not delete; the segment stays and the next call tries again.
    pub fn release(&self, below: Position) -> io::Result<u64> {
        let shared = &self.inner.shared;
        shared.segments.lock().set_below(below);
        shared.release(Some(shared.config.recorder), |_| false)
    }

    /// Deletes the oldest segments, whoever needs them, until the log takes at most so many bytes; never the one that is being
    /// written. Blocks on the disk. Gives how many went.
    ///
    /// # Errors
    /// As [`LogHandle::release`].
    pub fn shed(&self, bytes_max: u64) -> io::Result<u64> {
        let shared = &self.inner.shared;
        let mut shed = 0;
        loop {
            {
                let mut segments = shared.segments.lock();
                let Some(oldest) = segments.iter().next().copied() else { break };
                let end = Position(oldest.end);
                let may_go = segments.releasable(end, shared.clock.monotonic(), None).is_some();
                if segments.bytes() <= bytes_max || !may_go {
                    break;
                }
                segments.set_below(end);
            }
            match shared.release(None, |segments| segments.bytes() <= bytes_max)? {
                0 => break,
                more => shed += more,
            }
        }
        Ok(shed)
    }

    /// Whether a segment would go if nothing below the position was needed.
    pub fn could_release(&self, below: Position) -> bool {
        let shared = &self.inner.shared;
        let now = shared.clock.monotonic();
        shared.segments.lock().releasable(below, now, Some(shared.config.recorder)).is_some()
    }

    /// The log in numbers.
    pub fn stats(&self) -> LogStats {
        self.inner.shared.stats()
    }
}
