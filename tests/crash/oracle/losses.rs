//! The loss ledger against what was sent, what was decided, and what the table was given.

use std::collections::{BTreeMap, HashSet};

use tracewell::runtime::Tenant;
use tracewell::sample::{Account, AccountOf};

use super::rows::Tables;
use super::{Breach, Oracle};
use crate::load::{Load, TraceNumber};

/// A tenant's service.
type Place = (Tenant, String);

/// What the simulation knows of a service's spans.
#[derive(Default)]
struct Known {
    /// Copies that reached the log.
    received: u64,
    /// Of them those of traces that were only ever dropped, by rule; and of those that were dropped at some time.
    dropped: BTreeMap<String, u64>,
    ever_dropped: u64,
    /// Copies of traces that were dropped, and then kept.
    changed: u64,
    /// Rows that were ever written.
    rows: u64,
}

impl Oracle {
    /// The daemon has just read its log: what it counts as received is what the log was ever given.
    pub fn checks_received(&self, load: &Load, accounts: &[AccountOf]) -> Result<(), Breach> {
        let known = self.known_losses(load, &Tables::default());
        for (place, account, known) in pairs(accounts, &known)? {
            if !self.is_hurt() && account.received != known.received {
                return Err(format!(
                    "{place:?}: {} spans came, and the ledger has {account:?}",
                    known.received
                ));
            }
            if !self.is_hurt() && account.damaged > 0 {
                return Err(format!("{place:?}: nothing was damaged, and the ledger has {account:?}"));
            }
        }
        Ok(())
    }

    /// Everything has come to rest: nothing is outstanding, and each column is what the simulation saw. After a start that lost
    /// a verdict to a damaged record something may wait again (`is_settled` is false).
    pub fn checks_losses(
        &self,
        load: &Load,
        accounts: &[AccountOf],
        tables: &Tables,
        is_settled: bool,
    ) -> Result<(), Breach> {
        let known = self.known_losses(load, tables);
        for (place, account, known) in pairs(accounts, &known)? {
            let wrong = |what: &str| Err(format!("{place:?}: {what}: {known:?} and {account:?}"));
            if account.outstanding() != 0 && (is_settled || !self.is_hurt()) {
                return wrong("spans are outstanding at rest");
            }
            if self.is_hurt() {
                continue;
            }
            if account.damaged > 0 {
                return wrong("nothing was damaged");
            }
            if account.stored != known.rows {
                return wrong("other rows were stored");
            }
            if account.rescued > known.changed || account.dropped_total() > known.ever_dropped {
                return wrong("more was dropped, or came back");
            }
            for (rule, spans) in &known.dropped {
                if account.dropped.get(rule.as_str()).copied().unwrap_or(0) < *spans {
                    return wrong("less was dropped");
                }
            }
        }
        self.checks_received(load, accounts)
    }

    /// Retention took no more spans out of the table than went: after a crash it may have forgotten some.
    pub fn checks_expired(&self, load: &Load, told: &BTreeMap<Tenant, u64>) -> Result<(), Breach> {
        for (tenant, told) in told {
            let of_tenant = self.expired.iter().filter(|(key, _)| load.traces[key.0].tenant == *tenant);
            let rows: u64 = of_tenant.map(|(_, rows)| rows).sum();
            if *told > rows {
                return Err(format!("{tenant}: {told} spans expired, and {rows} rows are gone"));
            }
        }
        Ok(())
    }

    fn known_losses(&self, load: &Load, tables: &Tables) -> BTreeMap<Place, Known> {
        let mut places: BTreeMap<Place, Known> = BTreeMap::new();
        let mut seen = HashSet::new();
        for sent in &self.sent {
            for part in &sent.request.parts {
                let info = &load.traces[part.trace];
                let known = places.entry((info.tenant.clone(), info.service.to_owned())).or_default();
                let copies = (sent.places.len() * part.spans.len()) as u64;
                known.received += copies;
                self.count_fate(part.trace, copies, known);
                for span in &part.spans {
                    let key = super::traces::key_of(part.trace, span);
                    if seen.insert(key) {
                        known.rows += self.ever_written(tables, &key);
                    }
                }
            }
        }
        places
    }

    fn count_fate(&self, trace: TraceNumber, copies: u64, known: &mut Known) {
        let Some(ever) = self.verdicts.get(&trace) else { return };
        if ever.iter().all(|given| !given.keep) && !self.redecided.contains(&trace) {
            *known.dropped.entry(ever[0].rule.clone()).or_default() += copies;
        }
        if ever.iter().any(|given| !given.keep) {
            known.ever_dropped += copies;
            known.changed += if ever.len() > 1 { copies } else { 0 };
        }
    }
}

/// Each account beside what is known of it. None is missing, and none is of nobody.
fn pairs<'a>(
    accounts: &'a [AccountOf],
    known: &'a BTreeMap<Place, Known>,
) -> Result<Vec<(&'a Place, Account, &'a Known)>, Breach> {
    let mut by_place: BTreeMap<Place, Account> = BTreeMap::new();
    for one in accounts {
        by_place.entry((one.tenant.clone(), one.service.to_string())).or_default().add(&one.account);
    }
    if let Some(place) = by_place.keys().find(|place| !known.contains_key(*place)) {
        return Err(format!("the loss ledger has an account of {place:?}, which sent nothing"));
    }
    Ok(known
        .iter()
        .map(|(place, known)| (place, by_place.remove(place).unwrap_or_default(), known))
        .collect())
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { received, dropped, ever_dropped, changed, rows } = self;
        write!(
            f,
            "{received} received, {rows} rows, {dropped:?} dropped for good, {ever_dropped} at some time, "
        )?;
        write!(f, "{changed} of traces whose verdict changed")
    }
}
