//! Forwarding at work: the splitter takes what the log has committed, cuts it by the ring and feeds the lanes; progress is kept,
//! and the log let go of.

mod catching_up;
pub mod couriers;
mod splitter;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

use crate::forward::epochs::Epochs;
use crate::forward::lane::{CatchUp, Courier, Lane, LaneConfig};
use crate::forward::progress::Progress;
use crate::forward::ring::{Member, Ring};
use crate::log::{Committed, LogHandle, LogReader, Position};
use crate::runtime::disk::read_bounded;
use crate::runtime::{Disk, Random, Shutdown, TaskHandle, Tasks, Tenant};
use catching_up::CatchingUp;
pub use splitter::Splitter;

/// What travels with a request through the log, so that nobody has to read it again.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Whose spans.
    pub tenant: Tenant,
    /// When the request came in, nanoseconds since the Unix epoch.
    pub received_unix_nano: u64,
    /// Spans in it.
    pub spans: u32,
    /// The request, and its room in memory; `None` where there was no room: it is read from the log.
    pub body: Option<(Bytes, Arc<OwnedSemaphorePermit>)>,
}

/// A log whose records go on to others.
pub type OutgoingLog = LogHandle<Outgoing>;

/// What the log's writer hands to the splitter. Bounded: at the bound the log waits, and with it the senders.
pub type ToSplit = mpsc::Sender<Vec<Committed<Outgoing>>>;

/// Group commits that may wait for the splitter.
pub const COMMITS_MAX: usize = 64;

/// The file with the progress, beside the log.
const PROGRESS: &str = "forward";
const PROGRESS_BYTES_MAX: u64 = 64 << 20;

/// How the parcels of a lane are sent.
pub type Couriers = Arc<dyn Fn(&Member) -> Arc<dyn Courier> + Send + Sync>;

/// What forwarding needs.
pub struct ForwardingConfig {
    /// Where the progress is kept.
    pub data: PathBuf,
    /// The id of the log's data directory.
    pub id: String,
    /// Each lane.
    pub lane: LaneConfig,
}

/// What became of the spans since the start.
#[derive(Debug, Default)]
pub struct Totals {
    /// Spans committed to the log.
    pub received: AtomicU64,
    /// Spans of lanes that are no more: acknowledged, refused, read again, tries.
    gone: [AtomicU64; 4],
}

/// Forwarding, as others see it. Cheap to clone.
#[derive(Clone)]
pub struct Forwarding {
    inner: Arc<Inner>,
}

struct Inner {
    config: ForwardingConfig,
    disk: Arc<dyn Disk>,
    tasks: Tasks,
    random: Arc<dyn Random>,
    log: OutgoingLog,
    couriers: Couriers,
    catching_up: Arc<CatchingUp>,
    epochs: Arc<Mutex<Epochs>>,
    lanes: Mutex<BTreeMap<Member, Running>>,
    totals: Totals,
    /// What was written down last.
    kept: Mutex<Option<Progress>>,
}

struct Running {
    lane: Arc<Lane>,
    stop: Shutdown,
    task: TaskHandle<()>,
}

/// The lanes' numbers, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Spans that came into the log.
    pub received: u64,
    /// Spans of before the start, read again.
    pub resumed: u64,
    /// Spans acknowledged.
    pub forwarded: u64,
    /// Spans refused for good.
    pub refused: u64,
    /// Tries that were repeated.
    pub retries: u64,
}

impl Sums {
    /// Spans that are still on their way.
    pub fn outstanding(&self) -> u64 {
        (self.received + self.resumed).saturating_sub(self.forwarded + self.refused)
    }
}

