//! Admission by bytes: what a request occupies in memory is reserved before it is read, and given back when it is
//! answered.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

/// How many may wait for room at a time; each costs a task's state. The next one is told to come back at once.
const WAITING_MAX: usize = 256;

/// A number of bytes that all requests in flight share.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    bytes_used: AtomicUsize,
    freed: Notify,
    waiting: Semaphore,
}

/// There is no room now. Nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Budget {
    /// A budget of `bytes_max` bytes, none of them used.
    pub fn new(bytes_max: usize) -> Self {
        let (freed, waiting) = (Notify::new(), Semaphore::new(WAITING_MAX));
        Self(Arc::new(Shared { bytes_max, bytes_used: AtomicUsize::new(0), freed, waiting }))
    }

    /// The most that can be reserved, in bytes.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Reserves bytes until the permit is dropped; where they are not free, waits for them at most this long. Only a few
    /// wait: a long queue of senders would itself need room.
    ///
    /// # Errors
    /// [`Exhausted`] when that many did not become free, or too many wait already.
    pub async fn reserve(&self, bytes: usize, patience: Duration) -> Result<Permit, Exhausted> {
        let now = self.try_reserve(bytes);
        let Some(_place) = self.0.waiting.try_acquire().ok().filter(|_| now.is_err()) else { return now };
        let wait = async {
            loop {
                let mut freed = pin!(self.0.freed.notified());
                // From here on nothing that is given back goes unheard.
                freed.as_mut().enable();
                if let Ok(permit) = self.try_reserve(bytes) {
                    return permit;
                }
                freed.await;
            }
        };
        timeout(patience, wait).await.map_err(|_| Exhausted)
    }

    /// Reserves bytes until the permit is dropped. Never waits.
    ///
    /// # Errors
    /// [`Exhausted`] when that many are not free.
    pub fn try_reserve(&self, bytes: usize) -> Result<Permit, Exhausted> {
        self.take(bytes)?;
        Ok(Permit { budget: self.clone(), bytes })
    }

    /// Bytes reserved now.
    pub fn bytes_used(&self) -> usize {
        self.0.bytes_used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), Exhausted> {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.0.bytes_max);
        let taken = self.0.bytes_used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits);
        taken.map(|_| ()).map_err(|_| Exhausted)
    }

    fn give_back(&self, bytes: usize) {
        if bytes > 0 {
            self.0.bytes_used.fetch_sub(bytes, Ordering::Relaxed);
            self.0.freed.notify_waiters();
        }
    }
}

/// Bytes of a [`Budget`] that are ours until this is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Budget,
    bytes: usize,
}

impl Permit {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds at least `bytes`.
    ///
    /// # Errors
    /// [`Exhausted`] when the difference is not free; what was held stays held.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes > self.bytes {
            self.budget.take(bytes - self.bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Holds at most `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.give_back(self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give_back(self.bytes);
    }
}
