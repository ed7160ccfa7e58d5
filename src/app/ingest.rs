//! From an admitted request to its acknowledgement: enrich, scan, log.

use std::mem::take;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::enriching::enrich;
use super::events::{Attachment, Log, SharedGauges};
use super::fleet::{InFleet, Stays};
use super::memory::NotesBudget;
use crate::enrich::Enricher;
use crate::log::{AppendError, Encoded, SpansMeta};
use crate::receive::{Accepted, ExportRequest, Ingest, Origin, Refusal};
use crate::runtime::Tenant;
use crate::sample::{Notes, Rulebook};

/// When senders are told to come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The stages between the receivers and the acknowledgement.
pub struct Pipeline {
    pub enricher: Arc<Enricher>,
    pub rulebook: Arc<Rulebook>,
    pub log: Log,
    pub gauges: SharedGauges,
    pub notes: NotesBudget,
    /// Where this is a gateway among others.
    pub fleet: Option<Arc<InFleet>>,
}

/// A request after enrich and scan.
struct Prepared {
    body: Bytes,
    notes: Notes,
    accepted: Accepted,
}

impl Pipeline {
    fn prepare(&self, origin: &Origin, body: Bytes) -> Result<Prepared, Refusal> {
        let (enriched, accepted) = enrich(&self.enricher, origin, body)?;
        let notes = self.rulebook.scan(&enriched.body).map_err(|e| Refusal::Malformed(e.to_string()))?;
        Ok(Prepared { body: enriched.body, notes, accepted })
    }

    /// Leaves what belongs to this gateway.
    async fn own_part(&self, request: &ExportRequest, prepared: Prepared) -> Result<Prepared, Refusal> {
        let Some(fleet) = &self.fleet else { return Ok(prepared) };
        match fleet.settle(request, &prepared.notes).await? {
            Stays::All => Ok(prepared),
            Stays::Part(body) => self.prepare(&request.origin, body),
        }
    }
}

impl Ingest for Pipeline {
    async fn ingest(&self, mut request: ExportRequest) -> Result<Accepted, Refusal> {
        // Before any work is spent on it.
        self.log.admits().map_err(unavailable)?;
        if self.gauges.full.load(Ordering::Relaxed) {
            let reason = "too much waits for the store".into();
            return Err(Refusal::Overloaded { retry_after: RETRY_AFTER, reason });
        }
        // In a fleet, what belongs elsewhere goes on as it came.
        let body = if self.fleet.is_some() { request.body.clone() } else { take(&mut request.body) };
        let prepared = self.prepare(&request.origin, body)?;
        let Prepared { body, notes, accepted } = self.own_part(&request, prepared).await?;
        drop(take(&mut request.body));
        if notes.spans == 0 {
            return Ok(accepted);
        }
        let Some(room) = self.notes.room_for(&notes).await else {
            let reason = "too much waits for the sampler".into();
            return Err(Refusal::Overloaded { retry_after: RETRY_AFTER, reason });
        };
        let ExportRequest { tenant, request_id, received_unix_nano, .. } = request;
        let spans = notes.spans;
        let meta = SpansMeta {
            tenant: tenant.clone(),
            request_id,
            received_unix_nano,
            rules_version: notes.rules_version,
        };
        let encoded = Encoded::spans(&meta, &body);
        // The log has its own copy now: what waits for the disk holds no request.
        drop(body);
        let attachment = Attachment::Spans { tenant, notes, request_id, room };
        let position = self.log.append(encoded, attachment).await.map_err(unavailable)?;
        tracing::debug!(%request_id, %position, spans, rejected = accepted.rejected_spans, "acknowledged");
        Ok(accepted)
    }

    fn announce(&self, headers: &mut HeaderMap) {
        if let Some(fleet) = &self.fleet {
            fleet.announce(headers);
        }
    }

    async fn call(&self, path: &str, tenant: &Tenant, message: Bytes) -> Option<Result<Bytes, Refusal>> {
        self.fleet.as_ref()?.call(path, tenant, &message).await
    }
}

/// What a sender is told when the log did not take its request.
pub(super) fn unavailable(error: AppendError) -> Refusal {
    match error {
        AppendError::TooLarge => Refusal::Malformed(error.to_string()),
        AppendError::Closed => {
            Refusal::Unavailable { retry_after: RETRY_AFTER, reason: "shutting down".into() }
        }
        other => Refusal::Unavailable { retry_after: RETRY_AFTER, reason: other.to_string() },
    }
}
