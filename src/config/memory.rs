//! One limit on memory, and what of it each part may take. Pure: what the machine has comes in as a number.
//!
//! A part's share is a percentage of the limit, up to the bound beyond which more would bring nothing. A key that sets a part
//! itself takes its share's place; where it is more than the share, the parts that nobody set move together.

#[cfg(test)]
mod tests;

use super::export::TARGETS_MAX;
use super::units::ByteSize;

const MIB: u64 = 1 << 20;
/// Shares are whole multiples of this, so that they can be read.
const STEP: u64 = MIB / 4;

/// What a batch takes at peak for each byte of its spans: the spans, their rows, the files, and half as much again where
/// a giant trace goes beyond it.
pub const STORE_PEAK: u64 = 4;
/// What a question takes at peak for each byte that it reads: spans as they are read, decoded, and as the answer.
pub const QUESTION_PEAK: u64 = 4;
/// What the loss ledger takes at peak for each byte of its accounts: itself, what is shown of it, what will be, and the checkpoint.
pub const LOSSES_PEAK: u64 = 4;
/// With less a merge cannot hold two files and what it writes.
pub(super) const COMPACTION_MIN: u64 = 16 * MIB;

/// The limit where the system does not say what memory there is.
const LIMIT_UNKNOWN: u64 = 1024 * MIB;
/// The part of the machine that is ours, where nobody says otherwise.
const FRACTION_OF_MACHINE: u64 = 4;

/// A part that takes memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// The key that sets it; empty where there is none.
    pub(super) key: &'static str,
    /// Its share of the limit.
    percent: u64,
    /// What it takes at peak for each byte that its key counts.
    peak: u64,
    /// With less its key would be useless, in bytes of the key.
    bytes_min: u64,
    /// With more nothing would be better, in bytes of the key.
    bytes_max: u64,
}

/// Requests in flight: each is there a second time while it is edited and compressed for the log.
pub(super) const ADMISSION: usize = 0;
/// What was noted of requests, on its way to the sampler.
pub(super) const NOTES: usize = 1;
/// Records that wait for the disk: as much again for those of the sampler.
pub(super) const LOG_QUEUE: usize = 2;
/// Records kept for readers.
pub(super) const LOG_CACHE: usize = 3;
/// Undecided traces: their table doubles when it grows.
pub(super) const INDEX: usize = 4;
/// Remembered decisions: the same.
pub(super) const DECISIONS: usize = 5;
/// A batch on its way into the table.
pub(super) const STORE: usize = 6;
/// Footers of table files.
pub(super) const QUERY_CACHE: usize = 7;
/// Questions under way.
pub(super) const QUESTIONS: usize = 8;
/// A merge of table files.
pub(super) const COMPACTION: usize = 9;
/// Where traces lie in the segment that is being written, and in those whose index is not on the disk yet.
pub(super) const RECORDER: usize = 10;
/// The accounts of the loss ledger: one copy is shown, one is being made, one is written to the checkpoint.
pub(super) const LOSSES: usize = 11;
/// Decisions that wait to be written to the ledger, and those that are being sorted there.
pub(super) const LEDGER: usize = 12;
/// What the runs of the table's index cover.
pub(super) const DIRECTORIES: usize = 13;

const PARTS_COUNT: usize = 14;

pub(super) const PARTS: [Part; PARTS_COUNT] = [
    part("receive.budget", 18, 2, 8, 256),
    part("", 5, 1, 4, 128),
    part("", 5, 2, 2, 16),
    part("", 3, 1, 2, 64),
    part("sample.index", 18, 2, 6, u64::MAX / MIB),
    part("sample.decisions", 3, 2, 1, 64),
    part("store.flush.bytes", 14, STORE_PEAK, 3, 64),
    part("query.cache", 2, 1, 1, 64),
    part("", 6, QUESTION_PEAK, 1, 512),
    part("compaction.memory", 18, 1, COMPACTION_MIN / MIB, 192),
    part("", 3, 1, 2, 32),
    Part { bytes_min: STEP, ..part("", 2, LOSSES_PEAK, 1, 16) },
    part("", 2, 1, 1, 12),
    Part { bytes_min: 3 * STEP, ..part("", 1, 1, 1, 64) },
];

const fn part(key: &'static str, percent: u64, peak: u64, mib_min: u64, mib_max: u64) -> Part {
    Part { key, percent, peak, bytes_min: mib_min * MIB, bytes_max: mib_max.saturating_mul(MIB) }
}

