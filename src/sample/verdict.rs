//! What sampling hands to the stages after it: verdicts, kept traces in batches, and traces not in the table yet.

use std::sync::Arc;

use smallvec::SmallVec;

use super::Threshold;
use super::services::TraceServices;
use crate::log::Position;
use crate::runtime::Tenant;
use crate::wire::TraceId;

/// Where a trace's spans lie in the log: one position for each record (request) that holds some, ascending, each once.
pub type Places = SmallVec<[Position; 2]>;

/// What was decided about a trace, by which rule, and what that means for its spans.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Verdict {
    /// Kept (true) or dropped.
    pub keep: bool,
    /// The name of the rule that decided.
    pub rule: Arc<str>,
    /// The version of the rules in force at the trace's first span.
    pub rules_version: u32,
    /// The retention class that a kept trace is stored under.
    pub retention: Arc<str>,
    /// The threshold the trace passed. `None` leaves `th` as it came.
    pub threshold: Option<Threshold>,
    /// Kept with a probability nobody knows: `th` must go.
    pub erase_threshold: bool,
    /// Decided before it was due, because the index was full.
    pub early: bool,
    /// Given to spans that came after the trace was decided.
    pub late: bool,
    /// Kept because of `TRACE_DEBUG=1`, whatever the rules say.
    pub debug: bool,
}

/// A kept trace, or the late part of one, that is not stored yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTrace {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its id.
    pub trace_id: TraceId,
    /// The log records to read its spans from; for late spans only the new ones.
    pub places: Places,
    /// The spans in them.
    pub spans: u32,
    /// The spans' bytes on the wire.
    pub bytes: u64,
    /// The earliest start among them, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// The latest end among them, Unix nanoseconds.
    pub end_unix_nano: u64,
    /// The spans by service.
    pub services: TraceServices,
    /// Why it was kept.
    pub verdict: Arc<Verdict>,
}

/// Traces to be stored in one transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Ascending over the life of a data directory, restarts included. A batch that comes again after a restart has the
    /// same id and the same places.
    pub id: u64,
    /// The traces, ascending by tenant and trace id; each (tenant, trace id) once.
    pub traces: Vec<KeptTrace>,
}

impl Batch {
    /// The spans' bytes on the wire, all traces together.
    pub fn bytes(&self) -> u64 {
        self.traces.iter().map(|trace| trace.bytes).sum()
    }
}

/// A wish that somebody looks a dropped trace up in the log and gives it back as [`Rescued`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescue {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its id.
    pub trace_id: TraceId,
    /// What it is kept by.
    pub verdict: Arc<Verdict>,
}

/// A whole trace that was dropped, found again in the log, and kept after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rescued {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its id.
    pub trace_id: TraceId,
    /// What it is kept by now.
    pub verdict: Arc<Verdict>,
    /// The log records that hold its spans.
    pub places: Places,
    /// The spans in them.
    pub spans: u32,
    /// The spans' bytes on the wire.
    pub bytes: u64,
    /// The earliest start among them, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// The latest end among them, Unix nanoseconds.
    pub end_unix_nano: u64,
    /// The spans by the service's name.
    pub services: Vec<(Arc<str>, u32)>,
}

/// What came of [`Sampler::pin`](super::Sampler::pin).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pinned {
    /// It was pending, and is kept by this verdict from the next tick on.
    Decided,
    /// It is kept already, by this verdict.
    Kept(Arc<Verdict>),
    /// Dropped or not known: only the log may still have it.
    NotHere,
}

/// Which traces [`Sampler::live`](super::Sampler::live) gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveFilter {
    /// Whose traces.
    pub tenant: Tenant,
    /// Only this trace.
    pub trace_id: Option<TraceId>,
    /// Only traces that end at or after this, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// Only traces that start at or before this, Unix nanoseconds.
    pub end_unix_nano: u64,
    /// At most so many, the ones that started last.
    pub traces_max: usize,
}

impl LiveFilter {
    /// Everything there is of one trace.
    pub fn trace(tenant: Tenant, trace_id: TraceId) -> Self {
        Self {
            tenant,
            trace_id: Some(trace_id),
            start_unix_nano: 0,
            end_unix_nano: u64::MAX,
            traces_max: usize::MAX,
        }
    }
}

/// A trace, or a part of one, that is in the log and not in the table yet. One trace may come in several parts: one in a
/// batch under way, one with spans that came later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveTrace {
    /// Whose it is.
    pub tenant: Tenant,
    /// Its id.
    pub trace_id: TraceId,
    /// The log records that hold its spans.
    pub places: Places,
    /// The earliest start among them, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// The latest end among them, Unix nanoseconds.
    pub end_unix_nano: u64,
    /// How far it is.
    pub state: LiveState,
}

/// How far a trace in the log is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LiveState {
    /// Not decided yet, or decided by a verdict that is not on disk yet.
    Pending,
    /// Kept, and not stored yet.
    Kept(Arc<Verdict>),
}
