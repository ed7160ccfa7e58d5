//! What waits for the writer, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::AppendError;
use super::frame::{PAYLOAD_BYTES_MAX, RECORD_HEADER_BYTES};
use super::record::{Encoded, Position};
use super::shared::Shared;

/// A record in the queue, and who waits for it.
pub(super) struct Entry<A> {
    pub(super) encoded: Encoded,
    pub(super) attachment: A,
    pub(super) reply: Option<oneshot::Sender<Result<Position, AppendError>>>,
    /// Its share of the queue, given back when it is dropped.
    pub(super) _share: OwnedSemaphorePermit,
}

/// What an entry costs beside its payload, in bytes.
const ENTRY_BYTES: usize = 256;

/// Records on their way to the writer.
pub(super) struct Queue<A> {
    waiting: Mutex<Waiting<A>>,
    gathered: Condvar,
    /// Bytes for those who wait until there is room.
    appended: Arc<Semaphore>,
    /// As many again for those who do not.
    submitted: Arc<Semaphore>,
    bytes_max: usize,
}

struct Waiting<A> {
    entries: Vec<Entry<A>>,
    bytes: usize,
    /// The writer waits for this many bytes, beside the clock.
    bytes_wanted: usize,
    closed: bool,
}

impl<A> Waiting<A> {
    fn is_enough(&self) -> bool {
        self.bytes >= self.bytes_wanted
    }

    fn take(&mut self) -> Vec<Entry<A>> {
        self.bytes = 0;
        std::mem::take(&mut self.entries)
    }
}

/// What a writer waits for when something is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct More {
    /// No longer than this.
    pub(super) time: Duration,
    /// Or until so many bytes are there.
    pub(super) bytes: usize,
}

impl<A> Queue<A> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.clamp(1, u32::MAX as usize);
        Self {
            waiting: Mutex::new(Waiting { entries: Vec::new(), bytes: 0, bytes_wanted: 0, closed: false }),
            gathered: Condvar::new(),
            appended: Arc::new(Semaphore::new(bytes_max)),
            submitted: Arc::new(Semaphore::new(bytes_max)),
            bytes_max,
        }
    }

    /// Waits for room.
    pub(super) async fn share(&self, encoded: &Encoded) -> Result<OwnedSemaphorePermit, AppendError> {
        let bytes = self.cost(encoded)?;
        Arc::clone(&self.appended).acquire_many_owned(bytes).await.map_err(|_| AppendError::Closed)
    }

    /// Takes the room there is for those who do not wait.
    pub(super) fn share_now(&self, encoded: &Encoded) -> Result<OwnedSemaphorePermit, AppendError> {
        let bytes = self.cost(encoded)?;
        Arc::clone(&self.submitted).try_acquire_many_owned(bytes).map_err(|_| AppendError::Busy)
    }

    /// A record larger than the whole queue takes all of it.
    fn cost(&self, encoded: &Encoded) -> Result<u32, AppendError> {
        if encoded.payload_bytes() > PAYLOAD_BYTES_MAX {
            return Err(AppendError::TooLarge);
        }
        let bytes = RECORD_HEADER_BYTES + ENTRY_BYTES + encoded.payload_bytes();
        u32::try_from(bytes.min(self.bytes_max)).map_err(|_| AppendError::TooLarge)
    }

    /// Puts the record at the end.
    pub(super) fn push(&self, shared: &Shared, entry: Entry<A>) -> Result<(), AppendError> {
        let bytes = entry.encoded.payload_bytes();
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AppendError::Closed);
        }
        shared.counters.queue_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        waiting.entries.push(entry);
        let was_enough = waiting.is_enough();
        waiting.bytes += bytes;
        let wakes = waiting.entries.len() == 1 || (!was_enough && waiting.is_enough());
        drop(waiting);
        if wakes {
            self.gathered.notify_one();
        }
        Ok(())
    }

    /// Waits until something has gathered, then for as long as `more` says, or until as many bytes are there as it wants.
    /// Takes all of it; `None` once closed and empty.
    pub(super) fn wait(&self, more: More) -> Option<Vec<Entry<A>>> {
        let mut waiting = self.waiting.lock();
        while waiting.entries.is_empty() && !waiting.closed {
            self.gathered.wait(&mut waiting);
        }
        waiting.bytes_wanted = more.bytes;
        let is_short = |waiting: &mut Waiting<A>| !waiting.is_enough() && !waiting.closed;
        if !more.time.is_zero() {
            self.gathered.wait_while_for(&mut waiting, is_short, more.time);
        }
        Some(waiting.take()).filter(|entries| !entries.is_empty())
    }

    /// Takes what has gathered.
    pub(super) fn take(&self) -> Vec<Entry<A>> {
        self.waiting.lock().take()
    }

    /// Takes no more. What is in it already stays for the writer.
    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.appended.close();
        self.submitted.close();
        self.gathered.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().closed
    }
}
