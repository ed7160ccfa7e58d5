//! One backend: its log, the lane out of it, and what became of the spans.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};

use super::standing::{Standing, marker, meta, spans_before};
use super::{PATIENCE, Surroundings};
use crate::app::forwarding::{Forwarding, Outgoing, OutgoingLog};
use crate::forward::filter::Filter;
use crate::forward::kept::Choice;
use crate::forward::lane::Lane;
use crate::forward::ring::Ring;
use crate::log::{AppendError, Encoded, LogReader};
use crate::observe::ExportStats;
use crate::runtime::{Shutdown, TaskHandle, Tenant};

/// How often it is written down how far the log is.
const KEEP_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before a log that failed is tried again.
const AGAIN: Duration = Duration::from_millis(300);

/// See the module.
pub struct Target {
    pub name: String,
    pub choice: Choice,
    /// About so much goes into one record, in bytes.
    pub request_bytes: usize,
    pub(super) queue_size: u64,
    pub(super) folder: PathBuf,
    /// Of its log, and of the data directory.
    pub(super) ids: (String, String),
    pub(super) around: Surroundings,
    pub(super) log: OutgoingLog,
    pub(super) records: LogReader,
    pub(super) forwarding: Forwarding,
    /// Bytes of requests between the log's writer and the lane, and how many there may be.
    pub(super) room: (Arc<Semaphore>, usize),
    pub(super) standing: Mutex<Standing>,
    pub(super) counts: Counts,
    pub(super) running: Mutex<Option<Running>>,
    /// The log could not be written for so long that batches do not wait for it any more.
    pub(super) given_up: Mutex<bool>,
}

/// Spans since the start.
#[derive(Debug, Default)]
pub struct Counts {
    /// Waiting at the start.
    pub resumed: AtomicU64,
    put: AtomicU64,
    /// Dropped because the queue was full.
    dropped_size: AtomicU64,
    /// Dropped because the log could not be written.
    dropped_disk: AtomicU64,
    /// Of records that the log lost.
    unreadable: AtomicU64,
}

/// What runs for a backend.
pub struct Running {
    pub stop: Shutdown,
    pub writer: TaskHandle<()>,
    pub others: Vec<TaskHandle<()>>,
    /// The lane follows a ring that never changes; for as long as this has an end.
    pub _ring: watch::Sender<Arc<Ring>>,
}

impl Target {
    pub(super) fn lane(&self) -> Option<Arc<Lane>> {
        self.forwarding.lanes().pop()
    }

    /// Writes down now and then how far the log is, until it is stopped.
    pub fn keep_standing(self: &Arc<Self>) {
        let mut running = self.running.lock();
        let Some(running) = running.as_mut() else { return };
        let (target, stop) = (self.clone(), running.stop.clone());
        let keep = async move {
            let mut saved = Standing::default();
            loop {
                tokio::select! {
                    () = tokio::time::sleep(KEEP_EVERY) => {}
                    () = stop.begun() => return,
                }
                let of_task = target.clone();
                let save = move || of_task.save_standing(saved);
                let kept = target.around.tasks.blocking("export standing", save).await;
                // A panic was told where it happened, and ends the daemon.
                let Ok(kept) = kept else { return };
                saved = kept;
            }
        };
        running.others.push(self.around.tasks.spawn("export standing", keep));
    }

    /// Writes down how far the log is, unless that was `saved` already. Gives what is written down then.
    fn save_standing(&self, saved: Standing) -> Standing {
        self.count_unreadable();
        let now = self.standing.lock().clone();
        if now == saved {
            return saved;
        }
        match now.save(self.around.disk.as_ref(), &self.folder, (&self.ids.0, &self.ids.1)) {
            Ok(()) => now,
            Err(error) => {
                tracing::warn!(
                    receiver = self.name, %error,
                    "cannot write down how far an export log is; the next start reads more of it"
                );
                saved
            }
        }
    }

    /// When everything is settled and still something seems to wait, the log has lost it.
    fn count_unreadable(&self) {
        // In this order: what is put after the first look is not taken for lost.
        let waiting = self.put_or_resumed();
        if self.lane().is_some() && self.forwarding.is_done() {
            let lost = waiting.saturating_sub(self.settled());
            self.counts.unreadable.fetch_add(lost, Ordering::Relaxed);
        }
    }

