//! Compaction beside ingest: one unit at a time, within its share of one core.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::events::SharedGauges;
use crate::runtime::{Clock, Random, Shutdown, process};
use crate::store::{Compactor, Pace, Store, StoreError};

/// How often the tables are looked at; up to twice as long, so that several daemons do not begin together.
const EVERY: Duration = Duration::from_secs(120);
/// Rests are made of naps, so that a shutdown does not wait.
const NAP_MAX: Duration = Duration::from_millis(100);
/// A clock that is read wrongly must not make it sleep for ever.
const REST_MAX: Duration = Duration::from_secs(10);

/// Keeps the tables in few, large files.
pub struct Compacting {
    pub compactor: Compactor,
    pub store: Arc<Store>,
    /// How much of one core it may take, more than 0 and at most 1.
    pub cpu_share: f64,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub gauges: SharedGauges,
}

impl Compacting {
    /// Runs until shutdown.
    pub async fn run(self, stop: Shutdown) {
        loop {
            let jitter = EVERY.mul_f64(self.random.unit());
            tokio::select! {
                () = tokio::time::sleep(EVERY + jitter) => {}
                () = stop.begun() => return,
            }
            if let Err(error) = self.round(&stop).await {
                self.gauges.store.lock().compaction.failures += 1;
                tracing::warn!(%error, "cannot compact; tried again soon");
            }
        }
    }

    /// Does what there is to do.
    async fn round(&self, stop: &Shutdown) -> Result<(), StoreError> {
        let mut failed = None;
        for tenant in self.store.tenants().await? {
            loop {
                let units = self.compactor.plan(&tenant, self.clock.now_unix_nano()).await?;
                let mut progress = false;
                for unit in &units {
                    let worked = Arc::<AtomicU64>::default();
                    let pace = self.pace(stop, &worked);
                    let done = self.compactor.compact(unit, Box::new(pace)).await;
                    let mut stats = self.gauges.store.lock();
                    stats.compaction.cpu += Duration::from_nanos(worked.load(Ordering::Relaxed));
                    match done {
                        Ok(Some(done)) => {
                            stats.compaction.done.add(&done);
                            progress |= done.units > 0;
                        }
                        Ok(None) => return Ok(()),
                        Err(error) => failed = failed.or(Some(error)),
                    }
                }
                if !progress || stop.has_begun() {
                    break;
                }
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn pace(&self, stop: &Shutdown, worked: &Arc<AtomicU64>) -> Share {
        Share {
            share: self.cpu_share,
            clock: Arc::clone(&self.clock),
            stop: stop.clone(),
            before: None,
            worked: Arc::clone(worked),
        }
    }
}

/// Rests after work for as long as the share asks.
struct Share {
    share: f64,
    clock: Arc<dyn Clock>,
    stop: Shutdown,
    /// The thread's time on a CPU after the rest before; where the system does not say it, the time that passed.
    before: Option<Duration>,
    /// All of it so far, nanoseconds.
    worked: Arc<AtomicU64>,
}

impl Share {
    fn now(&self) -> Duration {
        process::thread_cpu().unwrap_or_else(|| self.clock.monotonic())
    }
}

impl Pace for Share {
    fn rest(&mut self) -> bool {
        let now = self.now();
        let work = now.saturating_sub(self.before.unwrap_or(now));
        self.worked.fetch_add(work.as_nanos() as u64, Ordering::Relaxed);
        let mut rest = rest_after(work, self.share);
        while !rest.is_zero() && !self.stop.has_begun() {
            let nap = rest.min(NAP_MAX);
            std::thread::sleep(nap);
            rest -= nap;
        }
        self.before = Some(self.now());
        !self.stop.has_begun()
    }
}

/// How long to rest after so much work, to work for this share of the time.
fn rest_after(work: Duration, share: f64) -> Duration {
    let share = share.clamp(0.001, 1.0);
    work.mul_f64(1.0 / share - 1.0).min(REST_MAX)
}
