//! No trace is decided by two gateways, however the fleet changes.
//!
//! Agents and gateways see changes at different times, so where a span arrives proves nothing. For each trace there is one
//! *arbiter*: the gateway that owned it by the oldest ring of the last while (the decision wait and some time to settle). A
//! gateway that gets spans of a trace it does not know *claims* it from the arbiter, by its id. The arbiter answers that it has
//! the trace itself, or gives it away and remembers to whom; whoever asks after that is told. So all spans of a trace come
//! together, whoever they were sent to. While no ring has changed for that while, owners are their own arbiters, and nobody asks.
//!
//! To a gateway that joins, the ring before was the one without itself. One that was killed goes on with the rings that it
//! wrote down ([`Before`]): as long as all know the same rings, they agree about arbiters. What it has it knows from its log and
//! from the ledger of decisions; what it gave away as an arbiter before it was killed, it does not. So while it is *young*,
//! for one window, it asks all others about a trace that it does not know, before it says anything.

mod before;
mod claim;
pub(super) mod recent;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

pub use before::Before;
pub use claim::{CLAIM, Claim, Claimed, HANDOVER};
use recent::Recent;

use super::ring::{Member, Ring};
use crate::sample::Fingerprint;
use crate::wire::TraceId;

/// Where the spans of a trace that have arrived here belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Here.
    Mine,
    /// There: they are handed over.
    With(Member),
    /// That one knows.
    Ask(Member),
}

/// What an arbiter says of one trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The arbiter has it.
    Mine,
    /// Whoever asked has it.
    Yours,
    /// A third one has it.
    Theirs(Member),
}

/// What one gateway knows of the traces of the fleet. Bounded in bytes.
pub struct Fleet {
    own: Member,
    window: Duration,
    /// Traces that are here.
    here: Recent<()>,
    /// Traces that are elsewhere.
    elsewhere: Recent<Member>,
    /// The rings of the last while, each with when it came; the last is in force.
    rings: VecDeque<(Ring, Duration)>,
    begun: Duration,
    is_young: bool,
}

impl Fleet {
    /// A gateway that has just started, in this ring.
    pub fn new(own: Member, ring: Ring, window: Duration, bytes_max: usize, now: Duration) -> Self {
        let before = ring.without(|member| *member == own);
        let rings = [before, ring].into_iter().filter(|ring| !ring.members().is_empty());
        let mut rings: VecDeque<_> = rings.map(|ring| (ring, now)).collect();
        if rings.is_empty() {
            rings.push_back((Ring::default(), now));
        }
        // Nine traces of ten are here; the others come with a name each.
        let (here, elsewhere) = (Recent::new(bytes_max / 2), Recent::new(bytes_max / 2));
        Self { own, window, here, elsewhere, rings, begun: now, is_young: true }
    }

    /// It was away for a moment only: these rings counted, each known for so long, oldest first. Before anything is asked.
    pub fn resume(&mut self, rings: Vec<(Ring, Duration)>, now: Duration) {
        let current = self.current().clone();
        let rings = rings.into_iter().map(|(ring, age)| (ring, now.saturating_sub(age)));
        self.rings = rings.collect();
        self.follow(current, now);
    }

    /// The rings that still count, oldest first, and for how long each has been known.
    pub fn ages(&self, now: Duration) -> Vec<(Ring, Duration)> {
        self.rings.iter().map(|(ring, since)| (ring.clone(), now.saturating_sub(*since))).collect()
    }

    /// The ring has changed.
    pub fn follow(&mut self, ring: Ring, now: Duration) {
        if self.rings.back().is_none_or(|(current, _)| *current != ring) {
            self.rings.push_back((ring, now));
        }
    }

    /// Time goes on: what is older than the window is forgotten. `window` may change with the rules.
    pub fn turn(&mut self, window: Duration, now: Duration) {
        self.window = window;
        self.is_young &= now.saturating_sub(self.begun) <= window;
        self.here.turn(window, now);
        self.elsewhere.turn(window, now);
        // A ring counts for a while after the next one came.
        while self.rings.get(1).is_some_and(|(_, since)| now.saturating_sub(*since) > window) {
            self.rings.pop_front();
        }
    }

    /// Whether the ring has not changed for a while.
    pub fn is_settled(&self) -> bool {
        self.rings.len() == 1
    }

    /// Whether it has not been there for all of the window: it may have forgotten what others go by.
    pub fn is_young(&self) -> bool {
        self.is_young
    }

