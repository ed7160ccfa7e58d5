//! What one scan of a request tells the sampler, gathered by trace.

use smallvec::SmallVec;

use crate::wire::TraceId;

/// A scanned request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// One note for each trace that has spans in the request.
    pub traces: Vec<TraceNote>,
    /// The spans of all traces together.
    pub spans: u32,
}

/// What the rules need to know of one trace's spans in one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceNote {
    /// The trace.
    pub trace_id: TraceId,
    /// How many spans.
    pub spans: u32,
    /// How many of them have the status error.
    pub errors: u32,
    /// Their bytes on the wire.
    pub bytes: u32,
    /// The earliest start, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// The latest end, Unix nanoseconds.
    pub end_unix_nano: u64,
    /// Whether the root span is among them.
    pub has_root: bool,
    /// `rv` of the spans' tracestate, where a sender set it: 56 bits.
    pub randomness: Option<u64>,
    /// Which atoms matched: one for each active version of the rules, the newest last.
    pub matches: SmallVec<[Matches; 1]>,
}

/// Which atoms of one version of the rules matched some span of a trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matches {
    /// The version of the rules.
    pub version: u32,
    /// A bit for each atom, from the lowest of the first word.
    pub bits: SmallVec<[u64; 2]>,
    /// For each counted filter, how many spans matched.
    pub counts: SmallVec<[u32; 2]>,
    /// For each set of keys that a rate is kept by, a hash of the values; 0 when none was seen.
    pub captures: SmallVec<[u64; 2]>,
    /// Whether the captures are the root span's: nobody else's count then.
    pub captures_from_root: bool,
}

impl Matches {
    /// Adds what another request told of the same trace under the same rules.
    pub fn merge(&mut self, other: &Self) {
        zip_into(&mut self.bits, &other.bits, |mine, theirs| mine | theirs);
        zip_into(&mut self.counts, &other.counts, u32::saturating_add);
        if other.captures_from_root && !self.captures_from_root {
            self.captures.clone_from(&other.captures);
            self.captures_from_root = true;
        } else {
            zip_into(
                &mut self.captures,
                &other.captures,
                |mine, theirs| if mine == 0 { theirs } else { mine },
            );
        }
    }

    /// The bytes it takes beside its own size.
    pub fn heap_bytes(&self) -> usize {
        let words = if self.bits.spilled() { self.bits.capacity() * 8 } else { 0 };
        let counts = if self.counts.spilled() { self.counts.capacity() * 4 } else { 0 };
        words + counts + if self.captures.spilled() { self.captures.capacity() * 8 } else { 0 }
    }
}

fn zip_into<T: Copy + Default, const N: usize>(
    mine: &mut SmallVec<[T; N]>,
    theirs: &SmallVec<[T; N]>,
    join: impl Fn(T, T) -> T,
) where
    [T; N]: smallvec::Array<Item = T>,
{
    if mine.len() < theirs.len() {
        mine.resize(theirs.len(), T::default());
    }
    for (mine, theirs) in mine.iter_mut().zip(theirs) {
        *mine = join(*mine, *theirs);
    }
}
