//! The store's loop: writes one batch after the other, and does not give up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;

use super::events::{Event, Events, SharedGauges};
use super::exporting::Exports;
use crate::log::LogReader;
use crate::runtime::{Clock, Random, Shutdown};
use crate::sample::Batch;
use crate::sample::StoredSpans;
use crate::sample::records::Done;
use crate::store::{Reader, Store, StoreError, Written, WrittenService};

const BACKOFF_MIN: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Everything the loop works with.
pub struct Storing {
    pub store: Arc<Store>,
    pub reader: Reader,
    pub records: LogReader,
    pub clock: Arc<dyn Clock>,
    pub random: Arc<dyn Random>,
    pub events: Events,
    pub gauges: SharedGauges,
    /// Other backends that the spans go on to.
    pub exports: Option<Exports>,
}

impl Storing {
    /// Runs until shutdown. A batch that is not in the table by then is in the log, and written after the next start.
    pub async fn run(self, mut batches: mpsc::UnboundedReceiver<Arc<Batch>>, stop: Shutdown) {
        loop {
            let batch = tokio::select! {
                batch = batches.recv() => match batch {
                    Some(batch) => batch,
                    None => return,
                },
                () = stop.begun() => return,
            };
            tokio::select! {
                () = self.store_batch(&batch) => {}
                () = stop.begun() => return,
            }
        }
    }

    async fn store_batch(&self, batch: &Arc<Batch>) {
        if let Some(exports) = &self.exports {
            // Before the batch is done: while it is not, it comes again after a crash.
            exports.put(batch).await;
        }
        let begun = self.clock.monotonic();
        self.gauges.storing_bytes.store(batch.bytes(), Ordering::Relaxed);
        let mut backoff = BACKOFF_MIN;
        loop {
            match self.attempt(batch, begun).await {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(
                        batch = batch.id, kind = ?error.kind(), %error, retry_in_ms = backoff.as_millis() as u64,
                        "cannot write a batch to the store; its spans stay in the log"
                    );
                    tokio::time::sleep(self.random.jittered(backoff)).await;
                    backoff = (backoff * 2).min(BACKOFF_MAX);
                }
            }
        }
    }

    /// Tries once to write a batch that was first tried at `begun`.
    ///
    /// # Errors
    /// It is to be tried again.
    pub async fn attempt(&self, batch: &Batch, begun: Duration) -> Result<(), StoreError> {
        match self.store.write(batch, &self.records).await {
            Ok(written) => {
                self.gauges.storing_bytes.store(0, Ordering::Relaxed);
                self.stored(batch, &written, self.clock.monotonic().saturating_sub(begun)).await;
                Ok(())
            }
            Err(error) => {
                self.gauges.store.lock().retries += 1;
                Err(error)
            }
        }
    }

    async fn stored(&self, batch: &Batch, written: &Written, took: Duration) {
        // Readers must see the batch before the sampler stops telling of its traces.
        self.reader.forget_versions();
        tracing::info!(
            batch = batch.id,
            traces = batch.traces.len(),
            spans = written.spans,
            files = written.files,
            bytes = written.bytes,
            duplicates = written.duplicates,
            took_ms = took.as_millis() as u64,
            "committed"
        );
        if written.unreadable_records > 0 {
            tracing::error!(
                batch = batch.id,
                records = written.unreadable_records,
                "records of the log cannot be read"
            );
        }
        {
            let mut stats = self.gauges.store.lock();
            stats.batches += 1;
            stats.spans += written.spans;
            stats.traces += written.traces;
            stats.files += written.files;
            stats.bytes += written.bytes;
            stats.duplicate_spans += written.duplicates;
            stats.unreadable_records += written.unreadable_records;
            stats.last_commit_unix_nano = self.clock.now_unix_nano();
        }
        // The sampler's loop ends after this one.
        let of_service = |one: &WrittenService| StoredSpans {
            tenant: one.tenant.clone(),
            service: one.service.clone(),
            stored: one.stored,
            duplicates: one.duplicates,
        };
        let done = Done { batch: batch.id, stored: written.services.iter().map(of_service).collect() };
        let _ = self.events.send(Event::Stored(done)).await;
    }
}
