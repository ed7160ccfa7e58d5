//! What `trace why` asks the sampler, the ledger of decisions and the rules.

use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::events::{Event, Events, ask};
use crate::ledger::Ledger;
use crate::query::{RuleTexts, Standing, Standings};
use crate::rules_source::RulesHistory;
use crate::runtime::{Clock, CpuPool, Tenant};
use crate::sample::{RuleSet, Rulebook, parse_rules};
use crate::wire::TraceId;

/// How far traces are.
pub struct Explaining {
    pub events: Events,
    pub ledger: Arc<Ledger>,
    pub clock: Arc<dyn Clock>,
    pub pool: CpuPool,
}

impl Standings for Explaining {
    fn standing(&self, tenant: &Tenant, trace_id: TraceId) -> BoxFuture<'_, Standing> {
        let tenant = tenant.clone();
        async move {
            // Without a sampler the ledger answers alone.
            let waiting = ask(&self.events, |answer| Event::Waiting(tenant.clone(), trace_id, answer));
            if let Some(waiting) = waiting.await.flatten() {
                let in_nano = waiting.due.saturating_sub(self.clock.monotonic()).as_nanos();
                let in_nano = u64::try_from(in_nano).unwrap_or(u64::MAX);
                let due_unix_nano = self.clock.now_unix_nano().saturating_add(in_nano);
                return Standing::Pending { due_unix_nano, rules_version: waiting.rules_version };
            }
            let ledger = self.ledger.clone();
            let find = move || ledger.find(&tenant, &trace_id);
            // Whoever panics is reported.
            let found = self.pool.run("find a decision", find).await.ok().flatten();
            found.map_or(Standing::Unknown, Standing::Decided)
        }
        .boxed()
    }
}

/// The rules that are in use, and those that were.
pub struct RulesOfAllTime {
    pub rulebook: Arc<Rulebook>,
    pub history: RulesHistory,
}

impl RuleTexts for RulesOfAllTime {
    /// Reads old rules from the disk: a small file.
    fn rules(&self, version: u32) -> Option<Arc<RuleSet>> {
        let parsed = || parse_rules(&self.history.text(version)?).ok().map(Arc::new);
        self.rulebook.version(version).or_else(parsed)
    }
}
