//! The sampler's side of the loss ledger.

use std::collections::{BTreeMap, HashMap};

use super::Sampler;
use crate::runtime::Tenant;
use crate::sample::balance::{AccountOf, named};

impl Sampler {
    /// The spans in the index and on their way to the table, by tenant and service.
    pub(super) fn outstanding(&self) -> BTreeMap<(u16, u16), u64> {
        let mut spans: HashMap<(u16, u16), u64, foldhash::fast::RandomState> = HashMap::default();
        for (_, key, entry) in self.entries.oldest_first() {
            for one in entry.services() {
                *spans.entry((key.tenant, one.service)).or_default() += u64::from(one.spans);
            }
        }
        let in_flight = self.in_flight.values().flat_map(|batch| &batch.traces);
        for trace in self.kept.iter().chain(in_flight) {
            let tenant = self.tenants.find(&trace.tenant).unwrap_or_default();
            for one in &trace.services {
                *spans.entry((tenant, one.service)).or_default() += u64::from(one.spans);
            }
        }
        spans.into_iter().collect()
    }

    /// Retention took so many spans of a tenant out of the table again. They stay counted as stored.
    pub fn count_expired(&mut self, tenant: &Tenant, spans: u64) {
        *self.balance.expired.entry(self.tenants.number(tenant)).or_default() += spans;
    }

    /// The spans that retention took out of the table, by tenant.
    pub fn expired(&self) -> BTreeMap<Tenant, u64> {
        self.balance.expired.iter().map(|(tenant, spans)| (self.tenants.name(*tenant), *spans)).collect()
    }

    /// The loss ledger: what became of every span that was received, by tenant and service.
    pub fn accounts(&self) -> Vec<AccountOf> {
        named(&self.balance, |number| self.tenants.name(number), self.rulebook.services())
    }
}