    /// Whether the batch is in the log already.
    pub fn has(&self, batch: u64) -> bool {
        self.standing.lock().batch.is_some_and(|last| last >= batch)
    }

    /// Puts spans of one tenant into the log, and waits until they are durable. Blocks. `false` if the daemon is stopping: then
    /// they may be in it or not.
    pub fn put(&self, tenant: &Tenant, body: Bytes, spans: u32, runtime: &Handle, stop: &Shutdown) -> bool {
        let now = self.around.clock.now_unix_nano();
        let begun = self.around.clock.monotonic();
        let mut tries = 0u32;
        loop {
            let before = self.standing.lock().spans;
            let encoded = Encoded::spans(&meta(tenant, before, spans, now), &body);
            self.make_room(self.queue_size.saturating_sub(encoded.payload_bytes() as u64));
            // Without room it is read back from the log, when the backend has come so far.
            let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
            let room = Arc::clone(&self.room.0).try_acquire_many_owned(bytes).ok();
            let with_room = room.map(|room| (body.clone(), Arc::new(room)));
            let outgoing =
                Outgoing { tenant: tenant.clone(), received_unix_nano: now, spans, body: with_room };
            let error = match runtime.block_on(self.log.append(encoded, outgoing)) {
                Ok(position) => {
                    let mut standing = self.standing.lock();
                    standing.last = standing.last.max(position);
                    standing.spans += u64::from(spans);
                    drop(standing);
                    self.counts.put.fetch_add(spans.into(), Ordering::Relaxed);
                    self.works_again();
                    return true;
                }
                Err(AppendError::Closed) => return false,
                Err(error) => error,
            };
            tries += 1;
            if tries == 1 && !*self.given_up.lock() {
                tracing::warn!(receiver = self.name, %error, "an export log cannot be written; the batch waits");
            }
            let waited = self.around.clock.monotonic().saturating_sub(begun);
            if error == AppendError::TooLarge || self.is_given_up(waited, error) {
                self.counts.dropped_disk.fetch_add(spans.into(), Ordering::Relaxed);
                return true;
            }
            if matches!(error, AppendError::DiskFull | AppendError::LimitReached) {
                // What waits for a backend gives way to what comes, and to the daemon's own log.
                self.make_room(self.log.stats().bytes / 2);
            }
            if !runtime.block_on(slept(stop)) {
                return false;
            }
        }
    }

    /// The batch is in the log as a whole.
    pub fn finish(&self, batch: u64, runtime: &Handle) {
        let outgoing = Outgoing { tenant: Tenant::default(), received_unix_nano: 0, spans: 0, body: None };
        match runtime.block_on(self.log.append(marker(batch, &self.ids.1), outgoing)) {
            Ok(position) => {
                let mut standing = self.standing.lock();
                standing.last = standing.last.max(position);
                standing.batch = Some(batch);
            }
            // After a crash the batch goes twice then.
            Err(error) => tracing::debug!(receiver = self.name, batch, %error, "no marker for a batch"),
        }
    }

    /// Drops the oldest of what waits until the log takes so many bytes, and counts it.
    fn make_room(&self, bytes_max: u64) {
        if self.log.stats().bytes <= bytes_max {
            return;
        }
        let dropped = self.forwarding.while_not_reading(|| -> io::Result<u64> {
            let Some(lane) = self.lane() else { return Ok(0) };
            // What the lane has in memory is sent all the same.
            let (fed, all) = (lane.with_queue(|queue| queue.fed()), self.standing.lock().spans);
            let before = spans_before(&self.records, fed, all)?;
            self.log.shed(bytes_max)?;
            Ok(spans_before(&self.records, fed, all)?.saturating_sub(before))
        });
        match dropped {
            Ok(0) => {}
            Ok(spans) => self.dropped(spans),
            Err(error) => {
                tracing::warn!(receiver = self.name, %error, "cannot make room in an export log");
            }
        }
    }

