//! Rates of tenants: token buckets, one for spans and one for bytes.
//!
//! A request may go below zero once, by what it turned out to be; the tenant then waits until that is made up for. So the size
//! of a request need not be known before it is read, and no request is too large for its bucket for ever.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::runtime::Tenant;

/// Tenants remembered at a time, some hundred bytes each. Those over it share one account.
const TENANTS_MAX: usize = 10_000;
/// No hint is longer: rates may be raised meanwhile.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What one tenant may send on average, and how much of it at once. `None` is without limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Spans in a second.
    pub spans_per_second: Option<u64>,
    /// Bytes in a second, decompressed.
    pub bytes_per_second: Option<u64>,
    /// What may come at once, as so much time of it.
    pub burst: Duration,
}

impl Rate {
    fn is_limit(&self) -> bool {
        self.spans_per_second.is_some() || self.bytes_per_second.is_some()
    }
}

/// The rates of all tenants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// For each tenant that has none of its own.
    pub default: Rate,
    /// Of their own.
    pub tenants: HashMap<Tenant, Rate>,
}

/// What is metered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metered {
    /// Spans.
    Spans,
    /// Bytes, decompressed.
    Bytes,
}

impl Metered {
    /// All of it.
    pub const ALL: [Self; 2] = [Self::Spans, Self::Bytes];

    /// In words, and as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Spans => "spans",
            Self::Bytes => "bytes",
        }
    }
}

/// Over its rate: when the tenant may come back, and what it had too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OverRate {
    pub(super) retry_after: Duration,
    pub(super) what: Metered,
}

/// What each tenant has left.
#[derive(Debug)]
pub(super) struct Accounts {
    rates: Rates,
    accounts: Mutex<HashMap<Option<Tenant>, Account>>,
}

#[derive(Clone, Copy, Debug)]
struct Account {
    spans: f64,
    bytes: f64,
    /// When it was last looked at, monotonic.
    at: Duration,
}

impl Account {
    fn full(rate: &Rate, at: Duration) -> Self {
        let of = |per_second: Option<u64>| per_second.unwrap_or(0) as f64 * rate.burst.as_secs_f64();
        Self { spans: of(rate.spans_per_second), bytes: of(rate.bytes_per_second), at }
    }

    fn refill(&mut self, rate: &Rate, now: Duration) {
        let (full, passed) = (Self::full(rate, now), now.saturating_sub(self.at).as_secs_f64());
        self.spans = (self.spans + passed * rate.spans_per_second.unwrap_or(0) as f64).min(full.spans);
        self.bytes = (self.bytes + passed * rate.bytes_per_second.unwrap_or(0) as f64).min(full.bytes);
        self.at = now;
    }

    /// Whether nothing is owed and all is there: then it says no more than that there is none.
    fn is_full(&self, rate: &Rate, now: Duration) -> bool {
        let mut refilled = *self;
        refilled.refill(rate, now);
        let full = Self::full(rate, now);
        refilled.spans >= full.spans && refilled.bytes >= full.bytes
    }
}

impl Accounts {
    pub(super) fn new(rates: Rates) -> Self {
        Self { rates, accounts: Mutex::default() }
    }

    fn rate(&self, tenant: &Tenant) -> &Rate {
        self.rates.tenants.get(tenant).unwrap_or(&self.rates.default)
    }

    /// Whether the tenant's spans have to be counted.
    pub(super) fn counts_spans(&self, tenant: &Tenant) -> bool {
        self.rate(tenant).spans_per_second.is_some()
    }

    /// Whether the tenant may send now, this many bytes if that is known. Nothing is taken from it yet.
    ///
    /// # Errors
    /// When it has to wait.
    pub(super) fn may_send(
        &self,
        tenant: &Tenant,
        bytes: Option<u64>,
        now: Duration,
    ) -> Result<(), OverRate> {
        let rate = *self.rate(tenant);
        if !rate.is_limit() {
            return Ok(());
        }
        self.with(tenant, &rate, now, |account| {
            let full = Account::full(&rate, now);
            // What is larger than the bucket is let in when that is full.
            let needed = (bytes.unwrap_or(0) as f64).min(full.bytes);
            let short = |per_second: Option<u64>, missing: f64, what| match per_second {
                Some(per_second) if missing > 0.0 => {
                    let seconds = (missing / per_second as f64).min(WAIT_MAX.as_secs_f64());
                    Err(OverRate { retry_after: Duration::from_secs_f64(seconds), what })
                }
                _ => Ok(()),
            };
            short(rate.spans_per_second, -account.spans, Metered::Spans)?;
            short(rate.bytes_per_second, needed - account.bytes, Metered::Bytes)
        })
    }

    /// The tenant has sent this.
    pub(super) fn sent(&self, tenant: &Tenant, spans: u64, bytes: u64, now: Duration) {
        let rate = *self.rate(tenant);
        if rate.is_limit() {
            self.with(tenant, &rate, now, |account| {
                account.spans -= spans as f64;
                account.bytes -= bytes as f64;
            });
        }
    }

    fn with<T>(&self, tenant: &Tenant, rate: &Rate, now: Duration, act: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.accounts.lock();
        let known = accounts.contains_key(&Some(tenant.clone()));
        if !known && accounts.len() >= TENANTS_MAX {
            accounts.retain(|tenant, account| {
                let rate = tenant.as_ref().map_or(&self.rates.default, |tenant| self.rate(tenant));
                !account.is_full(rate, now)
            });
        }
        let key = (known || accounts.len() < TENANTS_MAX).then(|| tenant.clone());
        let account = accounts.entry(key).or_insert_with(|| Account::full(rate, now));
        account.refill(rate, now);
        act(account)
    }
}
