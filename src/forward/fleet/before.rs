//! Who the members were when this gateway was last alive, for after a crash: a small file, written whole, JSON. Without it a
//! gateway that was killed is one that has just joined, and takes other gateways for arbiters than the rest of the fleet does.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::forward::ring::{Member, Ring};

/// The rings that counted at one moment, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Before {
    /// Which gateway's view it is.
    pub own: Member,
    /// When it was written, wall clock, Unix nanoseconds.
    pub at_unix_nano: u64,
    /// Each ring, and how long it had been known by then.
    pub rings: Vec<(Ring, Duration)>,
}

#[derive(Serialize, Deserialize)]
struct File {
    own: String,
    at_unix_nano: u64,
    rings: Vec<(Vec<String>, u64)>,
}

impl Before {
    /// The file's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let names = |ring: &Ring| ring.members().iter().map(|member| member.as_str().to_owned()).collect();
        let millis = |age: &Duration| u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let file = File {
            own: self.own.as_str().to_owned(),
            at_unix_nano: self.at_unix_nano,
            rings: self.rings.iter().map(|(ring, age)| (names(ring), millis(age))).collect(),
        };
        // Numbers and texts always can be written.
        serde_json::to_vec(&file).unwrap_or_default()
    }

    /// Reads what [`Before::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let file: File = serde_json::from_slice(bytes).ok()?;
        let ring = |names: Vec<String>| Ring::new(names.iter().map(|name| Member::new(name)));
        let rings = file.rings.into_iter().map(|(names, age)| (ring(names), Duration::from_millis(age)));
        Some(Self { own: Member::new(&file.own), at_unix_nano: file.at_unix_nano, rings: rings.collect() })
    }

    /// The rings with their ages by now, if what they say still counts: to whoever was away for longer than the window, or
    /// goes by another name now, the others have become strangers.
    pub fn resumed(
        self,
        own: &Member,
        window: Duration,
        now_unix_nano: u64,
    ) -> Option<Vec<(Ring, Duration)>> {
        let away = Duration::from_nanos(now_unix_nano.checked_sub(self.at_unix_nano)?);
        if self.own != *own || away > window || self.rings.is_empty() {
            return None;
        }
        Some(self.rings.into_iter().map(|(ring, age)| (ring, age.saturating_add(away))).collect())
    }
}
