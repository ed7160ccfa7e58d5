//! What is to be compacted: a pure function of a table's live files and the time.
//!
//! A file is *small* below half of the target size. While a partition's day is open, small files are merged where many of
//! one size have gathered, and where the hour they were committed in is over. Once the day is over and quiet, files are
//! merged until no two overlap in their trace ids, and no two neighbours are small.
//!
//! # Why it ends
//! A unit of small files (*gathered*, *hour*, neighbours of a *day*) of `k` files and `B` bytes gives at most
//! `ceil(B / target)` files, which is less than `k`, and at most one of them is small: small files become fewer, and none
//! comes back. A unit of overlapping files leaves none that overlap. A *cut* leaves fewer files that lie across the cuts, and
//! when there are none the files no longer overlap across them.
//!
//! # What it costs
//! *Gathered* files are of sizes within four times of each other, so what sixteen become is two sizes up: a row is written
//! once for every 16-fold growth, at most five times from 64 KiB to 128 MiB, and once more for the hour. The day writes it
//! once, and once more for each cut of a day that is more than a unit. Late spans: a day that is over is merged again only
//! after a quiet time of half of what had passed since its end, so the times of merging grow by 1.5 each, 14 in a month.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ranges::{Cuts, IdRange, components, depth};
use crate::store::table::{DataFile, PartitionKey};

const MS_PER_HOUR: i64 = 3_600_000;
const MS_PER_DAY: i64 = 24 * MS_PER_HOUR;
/// Files below this are of one size.
const TINY_BYTES: u64 = 64 << 10;

/// The bounds a plan keeps.
#[derive(Clone, Debug)]
pub(super) struct PlanRules {
    /// Size that files shall have, in bytes.
    pub(super) target: u64,
    /// So many small files of one size are merged, whatever the hour.
    pub(super) gather: usize,
    /// How long after its end a day is over, in milliseconds, and how long nothing may have come.
    pub(super) settle_ms: i64,
    /// The most files that one unit reads at once.
    pub(super) open_max: usize,
    /// The most bytes of one unit, where its files can be cut to that.
    pub(super) unit_bytes: u64,
}

/// Why files are merged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Reason {
    /// Many small files have gathered.
    Gathered,
    /// The hour they were committed in is over.
    Hour,
    /// Their day is over.
    Day,
    /// Their day is over and larger than a unit: they are cut first.
    Cut,
}

impl Reason {
    /// The word for people and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gathered => "gathered",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Cut => "cut",
        }
    }
}

/// Files of one partition that become others in one transaction.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    pub(super) partition: PartitionKey,
    pub(super) reason: Reason,
    /// By their first trace id, at least one.
    pub(super) inputs: Vec<DataFile>,
    /// Where outputs must end.
    pub(super) cuts: Option<Cuts>,
}

impl Unit {
    fn new(partition: &PartitionKey, reason: Reason, mut inputs: Vec<DataFile>) -> Self {
        inputs.sort_by(|a, b| (&a.trace_id_min, &a.in_log).cmp(&(&b.trace_id_min, &b.in_log)));
        Self { partition: partition.clone(), reason, inputs, cuts: None }
    }

    /// The smaller half of its inputs, but two at least.
    pub(super) fn halve(&mut self) {
        self.inputs.sort_by_key(|f| f.bytes);
        self.inputs.truncate((self.inputs.len() / 2).max(2));
        *self = Self {
            cuts: self.cuts,
            ..Self::new(&self.partition, self.reason, std::mem::take(&mut self.inputs))
        };
    }

    /// The bytes of its inputs.
    pub(super) fn bytes(&self) -> u64 {
        self.inputs.iter().map(|f| f.bytes).sum()
    }

    /// When the newest of its spans were committed, milliseconds since the Unix epoch.
    pub(super) fn committed_ms(&self) -> i64 {
        self.inputs.iter().map(|f| f.committed_ms).max().unwrap_or(0)
    }
}

/// The units to do now, the newest days first; no file is in two. When they are done, the next plan follows from what
/// the table is then.
pub(super) fn plan(files: &[DataFile], rules: &PlanRules, now_unix_nano: u64) -> Vec<Unit> {
    let mut partitions: BTreeMap<PartitionKey, Vec<&DataFile>> = BTreeMap::new();
    for file in files {
        // A partition that has no day is not ours.
        if let (Ok(day), false) = (i32::try_from(file.day), file.retention.is_empty()) {
            let key = PartitionKey { retention: Arc::clone(&file.retention), day };
            partitions.entry(key).or_default().push(file);
        }
    }
    let now_ms = (now_unix_nano / 1_000_000) as i64;
    let mut units: Vec<Unit> =
        partitions.iter().flat_map(|(key, files)| Partition { key, files, rules, now_ms }.units()).collect();
    units.sort_by(|a, b| {
        (b.partition.day, &a.partition.retention).cmp(&(a.partition.day, &b.partition.retention))
    });
    units
}

struct Partition<'a> {
    key: &'a PartitionKey,
    files: &'a [&'a DataFile],
    rules: &'a PlanRules,
    now_ms: i64,
}