    fn dropped(&self, spans: u64) {
        self.counts.dropped_size.fetch_add(spans, Ordering::Relaxed);
        let told = self.lane().and_then(|lane| lane.to_tell(spans, "the queue was full, the oldest went"));
        if let Some(spans) = told {
            tracing::warn!(
                receiver = self.name,
                spans,
                "the queue of an export is full (export.{}.queue.size): its oldest spans are dropped",
                self.name
            );
        }
    }

    /// Whether nobody waits for the log any more that has failed for so long.
    fn is_given_up(&self, waited: Duration, error: AppendError) -> bool {
        let mut given_up = self.given_up.lock();
        if !*given_up && waited >= PATIENCE {
            *given_up = true;
            tracing::error!(
                receiver = self.name, %error, folder = %self.folder.display(),
                "an export log cannot be written: kept spans are stored, and not exported, until it can"
            );
        }
        *given_up
    }

    fn works_again(&self) {
        if std::mem::take(&mut *self.given_up.lock()) {
            tracing::info!(receiver = self.name, "the export log can be written again");
        }
    }

    fn put_or_resumed(&self) -> u64 {
        self.counts.resumed.load(Ordering::Relaxed) + self.counts.put.load(Ordering::Relaxed)
    }

    /// Spans that are sent, refused, dropped or lost.
    fn settled(&self) -> u64 {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let sent = self.lane().map_or(0, |lane| {
            of(&lane.stats.sent_spans) + of(&lane.stats.refused_spans) + of(&lane.stats.expired_spans)
        });
        sent + of(&self.counts.dropped_size) + of(&self.counts.unreadable)
    }

    /// Bytes of memory that it takes now.
    pub fn memory_bytes(&self) -> u64 {
        let lane = self.lane().map_or(0, |lane| lane.with_queue(|queue| queue.outstanding_bytes()));
        let waiting = self.room.1.saturating_sub(self.room.0.available_permits());
        let filter = self.choice.filter.as_ref().map_or(0, Filter::memory_bytes);
        (lane + waiting + filter) as u64 + self.log.stats().queue_bytes
    }

    /// It in numbers.
    pub fn stats(&self) -> ExportStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let log = self.log.stats();
        let mut stats = ExportStats {
            name: self.name.clone(),
            log_bytes: log.bytes,
            pending_spans: self.put_or_resumed().saturating_sub(self.settled()),
            put_spans: of(&self.counts.put),
            resumed_spans: of(&self.counts.resumed),
            dropped_size_spans: of(&self.counts.dropped_size),
            dropped_disk_spans: of(&self.counts.dropped_disk),
            unreadable_spans: of(&self.counts.unreadable),
            ..ExportStats::default()
        };
        let Some(lane) = self.lane() else { return stats };
        let (progress, oldest) = lane.with_queue(|queue| (queue.progress(), queue.oldest_unix_nano()));
        let age = oldest.map_or(0, |since| self.around.clock.now_unix_nano().saturating_sub(since));
        stats.memory_bytes = self.memory_bytes();
        stats.pending_bytes = log.durable.0.saturating_sub(progress.0.max(log.oldest.0));
        stats.oldest_pending_ms = age / 1_000_000;
        stats.sent_spans = of(&lane.stats.sent_spans);
        stats.sent_requests = of(&lane.stats.sent_requests);
        stats.sent_bytes = of(&lane.stats.sent_bytes);
        stats.retries = of(&lane.stats.retries);
        stats.refused_spans = of(&lane.stats.refused_spans);
        stats.dropped_age_spans = of(&lane.stats.expired_spans);
        stats.trouble = lane.trouble();
        stats.last_refusal = lane.last_refusal();
        stats
    }

    /// Ends it: the log closes, and what is under way is given up.
    pub async fn stop(&self) {
        let Some(Running { stop, writer, others, _ring }) = self.running.lock().take() else { return };
        self.log.close();
        stop.begin();
        // Panics were told where they happened.
        let _ = writer.await;
        for other in others {
            let _ = other.await;
        }
        self.forwarding.stop().await;
        self.save_standing(Standing::default());
    }
}

/// Waits before another try; `false` if the daemon stops.
async fn slept(stop: &Shutdown) -> bool {
    tokio::select! {
        () = tokio::time::sleep(AGAIN) => true,
        () = stop.begun() => false,
    }
}
