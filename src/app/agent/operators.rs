//! What an agent tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::api::{Admin, Api, ApiConfig, PinError, Pins};
use crate::app::forwarding::couriers::Clients;
use crate::app::forwarding::{Forwarding, OutgoingLog};
use crate::app::membership::Gateways;
use crate::app::trust::Trust;
use crate::config::Config;
use crate::enrich::Enricher;
use crate::forward::lane::Lane;
use crate::observe::{
    ForwardStats, LaneStats, LossLedger, MemoryPart, MemoryUse, Snapshot, StoreStats, metrics, status,
};
use crate::query::{Engine, EngineConfig, PinDocument};
use crate::receive::{Budget, ReceiveStats};
use crate::rules_source::RulesStatus;
use crate::runtime::{Clock, Tenant};
use crate::sample::SamplerStats;
use crate::store::{Location, Reader, ReaderConfig};
use crate::wire::TraceId;

/// The agent, seen by operators.
pub(super) struct AgentOperators {
    pub(super) config: Arc<Config>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) started: Duration,
    pub(super) receive: Arc<ReceiveStats>,
    pub(super) admission: Budget,
    pub(super) room: Arc<Semaphore>,
    pub(super) log: OutgoingLog,
    pub(super) forwarding: Forwarding,
    pub(super) gateways: Gateways,
    pub(super) clients: Clients,
    pub(super) trust: Arc<Trust>,
    pub(super) enricher: Arc<Enricher>,
    pub(super) sampled_out: Arc<AtomicU64>,
}

impl AgentOperators {
    /// The interface: operators' questions only.
    pub(super) fn api(self) -> Result<Api, crate::store::StoreError> {
        // There is no table here; nobody is let through to ask for one.
        let location = Location::configured(None, &self.config.data)?;
        let reader = Reader::new(location, self.clock.clone(), ReaderConfig::default());
        let engine = Engine::new(reader, None, self.clock.clone(), EngineConfig::default());
        let gate = self.trust.gate.clone();
        let api = Api::new(engine, Arc::new(self), Arc::new(NoPins), ApiConfig::default());
        Ok(api.for_operators().guarded(gate))
    }

    fn with_snapshot<T>(&self, asker: Option<&Tenant>, tell: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let log = self.log.stats();
        let forward = self.forward(log.durable.0);
        tell(&Snapshot {
            uptime: self.clock.monotonic().saturating_sub(self.started),
            ready: self.ready(),
            asker,
            receive: &self.receive,
            memory: &self.memory(log.queue_bytes, &forward),
            log: &log,
            sampler: &SamplerStats::default(),
            ledger: &Default::default(),
            rules: &RulesStatus::default(),
            losses: &LossLedger::default(),
            store: &StoreStats::default(),
            process: crate::runtime::process::usage(),
            trust: &self.trust.now(),
            enrich: &self.enricher.stats(),
            forward: Some(&forward),
            fleet: None,
            export: &[],
        })
    }

    fn forward(&self, end: u64) -> ForwardStats {
        let lanes = self.forwarding.lanes();
        let sums = self.forwarding.sums();
        ForwardStats {
            received: sums.received,
            resumed: sums.resumed,
            forwarded: sums.forwarded,
            refused: sums.refused,
            outstanding: sums.outstanding(),
            sampled_out: self.sampled_out.load(Ordering::Relaxed),
            lanes: lanes.iter().map(|lane| self.lane(lane, end)).collect(),
        }
    }

    fn lane(&self, lane: &Lane, end: u64) -> LaneStats {
        let (queue_bytes, progress, oldest) =
            lane.with_queue(|queue| (queue.outstanding_bytes(), queue.progress(), queue.oldest_unix_nano()));
        let age = oldest.map_or(0, |oldest| self.clock.now_unix_nano().saturating_sub(oldest));
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let is_member = self.gateways.members.borrow().has(&lane.member);
        let name = if lane.member.is_nobody() { "(nobody)" } else { lane.member.as_str() };
        LaneStats {
            name: name.to_owned(),
            state: match (is_member, self.clients.states.leaves(&lane.member)) {
                (true, false) => "serving",
                (true, true) => "draining",
                (false, _) => "gone",
            },
            queue_bytes: queue_bytes as u64,
            behind_bytes: end.saturating_sub(progress.0),
            behind_ms: age / 1_000_000,
            sent_spans: of(&lane.stats.sent_spans),
            sent_requests: of(&lane.stats.sent_requests),
            sent_bytes: of(&lane.stats.sent_bytes),
            retries: of(&lane.stats.retries),
            refused_spans: of(&lane.stats.refused_spans),
            unreadable_records: of(&lane.stats.unreadable_records),
            trouble: lane.trouble(),
        }
    }

    fn memory(&self, log_queue: u64, forward: &ForwardStats) -> MemoryUse {
        let memory = &self.config.memory;
        let part = |name, used, bound| MemoryPart { name, used, bound };
        let lanes: u64 = forward.lanes.iter().map(|lane| lane.queue_bytes).sum();
        let lanes_max = self.config.gateways.queue.saturating_mul(forward.lanes.len() as u64);
        let splitting = memory.notes.saturating_sub(self.room.available_permits() as u64);
        let parts = vec![
            part("admission", self.admission.bytes_used() as u64, self.admission.bytes_max() as u64),
            part("splitter", splitting, memory.notes),
            part("log_queue", log_queue, 2 * memory.log_queue),
            part("lanes", lanes, lanes_max),
        ];
        MemoryUse { limit: memory.limit, parts }
    }
}

impl Admin for AgentOperators {
    fn ready(&self) -> Result<(), String> {
        self.log.admits().map_err(|error| error.to_string())
    }

    fn status(&self, tenant: Option<&Tenant>) -> serde_json::Value {
        self.with_snapshot(tenant, status::status)
    }

    fn metrics(&self, tenant: Option<&Tenant>) -> String {
        self.with_snapshot(tenant, metrics::render)
    }
}

/// An agent keeps no traces.
struct NoPins;

impl Pins for NoPins {
    fn pin(
        &self,
        _: Tenant,
        _: TraceId,
        _: Option<Duration>,
    ) -> BoxFuture<'_, Result<PinDocument, PinError>> {
        std::future::ready(Err(PinError::NotFound)).boxed()
    }
}
