//! Which gateway a trace belongs to: rendezvous hashing (highest random weight, Thaler and Ravishankar 1998) of the trace id
//! over the members. Everybody who knows the members agrees, whatever their order; a member that comes or goes moves its
//! own share of the traces and no other.

use std::fmt;
use std::sync::Arc;

use twox_hash::XxHash3_64;

use crate::wire::TraceId;

/// A gateway's name: where its OTLP/gRPC is, `HOST:PORT`, as everybody in the fleet calls it. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Member(Arc<str>);

impl Member {
    /// A member of this name.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Stands for nobody: it has what no gateway was there for.
    pub fn nobody() -> Self {
        Self::new("")
    }

    /// Whether it stands for nobody.
    pub fn is_nobody(&self) -> bool {
        self.0.is_empty()
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Member({})", self.0)
    }
}

/// The members at one time, each once, in the order of their names.
#[derive(Clone, Debug, Default)]
pub struct Ring {
    members: Vec<Member>,
    seeds: Vec<u64>,
}

impl PartialEq for Ring {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for Ring {}

impl Ring {
    /// The ring of these members.
    pub fn new(members: impl IntoIterator<Item = Member>) -> Self {
        let mut members: Vec<_> = members.into_iter().filter(|member| !member.is_nobody()).collect();
        members.sort();
        members.dedup();
        let seeds = members.iter().map(|member| XxHash3_64::oneshot(member.as_str().as_bytes())).collect();
        Self { members, seeds }
    }

    /// The same without some.
    #[must_use]
    pub fn without(&self, leaves: impl Fn(&Member) -> bool) -> Self {
        Self::new(self.members.iter().filter(|member| !leaves(member)).cloned())
    }

    /// The members, in the order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Whether a gateway is in it.
    pub fn has(&self, member: &Member) -> bool {
        self.members.binary_search(member).is_ok()
    }

    /// The index in [`Ring::members`] of the trace's owner; 0 where there are no members.
    #[inline]
    pub fn owner_index(&self, trace_id: &[u8]) -> usize {
        let hash = XxHash3_64::oneshot(trace_id);
        let mut best = (0, 0);
        for (index, seed) in self.seeds.iter().enumerate() {
            let score = mix(hash ^ seed);
            if index == 0 || score > best.1 {
                best = (index, score);
            }
        }
        best.0
    }

    /// The trace's owner; `None` where there are no members.
    pub fn owner(&self, trace_id: &TraceId) -> Option<&Member> {
        self.members.get(self.owner_index(&trace_id.0))
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): each bit of the input moves half of the output's.
#[inline]
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
