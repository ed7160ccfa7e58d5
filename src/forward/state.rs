//! What gateways say of themselves: whether they go on, or are about to leave.

use std::collections::HashMap;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::ring::{Member, Ring};

/// Each answer of a gateway in a fleet has it.
pub const STATE: HeaderName = HeaderName::from_static("tracewell-state");

/// What a gateway is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayState {
    /// It takes whatever is its own.
    Serving,
    /// It finishes the traces it has, and takes no others.
    Draining,
}

impl GatewayState {
    /// As it stands in the header.
    pub fn value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Serving => "serving",
            Self::Draining => "draining",
        })
    }

    /// What an answer says; a gateway that says nothing goes on.
    pub fn in_headers(headers: &HeaderMap) -> Self {
        let draining = headers.get(STATE).is_some_and(|value| value == Self::Draining.value());
        if draining { Self::Draining } else { Self::Serving }
    }
}

/// What is known of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Draining {
    /// So often in a row it did not answer.
    silences: u32,
}

/// A gateway that was leaving, and did not answer so often in a row, has left.
const SILENCES_MAX: u32 = 3;

/// One that has left is remembered for so many of them: longer than any ring.
const FORGOTTEN_AFTER: u32 = 600;

/// What is known of all. Those of which nothing is known go on. Cheap to clone.
#[derive(Clone, Debug)]
pub struct States {
    leaving: Arc<Mutex<HashMap<Member, Draining>>>,
    changed: Arc<watch::Sender<()>>,
}

impl Default for States {
    fn default() -> Self {
        Self { leaving: Arc::default(), changed: Arc::new(watch::Sender::new(())) }
    }
}

impl States {
    /// A gateway has answered.
    pub fn heard(&self, member: &Member, state: GatewayState) {
        let mut leaving = self.leaving.lock();
        let was_leaving = match state {
            GatewayState::Draining => leaving.insert(member.clone(), Draining { silences: 0 }).is_some(),
            GatewayState::Serving => leaving.remove(member).is_some(),
        };
        drop(leaving);
        if was_leaving != (state == GatewayState::Draining) {
            self.changed.send_replace(());
        }
    }

    /// A gateway has not answered.
    pub fn silent(&self, member: &Member) {
        if let Some(draining) = self.leaving.lock().get_mut(member) {
            draining.silences += 1;
        }
    }

    /// Whether it is leaving, or has left in order.
    pub fn leaves(&self, member: &Member) -> bool {
        self.leaving.lock().contains_key(member)
    }

    /// Whether it has left in order: nothing of it is pending any more.
    pub fn has_left(&self, member: &Member) -> bool {
        self.leaving.lock().get(member).is_some_and(|draining| draining.silences >= SILENCES_MAX)
    }

    /// Of these, those that go on: whom new traces go to.
    pub fn staying(&self, members: &Ring) -> Ring {
        members.without(|member| self.leaves(member))
    }

    /// Tells of changes.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Those that are leaving or have left, members or not.
    pub fn leaving(&self) -> Vec<Member> {
        self.leaving.lock().keys().cloned().collect()
    }

    /// Forgets those that are no members any more, but not at once: whoever goes by an older ring still asks for them, and is
    /// not to wait for who has left.
    pub fn keep_only(&self, members: &Ring) {
        let is_kept = |state: &Draining| state.silences < FORGOTTEN_AFTER;
        self.leaving.lock().retain(|member, state| members.has(member) || is_kept(state));
    }
}

#[cfg(test)]
mod tests;
