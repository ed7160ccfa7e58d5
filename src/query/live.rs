//! What is in the log and not in the table yet.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::runtime::CpuPool;
use crate::sample::{LiveFilter, LiveTrace};
use crate::store::Records;

/// Knows the traces that are in the log only, pending ones and kept ones that are not stored yet.
pub trait LiveSource: Send + Sync + 'static {
    /// The traces, or parts of traces, that pass the filter.
    fn live(&self, filter: LiveFilter) -> BoxFuture<'_, Vec<LiveTrace>>;
}

/// The log, as far as queries need it.
#[derive(Clone)]
pub struct Recent {
    /// Which traces are there.
    pub traces: Arc<dyn LiveSource>,
    /// Where their spans are read from: the log's reader.
    pub records: Arc<dyn Records + Send + Sync>,
    /// Where blocking reads and decoding run.
    pub pool: CpuPool,
}
