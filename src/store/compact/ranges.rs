//! Ranges of trace ids: which files overlap, and where a large day is cut.

use crate::store::table::DataFile;

/// The trace ids of a file, first and last, as numbers. Ids that are not known or none of ours widen it to all there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct IdRange {
    pub(super) first: u128,
    pub(super) last: u128,
}

impl IdRange {
    pub(super) fn of(file: &DataFile) -> Self {
        let number = |id: &Option<String>| number_of(id.as_deref()?);
        Self {
            first: number(&file.trace_id_min).unwrap_or(0),
            last: number(&file.trace_id_max).unwrap_or(u128::MAX),
        }
    }

    pub(super) fn union(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// A trace id of 32 hexadecimal digits as a number of the same order.
pub(super) fn number_of(id: &str) -> Option<u128> {
    (id.len() == 32).then(|| u128::from_str_radix(id, 16).ok()).flatten()
}

/// The files in groups that overlap, ascending; files of two groups do not.
pub(super) fn components<'a>(files: &[&'a DataFile]) -> Vec<Vec<&'a DataFile>> {
    let mut sorted = files.to_vec();
    sorted.sort_by_key(|f| (IdRange::of(f).first, IdRange::of(f).last));
    let mut found: Vec<Vec<&DataFile>> = Vec::new();
    let mut last = None;
    for file in sorted {
        let range = IdRange::of(file);
        match found.last_mut() {
            Some(group) if last.is_some_and(|last| range.first <= last) => group.push(file),
            _ => found.push(vec![file]),
        }
        last = last.max(Some(range.last));
    }
    found
}

/// The most of these files that hold one trace id.
pub(super) fn depth(files: &[&DataFile]) -> usize {
    let mut ends: Vec<(u128, i32)> = Vec::with_capacity(files.len() * 2);
    for range in files.iter().map(|f| IdRange::of(f)) {
        // At the same id files begin before others end.
        ends.extend([(range.first, -1), (range.last, 1)]);
    }
    ends.sort_unstable();
    let (mut open, mut most) = (0usize, 0);
    for (_, step) in ends {
        open = if step < 0 { open + 1 } else { open.saturating_sub(1) };
        most = most.max(open);
    }
    most
}

/// A range of trace ids in pieces of the same width.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cuts {
    range: IdRange,
    width: u128,
}

impl Cuts {
    /// So many pieces; `None` where there are fewer ids than that.
    pub(super) fn new(range: IdRange, pieces: u64) -> Option<Self> {
        let width = range.last.saturating_sub(range.first) / u128::from(pieces.max(1));
        (width > 0).then_some(Self { range, width: width + 1 })
    }

    /// The piece an id is in.
    pub(super) fn piece(&self, id: u128) -> u128 {
        id.saturating_sub(self.range.first) / self.width
    }

    /// Whether a cut lies within this range.
    pub(super) fn lie_in(&self, range: IdRange) -> bool {
        self.piece(range.first) != self.piece(range.last)
    }
}
