//! What is done now and then: expiry by retention class, and the bucket's lifecycle rules as its backstop; and what the index
//! of the tables lacks.

use std::sync::Arc;
use std::time::Duration;

use super::events::{Event, Events};
use crate::runtime::{Clock, Shutdown};
use crate::sample::{RetentionClasses, Rulebook};
use crate::store::{Reader, Store, StoreError};

/// Also before the first expiry: a clock that is wrong when the machine starts is set right by then.
const EVERY: Duration = Duration::from_secs(3600);
/// The wall clock may drift from the monotonic one by this much between two looks and still be believed.
const DRIFT_MAX: Duration = Duration::from_secs(600);

/// Expires what is past its retention, every hour, by the rules in force then.
pub struct Housekeeping {
    pub store: Arc<Store>,
    pub reader: Reader,
    pub rulebook: Arc<Rulebook>,
    pub clock: Arc<dyn Clock>,
    pub lifecycle: bool,
    pub events: Events,
}

impl Housekeeping {
    /// Runs until shutdown.
    pub async fn run(self, stop: Shutdown) {
        let mut set = None;
        let mut seen = (self.clock.now_unix_nano(), self.clock.monotonic());
        loop {
            tokio::select! {
                () = self.set_lifecycle(&mut set) => {}
                () = stop.begun() => return,
            }
            tokio::select! {
                () = self.complete_index() => {}
                () = stop.begun() => return,
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = stop.begun() => return,
            }
            // Expiry deletes: a clock that has just jumped must not decide. By the next look it has been steady, or not.
            let now = (self.clock.now_unix_nano(), self.clock.monotonic());
            if is_steady(seen, now) {
                self.expire(now.0).await;
            } else {
                tracing::warn!("the wall clock jumped; expiry waits for an hour of steady time");
            }
            seen = now;
        }
    }

    /// Makes the bucket follow the rules in force. `set` is what it was last given: a class that is kept longer now must be
    /// so in the bucket too, or that deletes what the table still names.
    async fn set_lifecycle(&self, set: &mut Option<RetentionClasses>) {
        let classes = self.rulebook.current().retention().clone();
        if !self.lifecycle || set.as_ref() == Some(&classes) {
            return;
        }
        match self.store.set_lifecycle(&classes).await {
            Ok(_) => *set = Some(classes),
            Err(error) => {
                tracing::warn!(%error, "the bucket's lifecycle rules are not set; tried again in an hour");
            }
        }
    }

    /// Files that came without an index run get one, and the runs that others wrote come here.
    async fn complete_index(&self) {
        if let Err(error) = self.try_complete_index().await {
            tracing::warn!(%error, "the index is not complete; tried again in an hour");
        }
    }

    async fn try_complete_index(&self) -> Result<(), StoreError> {
        for tenant in self.store.tenants().await? {
            let rebuilt = self.store.rebuild_index(&tenant).await?;
            if rebuilt.files > 0 {
                tracing::info!(%tenant, files = rebuilt.files, "indexed files that had no index");
            }
            let merged = self.store.merge_index(&tenant).await?;
            if merged > 0 {
                tracing::debug!(%tenant, runs = merged, "merged index runs");
            }
            self.reader.warm(&tenant).await?;
        }
        Ok(())
    }

    async fn expire(&self, now_unix_nano: u64) {
        let classes = self.rulebook.current().retention().clone();
        match self.store.expire(&classes, now_unix_nano).await {
            Ok(expired) if expired.files > 0 => {
                tracing::info!(files = expired.files, bytes = expired.bytes, "expired");
                // Without a sampler the daemon is going down, and nobody counts any more.
                let _ = self.events.send(Event::Expired(expired.spans)).await;
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot expire; tried again in an hour"),
        }
    }
}

/// Whether the wall clock went on as the monotonic one did.
fn is_steady(before: (u64, Duration), after: (u64, Duration)) -> bool {
    let expected = i128::from(before.0) + after.1.saturating_sub(before.1).as_nanos() as i128;
    (i128::from(after.0) - expected).unsigned_abs() <= DRIFT_MAX.as_nanos()
}

#[cfg(test)]
mod tests;
