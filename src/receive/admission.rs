//! Admission by bytes: what a request occupies in memory is reserved before it is read, and given back when it is
//! answered. Parties share fairly: who floods takes what is free, and no more than its share once somebody else waits.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::runtime::Tenant;

/// How many may wait for room at a time; each costs a task's state. The next one is told to come back at once.
const WAITING_MAX: usize = 256;
/// Of those, how many of one party.
const WAITING_OF_ONE_MAX: usize = 192;
/// With several parties, the part that all requests of one leave to others, so that somebody new finds room even while slow
/// bodies hold the rest.
const LEFT_TO_OTHERS: usize = 8;

/// Who shares the budget with whom.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Party {
    /// Everybody who sends for this tenant.
    Tenant(Tenant),
    /// Where nobody is asked who it is, everybody at this address; of IPv6 the network, which is one site's.
    Address(IpAddr),
}

impl Party {
    /// Whoever sends from this address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
            address => address,
        })
    }
}

impl Default for Party {
    fn default() -> Self {
        Self::Tenant(Tenant::default())
    }
}

/// A number of bytes that all requests in flight share.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    /// Whether there may be several parties.
    several: bool,
    state: Mutex<State>,
    freed: Notify,
    waiting: Semaphore,
}

#[derive(Debug, Default)]
struct State {
    used: usize,
    /// Those that hold or wait for something.
    parties: HashMap<Party, Of>,
}

/// What is of one party.
#[derive(Debug, Default)]
struct Of {
    bytes: usize,
    waiting: usize,
}

/// There is no room now. Nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl Budget {
    /// A budget of `bytes_max` bytes, none of them used, of which one party may take all.
    pub fn new(bytes_max: usize) -> Self {
        Self::with(bytes_max, false)
    }

    /// The same for several parties.
    pub fn fair(bytes_max: usize) -> Self {
        Self::with(bytes_max, true)
    }

    fn with(bytes_max: usize, several: bool) -> Self {
        let (freed, waiting) = (Notify::new(), Semaphore::new(WAITING_MAX));
        Self(Arc::new(Shared { bytes_max, several, state: Mutex::default(), freed, waiting }))
    }

    /// The most that can be reserved, in bytes.
    pub fn bytes_max(&self) -> usize {
        self.0.bytes_max
    }

    /// Reserves bytes until the permit is dropped; where they are not free, waits for them at most this long. Only a few
    /// wait: a long queue of senders would itself need room.
    ///
    /// # Errors
    /// [`Exhausted`] when that many did not become free, or too many wait already.
    pub async fn reserve(
        &self,
        party: &Party,
        bytes: usize,
        patience: Duration,
    ) -> Result<Permit, Exhausted> {
        let now = self.try_reserve(party, bytes);
        let Some(_place) = self.0.waiting.try_acquire().ok().filter(|_| now.is_err()) else { return now };
        let Some(_waiter) = Waiter::new(self, party) else { return now };
        let wait = async {
            loop {
                let mut freed = pin!(self.0.freed.notified());
                // From here on nothing that is given back goes unheard.
                freed.as_mut().enable();
                if let Ok(permit) = self.try_reserve(party, bytes) {
                    return permit;
                }
                freed.await;
            }
        };
        timeout(patience, wait).await.map_err(|_| Exhausted)
    }

    /// Reserves bytes until the permit is dropped. Never waits.
    ///
    /// # Errors
    /// [`Exhausted`] when that many are not free, or others wait for their share of them.
    pub fn try_reserve(&self, party: &Party, bytes: usize) -> Result<Permit, Exhausted> {
        self.take(party, bytes, 0)?;
        Ok(Permit { budget: self.clone(), party: party.clone(), bytes })
    }

    /// Bytes reserved now.
    pub fn bytes_used(&self) -> usize {
        self.0.state.lock().used
    }

    /// Takes bytes for a request that holds `held` already. What is alone of its party may take all: the largest request
    /// would else be told to come back for ever.
    fn take(&self, party: &Party, bytes: usize, held: usize) -> Result<(), Exhausted> {
        let mut state = self.0.state.lock();
        let used = state.used.checked_add(bytes).filter(|used| *used <= self.0.bytes_max).ok_or(Exhausted)?;
        let mine = state.parties.get(party).map_or(0, |of| of.bytes);
        if self.0.several && mine > held && !self.is_fair(&state, party, mine + bytes) {
            return Err(Exhausted);
        }
        state.used = used;
        if bytes > 0 {
            state.parties.entry(party.clone()).or_default().bytes += bytes;
        }
        Ok(())
    }

    /// Whether a party that holds something may hold so many bytes.
    fn is_fair(&self, state: &State, party: &Party, bytes: usize) -> bool {
        let bytes_max = self.0.bytes_max;
        let share = bytes_max / state.parties.len().max(1);
        let is_below = |of: &Of| of.waiting > 0 && of.bytes < share;
        let others_wait = state.parties.iter().any(|(name, of)| name != party && is_below(of));
        bytes <= if others_wait { share } else { bytes_max - bytes_max / LEFT_TO_OTHERS }
    }

    fn give_back(&self, party: &Party, bytes: usize) {
        if bytes > 0 {
            self.change(party, |state| {
                state.used -= bytes;
                if let Some(of) = state.parties.get_mut(party) {
                    of.bytes -= bytes;
                }
            });
            self.0.freed.notify_waiters();
        }
    }

    /// Whoever holds nothing and waits for nothing is forgotten.
    fn change(&self, party: &Party, act: impl FnOnce(&mut State)) {
        let mut state = self.0.state.lock();
        act(&mut state);
        if state.parties.get(party).is_some_and(|of| of.bytes == 0 && of.waiting == 0) {
            state.parties.remove(party);
        }
    }
}

/// Somebody who waits, while it does.
struct Waiter<'a> {
    budget: &'a Budget,
    party: &'a Party,
}

impl<'a> Waiter<'a> {
    /// None when enough of the party's wait already.
    fn new(budget: &'a Budget, party: &'a Party) -> Option<Self> {
        let mut state = budget.0.state.lock();
        let of = state.parties.entry(party.clone()).or_default();
        if budget.0.several && of.waiting >= WAITING_OF_ONE_MAX {
            return None;
        }
        of.waiting += 1;
        Some(Self { budget, party })
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.budget.change(self.party, |state| {
            if let Some(of) = state.parties.get_mut(self.party) {
                of.waiting -= 1;
            }
        });
        // Those who stood back for it need not any more.
        self.budget.0.freed.notify_waiters();
    }
}

/// Bytes of a [`Budget`] that are ours until this is dropped.
#[derive(Debug)]
pub struct Permit {
    budget: Budget,
    party: Party,
    bytes: usize,
}

impl Permit {
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Holds at least `bytes`.
    ///
    /// # Errors
    /// [`Exhausted`] when the difference is not free; what was held stays held.
    pub fn grow_to(&mut self, bytes: usize) -> Result<(), Exhausted> {
        if bytes > self.bytes {
            self.budget.take(&self.party, bytes - self.bytes, self.bytes)?;
            self.bytes = bytes;
        }
        Ok(())
    }

    /// Holds at most `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        if bytes < self.bytes {
            self.budget.give_back(&self.party, self.bytes - bytes);
            self.bytes = bytes;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.give_back(&self.party, self.bytes);
    }
}
