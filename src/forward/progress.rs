//! How far each gateway has acknowledged, and who the members were: a small file, written whole.
//!
//! Both in one: what was sent to whom can only be told together with the rings it was split by. Without the file, or with a
//! damaged one, everything that is still in the log is sent again, and gateways count what comes twice once.

use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

use super::epochs::Epochs;
use super::ring::{Member, Ring};
use crate::log::Position;

const FORMAT: u32 = 1;

/// The state of all lanes at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The rings, as far as any lane still needs them.
    pub epochs: Epochs,
    /// Each lane, and below which position everything of it is settled.
    pub lanes: Vec<(Member, Position)>,
}

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    /// The data directory's id: positions of another log mean nothing.
    log: String,
    epochs: Vec<(u64, Vec<String>)>,
    lanes: Vec<(String, u64)>,
}

impl Progress {
    /// A line with the checksum of what follows, in hexadecimal, then JSON.
    pub fn encode(&self, log: &str) -> Vec<u8> {
        let names = |ring: &Ring| ring.members().iter().map(|member| member.as_str().to_owned()).collect();
        let file = File {
            format: FORMAT,
            log: log.to_owned(),
            epochs: self.epochs.iter().map(|(from, ring)| (from.0, names(ring))).collect(),
            lanes: self.lanes.iter().map(|(member, to)| (member.as_str().to_owned(), to.0)).collect(),
        };
        // Numbers and texts always can be written.
        let json = serde_json::to_vec(&file).unwrap_or_default();
        let mut bytes = format!("{:016x}\n", XxHash3_64::oneshot(&json)).into_bytes();
        bytes.extend_from_slice(&json);
        bytes
    }

    /// Reads what [`Progress::encode`] wrote for the log of this id; `None` for anything else.
    pub fn decode(log: &str, bytes: &[u8]) -> Option<Self> {
        let (checksum, json) = bytes.split_at_checked(17)?;
        if checksum != format!("{:016x}\n", XxHash3_64::oneshot(json)).as_bytes() {
            return None;
        }
        let file: File = serde_json::from_slice(json).ok()?;
        if file.format != FORMAT || file.log != log {
            return None;
        }
        let ring = |names: Vec<String>| Ring::new(names.iter().map(|name| Member::new(name)));
        let epochs = file.epochs.into_iter().map(|(from, names)| (Position(from), ring(names))).collect();
        let lanes = file.lanes.iter().map(|(name, to)| (Member::new(name), Position(*to))).collect();
        Some(Self { epochs: Epochs::of(epochs)?, lanes })
    }
}

#[cfg(test)]
mod tests;
