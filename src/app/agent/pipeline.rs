//! From an admitted request to its acknowledgement: enrich, log. What goes on to the gateways travels along.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::app::enriching::enrich;
use crate::app::forwarding::{Outgoing, OutgoingLog};
use crate::app::ingest::unavailable;
use crate::enrich::{Enriched, Enricher};
use crate::forward::head::HeadSampler;
use crate::log::{Encoded, SpansMeta};
use crate::receive::{Accepted, ExportRequest, Ingest, Refusal};

/// The agent's stages between the receivers and the acknowledgement.
pub(super) struct AgentPipeline {
    enricher: Arc<Enricher>,
    log: OutgoingLog,
    /// Bytes of requests on their way to the splitter.
    room: Arc<Semaphore>,
    head: Option<HeadSampler>,
    /// Spans that head sampling did not let through.
    sampled_out: Arc<AtomicU64>,
}

impl AgentPipeline {
    pub(super) fn new(enricher: Arc<Enricher>, log: OutgoingLog, room: Arc<Semaphore>) -> Self {
        Self { enricher, log, room, head: None, sampled_out: Arc::default() }
    }

    /// With head sampling; what it does not let through is counted.
    pub(super) fn sampled(self, head: Option<HeadSampler>, sampled_out: Arc<AtomicU64>) -> Self {
        Self { head, sampled_out, ..self }
    }

    /// The spans that go on, and how many they are.
    fn sample(&self, enriched: Enriched) -> Result<(Bytes, u64), Refusal> {
        let Some(head) = &self.head else { return Ok((enriched.body, enriched.spans)) };
        let sampled = head.apply(enriched.body).map_err(|e| Refusal::Malformed(e.to_string()))?;
        self.sampled_out.fetch_add(sampled.dropped, Ordering::Relaxed);
        Ok((sampled.body, sampled.kept))
    }
}

impl Ingest for AgentPipeline {
    async fn ingest(&self, request: ExportRequest) -> Result<Accepted, Refusal> {
        // Before any work is spent on it.
        self.log.admits().map_err(unavailable)?;
        let ExportRequest { tenant, request_id, received_unix_nano, origin, body } = request;
        let (enriched, accepted) = enrich(&self.enricher, &origin, body)?;
        let (body, spans) = self.sample(enriched)?;
        if spans == 0 {
            return Ok(accepted);
        }
        let meta = SpansMeta { tenant: tenant.clone(), request_id, received_unix_nano, rules_version: 0 };
        let encoded = Encoded::spans(&meta, &body);
        let spans = u32::try_from(spans).unwrap_or(u32::MAX);
        let bytes = u32::try_from(body.len()).unwrap_or(u32::MAX);
        // Without room it is read back from the log, when the gateways have come so far.
        let room = Arc::clone(&self.room).try_acquire_many_owned(bytes).ok();
        let body = room.map(|room| (body, Arc::new(room)));
        let outgoing = Outgoing { tenant, received_unix_nano, spans, body };
        let position = self.log.append(encoded, outgoing).await.map_err(unavailable)?;
        tracing::debug!(%request_id, %position, spans, rejected = accepted.rejected_spans, "acknowledged");
        Ok(accepted)
    }
}
