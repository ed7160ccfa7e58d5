//! The engine: what the API and the commands ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::answer::{FoundTrace, SearchResponse};
use super::by_id;
use super::live::Recent;
use super::search::Search;
use crate::runtime::{Clock, Panicked, Tenant};
use crate::store::{Reader, StoreError};
use crate::traceql::Query;
use crate::wire::TraceId;

/// Bounds of one question.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Spans held in memory for one question, in bytes of their encoded form (roughly).
    pub bytes_max: usize,
    /// Traces evaluated together.
    pub traces_a_chunk: usize,
    /// Candidates remembered at a time; more are looked for again, older ones later.
    pub candidates_max: usize,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self { bytes_max: 64 << 20, traces_a_chunk: 64, candidates_max: 100_000 }
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The table cannot be read.
    #[error("cannot read the store: {0}")]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error("cannot read the log: {0}")]
    Log(std::io::Error),
    /// A mistake in this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

/// A search.
#[derive(Clone, Debug)]
pub struct SearchRequest {
    /// What to find.
    pub query: Query,
    /// Only traces that end at or after this, Unix nanoseconds; 0 for all.
    pub start_unix_nano: u64,
    /// Only traces that start before this, Unix nanoseconds; `u64::MAX` for all.
    pub end_unix_nano: u64,
    /// At most so many traces, the newest.
    pub limit: usize,
    /// At most so many spans told of each spanset.
    pub spans_per_set: usize,
    /// When to stop looking and answer with what was found.
    pub time_max: Duration,
}

impl SearchRequest {
    /// A search over all time with Tempo's defaults: 20 traces, 3 spans a set; and half a minute.
    pub fn new(query: Query) -> Self {
        Self {
            query,
            start_unix_nano: 0,
            end_unix_nano: u64::MAX,
            limit: 20,
            spans_per_set: 3,
            time_max: Duration::from_secs(30),
        }
    }
}

/// Answers questions about traces. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(super) reader: Reader,
    pub(super) recent: Option<Recent>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: EngineConfig,
    /// What all questions hold, in bytes as they count against `bytes_max`.
    pub(super) held: Arc<AtomicUsize>,
}

impl Engine {
    /// An engine over a store; with `recent`, over what is still in the log too.
    pub fn new(reader: Reader, recent: Option<Recent>, clock: Arc<dyn Clock>, config: EngineConfig) -> Self {
        Self { reader, recent, clock, config, held: Arc::default() }
    }

    /// What the questions under way hold, in bytes as they count against [`EngineConfig::bytes_max`].
    pub fn held_bytes(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// All spans of a trace, dropped ones too while the flight recorder has them; `None` when there are none.
    ///
    /// # Errors
    /// [`QueryError`] when the table or the log cannot be read; never for what is merely not there.
    pub async fn trace(&self, tenant: &Tenant, trace_id: TraceId) -> Result<Option<FoundTrace>, QueryError> {
        by_id::trace(self, tenant, trace_id).await
    }

    /// The newest traces that match.
    ///
    /// # Errors
    /// [`QueryError`] when the table or the log cannot be read.
    pub async fn search(
        &self,
        tenant: &Tenant,
        request: SearchRequest,
    ) -> Result<SearchResponse, QueryError> {
        Search::new(self, tenant, request).run().await
    }
}
