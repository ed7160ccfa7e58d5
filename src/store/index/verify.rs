//! Comparing runs with the data: the traces of each row group, and that no filter denies an attribute that is there.

use std::collections::{BTreeSet, HashMap};

use super::cover::Used;
use super::entry::pages;
use super::filter::{BLOCK_BYTES, GroupFilter, NO_FILTER, blocks_of};
use super::format::{Covered, open_row};
use super::run::{Run, Shelf, Trouble};
use super::{FileIndex, Index};
use crate::runtime::Tenant;
use crate::store::error::StoreError;
use crate::store::table::DataFile;
use crate::store::write::Store;

/// Pages of a run that are read at once.
const PAGES_AT_ONCE: u64 = 256;
/// What is read of filters at once.
const ROWS_BYTES: u64 = 4 << 20;
/// Filters of a run that are held at once, in bytes; of one file in any case.
const FILTERS_BYTES_MAX: usize = 32 << 20;

/// What a comparison of the index with the data found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifiedIndex {
    /// Live files that a run covers.
    pub files: u64,
    /// Live files that none covers, by their paths in the Delta log: a rebuild makes runs for them.
    pub uncovered: Vec<String>,
    /// Runs that cannot be read: a rebuild makes them again.
    pub damaged: Vec<String>,
    /// Files of which run and data tell different things.
    pub disagreements: Vec<Disagreement>,
}

/// A file of which run and data tell different things.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    /// The run's name.
    pub run: String,
    /// The file's path in the Delta log.
    pub file: String,
    /// How many pairs of trace and row group the run has of it.
    pub in_run: u64,
    /// How many there are.
    pub in_data: u64,
    /// Of how many row groups the filter denies attributes that they have.
    pub denied: u64,
}

/// A set of entries as a number and a sum of hashes: in any order the same, whatever their number in no more memory.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Summary {
    count: u64,
    sum: u64,
}

impl Summary {
    fn add(&mut self, fingerprint: u64, group: u16) {
        self.count += 1;
        // The fingerprint is a hash already; an odd factor keeps the row groups apart.
        self.sum = self.sum.wrapping_add(fingerprint.wrapping_mul(2 * u64::from(group) + 1));
    }

    fn of(index: &FileIndex) -> Self {
        let mut summary = Self::default();
        index.traces().iter().for_each(|entry| summary.add(entry.fingerprint(), entry.group()));
        summary
    }
}

/// The filters of row groups, by the run's file and its row group.
type Filters = HashMap<(u16, u16), GroupFilter>;

