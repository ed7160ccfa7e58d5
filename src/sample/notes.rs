//! What one request says about each of its traces: all that rules need to know later, in a few words.

use smallvec::SmallVec;

use super::services::TraceServices;
use crate::wire::TraceId;

/// What a scan found in one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notes {
    /// One entry for each trace, in the order of first appearance.
    pub traces: Vec<TraceNote>,
    /// Spans in the request.
    pub spans: u32,
    /// The version of the rules in force when it was scanned.
    pub rules_version: u32,
}

impl Notes {
    /// The memory they take, in bytes.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.traces.capacity() * size_of::<TraceNote>()
    }
}

/// What one request says about one trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceNote {
    /// The trace.
    pub trace_id: TraceId,
    /// Its spans in the request.
    pub spans: u32,
    /// Those with status error.
    pub errors: u32,
    /// The spans' bytes on the wire.
    pub bytes: u32,
    /// The earliest start, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// The latest end, Unix nanoseconds.
    pub end_unix_nano: u64,
    /// Whether a span without a parent is among them.
    pub has_root: bool,
    /// `rv` of the first tracestate that has one.
    pub randomness: Option<u64>,
    /// Its spans by service.
    pub services: TraceServices,
    /// What matched, for each rules version in use, ascending by version: the last one is in force.
    pub matches: SmallVec<[Matches; 1]>,
}

/// What of one version of the rules matched so far in a trace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Matches {
    /// The rules' version.
    pub version: u32,
    /// One bit for each conjunction of conditions that some span fulfilled.
    pub bits: SmallVec<[u64; 2]>,
    /// How many spans fulfilled each counted filter.
    pub counts: SmallVec<[u32; 2]>,
    /// One bit for each condition that the root fulfils. Of several roots the earliest counts.
    pub root: SmallVec<[u64; 1]>,
    /// When that root started, Unix nanoseconds; `None` while none was seen.
    pub root_start_unix_nano: Option<u64>,
    /// A hash of each field that rates are counted by; 0 while not seen. The root's goes before others', which its
    /// lowest bit tells; among equals the first counts.
    pub captures: SmallVec<[u64; 2]>,
}

impl Matches {
    /// Adds what a later part of the trace says.
    pub fn merge(&mut self, later: &Self) {
        for (bits, more) in self.bits.iter_mut().zip(&later.bits) {
            *bits |= more;
        }
        for (count, more) in self.counts.iter_mut().zip(&later.counts) {
            *count = count.saturating_add(*more);
        }
        for (capture, more) in self.captures.iter_mut().zip(&later.captures) {
            merge_capture(capture, *more);
        }
        if let Some(start) = later.root_start_unix_nano
            && self.root_start_unix_nano.is_none_or(|known| start < known)
        {
            self.root_start_unix_nano = Some(start);
            self.root.clone_from(&later.root);
        }
    }

    /// The memory it takes beyond its own size, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let words = |spilled: bool, capacity: usize, size: usize| if spilled { capacity * size } else { 0 };
        words(self.bits.spilled(), self.bits.capacity(), 8)
            + words(self.counts.spilled(), self.counts.capacity(), 4)
            + words(self.root.spilled(), self.root.capacity(), 8)
            + words(self.captures.spilled(), self.captures.capacity(), 8)
    }
}

/// Takes a capture over where it goes before the one there.
#[inline]
pub(super) fn merge_capture(capture: &mut u64, more: u64) {
    let root_first = more & 1 == 1 && *capture & 1 == 0;
    if *capture == 0 || root_first {
        *capture = more;
    }
}
