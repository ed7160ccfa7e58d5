//! One receiver's lane: what waits for it goes out in large requests, a few at a time, each until it is settled.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::answer::Outcome;
use super::backoff::Backoff;
use super::queue::{Parcel, Queue};
use super::ring::Member;
use crate::log::Position;
use crate::runtime::{Random, Shutdown};

/// Bounds of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaneConfig {
    /// What waits or is under way, in bytes.
    pub queue_bytes: usize,
    /// About so much goes into one request, in bytes.
    pub request_bytes: usize,
    /// Requests under way at once.
    pub concurrency: usize,
}

impl Default for LaneConfig {
    fn default() -> Self {
        Self { queue_bytes: 32 << 20, request_bytes: 4 << 20, concurrency: 4 }
    }
}

/// With a request under way a smaller one than this waits for more, or for the other to be answered (Nagle's idea).
const GATHER_BYTES: usize = 512 << 10;

/// Sends parcels of one tenant as one request. Called again until the outcome is final.
pub trait Courier: Send + Sync + 'static {
    /// Tries once.
    fn send<'a>(&'a self, parcels: &'a [Parcel]) -> BoxFuture<'a, Outcome>;

    /// Whether they have waited for so long that nobody wants them any more. Asked before each try.
    fn have_expired(&self, _: &[Parcel]) -> bool {
        false
    }
}

/// Reads the log for a lane that is behind.
pub trait CatchUp: Send + Sync + 'static {
    /// Feeds the lane what fits; comes back when its queue is full, when it is live, or when the disk does not read.
    fn feed(self: Arc<Self>, lane: Arc<Lane>) -> BoxFuture<'static, ()>;
}

/// What a lane has done since the start.
#[derive(Debug, Default)]
pub struct LaneStats {
    /// Spans acknowledged.
    pub sent_spans: AtomicU64,
    /// Requests acknowledged.
    pub sent_requests: AtomicU64,
    /// Their size before compression, in bytes.
    pub sent_bytes: AtomicU64,
    /// Tries that are to be repeated.
    pub retries: AtomicU64,
    /// Spans that will never be taken: whole requests refused, or by partial success.
    pub refused_spans: AtomicU64,
    /// Spans given up because they had waited for too long.
    pub expired_spans: AtomicU64,
    /// Spans of before the start that were read from the log again.
    pub resumed_spans: AtomicU64,
    /// Records that could not be read back from the log.
    pub unreadable_records: AtomicU64,
}

