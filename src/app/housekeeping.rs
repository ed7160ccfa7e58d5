//! What is done now and then: expiry by retention class, and the bucket's lifecycle rules as its backstop.

use std::sync::Arc;
use std::time::Duration;

use crate::runtime::{Clock, Shutdown};
use crate::sample::Rulebook;
use crate::store::Store;

const FIRST: Duration = Duration::from_secs(60);
const EVERY: Duration = Duration::from_secs(3600);

/// Expires what is past its retention, every hour, by the rules in force then.
pub struct Housekeeping {
    pub store: Arc<Store>,
    pub rulebook: Arc<Rulebook>,
    pub clock: Arc<dyn Clock>,
    pub lifecycle: bool,
}

impl Housekeeping {
    /// Runs until shutdown.
    pub async fn run(self, stop: Shutdown) {
        let mut wait = FIRST;
        if self.lifecycle {
            self.set_lifecycle().await;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = stop.begun() => return,
            }
            wait = EVERY;
            self.expire().await;
        }
    }

    async fn set_lifecycle(&self) {
        let classes = self.rulebook.current().retention().clone();
        if let Err(error) = self.store.set_lifecycle(&classes).await {
            tracing::warn!(%error, "the bucket's lifecycle rules are not set; expiry goes on without them");
        }
    }

    async fn expire(&self) {
        let classes = self.rulebook.current().retention().clone();
        match self.store.expire(&classes, self.clock.now_unix_nano()).await {
            Ok(expired) if expired.files > 0 => {
                tracing::info!(files = expired.files, bytes = expired.bytes, "expired");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "cannot expire; tried again in an hour"),
        }
    }
}
