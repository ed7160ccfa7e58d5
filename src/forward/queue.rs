//! What waits for one gateway, and how far everything for it is acknowledged. Bounded in bytes: when it is full the lane falls
//! behind, and goes on from the log later.
//!
//! Two feed it. *Live*, the splitter offers what has just been committed. *Behind*, the lane reads the log itself; once it has
//! come to where the splitter is, it is live again. Which of the two holds for a record is settled under one lock, so that no
//! record is left out or fed twice.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;

use crate::log::Position;
use crate::runtime::Tenant;

/// What one gateway gets of one record of the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parcel {
    /// The record.
    pub position: Position,
    /// Whose spans they are.
    pub tenant: Tenant,
    /// An `ExportTraceServiceRequest`.
    pub body: Bytes,
    /// Spans in it.
    pub spans: u32,
    /// When the record came in, nanoseconds since the Unix epoch.
    pub received_unix_nano: u64,
}

/// What a parcel costs beside its body, in bytes.
const PARCEL_BYTES: usize = 128;

impl Parcel {
    /// The memory it takes, in bytes.
    pub fn cost(&self) -> usize {
        self.body.len() + PARCEL_BYTES
    }
}

/// The queue of one lane.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Parcel>,
    /// Waiting or under way, by record: what each costs, and when it came in. A record has one parcel at most.
    outstanding: BTreeMap<Position, (usize, u64)>,
    outstanding_bytes: usize,
    waiting_bytes: usize,
    bytes_max: usize,
    /// Of every record below this the lane has its parcel, or there was none for it.
    fed: Position,
    /// The splitter has offered everything below this.
    offered: Position,
    behind: bool,
}

impl Queue {
    /// A queue whose records below `from` are settled. It begins behind: whether there is anything to read again shows then.
    pub fn new(bytes_max: usize, from: Position) -> Self {
        Self {
            waiting: VecDeque::new(),
            outstanding: BTreeMap::new(),
            outstanding_bytes: 0,
            waiting_bytes: 0,
            bytes_max,
            fed: from,
            offered: from,
            behind: true,
        }
    }

    /// From the splitter: the record at `position`, which ends at `end`, and what there is in it for this lane. Tells
    /// whether there is something to send now.
    pub fn offer(&mut self, position: Position, end: Position, parcel: Option<Parcel>) -> bool {
        self.offered = self.offered.max(end);
        if self.behind || position < self.fed {
            return false;
        }
        if let Some(parcel) = parcel {
            if !self.has_room(&parcel) {
                self.behind = true;
                return false;
            }
            self.push(parcel);
        }
        self.fed = end;
        !self.waiting.is_empty()
    }

    /// From the splitter: everything below `end` is committed, and was not offered one by one. Whoever is live is behind now.
    pub fn pass_over(&mut self, position: Position, end: Position) {
        self.offered = self.offered.max(end);
        if position >= self.fed {
            self.behind = true;
        }
    }

    /// From the log: the next record, ending at `end`. `false` if there is no room: it is to be fed again later.
    pub fn feed(&mut self, end: Position, parcel: Option<Parcel>) -> bool {
        if let Some(parcel) = parcel {
            if !self.has_room(&parcel) {
                return false;
            }
            self.push(parcel);
        }
        self.fed = self.fed.max(end);
        true
    }

    /// Which part of the log is to be read; `None` if the lane is live. To be asked before and after reading: here it becomes
    /// so. What lies behind the part comes by the splitter, or is told of later: until then nobody knows by which ring.
    pub fn behind(&mut self) -> Option<Range<Position>> {
        if self.behind && self.fed >= self.offered {
            self.behind = false;
        }
        self.behind.then_some(self.fed..self.offered)
    }

    /// Nothing else fits before something is done. A parcel larger than the whole queue has it for itself.
    fn has_room(&self, parcel: &Parcel) -> bool {
        self.outstanding.is_empty() || self.outstanding_bytes + parcel.cost() <= self.bytes_max
    }

    /// Whether there is enough room for reading the log to be worth it.
    pub fn wants_more(&self) -> bool {
        self.outstanding_bytes <= self.bytes_max / 2
    }

    fn push(&mut self, parcel: Parcel) {
        let cost = parcel.cost();
        self.outstanding.insert(parcel.position, (cost, parcel.received_unix_nano));
        self.outstanding_bytes += cost;
        self.waiting_bytes += cost;
        self.waiting.push_back(parcel);
    }

    /// Takes the oldest parcels of one tenant, about `bytes_max` bytes of them, at least one if there is one.
    pub fn take(&mut self, bytes_max: usize) -> Vec<Parcel> {
        let mut taken: Vec<Parcel> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.waiting.front() {
            let other = taken.first().is_some_and(|first| first.tenant != next.tenant);
            if other || (!taken.is_empty() && bytes + next.cost() > bytes_max) {
                break;
            }
            bytes += next.cost();
            taken.extend(self.waiting.pop_front());
        }
        self.waiting_bytes -= bytes;
        taken
    }

    /// These parcels are settled, one way or another.
    pub fn done(&mut self, parcels: &[Parcel]) {
        for parcel in parcels {
            let (cost, _) = self.outstanding.remove(&parcel.position).unwrap_or_default();
            self.outstanding_bytes -= cost;
        }
    }

    /// Everything of this lane below it is settled.
    pub fn progress(&self) -> Position {
        self.outstanding.keys().next().copied().unwrap_or(self.fed)
    }

    /// Of every record below it the lane has its parcel, or there was none for it.
    pub fn fed(&self) -> Position {
        self.fed
    }

    /// When the oldest record that is not settled came in, nanoseconds since the Unix epoch; `None` if all are.
    pub fn oldest_unix_nano(&self) -> Option<u64> {
        self.outstanding.values().next().map(|(_, received)| *received)
    }

    /// Whether nothing is left of all records below `end`.
    pub fn is_done_up_to(&self, end: Position) -> bool {
        self.progress() >= end
    }

    /// Whether the lane reads the log, rather than getting what has just come in.
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// What waits to be sent, in bytes.
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// What waits or is under way, in bytes.
    pub fn outstanding_bytes(&self) -> usize {
        self.outstanding_bytes
    }
}

#[cfg(test)]
mod tests;