impl Store {
    /// Compares the index of a tenant's spans with the data, in memory for one file and 32 MiB of filters.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn verify_index(&self, tenant: &Tenant) -> Result<VerifiedIndex, StoreError> {
        let coverage = self.covered(tenant).await?;
        let path = |at: &u32| coverage.files[*at as usize].in_log.clone();
        let mut verified = VerifiedIndex {
            uncovered: coverage.uncovered.iter().map(path).collect(),
            ..VerifiedIndex::default()
        };
        for used in &coverage.runs {
            match self.verify_run(tenant, used, &coverage.files, &mut verified).await {
                Ok(()) => {}
                Err(Trouble::Store(error)) => return Err(error),
                Err(trouble) => {
                    self.index().tenant(tenant).report(&used.run, &trouble).await;
                    verified.damaged.push(used.run.name.clone());
                }
            }
        }
        Ok(verified)
    }

    /// Deletes the runs that tell something else than the data, so that a rebuild makes others.
    ///
    /// # Errors
    /// As the store has them.
    pub async fn delete_wrong_runs(
        &self,
        tenant: &Tenant,
        verified: &VerifiedIndex,
    ) -> Result<u64, StoreError> {
        let of_tenant = self.index().tenant(tenant);
        let names: BTreeSet<&String> = verified.disagreements.iter().map(|found| &found.run).collect();
        for name in &names {
            of_tenant.forget(name).await;
        }
        of_tenant.shelf.delete(names.into_iter().map(|name| of_tenant.shelf.path(name)).collect()).await
    }

    async fn verify_run(
        &self,
        tenant: &Tenant,
        used: &Used,
        files: &[DataFile],
        verified: &mut VerifiedIndex,
    ) -> Result<(), Trouble> {
        let run = &used.run;
        let summaries = self.index().summaries(tenant, used).await?;
        for numbers in portions(used) {
            let filters = self.index().tenant(tenant).shelf.filters(run, &numbers).await?;
            for number in numbers {
                let Some(Some(at)) = used.live.get(usize::from(number)) else { continue };
                let (file, mut denied) = (&files[*at as usize], 0);
                let index = self.read_index(tenant, file, |group, _, mut in_data| {
                    let of_group = u16::try_from(group).ok().and_then(|group| filters.get(&(number, group)));
                    denied += u64::from(of_group.is_some_and(|filter| !in_data.is_within(filter)));
                    None
                });
                let in_data = Summary::of(&index.await?);
                let in_run = summaries.get(at).copied().unwrap_or_default();
                verified.files += 1;
                if in_run != in_data || denied > 0 {
                    verified.disagreements.push(Disagreement {
                        run: run.name.clone(),
                        file: file.in_log.clone(),
                        in_run: in_run.count,
                        in_data: in_data.count,
                        denied,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The files that a run answers for, by their numbers in it, in portions whose filters fit into memory.
fn portions(used: &Used) -> Vec<Vec<u16>> {
    let (mut portions, mut open, mut bytes) = (Vec::new(), Vec::new(), 0);
    for (number, covered) in used.run.directory.files.iter().enumerate() {
        if used.live[number].is_none() {
            continue;
        }
        let more = filter_bytes(covered);
        if bytes + more > FILTERS_BYTES_MAX && !open.is_empty() {
            portions.push(std::mem::take(&mut open));
            bytes = 0;
        }
        open.push(number as u16);
        bytes += more;
    }
    portions.push(open);
    portions
}

fn filter_bytes(covered: &Covered) -> usize {
    let with_filter = covered.groups.iter().filter(|group| group.size != NO_FILTER);
    with_filter.map(|group| blocks_of(group.size) as usize * BLOCK_BYTES).sum()
}

impl Shelf {
    /// The filters of a run's files.
    async fn filters(&self, run: &Run, files: &[u16]) -> Result<Filters, Trouble> {
        let mut filters = Filters::new();
        for section in &run.directory.sections {
            let of_files = |(_, (file, _)): &(usize, &(u16, u16))| files.binary_search(file).is_ok();
            let places: Vec<_> = section.groups.iter().enumerate().filter(of_files).collect();
            if places.is_empty() {
                continue;
            }
            for (_, (file, group)) in &places {
                let info = run.directory.files[usize::from(*file)].groups[usize::from(*group)];
                filters.insert((*file, *group), GroupFilter::empty(info.size, info.flags));
            }
            let step = (ROWS_BYTES / section.row_bytes()).max(1) as u32;
            let (mut first, blocks) = (0, blocks_of(section.size));
            while first < blocks {
                let last = blocks.min(first + step) - 1;
                let open = |bytes: &[u8]| {
                    let rows = bytes.chunks(section.row_bytes() as usize).zip(first..=last);
                    rows.map(|(row, block)| open_row(block, row).map(<[u8]>::to_vec))
                        .collect::<Option<Vec<_>>>()
                };
                let range = section.row(first).start..section.row(last).end;
                for row in self.checked(&run.name, range, open).await? {
                    for (at, place) in &places {
                        if let Some(filter) = filters.get_mut(*place) {
                            filter.push_block(&row[at * BLOCK_BYTES..(at + 1) * BLOCK_BYTES]);
                        }
                    }
                }
                first = last + 1;
            }
        }
        Ok(filters)
    }
}

impl Index {
    /// What a run says of each live file that it answers for.
    async fn summaries(&self, tenant: &Tenant, used: &Used) -> Result<HashMap<u32, Summary>, Trouble> {
        let shelf = &self.tenant(tenant).shelf;
        let mut summaries: HashMap<u32, Summary> =
            used.live.iter().flatten().map(|at| (*at, Summary::default())).collect();
        let end = pages(used.run.directory.entries);
        let mut at = 0;
        while at < end {
            let next = end.min(at + PAGES_AT_ONCE);
            for entry in shelf.entries(&used.run, at..next).await? {
                if let Some(Some(at)) = used.live.get(usize::from(entry.file()))
                    && let Some(summary) = summaries.get_mut(at)
                {
                    summary.add(entry.fingerprint(), entry.group());
                }
            }
            at = next;
        }
        Ok(summaries)
    }
}
