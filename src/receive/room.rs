//! What all requests share, whatever they came in by.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderMap;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, COOKIE};
use tokio::runtime::Handle;

use super::admission::{Budget, Party};
use super::body::Limits;
use super::config::ReceiveConfig;
use super::decompress::Inflated;
use super::failure::Failure;
use super::rates::{Accounts, OverRate};
use super::stats::{Reason, ReceiveStats, Transport};
use super::{Accepted, ExportRequest, Ingest, Origin};
use crate::auth::{Admitted, ClientCertificate, Gate, Scope, Shown};
use crate::runtime::{Clock, RequestId, Tenant};
use crate::wire;

/// The other side of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    /// Its address; `None` on a Unix socket.
    pub(super) address: Option<SocketAddr>,
    /// The certificate it showed.
    pub(super) certificate: Option<Arc<ClientCertificate>>,
}

/// A request that was let in: who sent it, and when.
pub(super) struct Arrival {
    admitted: Admitted,
    unix_nano: u64,
    origin: Origin,
    party: Party,
}

/// Configuration, budget, counters, and the stage behind.
pub(super) struct Room<I> {
    pub(super) config: ReceiveConfig,
    pub(super) limits: Limits,
    pub(super) stats: Arc<ReceiveStats>,
    /// Where connections run, and what would keep them waiting.
    pub(super) tasks: Handle,
    pub(super) ingest: Arc<I>,
    clock: Arc<dyn Clock>,
    gate: Arc<Gate>,
    accounts: Accounts,
    next_request_id: AtomicU64,
}

impl Arrival {
    /// Whose spans they are.
    pub(super) fn tenant(&self) -> &Tenant {
        &self.admitted.tenant
    }

    /// Who shares the budget with others.
    pub(super) fn party(&self) -> &Party {
        &self.party
    }
}

/// Spans of a request, as far as it can be read.
fn spans_in(body: &[u8]) -> u64 {
    let scopes = wire::resource_spans(body).map_while(Result::ok).flat_map(|resource| resource.scope_spans());
    scopes.map_while(Result::ok).map(|scope| scope.spans().map_while(Result::ok).count() as u64).sum()
}

impl<I: Ingest> Room<I> {
    pub(super) fn new(
        config: ReceiveConfig,
        ingest: Arc<I>,
        clock: Arc<dyn Clock>,
        tasks: Handle,
        gate: Arc<Gate>,
    ) -> Self {
        // Without credentials there is one tenant, and on one machine nobody to be told apart.
        let budget = if gate.asks() || config.open_to_others { Budget::fair } else { Budget::new };
        let limits = Limits {
            budget: budget(config.in_flight_bytes_max),
            bytes_max: config.request_bytes_max,
            deadline: config.body_timeout,
        };
        let accounts = Accounts::new(config.rates.clone());
        // Ids go on where no earlier run of the program can have come: its count never overtakes nanoseconds.
        let next_request_id = AtomicU64::new(clock.now_unix_nano());
        Self { config, limits, stats: Arc::default(), tasks, ingest, clock, gate, accounts, next_request_id }
    }

    /// An export request's head has arrived: lets it in before anything of its body is read, or not. Whoever comes after
    /// sees no credential any more.
    pub(super) async fn arrived(
        &self,
        transport: Transport,
        peer: &Peer,
        mut headers: HeaderMap,
    ) -> Result<Arrival, Failure> {
        self.stats.count_request(transport);
        let unix_nano = self.clock.now_unix_nano();
        let shown = Shown { headers: &headers, certificate: peer.certificate.as_deref() };
        let admitted = self.gate.admit(shown, Scope::Write).await;
        let admitted =
            admitted.map_err(|denied| Failure::Denied { denied, challenge: self.gate.challenge() })?;
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let may_send = self.accounts.may_send(&admitted.tenant, length, self.clock.monotonic());
        may_send.map_err(|OverRate { retry_after, what }| {
            self.stats.count_over_rate(&admitted.tenant, what);
            let message = format!("tenant {} sends more {} than its limit", admitted.tenant, what.name());
            Failure::OverRate { retry_after, message }
        })?;
        headers.remove(AUTHORIZATION);
        headers.remove(COOKIE);
        let origin = Origin { client: peer.address, headers: Arc::new(headers) };
        let party = self.party(peer, Some(&admitted));
        Ok(Arrival { admitted, unix_nano, origin, party })
    }

    /// Who shares the budget with others: a tenant, or where nobody is asked who it is, an address.
    pub(super) fn party(&self, peer: &Peer, admitted: Option<&Admitted>) -> Party {
        match (admitted.filter(|_| self.gate.asks()), peer.address) {
            (Some(admitted), _) => Party::Tenant(admitted.tenant.clone()),
            (None, Some(address)) => Party::at(address.ip()),
            (None, None) => Party::default(),
        }
    }

    /// Hands a request over. Its bytes count against the budget until the answer is known.
    pub(super) async fn submit(&self, inflated: Inflated, arrival: Arrival) -> Result<Accepted, Failure> {
        let Inflated { body, wire_bytes, permit } = inflated;
        self.stats.count_bytes(wire_bytes, body.len());
        if body.is_empty() {
            return Ok(Accepted::default());
        }
        self.charge(&arrival.admitted.tenant, &body);
        let request_id = RequestId(self.next_request_id.fetch_add(1, Ordering::Relaxed));
        tracing::trace!(%request_id, bytes = body.len(), "received");
        let Arrival { admitted: Admitted { tenant, .. }, unix_nano, origin, .. } = arrival;
        let request = ExportRequest { tenant, request_id, received_unix_nano: unix_nano, origin, body };
        let result = self.ingest.ingest(request).await;
        drop(permit);
        result.map_err(|refusal| {
            let failure = Failure::from(refusal);
            tracing::debug!(%request_id, reason = failure.reason().name(), "refused");
            failure
        })
    }

    /// Takes what was sent from the tenant's account. What cannot be read counts too: it has cost as much.
    fn charge(&self, tenant: &Tenant, body: &[u8]) {
        let spans = if self.accounts.counts_spans(tenant) { spans_in(body) } else { 0 };
        self.accounts.sent(tenant, spans, body.len() as u64, self.clock.monotonic());
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