/// Of the limit, for the backends that kept spans go on to; where there are any, the parts share the rest.
const EXPORT_PERCENT: u64 = 6;
const EXPORT_BYTES_MIN: u64 = 4 * MIB;
/// More would only be read from the disk earlier.
const EXPORT_BYTES_MAX: u64 = 64 * MIB;

/// What so many backends may take together, in bytes.
pub(super) fn for_exports(limit: u64, targets: usize) -> u64 {
    let targets = targets.min(TARGETS_MAX) as u64;
    let bytes =
        percent(limit, EXPORT_PERCENT, 100).clamp(targets * EXPORT_BYTES_MIN, targets * EXPORT_BYTES_MAX);
    bytes - bytes % STEP
}

/// What each part may take, in bytes as its key counts them.
pub(super) type Shares = [u64; PARTS_COUNT];

/// Why the parts do not fit the limit, in words.
pub(super) type Problem = String;

/// The limit where nobody sets one: a quarter of what there is, but enough to work with.
pub(super) fn limit_for(machine_bytes: Option<u64>) -> u64 {
    machine_bytes.map_or(LIMIT_UNKNOWN, |bytes| bytes / FRACTION_OF_MACHINE).max(least(&[None; PARTS_COUNT]))
}

/// Splits the limit. `set` is what somebody set, as its key counts it.
pub(super) fn split(limit: u64, set: &[Option<u64>; PARTS_COUNT]) -> Result<Shares, Problem> {
    let least = least(set);
    if limit < least {
        return Err(problem(limit, least, set));
    }
    let left = limit - taken(set);
    let of_left = percent_left(set);
    let mut shares = [0; PARTS_COUNT];
    for (index, part) in PARTS.iter().enumerate() {
        shares[index] = set[index].unwrap_or_else(|| {
            let share = percent(limit, part.percent, 100).min(percent(left, part.percent, of_left));
            let bytes = (share / part.peak).clamp(part.bytes_min, part.bytes_max);
            bytes - bytes % STEP
        });
    }
    Ok(shares)
}

/// `bytes · parts / of`, where it would overflow too.
fn percent(bytes: u64, parts: u64, of: u64) -> u64 {
    (u128::from(bytes) * u128::from(parts) / u128::from(of.max(1))) as u64
}

/// What the parts that somebody set take at peak.
fn taken(set: &[Option<u64>; PARTS_COUNT]) -> u64 {
    let of = |(part, set): (&Part, &Option<u64>)| set.unwrap_or(0).saturating_mul(part.peak);
    PARTS.iter().zip(set).map(of).fold(0, u64::saturating_add)
}

/// The percentages of the parts that nobody set.
fn percent_left(set: &[Option<u64>; PARTS_COUNT]) -> u64 {
    PARTS.iter().zip(set).filter(|(_, set)| set.is_none()).map(|(part, _)| part.percent).sum()
}

/// The smallest limit with which every part that nobody set still works.
fn least(set: &[Option<u64>; PARTS_COUNT]) -> u64 {
    let of_left = percent_left(set);
    let unset = PARTS.iter().zip(set).filter(|(_, set)| set.is_none());
    // Both of its percentages must reach it: that of the limit is the smaller one only while little is set.
    let needed = unset.map(|(part, _)| {
        let bytes = part.bytes_min * part.peak;
        let of_rest = (bytes * of_left).div_ceil(part.percent);
        (of_rest.saturating_add(taken(set))).max((bytes * 100).div_ceil(part.percent))
    });
    needed.max().unwrap_or(0).max(taken(set)).div_ceil(STEP).saturating_mul(STEP)
}

fn problem(limit: u64, least: u64, set: &[Option<u64>; PARTS_COUNT]) -> Problem {
    let figures = PARTS.iter().zip(set).filter_map(|(part, set)| {
        let set = (*set)?;
        let peak = if part.peak > 1 {
            format!(", {} at peak", ByteSize(set.saturating_mul(part.peak)))
        } else {
            String::new()
        };
        Some(format!("{} ({}{peak})", part.key, ByteSize(set)))
    });
    let figures: Vec<_> = figures.collect();
    if figures.is_empty() {
        return format!("{} is less than the least that works, {}", ByteSize(limit), ByteSize(least));
    }
    format!(
        "{} is too little for {}: with the least for the rest that is {}",
        ByteSize(limit),
        figures.join(", "),
        ByteSize(least)
    )
}

/// What the parts take at peak, all together.
#[cfg(test)]
pub(super) fn peak(shares: &Shares) -> u64 {
    taken(&shares.map(Some))
}
