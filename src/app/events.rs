//! What the stages tell the sampler's loop, and what travels with a record through the log.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::memory::NotesRoom;
use crate::log::{Committed, Refused};
use crate::runtime::{RequestId, Tenant};
use crate::sample::records::{Decided, Done, Flush};
use crate::sample::{LiveFilter, LiveTrace, Notes, Pinned, Rescued, Verdict, Waiting};
use crate::wire::TraceId;

/// What a record means, so that nobody has to read it again once it is committed.
#[derive(Clone, Debug)]
pub enum Attachment {
    /// A request's spans.
    Spans {
        /// Whose.
        tenant: Tenant,
        /// What the scan found.
        notes: Notes,
        /// For the logs.
        request_id: RequestId,
        /// Their room in memory, until the sampler has read them.
        room: NotesRoom,
    },
    /// Verdicts that now act.
    Verdicts(Arc<Vec<Decided>>),
    /// A batch that is to be written.
    Flush(Arc<Flush>),
    /// A batch that is in the table.
    Done(Arc<Done>),
    /// Dropped traces, found again, that are now kept.
    Rescue(Arc<Vec<Rescued>>),
}

/// Something for the sampler's loop.
pub enum Event {
    /// Records are durable, in the order of the log.
    Committed(Vec<Committed<Attachment>>),
    /// Records of the sampler's own could not be written.
    Refused(Vec<Refused<Attachment>>),
    /// A batch is in the table.
    Stored(Done),
    /// Somebody wants this trace kept, by this verdict.
    Pin {
        /// Whose trace.
        tenant: Tenant,
        /// Which.
        trace_id: TraceId,
        /// Why it is kept.
        verdict: Verdict,
        /// What came of it.
        answer: oneshot::Sender<Pinned>,
    },
    /// Retention took so many spans out of the table, by tenant.
    Expired(BTreeMap<Tenant, u64>),
    /// Dropped traces that were found again in the log.
    Rescued(Vec<Rescued>),
    /// A dropped trace that was looked for, and is gone.
    Gone(Tenant, TraceId),
    /// Which traces are not in the table yet?
    Live(LiveFilter, oneshot::Sender<Vec<LiveTrace>>),
    /// What was decided about a trace?
    Verdict(Tenant, TraceId, oneshot::Sender<Option<Arc<Verdict>>>),
    /// Does this trace wait for its verdict?
    Waiting(Tenant, TraceId, oneshot::Sender<Option<Waiting>>),
    /// Store what is kept, now; say when it is done.
    Flush(oneshot::Sender<()>),
}

/// The log's handle, as the daemon uses it.
pub type Log = crate::log::LogHandle<Attachment>;

/// Where events go. Bounded: at the bound the log's writer waits, and with it the senders.
pub type Events = tokio::sync::mpsc::Sender<Event>;

/// Events that may wait. Each holds a group commit's notes: kilobytes.
pub const EVENTS_MAX: usize = 256;

/// What the loops publish for whoever asks.
#[derive(Default)]
pub struct Gauges {
    /// The sampler's counters as of its last turn.
    pub sampler: parking_lot::Mutex<crate::sample::SamplerStats>,
    /// So much is kept that cannot be stored that no more may be taken in.
    pub full: std::sync::atomic::AtomicBool,
    /// The spans of the batch that is being written, in bytes on the wire.
    pub storing_bytes: std::sync::atomic::AtomicU64,
    /// The loss ledger, as of a second ago at most.
    pub losses: parking_lot::Mutex<Arc<crate::observe::LossLedger>>,
    /// What the store's loop did.
    pub store: parking_lot::Mutex<crate::observe::StoreStats>,
}

/// The gauges, shared.
pub type SharedGauges = Arc<Gauges>;

/// Asks the sampler's loop: the event takes along where the answer goes. `None` without a sampler: the daemon is going down.
pub async fn ask<T>(events: &Events, event: impl FnOnce(oneshot::Sender<T>) -> Event) -> Option<T> {
    let (sender, answer) = oneshot::channel();
    events.send(event(sender)).await.ok()?;
    answer.await.ok()
}
