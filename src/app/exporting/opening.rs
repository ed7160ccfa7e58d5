//! How a backend's log is opened, and its lane begun.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, watch};

use super::courier::ToBackend;
use super::standing::{Standing, spans_before};
use super::target::{Counts, Running, Target};
use super::{FOLDER, Surroundings};
use crate::app::StartError;
use crate::app::forwarding::{COMMITS_MAX, Couriers, Forwarding, ForwardingConfig, Outgoing};
use crate::app::start::data_id;
use crate::config::ExportTarget;
use crate::forward::filter::Filter;
use crate::forward::kept::Choice;
use crate::forward::lane::{Courier, LaneConfig};
use crate::forward::ring::{Member, Ring};
use crate::log::{Log, LogConfig, LogWriter, Opened, Recorder, Replay};
use crate::runtime::{Shutdown, SystemRandom, Tasks};

/// A log is let go of in about so many pieces.
const SEGMENTS: u64 = 8;
const SEGMENT_BYTES_MAX: u64 = 64 << 20;

/// What a backend is given, of the spans that are kept. Its filter takes up to `memory` bytes.
///
/// # Errors
/// What is wrong with the filter, in words.
pub fn choice(target: &ExportTarget, memory: usize) -> Result<Choice, String> {
    let filter = target.filter.as_deref().map(|query| Filter::new(query, memory)).transpose();
    let filter = filter.map_err(|error| format!("filter: {error}"))?;
    Ok(Choice { classes: target.classes.clone(), tenants: target.tenants.clone(), filter })
}

/// The memory that one backend may take, in bytes, split.
struct Memory {
    /// What its lane has in memory.
    lane: usize,
    /// Between the log's writer and the lane.
    room: usize,
    /// What waits for the disk.
    log_queue: usize,
    /// A record that is being made.
    request: usize,
    /// Traces that passed its filter.
    filter: usize,
}

impl Memory {
    fn split(bytes: u64, target: &ExportTarget) -> Self {
        let of = |parts: u64| (bytes / 8 * parts) as usize;
        let request = target.request.min(bytes / 8).max(1) as usize;
        Self { lane: of(3), room: of(2), log_queue: of(1), request, filter: of(1) }
    }
}

fn log_config(folder: &Path, target: &ExportTarget, memory: &Memory) -> LogConfig {
    LogConfig {
        segment_bytes: (target.queue_size / SEGMENTS).min(SEGMENT_BYTES_MAX),
        // We make room ourselves, before that.
        limit_bytes: target.queue_size.saturating_mul(2).saturating_add(1 << 30),
        queue_bytes: memory.log_queue,
        cache_bytes: 0,
        recorder: Recorder { age: Duration::ZERO, size_bytes: 0 },
        recorder_bytes: 0,
        ..LogConfig::new(folder)
    }
}

impl Target {
    /// Opens its log, which may take up to `memory` bytes with all that belongs to it, and begins to send what is in it.
    ///
    /// # Errors
    /// As [`Exports::open`](super::Exports::open).
    pub fn open(
        target: &ExportTarget,
        data: &Path,
        memory: u64,
        around: &Surroundings,
    ) -> Result<Self, StartError> {
        let wrong = |error: String| StartError::Setting(format!("export.{}.{error}", target.name));
        let Surroundings { disk, clock, tasks, data_id: of_data, .. } = around;
        let courier: Arc<dyn Courier> = Arc::new(ToBackend::new(target, disk, clock, tasks).map_err(wrong)?);
        let (folder, memory) = (data.join(FOLDER).join(&target.name), Memory::split(memory, target));
        let choice = choice(target, memory.filter).map_err(wrong)?;

        let config = log_config(&folder, target, &memory);
        let opened = Log::open::<Outgoing>(disk.clone(), clock.clone(), config)?;
        let Opened { handle: log, writer, reader: records, replay, .. } = opened;
        let id = data_id(disk.as_ref(), &SystemRandom, &folder, log.stats().segments == 0)?;
        let ids = (id.clone(), of_data.clone());
        let saved = Standing::load(disk.as_ref(), &folder, (&ids.0, &ids.1));
        let standing = brought_up_to_date(saved, replay, of_data)?;

        let lane =
            LaneConfig { queue_bytes: memory.lane, request_bytes: memory.request, ..LaneConfig::default() };
        let ring = Ring::new([Member::new(&target.name)]);
        let couriers: Couriers = Arc::new(move |_: &Member| courier.clone());
        let (config, random) = (ForwardingConfig { data: folder.clone(), id, lane }, Arc::new(SystemRandom));
        let in_log = (log.clone(), records.clone());
        let forwarding =
            Forwarding::new(config, disk.clone(), tasks.clone(), random, in_log, &ring, couriers);
        let running = run(tasks, writer, &forwarding, ring)?;
        let opened = Self {
            name: target.name.clone(),
            choice,
            request_bytes: memory.request,
            queue_size: target.queue_size,
            folder,
            ids,
            around: around.clone(),
            log,
            records,
            forwarding,
            room: (Arc::new(Semaphore::new(memory.room)), memory.room),
            standing: Mutex::new(standing),
            counts: Counts::default(),
            running: Mutex::new(Some(running)),
            given_up: Mutex::default(),
        };
        opened.resume()?;
        Ok(opened)
    }

    /// Counts what waits since before the start.
    fn resume(&self) -> Result<(), StartError> {
        let settled = self.lane().map(|lane| lane.with_queue(|queue| queue.progress())).unwrap_or_default();
        let all = self.standing.lock().spans;
        let before = spans_before(&self.records, settled, all);
        let before = before.map_err(|source| StartError::DataFile { path: self.folder.clone(), source })?;
        let waiting = all.saturating_sub(before);
        self.counts.resumed.store(waiting, Ordering::Relaxed);
        if waiting > 0 {
            tracing::info!(
                receiver = self.name,
                spans = waiting,
                "spans of before the start are still to be sent"
            );
        }
        Ok(())
    }
}

/// What was written down, and what came into the log after that.
fn brought_up_to_date(mut standing: Standing, replay: Replay, data: &str) -> Result<Standing, StartError> {
    let replay = replay.from(standing.last);
    let outcome = replay.outcome();
    replay.for_each(|record| standing.add(&record, data));
    outcome.check()?;
    Ok(standing)
}

/// Starts what writes the log and feeds the lane.
fn run(
    tasks: &Tasks,
    writer: LogWriter<Outgoing>,
    forwarding: &Forwarding,
    ring: Ring,
) -> Result<Running, StartError> {
    let (commits, to_split) = mpsc::channel(COMMITS_MAX);
    let (rings, ring) = watch::channel(Arc::new(ring));
    let splitter = forwarding.splitter(to_split, ring);
    let write = move || writer.run(|committed| drop(commits.blocking_send(committed)));
    Ok(Running {
        stop: Shutdown::new(),
        writer: tasks.thread("export log", write).map_err(StartError::Thread)?,
        // Ends when the log has closed, not before: what was committed by then is noted.
        others: vec![tasks.spawn("export splitter", splitter.run(Shutdown::new()))],
        _ring: rings,
    })
}
