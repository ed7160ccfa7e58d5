//! What is in the log and not in the table yet.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::log::{Recorded, RecorderIndex};
use crate::runtime::{CpuPool, Tenant};
use crate::sample::{LiveFilter, LiveTrace, Verdict};
use crate::store::Records;
use crate::wire::TraceId;

/// Knows the traces that are in the log only, pending ones and kept ones that are not stored yet.
pub trait LiveSource: Send + Sync + 'static {
    /// The traces, or parts of traces, that pass the filter.
    fn live(&self, filter: LiveFilter) -> BoxFuture<'_, Vec<LiveTrace>>;
}

/// Knows where traces lie in the log, whatever became of them.
pub trait RecorderPlaces: Send + Sync + 'static {
    /// The records that may hold spans of the trace. Blocks on the disk.
    fn find(&self, tenant: &Tenant, trace_id: &TraceId) -> Recorded;
}

impl RecorderPlaces for RecorderIndex {
    fn find(&self, tenant: &Tenant, trace_id: &TraceId) -> Recorded {
        RecorderIndex::find(self, tenant, trace_id)
    }
}

/// Remembers what was decided about traces.
pub trait Verdicts: Send + Sync + 'static {
    /// The verdict on a trace; `None` if there is none, or nobody remembers it.
    fn verdict(&self, tenant: &Tenant, trace_id: TraceId) -> BoxFuture<'_, Option<Arc<Verdict>>>;
}

/// The log, as far as queries need it.
#[derive(Clone)]
pub struct Recent {
    /// Which traces are there.
    pub traces: Arc<dyn LiveSource>,
    /// Where their spans are read from: the log's reader.
    pub records: Arc<dyn Records + Send + Sync>,
    /// Where the spans of all traces are, dropped ones too.
    pub recorder: Arc<dyn RecorderPlaces>,
    /// Why they were dropped.
    pub verdicts: Arc<dyn Verdicts>,
    /// Where blocking reads and decoding run.
    pub pool: CpuPool,
}
