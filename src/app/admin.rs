//! What the daemon tells of itself, and what queries ask of the sampler.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::events::{Event, Events, Log, SharedGauges, ask};
use super::exporting::Exports;
use super::fleet::InFleet;
use super::memory::Memory;
use super::trust::Trust;
use crate::api::Admin;
use crate::enrich::Enricher;
use crate::ledger::Ledger;
use crate::observe::{Snapshot, metrics, status};
use crate::query::{LiveSource, Verdicts};
use crate::receive::ReceiveStats;
use crate::rules_source::RulesState;
use crate::runtime::{Clock, CpuPool, Tenant};
use crate::sample::{LiveFilter, LiveTrace, Verdict};
use crate::wire::TraceId;

/// The daemon, seen by operators.
pub struct Operators {
    pub clock: Arc<dyn Clock>,
    pub started: Duration,
    pub receive: Arc<ReceiveStats>,
    pub enricher: Arc<Enricher>,
    pub memory: Memory,
    pub log: Log,
    pub gauges: SharedGauges,
    pub ledger: Arc<Ledger>,
    pub rules: RulesState,
    pub trust: Arc<Trust>,
    pub fleet: Option<Arc<InFleet>>,
    pub exports: Option<Exports>,
}

impl Operators {
    fn with_snapshot<T>(&self, tenant: Option<&Tenant>, tell: impl FnOnce(&Snapshot<'_>) -> T) -> T {
        let (sampler, store) = (self.gauges.sampler.lock().clone(), *self.gauges.store.lock());
        let mut losses = Arc::clone(&self.gauges.losses.lock());
        if let Some(tenant) = tenant {
            losses = Arc::new(losses.of(tenant));
        }
        let (log, rules, ledger) = (self.log.stats(), self.rules.get(), self.ledger.stats());
        let fleet = self.fleet.as_ref().map(|fleet| fleet.stats());
        let exports = self.exports.as_ref().map(Exports::stats).unwrap_or_default();
        tell(&Snapshot {
            uptime: self.clock.monotonic().saturating_sub(self.started),
            ready: self.ready(),
            asker: tenant,
            receive: &self.receive,
            enrich: &self.enricher.stats(),
            memory: &self.memory.now(&log, &sampler),
            log: &log,
            sampler: &sampler,
            ledger: &ledger,
            rules: &rules,
            losses: &losses,
            trust: &self.trust.now(),
            store: &store,
            process: crate::runtime::process::usage(),
            forward: None,
            fleet: fleet.as_ref(),
            export: &exports,
        })
    }
}

impl Admin for Operators {
    fn ready(&self) -> Result<(), String> {
        if self.fleet.as_ref().is_some_and(|fleet| fleet.is_draining()) {
            return Err("draining: this gateway finishes the traces it has, and takes no others".into());
        }
        self.log.admits().map_err(|error| error.to_string())
    }

    fn status(&self, tenant: Option<&Tenant>) -> serde_json::Value {
        self.with_snapshot(tenant, status::status)
    }

    fn metrics(&self, tenant: Option<&Tenant>) -> String {
        self.with_snapshot(tenant, metrics::render)
    }
}

/// What was decided, asked of the sampler's loop, which remembers recent verdicts, and then of the ledger.
pub struct Remembered {
    pub events: Events,
    pub ledger: Arc<Ledger>,
    pub pool: CpuPool,
}

impl Verdicts for Remembered {
    fn verdict(&self, tenant: &Tenant, trace_id: TraceId) -> BoxFuture<'_, Option<Arc<Verdict>>> {
        let tenant = tenant.clone();
        async move {
            let asked = ask(&self.events, |answer| Event::Verdict(tenant.clone(), trace_id, answer));
            if let Some(verdict) = asked.await.flatten() {
                return Some(verdict);
            }
            let ledger = self.ledger.clone();
            let find = move || ledger.find(&tenant, &trace_id);
            // Whoever panics is reported.
            self.pool.run("find a decision", find).await.ok().flatten().map(|told| told.verdict)
        }
        .boxed()
    }
}

/// The traces that are not in the table yet, asked of the sampler's loop.
pub struct NotStored(pub Events);

impl LiveSource for NotStored {
    fn live(&self, filter: LiveFilter) -> BoxFuture<'_, Vec<LiveTrace>> {
        async move {
            // Without a sampler the table answers alone.
            ask(&self.0, |answer| Event::Live(filter, answer)).await.unwrap_or_default()
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests;
