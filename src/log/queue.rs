//! What waits for the writer, bounded in bytes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

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
    closed: bool,
}

impl<A> Queue<A> {
    pub(super) fn new(bytes_max: usize) -> Self {
        let bytes_max = bytes_max.clamp(1, u32::MAX as usize);
        Self {
            waiting: Mutex::new(Waiting { entries: Vec::new(), closed: false }),
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
        let bytes = entry.encoded.payload_bytes() as u64;
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(AppendError::Closed);
        }
        shared.counters.queue_bytes.fetch_add(bytes, Ordering::Relaxed);
        waiting.entries.push(entry);
        let first = waiting.entries.len() == 1;
        drop(waiting);
        if first {
            self.gathered.notify_one();
        }
        Ok(())
    }

    /// Waits until something has gathered and takes all of it; `None` once closed and empty.
    pub(super) fn wait(&self) -> Option<Vec<Entry<A>>> {
        let mut waiting = self.waiting.lock();
        while waiting.entries.is_empty() && !waiting.closed {
            self.gathered.wait(&mut waiting);
        }
        Some(std::mem::take(&mut waiting.entries)).filter(|entries| !entries.is_empty())
    }

    /// Takes what has gathered.
    pub(super) fn take(&self) -> Vec<Entry<A>> {
        std::mem::take(&mut self.waiting.lock().entries)
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