impl LaneStats {
    /// Adds to a counter.
    pub fn add(counter: &AtomicU64, more: u64) {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

/// One receiver's lane.
pub struct Lane {
    /// Whose.
    pub member: Member,
    /// What it has done.
    pub stats: LaneStats,
    config: LaneConfig,
    queue: Mutex<Queue>,
    wake: Notify,
    /// Whoever sleeps before another try looks again.
    changed: Notify,
    failing: AtomicBool,
    why: Mutex<Trouble>,
    /// The receiver asked to be left alone until then.
    left_alone: Mutex<Option<Instant>>,
    refusals: Mutex<Refusals>,
}

/// Why spans are not taken at the moment.
#[derive(Default)]
struct Trouble {
    reason: String,
    /// What our own log was told last, and when.
    told: Option<(String, Instant)>,
}

/// What was refused for good or given up lately, so that our own log is told of it now and then, not each time.
#[derive(Default)]
struct Refusals {
    reason: Option<String>,
    told: Option<Instant>,
    untold_spans: u64,
}

/// How often our own log is told of spans that are lost.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why a request will never be taken.
enum Lost {
    Refused(String),
    Expired,
}

impl Lane {
    /// A lane whose records below `from` are settled.
    pub fn new(member: Member, config: LaneConfig, from: Position) -> Self {
        Self {
            member,
            stats: LaneStats::default(),
            config,
            queue: Mutex::new(Queue::new(config.queue_bytes, from)),
            wake: Notify::new(),
            changed: Notify::new(),
            failing: AtomicBool::new(false),
            why: Mutex::default(),
            left_alone: Mutex::default(),
            refusals: Mutex::default(),
        }
    }

    /// Works on its queue. The lock is held for as long.
    pub fn with_queue<T>(&self, work: impl FnOnce(&mut Queue) -> T) -> T {
        work(&mut self.queue.lock())
    }

    /// There is something new in its queue.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Whoever waits before another try of a request tries again at once.
    pub fn try_again(&self) {
        *self.left_alone.lock() = None;
        self.changed.notify_waiters();
    }

    /// Why its receiver does not take anything at the moment; `None` while it does.
    pub fn trouble(&self) -> Option<String> {
        self.failing.load(Ordering::Relaxed).then(|| self.why.lock().reason.clone())
    }

    /// Why spans were refused for good, or given up, the last time; `None` if that never happened.
    pub fn last_refusal(&self) -> Option<String> {
        self.refusals.lock().reason.clone()
    }

    /// Sends until `stop`. What is under way then is given up: it is sent again after the next start.
    pub async fn run(
        self: Arc<Self>,
        courier: Arc<dyn Courier>,
        log: Arc<dyn CatchUp>,
        random: Arc<dyn Random>,
        stop: Shutdown,
    ) {
        let mut under_way = FuturesUnordered::new();
        let mut reading: Option<BoxFuture<'static, ()>> = None;
        loop {
            while under_way.len() < self.config.concurrency
                && let Some(parcels) = self.next_request(under_way.len())
            {
                under_way.push(self.settle(parcels, &*courier, &*random));
            }
            if reading.is_none() && self.with_queue(|q| q.behind().is_some() && q.wants_more()) {
                reading = Some(log.clone().feed(self.clone()));
            }
            tokio::select! {
                () = stop.begun() => return,
                Some(()) = under_way.next(), if !under_way.is_empty() => {}
                () = maybe(&mut reading), if reading.is_some() => reading = None,
                () = self.wake.notified() => {}
            }
        }
    }

    /// The parcels of the next request, if it is time for one.
    fn next_request(&self, under_way: usize) -> Option<Vec<Parcel>> {
        let mut queue = self.queue.lock();
        if under_way > 0 && queue.waiting_bytes() < GATHER_BYTES.min(self.config.queue_bytes / 4) {
            return None;
        }
        Some(queue.take(self.config.request_bytes)).filter(|parcels| !parcels.is_empty())
    }

    /// Sends the parcels until they are taken, or lost for good.
    async fn settle(&self, parcels: Vec<Parcel>, courier: &dyn Courier, random: &dyn Random) {
        if let Err(lost) = self.attempt(&parcels, courier, random).await {
            if let ([_], _) | (_, Lost::Expired) = (&parcels[..], &lost) {
                self.lost(&parcels, &lost);
            } else {
                // One of them spoils the others: each alone, so that no more is lost than must be.
                for parcel in parcels.chunks(1) {
                    if let Err(lost) = self.attempt(parcel, courier, random).await {
                        self.lost(parcel, &lost);
                    }
                }
            }
        }
        self.queue.lock().done(&parcels);
    }

    /// Until it is taken, or the reason why it never will be.
    async fn attempt(
        &self,
        parcels: &[Parcel],
        courier: &dyn Courier,
        random: &dyn Random,
    ) -> Result<(), Lost> {
        let mut backoff = Backoff::default();
        loop {
            self.leave_alone().await;
            if courier.have_expired(parcels) {
                return Err(Lost::Expired);
            }
            let wait = match courier.send(parcels).await {
                Outcome::Taken { rejected, message } => {
                    self.taken(parcels, rejected, &message);
                    return Ok(());
                }
                Outcome::Refused { reason } => return Err(Lost::Refused(reason)),
                Outcome::Later { after, reason } => {
                    self.later(reason);
                    let wait = backoff.next(random, after);
                    if after.is_some() {
                        *self.left_alone.lock() = Some(Instant::now() + wait);
                    }
                    wait
                }
            };
            self.sleep(wait).await;
        }
    }

    /// Waits for as long as the receiver asked for, whichever request it answered so.
    async fn leave_alone(&self) {
        loop {
            let until = *self.left_alone.lock();
            let Some(wait) = until.map(|until| until.saturating_duration_since(Instant::now())) else {
                return;
            };
            if wait.is_zero() {
                return;
            }
            self.sleep(wait).await;
        }
    }

    async fn sleep(&self, wait: Duration) {
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = self.changed.notified() => {}
        }
    }

    fn taken(&self, parcels: &[Parcel], rejected: u64, message: &str) {
        if self.failing.swap(false, Ordering::Relaxed) {
            tracing::info!(receiver = %self.member, "takes spans again");
        }
        let spans: u64 = parcels.iter().map(|parcel| u64::from(parcel.spans)).sum();
        let rejected = rejected.min(spans);
        if rejected > 0
            && let Some(spans) = self.to_tell(rejected, message)
        {
            tracing::warn!(receiver = %self.member, spans, reason = message, "spans were rejected for good");
        }
        LaneStats::add(&self.stats.sent_requests, 1);
        LaneStats::add(&self.stats.sent_spans, spans - rejected);
        LaneStats::add(&self.stats.refused_spans, rejected);
        LaneStats::add(&self.stats.sent_bytes, parcels.iter().map(|parcel| parcel.body.len() as u64).sum());
    }

    fn lost(&self, parcels: &[Parcel], lost: &Lost) {
        let spans: u64 = parcels.iter().map(|parcel| u64::from(parcel.spans)).sum();
        let (counter, reason) = match lost {
            Lost::Refused(reason) => (&self.stats.refused_spans, reason.as_str()),
            Lost::Expired => (&self.stats.expired_spans, "they have waited for too long"),
        };
        LaneStats::add(counter, spans);
        if let Some(spans) = self.to_tell(spans, reason) {
            tracing::error!(receiver = %self.member, spans, reason, "spans will never be taken; they are dropped");
        }
    }

    /// How many spans our own log is to be told of now; `None` if it was told lately.
    pub fn to_tell(&self, spans: u64, reason: &str) -> Option<u64> {
        let mut refusals = self.refusals.lock();
        refusals.reason = Some(reason.to_owned());
        refusals.untold_spans += spans;
        if refusals.told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return None;
        }
        refusals.told = Some(Instant::now());
        Some(std::mem::take(&mut refusals.untold_spans))
    }

    fn later(&self, reason: String) {
        LaneStats::add(&self.stats.retries, 1);
        let begins = !self.failing.swap(true, Ordering::Relaxed);
        let mut trouble = self.why.lock();
        // Another than was told is told too, but not each time where two take turns.
        let is_another =
            trouble.told.as_ref().is_some_and(|(told, at)| *told != reason && at.elapsed() >= TELL_EVERY);
        if begins || is_another {
            tracing::warn!(receiver = %self.member, reason, "spans are not taken; they wait in the log");
            trouble.told = Some((reason.clone(), Instant::now()));
        }
        trouble.reason = reason;
    }
}

/// Waits for the future, if there is one.
async fn maybe(future: &mut Option<BoxFuture<'static, ()>>) {
    if let Some(future) = future {
        future.await;
    }
}

/// How long a lane that cannot read the log waits before it tries again.
pub const READ_AGAIN: Duration = Duration::from_secs(1);
