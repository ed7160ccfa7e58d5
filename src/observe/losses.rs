//! The loss ledger, told: what became of every span that was received, by tenant and service. It goes on over restarts.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use serde_json::{Map, Value, json};

use crate::runtime::Tenant;
use crate::sample::{Account, AccountOf};

/// Services shown in `/status`, those with the most spans; `/metrics` has them all.
const SERVICES_SHOWN: usize = 100;

/// What became of every span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LossLedger {
    /// By tenant and service.
    pub accounts: Vec<AccountOf>,
    /// The spans that retention took out of the table, by tenant.
    pub expired: BTreeMap<Tenant, u64>,
}

impl LossLedger {
    /// What became of one tenant's.
    pub fn of(&self, tenant: &Tenant) -> Self {
        let accounts = self.accounts.iter().filter(|account| account.tenant == *tenant).cloned().collect();
        let expired = self.expired.get_key_value(tenant).map(|(tenant, spans)| (tenant.clone(), *spans));
        Self { accounts, expired: expired.into_iter().collect() }
    }
}

type Column = (&'static str, fn(&Account) -> u64);

/// The columns, in the order of a span's life. What was dropped has its own, by rule.
const COLUMNS: [Column; 6] = [
    ("received", |account| account.received),
    ("rescued", |account| account.rescued),
    ("stored", |account| account.stored),
    ("duplicate", |account| account.duplicates),
    ("damaged", |account| account.damaged),
    ("decided_early", |account| account.early),
];

/// An object by tenant: `received`, `rescued`, `stored`, `duplicate`, `dropped`, `damaged`, `outstanding` (pending, kept, or on
/// the way to the table), `decided_early`, `expired`, `dropped_by_rule`, and the same of the largest `services` by name.
/// `received + rescued = stored + duplicate + dropped + damaged + outstanding`, always.
pub(super) fn status(ledger: &LossLedger) -> Value {
    let mut tenants: BTreeMap<&str, Vec<&AccountOf>> = BTreeMap::new();
    for one in &ledger.accounts {
        tenants.entry(one.tenant.as_str()).or_default().push(one);
    }
    let by_tenant = tenants.into_iter().map(|(tenant, mut services)| {
        let mut sum = Account::default();
        services.iter().for_each(|one| sum.add(&one.account));
        services.sort_by_key(|one| std::cmp::Reverse(one.account.received));
        services.truncate(SERVICES_SHOWN);
        let mut object = told(&sum);
        let expired = ledger.expired.iter().find(|(name, _)| name.as_str() == tenant);
        object.insert("expired".to_owned(), json!(expired.map_or(0, |(_, spans)| *spans)));
        let services: Map<String, Value> =
            services.into_iter().map(|one| (one.service.to_string(), told(&one.account).into())).collect();
        object.insert("services".to_owned(), services.into());
        (tenant.to_owned(), Value::Object(object))
    });
    Value::Object(by_tenant.collect())
}

fn told(account: &Account) -> Map<String, Value> {
    let mut object: Map<String, Value> =
        COLUMNS.iter().map(|(name, of)| ((*name).to_owned(), json!(of(account)))).collect();
    object.insert("dropped".to_owned(), json!(account.dropped_total()));
    object.insert("outstanding".to_owned(), json!(i64::try_from(account.outstanding()).unwrap_or(i64::MAX)));
    let dropped: Map<String, Value> =
        account.dropped.iter().map(|(rule, spans)| (rule.to_string(), json!(spans))).collect();
    object.insert("dropped_by_rule".to_owned(), dropped.into());
    object
}

/// A counter by tenant, service and what became of the spans.
#[derive(Debug)]
pub(super) struct Outcomes(pub(super) Vec<AccountOf>);

impl EncodeMetric for Outcomes {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for one in &self.0 {
            for (outcome, of) in COLUMNS {
                let labels =
                    [("tenant", one.tenant.as_str()), ("service", &*one.service), ("outcome", outcome)];
                ConstCounter::new(of(&one.account)).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A counter of dropped spans by tenant, service and rule.
#[derive(Debug)]
pub(super) struct Dropped(pub(super) Vec<AccountOf>);

impl EncodeMetric for Dropped {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for one in &self.0 {
            for (rule, spans) in &one.account.dropped {
                let labels = [("tenant", one.tenant.as_str()), ("service", &*one.service), ("rule", &**rule)];
                ConstCounter::new(*spans).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

#[cfg(test)]
mod tests;