    /// Who has a trace, as far as is known here. Decides nothing.
    pub fn tell(&self, trace: Fingerprint, has_left: impl Fn(&Member) -> bool) -> Option<&Member> {
        if self.here.peek(trace.0).is_some() {
            return Some(&self.own);
        }
        self.elsewhere.peek(trace.0).filter(|member| !has_left(member))
    }

    /// Another gateway has told who has a trace. What is known here counts for more.
    pub fn learn(&mut self, trace: Fingerprint, member: Member, has_left: impl Fn(&Member) -> bool) {
        if self.tell(trace, has_left).is_none() {
            self.give(trace, member);
        }
    }

    /// Traces remembered: here, and elsewhere.
    pub fn remembered(&self) -> (usize, usize) {
        (self.here.len(), self.elsewhere.len())
    }

    /// The trace is here, whatever anybody says: it was in the log, or was handed over.
    pub fn take(&mut self, trace: Fingerprint) {
        self.elsewhere.remove(trace.0);
        self.here.insert(trace.0, ());
    }

    /// Where the spans of a trace belong that have arrived here. `has_left` says who has left in order and has nothing
    /// pending: nobody waits for their word.
    pub fn place(&mut self, trace: Fingerprint, id: &TraceId, has_left: impl Fn(&Member) -> bool) -> Place {
        if self.here.refresh(trace.0).is_some() {
            return Place::Mine;
        }
        // Nobody is asked for ever about a gateway that does not come back.
        if let Some(member) = self.elsewhere.peek(trace.0).filter(|member| !has_left(member)) {
            return Place::With(member.clone());
        }
        let owner = self.owner(id);
        let arbiter = self.arbiter(id, has_left).unwrap_or_else(|| self.own.clone());
        if arbiter != self.own {
            return Place::Ask(arbiter);
        }
        self.give(trace, owner)
    }

    /// Another gateway asks whose a trace is; from here on it is so.
    pub fn claim(
        &mut self,
        trace: Fingerprint,
        id: &TraceId,
        asker: &Member,
        has_left: impl Fn(&Member) -> bool,
    ) -> Answer {
        if self.here.refresh(trace.0).is_some() {
            return Answer::Mine;
        }
        let known = self.elsewhere.peek(trace.0).filter(|member| !has_left(member));
        let place = known.cloned().map(Place::With).unwrap_or_else(|| {
            let owner = self.owner(id);
            // Whoever asks has its spans already; unless it is leaving.
            let may_keep = owner != self.own && self.current().has(asker);
            self.give(trace, if may_keep { asker.clone() } else { owner })
        });
        match place {
            Place::With(member) if member == *asker => Answer::Yours,
            Place::With(member) => Answer::Theirs(member),
            Place::Mine | Place::Ask(_) => Answer::Mine,
        }
    }

    /// What the arbiter has said of a trace that was asked about.
    pub fn answered(
        &mut self,
        trace: Fingerprint,
        arbiter: &Member,
        answer: Answer,
        has_left: impl Fn(&Member) -> bool,
    ) -> Place {
        // Others may have been here meanwhile: what is here stays.
        if self.here.refresh(trace.0).is_some() {
            return Place::Mine;
        }
        let member = match answer {
            Answer::Mine => arbiter.clone(),
            // And what was promised to one of them meanwhile is that one's.
            Answer::Yours => self.tell(trace, has_left).unwrap_or(&self.own).clone(),
            Answer::Theirs(member) => member,
        };
        self.give(trace, member)
    }

    fn give(&mut self, trace: Fingerprint, member: Member) -> Place {
        if member == self.own {
            self.here.insert(trace.0, ());
            return Place::Mine;
        }
        self.elsewhere.insert(trace.0, member.clone());
        Place::With(member)
    }

    fn current(&self) -> &Ring {
        // There always is one.
        &self.rings[self.rings.len() - 1].0
    }

    /// The owner by the ring in force; this gateway, where nobody is in it.
    fn owner(&self, id: &TraceId) -> Member {
        self.current().owner(id).unwrap_or(&self.own).clone()
    }

    fn arbiter(&self, id: &TraceId, has_left: impl Fn(&Member) -> bool) -> Option<Member> {
        let (oldest, _) = self.rings.front()?;
        let owner = oldest.owner(id)?;
        if has_left(owner) {
            return oldest.without(has_left).owner(id).cloned();
        }
        Some(owner.clone())
    }
}