impl Partition<'_> {
    fn units(&self) -> Vec<Unit> {
        let end_ms = (i64::from(self.key.day) + 1) * MS_PER_DAY;
        if self.now_ms < end_ms.saturating_add(self.rules.settle_ms) {
            return self.of_open_day(i64::MIN);
        }
        let newest_ms = self.files.iter().map(|f| f.committed_ms).max().unwrap_or(0);
        let quiet_ms = self.rules.settle_ms.max(newest_ms.saturating_sub(end_ms) / 2);
        if self.now_ms.saturating_sub(newest_ms) >= quiet_ms {
            self.of_closed_day()
        } else {
            // What was merged already waits for the quiet; what came after it need not stay in crumbs until then.
            self.of_open_day(end_ms)
        }
    }

    fn is_small(&self, file: &DataFile) -> bool {
        file.bytes < self.rules.target / 2
    }

    /// Small files that gathered, and those of hours that are over.
    fn of_open_day(&self, committed_after_ms: i64) -> Vec<Unit> {
        let wanted = |f: &&&DataFile| self.is_small(f) && f.committed_ms > committed_after_ms;
        let mut by_hour: BTreeMap<i64, Vec<&DataFile>> = BTreeMap::new();
        for file in self.files.iter().filter(wanted) {
            by_hour.entry(file.committed_ms.div_euclid(MS_PER_HOUR)).or_default().push(file);
        }
        let this_hour = self.now_ms.div_euclid(MS_PER_HOUR);
        let mut units = Vec::new();
        let mut left: BTreeMap<u32, Vec<&DataFile>> = BTreeMap::new();
        for (hour, files) in by_hour {
            let inputs = if hour < this_hour { self.smallest(files.clone()) } else { Vec::new() };
            if inputs.len() > 1 {
                units.push(Unit::new(self.key, Reason::Hour, inputs));
            } else {
                files.into_iter().for_each(|file| left.entry(size_class(file.bytes)).or_default().push(file));
            }
        }
        let gather = self.rules.gather.clamp(2, self.rules.open_max);
        for files in left.into_values().filter(|files| files.len() >= gather) {
            let inputs = self.smallest(files);
            if inputs.len() > 1 {
                units.push(Unit::new(self.key, Reason::Gathered, inputs));
            }
        }
        units
    }

    /// The smallest of these, as many as a unit may have.
    fn smallest(&self, mut files: Vec<&DataFile>) -> Vec<DataFile> {
        files.sort_by(|a, b| (a.bytes, &a.in_log).cmp(&(b.bytes, &b.in_log)));
        let mut bytes = 0;
        let fits = |file: &&DataFile| {
            bytes += file.bytes;
            bytes <= self.rules.unit_bytes
        };
        files.into_iter().take(self.rules.open_max).take_while(fits).cloned().collect()
    }

    /// Files that overlap, and neighbours that are small.
    fn of_closed_day(&self) -> Vec<Unit> {
        let mut units = Vec::new();
        let mut group: Vec<&DataFile> = Vec::new();
        let mut group_bytes = 0;
        let end_group = |group: &mut Vec<&DataFile>, units: &mut Vec<Unit>| {
            let inputs: Vec<DataFile> = std::mem::take(group).into_iter().cloned().collect();
            if inputs.len() > 1 {
                units.push(Unit::new(self.key, Reason::Day, inputs));
            }
        };
        for component in components(self.files) {
            let bytes: u64 = component.iter().map(|f| f.bytes).sum();
            let is_too_large = bytes > self.rules.unit_bytes || depth(&component) > self.rules.open_max;
            if component.len() > 1 && is_too_large {
                end_group(&mut group, &mut units);
                units.push(self.part_of(&component, bytes));
                group_bytes = 0;
                continue;
            }
            let is_done = component.len() == 1 && !self.is_small(component[0]);
            if is_done || group_bytes + bytes > self.rules.unit_bytes {
                end_group(&mut group, &mut units);
                group_bytes = 0;
            }
            if !is_done {
                group.extend(component);
                group_bytes += bytes;
            }
        }
        end_group(&mut group, &mut units);
        units
    }

    /// Some of overlapping files that are too many or too large for a unit.
    fn part_of(&self, component: &[&DataFile], bytes: u64) -> Unit {
        let pieces = (bytes / (self.rules.unit_bytes / 2).max(1)).max(2).next_power_of_two();
        let whole = component.iter().map(|f| IdRange::of(f)).reduce(IdRange::union);
        let cuts = whole.and_then(|range| Cuts::new(range, pieces));
        let (true, Some(cuts)) = (bytes > self.rules.unit_bytes, cuts) else {
            // Too many at once, or all of one trace, which cannot be cut.
            let mut files = component.to_vec();
            files.sort_by(|a, b| (a.bytes, &a.in_log).cmp(&(b.bytes, &b.in_log)));
            let inputs = files.into_iter().take(self.rules.open_max).cloned().collect();
            return Unit::new(self.key, Reason::Day, inputs);
        };
        let mut across: Vec<&DataFile> = component.to_vec();
        across.retain(|file| cuts.lie_in(IdRange::of(file)));
        let mut inputs = self.smallest(across.clone());
        if inputs.is_empty() {
            // A single one that is larger than a unit.
            inputs.extend(across.into_iter().min_by_key(|f| f.bytes).cloned());
        }
        Unit { cuts: Some(cuts), ..Unit::new(self.key, Reason::Cut, inputs) }
    }
}

/// Files of a class are within four times of each other's size.
fn size_class(bytes: u64) -> u32 {
    (bytes / TINY_BYTES).checked_ilog2().map_or(0, |log| log / 2 + 1)
}
