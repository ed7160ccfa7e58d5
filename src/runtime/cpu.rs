//! CPU work off the I/O threads, no more at a time than there are cores to do it.

#[cfg(test)]
mod tests;

use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::tasks::{Panicked, Tasks};

/// The cores this process may use (cgroup quota and affinity considered).
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

/// Runs closures on blocking threads, a bounded number at a time. Cheap to clone.
#[derive(Clone)]
pub struct CpuPool {
    tasks: Tasks,
    slots: Arc<Semaphore>,
}

impl CpuPool {
    /// A pool that works on `width` closures at a time.
    pub fn new(tasks: Tasks, width: NonZeroUsize) -> Self {
        Self { tasks, slots: Arc::new(Semaphore::new(width.get())) }
    }

    /// Runs `work` when there is room, and gives its result. Waiting work stays in the caller's future, so what waits is
    /// bounded by who calls. Work that has begun runs to its end even if the future is dropped.
    ///
    /// # Errors
    /// [`Panicked`] if `work` panicked.
    pub async fn run<T, F>(&self, task: &'static str, work: F) -> Result<T, Panicked>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        // The semaphore is never closed; without a slot the work would still be right, only unbounded.
        let slot = Arc::clone(&self.slots).acquire_owned().await.ok();
        let done = self.tasks.blocking(task, move || {
            let result = work();
            drop(slot);
            result
        });
        done.await
    }
}