impl Forwarding {
    /// Takes up where the last run ended, or at the log's beginning.
    pub fn new(
        config: ForwardingConfig,
        disk: Arc<dyn Disk>,
        tasks: Tasks,
        random: Arc<dyn Random>,
        (log, records): (OutgoingLog, LogReader),
        ring: &Ring,
        couriers: Couriers,
    ) -> Self {
        let stats = log.stats();
        let saved = load(&*disk, &config, stats.segments == 0);
        let mut epochs =
            saved.as_ref().map_or_else(|| Epochs::new(ring.clone()), |saved| saved.epochs.clone());
        // If there are too many, the splitter tries again.
        let _ = epochs.begin(stats.durable, ring.clone());
        let epochs = Arc::new(Mutex::new(epochs));
        let catching_up = CatchingUp::new(records, epochs.clone(), tasks.clone(), stats.durable);
        let (lanes, totals, kept) = Default::default();
        let inner =
            Inner { config, disk, tasks, random, log, couriers, catching_up, epochs, lanes, totals, kept };
        let forwarding = Self { inner: Arc::new(inner) };
        match saved {
            Some(saved) => saved.lanes.into_iter().for_each(|(member, from)| {
                forwarding.open(&member, from, stats.durable);
            }),
            // Whatever is in the log belongs to these.
            None => members_of(ring).for_each(|member| forwarding.open(&member, stats.oldest, stats.durable)),
        }
        members_of(ring).for_each(|member| forwarding.open(&member, stats.durable, stats.durable));
        forwarding
    }

    /// A splitter fed by `commits`, that follows the ring.
    pub fn splitter(
        &self,
        commits: mpsc::Receiver<Vec<Committed<Outgoing>>>,
        rings: watch::Receiver<Arc<Ring>>,
    ) -> Splitter {
        Splitter::new(self.clone(), commits, rings, self.inner.log.stats().durable)
    }

    /// Begins a lane, unless there is one already. It knows that records up to `offered` are committed.
    fn open(&self, member: &Member, from: Position, offered: Position) {
        let mut lanes = self.inner.lanes.lock();
        if lanes.contains_key(member) {
            return;
        }
        let lane = Arc::new(Lane::new(member.clone(), self.inner.config.lane, from));
        lane.with_queue(|queue| {
            queue.pass_over(from, offered);
            // Live at once, if there is nothing to read.
            queue.behind()
        });
        let stop = Shutdown::new();
        let (courier, log) = ((self.inner.couriers)(member), self.inner.catching_up.clone());
        let log: Arc<dyn CatchUp> = log;
        let run = lane.clone().run(courier, log, self.inner.random.clone(), stop.clone());
        let task = self.inner.tasks.spawn("lane", run);
        lanes.insert(member.clone(), Running { lane, stop, task });
    }

    /// The lanes, in the order of their names.
    pub fn lanes(&self) -> Vec<Arc<Lane>> {
        self.inner.lanes.lock().values().map(|running| running.lane.clone()).collect()
    }

    /// What became of all spans since the start.
    pub fn sums(&self) -> Sums {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let [forwarded, refused, resumed, retries] = self.inner.totals.gone.each_ref().map(of);
        let mut sums =
            Sums { received: of(&self.inner.totals.received), forwarded, refused, resumed, retries };
        for lane in self.lanes() {
            sums.forwarded += of(&lane.stats.sent_spans);
            sums.refused += of(&lane.stats.refused_spans);
            sums.resumed += of(&lane.stats.resumed_spans);
            sums.retries += of(&lane.stats.retries);
        }
        sums
    }

    /// Whether everything in the log is settled.
    pub fn is_done(&self) -> bool {
        let end = self.inner.log.stats().durable;
        self.lanes().iter().all(|lane| lane.with_queue(|queue| queue.is_done_up_to(end)))
    }

    /// Does something while no lane reads the log, such as deleting what some have not read yet.
    pub fn while_not_reading<T>(&self, work: impl FnOnce() -> T) -> T {
        self.inner.catching_up.while_not_reading(work)
    }

