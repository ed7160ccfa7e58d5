//! The loss ledger: what became of every span that was received, by tenant and service.
//!
//! It is a function of the log, as the sampler is: each record that is applied moves spans from one column to another, so
//! it balances at any moment, and over restarts:
//!
//! `received + rescued = stored + duplicates + dropped + damaged + outstanding`
//!
//! `outstanding` are the spans of traces that are pending, kept, or in a batch under way. A rescued span was dropped before,
//! so it is on the left once more. Records up to the position of the last checkpoint are in its counts already, and are not
//! counted again.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::services::{ServiceSpans, Services};
use super::verdict::Verdict;
use crate::log::Position;
use crate::runtime::Tenant;

/// What became of the spans of one tenant's service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Acknowledged.
    pub received: u64,
    /// Dropped before, found again, and kept after all.
    pub rescued: u64,
    /// Rows in the table because of them. Expiry takes them out of the table, not out of this count.
    pub stored: u64,
    /// Came twice (same trace, span id and kind), and stored once.
    pub duplicates: u64,
    /// Dropped, by rule.
    pub dropped: BTreeMap<Arc<str>, u64>,
    /// Of those kept or dropped: decided before they were due, because there was no room for more.
    pub early: u64,
    /// Kept, and lost because the log could not give them back.
    pub damaged: u64,
}

impl Account {
    /// What was dropped, by all rules.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.values().sum()
    }

    /// What neither has been stored nor lost nor dropped.
    pub fn outstanding(&self) -> i128 {
        let left = i128::from(self.received) + i128::from(self.rescued);
        let right = [self.stored, self.duplicates, self.dropped_total(), self.damaged];
        left - right.into_iter().map(i128::from).sum::<i128>()
    }

    /// Adds another account.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.rescued += other.rescued;
        self.stored += other.stored;
        self.duplicates += other.duplicates;
        self.early += other.early;
        self.damaged += other.damaged;
        for (rule, spans) in &other.dropped {
            *self.dropped.entry(rule.clone()).or_default() += spans;
        }
    }
}

/// What a batch stored of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSpans {
    /// Whose.
    pub tenant: Tenant,
    /// The service's name.
    pub service: Arc<str>,
    /// Rows in the table.
    pub stored: u64,
    /// Left out because they came twice.
    pub duplicates: u64,
}

/// The accounts of all tenants' services. Bounded: tenants are few, and services are told apart up to
/// [`SERVICES_MAX`](super::services::SERVICES_MAX).
#[derive(Debug, Default)]
pub(super) struct Balance {
    /// By the sampler's number of the tenant, and the number of the service.
    accounts: BTreeMap<(u16, u16), Account>,
    /// Spans that retention took out of the table again, by tenant.
    pub(super) expired: BTreeMap<u16, u64>,
    /// Records up to here are counted already.
    counted: Position,
}

impl Balance {
    /// Begins with what a checkpoint held: everything up to the position.
    pub(super) fn begin(&mut self, counted: Position) {
        self.counted = counted;
    }

    pub(super) fn set(&mut self, tenant: u16, service: u16, account: &Account) {
        self.accounts.entry((tenant, service)).or_default().add(account);
    }

    /// The accounts to change because of a record at a position; `None` if it is counted already.
    pub(super) fn at(&mut self, position: Position) -> Option<Open<'_>> {
        (position > self.counted).then_some(Open(&mut self.accounts))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u16, &Account)> {
        self.accounts.iter().map(|((tenant, service), account)| (*tenant, *service, account))
    }

    /// After a replay: spans that were counted as received, and are neither settled nor in the index, were in a part of
    /// the log that is damaged. The other way round their receipt was in a part that is gone, and counts now.
    pub(super) fn settle(&mut self, outstanding: &BTreeMap<(u16, u16), u64>) -> u64 {
        for place in outstanding.keys() {
            self.accounts.entry(*place).or_default();
        }
        let mut lost = 0;
        for (place, account) in &mut self.accounts {
            let here = i128::from(outstanding.get(place).copied().unwrap_or(0));
            let missing = account.outstanding() - here;
            if missing > 0 {
                account.damaged += u64::try_from(missing).unwrap_or(u64::MAX);
                lost += u64::try_from(missing).unwrap_or(u64::MAX);
            } else {
                account.received += u64::try_from(-missing).unwrap_or(0);
            }
        }
        lost
    }
}

