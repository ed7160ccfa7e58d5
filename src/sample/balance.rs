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
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::services::{OTHERS, ServiceSpans, Services};
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

/// An account's place: the sampler's number of the tenant, and the number of the service.
type Place = (u16, u16);

/// What an account takes, about, in bytes: nodes of a tree are half full at worst.
const ACCOUNT_BYTES: usize = 2 * size_of::<(Place, Account)>();
/// What the first rule that drops of it takes, and each other.
const RULES_BYTES: usize = 12 * size_of::<(Arc<str>, u64)>();
const RULE_BYTES: usize = 2 * size_of::<(Arc<str>, u64)>();
/// What is dropped by rules that there is no room to tell apart.
const OTHER_RULES: &str = "(others)";

/// The accounts of all tenants' services. Bounded in bytes: beyond that, a tenant's further services are counted together, and
/// further rules. Only one account for each tenant comes on top, and tenants are few.
#[derive(Debug)]
pub(super) struct Balance {
    accounts: BTreeMap<Place, Account>,
    /// What they take, about, in bytes.
    bytes: usize,
    bytes_max: usize,
    /// Spans that retention took out of the table again, by tenant.
    pub(super) expired: BTreeMap<u16, u64>,
    /// Records up to here are counted already.
    counted: Position,
}

impl Balance {
    /// No accounts, and room for so many bytes of them.
    pub(super) fn new(bytes_max: usize) -> Self {
        let counted = Position::default();
        Self { accounts: BTreeMap::new(), bytes: 0, bytes_max, expired: BTreeMap::new(), counted }
    }

    /// What the accounts take, about, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where a service of a tenant is counted: on its own, or with others where there is no room.
    fn place(&self, (tenant, service): Place) -> Place {
        let fits = self.bytes + ACCOUNT_BYTES + RULES_BYTES <= self.bytes_max;
        if fits || self.accounts.contains_key(&(tenant, service)) {
            (tenant, service)
        } else {
            (tenant, OTHERS)
        }
    }

    fn account(&mut self, place: Place) -> &mut Account {
        let place = self.place(place);
        let bytes = &mut self.bytes;
        self.accounts.entry(place).or_insert_with(|| {
            *bytes += ACCOUNT_BYTES;
            Account::default()
        })
    }

    /// Spans of a place were dropped by a rule.
    fn dropped(&mut self, place: Place, rule: &Arc<str>, spans: u64) {
        let room = self.bytes_max.saturating_sub(self.bytes);
        let dropped = &mut self.account(place).dropped;
        if let Some(known) = dropped.get_mut(rule) {
            *known += spans;
            return;
        }
        let takes = if dropped.is_empty() { RULES_BYTES } else { RULE_BYTES };
        let rule = if takes <= room || dropped.is_empty() { rule.clone() } else { OTHER_RULES.into() };
        let is_new = !dropped.contains_key(&rule);
        *dropped.entry(rule).or_default() += spans;
        self.bytes += if is_new { takes } else { 0 };
    }

    /// Sums by where they are counted.
    fn by_place<T: Copy>(&self, sums: &BTreeMap<Place, T>, add: impl Fn(&mut T, T)) -> BTreeMap<Place, T> {
        let mut folded: BTreeMap<Place, T> = BTreeMap::new();
        for (place, sum) in sums {
            match folded.entry(self.place(*place)) {
                Entry::Vacant(entry) => drop(entry.insert(*sum)),
                Entry::Occupied(mut entry) => add(entry.get_mut(), *sum),
            }
        }
        folded
    }

    /// Begins with what a checkpoint held: everything up to the position.
    pub(super) fn begin(&mut self, counted: Position) {
        self.counted = counted;
    }

    pub(super) fn set(&mut self, tenant: u16, service: u16, account: &Account) {
        let (place, rules) = ((tenant, service), &account.dropped);
        self.account(place).add(&Account { dropped: BTreeMap::new(), ..account.clone() });
        rules.iter().for_each(|(rule, spans)| self.dropped(place, rule, *spans));
    }

    /// The accounts to change because of a record at a position; `None` if it is counted already.
    pub(super) fn at(&mut self, position: Position) -> Option<Open<'_>> {
        (position > self.counted).then_some(Open(self))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u16, u16, &Account)> {
        self.accounts.iter().map(|((tenant, service), account)| (*tenant, *service, account))
    }

    /// After a replay: spans that were counted as received, and are neither settled nor in the index, were in a part of
    /// the log that is damaged. The other way round their receipt was in a part that is gone, and counts now.
    pub(super) fn settle(&mut self, outstanding: &BTreeMap<(u16, u16), u64>) -> u64 {
        for place in outstanding.keys() {
            self.account(*place);
        }
        let outstanding = self.by_place(outstanding, |sum, more| *sum += more);
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
pub(super) struct Open<'a>(&'a mut Balance);

impl Open<'_> {
    pub(super) fn received(&mut self, tenant: u16, services: &[ServiceSpans]) {
        self.each(tenant, services, |account, spans| account.received += spans);
    }

    pub(super) fn rescued(&mut self, tenant: u16, services: &[ServiceSpans]) {
        self.each(tenant, services, |account, spans| account.rescued += spans);
    }

    /// A verdict acts on these spans.
    pub(super) fn decided(&mut self, tenant: u16, services: &[ServiceSpans], verdict: &Verdict) {
        if verdict.early {
            self.each(tenant, services, |account, spans| account.early += spans);
        }
        if !verdict.keep {
            for one in services {
                self.0.dropped((tenant, one.service), &verdict.rule, one.spans.into());
            }
        }
    }

    /// A batch is in the table: rows and duplicates by tenant and service, beside what was to be in it. Only what a tenant
    /// lacks in all was lost: what seems to lack of one service may have been counted with others.
    pub(super) fn stored(
        &mut self,
        expected: &BTreeMap<(u16, u16), u64>,
        stored: &BTreeMap<(u16, u16), (u64, u64)>,
    ) {
        let expected = &self.0.by_place(expected, |sum, more| *sum += more);
        let stored = &self.0.by_place(stored, |sum, more| *sum = (sum.0 + more.0, sum.1 + more.1));
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
            let account = self.0.account(*place);
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
            let account = self.0.account(*place);
            account.stored += more;
            let not_lost = more.min(account.damaged);
            account.damaged -= not_lost;
            account.received += more - not_lost;
        }
    }

    fn each(&mut self, tenant: u16, services: &[ServiceSpans], change: impl Fn(&mut Account, u64)) {
        for one in services {
            change(self.0.account((tenant, one.service)), one.spans.into());
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