    /// How far all lanes are, written down; then the log may forget what is below.
    pub(super) fn keep_progress(&self) {
        let progress = self.progress();
        let mut kept = self.inner.kept.lock();
        if kept.as_ref() != Some(&progress) {
            let path = self.inner.config.data.join(PROGRESS);
            let bytes = progress.encode(&self.inner.config.id);
            if let Err(error) = crate::runtime::disk::write_atomic(&*self.inner.disk, &path, &bytes) {
                tracing::warn!(%error, "cannot write down what was forwarded; after a restart more would be sent again");
                return;
            }
            *kept = Some(progress.clone());
        }
        let below = progress.lanes.iter().map(|(_, to)| *to).min();
        if let Some(below) = below
            && let Err(error) = self.inner.log.release(below)
        {
            tracing::warn!(%error, "cannot delete a segment of the log that is not needed any more");
        }
    }

    fn progress(&self) -> Progress {
        // Of the rings first: a lane's progress is never ahead of what they say.
        let mut epochs = self.inner.epochs.lock();
        let lanes: Vec<_> = self.inner.lanes.lock().values().map(|running| running.lane.clone()).collect();
        let lanes: Vec<_> = lanes
            .iter()
            .map(|lane| (lane.member.clone(), lane.with_queue(|queue| queue.progress())))
            .collect();
        if let Some(below) = lanes.iter().map(|(_, to)| *to).min() {
            epochs.forget_below(below);
        }
        Progress { epochs: epochs.clone(), lanes }
    }

    /// Ends the lanes of those who left the ring and have nothing left.
    fn close_done(&self, ring: &Ring, end: Position) {
        let mut lanes = self.inner.lanes.lock();
        let is_needed =
            |member: &Member| ring.has(member) || (member.is_nobody() && ring.members().is_empty());
        let done: Vec<_> = lanes
            .iter()
            .filter(|(member, _)| !is_needed(member))
            .filter(|(_, running)| running.lane.with_queue(|queue| queue.is_done_up_to(end)))
            .map(|(member, _)| member.clone())
            .collect();
        for member in done {
            let Some(Running { lane, stop, .. }) = lanes.remove(&member) else { continue };
            stop.begin();
            self.inner.catching_up.forget(&member);
            let stats = &lane.stats;
            let counters = [&stats.sent_spans, &stats.refused_spans, &stats.resumed_spans, &stats.retries];
            for (total, counter) in self.inner.totals.gone.iter().zip(counters) {
                total.fetch_add(counter.load(Ordering::Relaxed), Ordering::Relaxed);
            }
            tracing::info!(gateway = %member, "left, and nothing waits for it any more");
        }
    }

    /// Ends all lanes. What is under way is given up, and sent again after the next start.
    pub async fn stop(&self) {
        let lanes = std::mem::take(&mut *self.inner.lanes.lock());
        let progress = {
            let epochs = self.inner.epochs.lock().clone();
            lanes.values().for_each(|running| running.stop.begin());
            epochs
        };
        let mut ended = Vec::new();
        for (member, Running { lane, task, .. }) in lanes {
            // A panic was told where it happened.
            let _ = task.await;
            ended.push((member, lane.with_queue(|queue| queue.progress())));
        }
        let progress = Progress { epochs: progress, lanes: ended };
        let path = self.inner.config.data.join(PROGRESS);
        let bytes = progress.encode(&self.inner.config.id);
        if let Err(error) = crate::runtime::disk::write_atomic(&*self.inner.disk, &path, &bytes) {
            tracing::warn!(%error, "cannot write down what was forwarded; some of it is sent again at the next start");
        }
    }
}

/// The members; nobody, where there are none.
fn members_of(ring: &Ring) -> impl Iterator<Item = Member> {
    let nobody = ring.members().is_empty().then(Member::nobody);
    ring.members().to_vec().into_iter().chain(nobody)
}

fn load(disk: &dyn Disk, config: &ForwardingConfig, log_is_empty: bool) -> Option<Progress> {
    let path = config.data.join(PROGRESS);
    let read = match read_bounded(disk, &path, PROGRESS_BYTES_MAX) {
        Ok(bytes) => Progress::decode(&config.id, &bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "what was forwarded cannot be read");
            None
        }
    };
    if read.is_none() && !log_is_empty {
        tracing::warn!("it is not known what was forwarded: everything in the log is sent again");
    }
    read
}
