//! Reads the log for lanes that are behind. Each reads for itself: a lane that is far behind holds up no other.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::{Mutex, RwLock};

use crate::forward::epochs::Epochs;
use crate::forward::lane::{CatchUp, Lane, LaneStats, READ_AGAIN};
use crate::forward::queue::Parcel;
use crate::forward::ring::{Member, Ring};
use crate::forward::split::{Part, pick};
use crate::log::{LogReader, Position, Record, RecordKind, Tail};
use crate::runtime::Tasks;

/// The readers of all lanes.
pub struct CatchingUp {
    records: LogReader,
    epochs: Arc<Mutex<Epochs>>,
    tasks: Tasks,
    /// Records before this were there at the start.
    started_at: Position,
    /// Where each lane's reader was when its queue was full.
    resting: Mutex<HashMap<Member, Reading>>,
    /// Held (shared) for each record that is read and fed.
    reading: RwLock<()>,
}

/// Where a lane is in the log.
struct Reading {
    tail: Tail,
    /// Everything below was fed.
    at: Position,
    /// Read already, and not fed for want of room.
    pending: Option<Next>,
}

/// A record: where it ends, and what the lane gets of it.
struct Next {
    end: Position,
    parcel: Option<Parcel>,
}

impl CatchingUp {
    pub(super) fn new(
        records: LogReader,
        epochs: Arc<Mutex<Epochs>>,
        tasks: Tasks,
        started_at: Position,
    ) -> Arc<Self> {
        Arc::new(Self {
            records,
            epochs,
            tasks,
            started_at,
            resting: Mutex::default(),
            reading: RwLock::default(),
        })
    }

    /// Does something while no record is being read or fed.
    pub(super) fn while_not_reading<T>(&self, work: impl FnOnce() -> T) -> T {
        let _nobody_reads = self.reading.write();
        work()
    }

    /// A lane is no more.
    pub(super) fn forget(&self, member: &Member) {
        self.resting.lock().remove(member);
    }

    /// Feeds the lane until its queue is full or it is live. Blocks on the disk.
    fn fill(&self, lane: &Lane) -> io::Result<()> {
        let mut reading = self.resting.lock().remove(&lane.member);
        while let Some(part) = lane.with_queue(|queue| queue.behind()) {
            let _reads = self.reading.read();
            // What was deleted meanwhile is not to be fed, though it was read or its file is still open.
            let is_there = part.start >= self.records.oldest();
            let mut here = match reading.take().filter(|reading| is_there && reading.at == part.start) {
                Some(reading) => reading,
                None => Reading { tail: self.records.tail(part.start), at: part.start, pending: None },
            };
            let next = match here.pending.take() {
                Some(next) => next,
                None => self.next(lane, &mut here.tail, part.end)?,
            };
            if !lane.with_queue(|queue| queue.feed(next.end, next.parcel.clone())) {
                here.pending = Some(next);
                self.resting.lock().insert(lane.member.clone(), here);
                return Ok(());
            }
            self.count(lane, next.parcel.as_ref());
            here.at = next.end;
            reading = Some(here).filter(|here| here.at == here.tail.position());
            lane.wake();
        }
        Ok(())
    }

    /// The next record before `end`; if there is none, that there is nothing up to there.
    fn next(&self, lane: &Lane, tail: &mut Tail, end: Position) -> io::Result<Next> {
        Ok(match tail.next_record()?.filter(|record| record.position < end) {
            Some(record) => Next { parcel: self.parcel(lane, &record), end: tail.position() },
            None => Next { parcel: None, end },
        })
    }

    /// What the lane gets of a record, by the ring of the time when it was written.
    fn parcel(&self, lane: &Lane, record: &Record) -> Option<Parcel> {
        if record.kind != RecordKind::Spans {
            return None;
        }
        let ring = self.epochs.lock().at(record.position).clone();
        if !is_concerned(&ring, &lane.member) {
            return None;
        }
        let read = record.spans().map_err(|error| error.to_string()).and_then(|spans| {
            let part = pick(&spans.body, |trace_id| owner_is(&ring, trace_id, &lane.member));
            part.map(|part| (spans.meta, part)).map_err(|error| error.to_string())
        });
        let (meta, part) = match read {
            Ok(read) => read,
            Err(error) => {
                LaneStats::add(&lane.stats.unreadable_records, 1);
                tracing::error!(position = %record.position, error, "a record of the log cannot be used; skipped");
                return None;
            }
        };
        let Part { body, spans, .. } = part?;
        let (position, received_unix_nano) = (record.position, meta.received_unix_nano);
        Some(Parcel { position, tenant: meta.tenant, body, spans, received_unix_nano })
    }

    fn count(&self, lane: &Lane, parcel: Option<&Parcel>) {
        if let Some(parcel) = parcel.filter(|parcel| parcel.position < self.started_at) {
            LaneStats::add(&lane.stats.resumed_spans, parcel.spans.into());
        }
    }
}

fn is_concerned(ring: &Ring, member: &Member) -> bool {
    if ring.members().is_empty() { member.is_nobody() } else { ring.has(member) }
}

fn owner_is(ring: &Ring, trace_id: &[u8], member: &Member) -> bool {
    let owner = ring.members().get(ring.owner_index(trace_id));
    owner.map_or(member.is_nobody(), |owner| owner == member)
}

impl CatchUp for CatchingUp {
    fn feed(self: Arc<Self>, lane: Arc<Lane>) -> BoxFuture<'static, ()> {
        async move {
            let reader = self.clone();
            let read = self.tasks.blocking("catch-up", move || reader.fill(&lane)).await;
            if let Ok(Err(error)) = read {
                tracing::warn!(%error, "the log cannot be read; tried again");
                tokio::time::sleep(READ_AGAIN).await;
            }
        }
        .boxed()
    }
}