/// The accounts, open for the changes that one record makes.
pub(super) struct Open<'a>(&'a mut BTreeMap<(u16, u16), Account>);

impl Open<'_> {
    pub(super) fn received(&mut self, tenant: u16, services: &[ServiceSpans]) {
        self.each(tenant, services, |account, spans| account.received += spans);
    }

    pub(super) fn rescued(&mut self, tenant: u16, services: &[ServiceSpans]) {
        self.each(tenant, services, |account, spans| account.rescued += spans);
    }

    /// A verdict acts on these spans.
    pub(super) fn decided(&mut self, tenant: u16, services: &[ServiceSpans], verdict: &Verdict) {
        self.each(tenant, services, |account, spans| {
            if verdict.early {
                account.early += spans;
            }
            if !verdict.keep {
                match account.dropped.get_mut(&verdict.rule) {
                    Some(dropped) => *dropped += spans,
                    None => drop(account.dropped.insert(verdict.rule.clone(), spans)),
                }
            }
        });
    }

    /// A batch is in the table: rows and duplicates by tenant and service, beside what was to be in it. Only what a tenant
    /// lacks in all was lost: what seems to lack of one service may have been counted with others.
    pub(super) fn stored(
        &mut self,
        expected: &BTreeMap<(u16, u16), u64>,
        stored: &BTreeMap<(u16, u16), (u64, u64)>,
    ) {
        let mut found: BTreeMap<u16, (u64, u64)> = BTreeMap::new();
        for ((tenant, _), spans) in expected {
            found.entry(*tenant).or_default().0 += spans;
        }
        for ((tenant, _), (rows, duplicates)) in stored {
            found.entry(*tenant).or_default().1 += rows + duplicates;
        }
        let mut lost: BTreeMap<u16, u64> = BTreeMap::new();
        let mut excess: BTreeMap<u16, u64> = BTreeMap::new();
        for (tenant, (expected, found)) in found {
            lost.insert(tenant, expected.saturating_sub(found));
            excess.insert(tenant, found.saturating_sub(expected));
        }
        for (place, expected) in expected {
            let account = self.0.entry(*place).or_default();
            let (rows, duplicates) = stored.get(place).copied().unwrap_or((0, 0));
            let duplicates = duplicates.min(*expected);
            let damaged = take(&mut lost, place.0, expected.saturating_sub(rows + duplicates));
            account.damaged += damaged;
            account.duplicates += duplicates;
            account.stored += expected - duplicates - damaged;
        }
        for (place, (rows, duplicates)) in stored {
            let beyond = (rows + duplicates).saturating_sub(expected.get(place).copied().unwrap_or(0));
            let more = take(&mut excess, place.0, beyond);
            if more == 0 {
                continue;
            }
            // Spans thought lost with a damaged part of the log, or received in one.
            let account = self.0.entry(*place).or_default();
            account.stored += more;
            let not_lost = more.min(account.damaged);
            account.damaged -= not_lost;
            account.received += more - not_lost;
        }
    }

    fn each(&mut self, tenant: u16, services: &[ServiceSpans], change: impl Fn(&mut Account, u64)) {
        for one in services {
            change(self.0.entry((tenant, one.service)).or_default(), one.spans.into());
        }
    }
}

/// Takes up to so much of what there is for a tenant.
fn take(left: &mut BTreeMap<u16, u64>, tenant: u16, wanted: u64) -> u64 {
    let Some(left) = left.get_mut(&tenant) else { return 0 };
    let taken = wanted.min(*left);
    *left -= taken;
    taken
}

/// One account, by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountOf {
    /// The tenant.
    pub tenant: Tenant,
    /// The service's name.
    pub service: Arc<str>,
    /// What became of its spans.
    pub account: Account,
}

/// Gives the accounts their names.
pub(super) fn named(
    balance: &Balance,
    tenant: impl Fn(u16) -> Tenant,
    services: &Services,
) -> Vec<AccountOf> {
    let name = |(number, service, account): (u16, u16, &Account)| AccountOf {
        tenant: tenant(number),
        service: services.name(service),
        account: account.clone(),
    };
    balance.iter().map(name).collect()
}
