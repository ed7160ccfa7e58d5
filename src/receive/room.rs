//! What all requests share, whatever they came in by.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::runtime::Handle;

use super::admission::Budget;
use super::body::Limits;
use super::config::ReceiveConfig;
use super::decompress::Inflated;
use super::failure::Failure;
use super::stats::{Reason, ReceiveStats, Transport};
use super::{Accepted, ExportRequest, Ingest, Origin};
use crate::runtime::{Clock, RequestId, Tenant};

/// Configuration, budget, counters, and the stage behind.
pub(super) struct Room<I> {
    pub(super) config: ReceiveConfig,
    pub(super) limits: Limits,
    pub(super) stats: Arc<ReceiveStats>,
    /// Where connections run, and what would keep them waiting.
    pub(super) tasks: Handle,
    ingest: Arc<I>,
    clock: Arc<dyn Clock>,
    next_request_id: AtomicU64,
}

impl<I: Ingest> Room<I> {
    pub(super) fn new(config: ReceiveConfig, ingest: Arc<I>, clock: Arc<dyn Clock>, tasks: Handle) -> Self {
        let limits = Limits {
            budget: Budget::new(config.in_flight_bytes_max),
            bytes_max: config.request_bytes_max,
            deadline: config.body_timeout,
        };
        // Ids go on where no earlier run of the program can have come: its count never overtakes nanoseconds.
        let next_request_id = AtomicU64::new(clock.now_unix_nano());
        Self { config, limits, stats: Arc::default(), tasks, ingest, clock, next_request_id }
    }

    /// An export request has arrived; says when.
    pub(super) fn arrived(&self, transport: Transport) -> u64 {
        self.stats.count_request(transport);
        self.clock.now_unix_nano()
    }

    /// Hands a request over. Its bytes count against the budget until the answer is known.
    pub(super) async fn submit(
        &self,
        inflated: Inflated,
        received_unix_nano: u64,
        origin: Origin,
    ) -> Result<Accepted, Failure> {
        let Inflated { body, wire_bytes, permit } = inflated;
        self.stats.count_bytes(wire_bytes, body.len());
        if body.is_empty() {
            return Ok(Accepted::default());
        }
        let request_id = RequestId(self.next_request_id.fetch_add(1, Ordering::Relaxed));
        tracing::trace!(%request_id, bytes = body.len(), "received");
        let tenant = Tenant::default();
        let request = ExportRequest { tenant, request_id, received_unix_nano, origin, body };
        let result = self.ingest.ingest(request).await;
        drop(permit);
        result.map_err(|refusal| {
            let failure = Failure::from(refusal);
            tracing::debug!(%request_id, reason = failure.reason().name(), "refused");
            failure
        })
    }

    /// Counts how a request ended.
    pub(super) fn counted(&self, result: Result<Accepted, Failure>) -> Result<Accepted, Failure> {
        match &result {
            Ok(accepted) => self.stats.count_rejected_spans(accepted.rejected_spans),
            Err(failure) => {
                let reason = failure.reason();
                if reason == Reason::Overloaded {
                    tracing::debug!(
                        in_flight_bytes = self.limits.budget.bytes_used(),
                        "over the byte budget"
                    );
                }
                self.stats.count_refused(reason);
            }
        }
        result
    }
}
