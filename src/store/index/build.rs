//! A run of files that were just written, in memory.

use super::entry::{Entry, PAGE_ENTRIES, write_page};
use super::filter::{GroupFilter, blocks_of};
use super::format::{Covered, Directory, FILES_MAX, GROUPS_MAX, seal_row};

/// What a path may take in a directory, in bytes.
const PATH_BYTES_MAX: usize = u16::MAX as usize;

/// What the index wants to know of a new file, row group by row group.
#[derive(Default)]
pub(in crate::store) struct FileIndex {
    /// In no order; the file's number is 0.
    traces: Vec<Entry>,
    filters: Vec<GroupFilter>,
    /// It has more row groups than an entry can tell.
    is_too_large: bool,
}

impl FileIndex {
    /// The next row group: the [`Fingerprint`](crate::sample::Fingerprint)s of its traces, and its filter; none for a row group
    /// that may hold any attribute.
    pub(in crate::store) fn push_group(
        &mut self,
        fingerprints: impl Iterator<Item = u64>,
        filter: Option<GroupFilter>,
    ) {
        let Some(group) = u16::try_from(self.filters.len()).ok().filter(|_| self.filters.len() < GROUPS_MAX)
        else {
            self.is_too_large = true;
            return;
        };
        self.traces.extend(fingerprints.map(|of| Entry::new(of, 0, group)));
        self.filters.push(filter.unwrap_or_default());
    }

    /// The traces and their row groups, in no order.
    pub(super) fn traces(&self) -> &[Entry] {
        &self.traces
    }

    /// The memory it takes, in bytes, about.
    pub(in crate::store) fn bytes(&self) -> usize {
        let filters: usize = self.filters.iter().map(GroupFilter::bytes).sum();
        self.traces.capacity() * size_of::<Entry>() + filters
    }
}

/// A file that is about to become part of the table.
pub(in crate::store) struct Indexed<'a> {
    /// Its path as the Delta log has it.
    pub(in crate::store) in_log: String,
    pub(in crate::store) bytes: u64,
    pub(in crate::store) index: &'a FileIndex,
}

/// A run ready to be uploaded.
pub(super) struct NewRun {
    pub(super) directory: Directory,
    pub(super) bytes: Vec<u8>,
}

/// The run of these files; `None` if no run can cover them. Files beyond what one run can cover are left out: they are
/// found without it, and get one when the index is rebuilt.
pub(super) fn encode(files: &[Indexed<'_>]) -> Option<NewRun> {
    let fits = |f: &&Indexed<'_>| {
        !f.index.is_too_large && !f.index.filters.is_empty() && f.in_log.len() <= PATH_BYTES_MAX
    };
    let files: Vec<_> = files.iter().filter(fits).take(FILES_MAX).collect();
    let mut entries = Vec::with_capacity(files.iter().map(|f| f.index.traces.len()).sum());
    for (number, file) in files.iter().enumerate() {
        let of_file = |e: &Entry| Entry::new(e.fingerprint(), number as u16, e.group());
        entries.extend(file.index.traces.iter().map(of_file));
    }
    entries.sort_unstable();
    entries.dedup();
    let mut pages = PageWriter::default();
    entries.iter().for_each(|entry| pages.push(*entry));
    let (entries, mut bytes) = pages.finish();
    let covered = files.iter().map(|f| Covered::new(f.in_log.clone(), f.bytes, &f.index.filters));
    let directory = Directory::new(entries, covered.collect());
    for section in &directory.sections {
        for block in 0..blocks_of(section.size) {
            let begin = bytes.len();
            for (file, group) in &section.groups {
                files[usize::from(*file)].index.filters[usize::from(*group)].write_block(block, &mut bytes);
            }
            seal_row(block, begin, &mut bytes);
        }
    }
    directory.write(&mut bytes);
    (!directory.files.is_empty()).then_some(NewRun { directory, bytes })
}

/// Entries into pages, one after the other.
#[derive(Default)]
pub(super) struct PageWriter {
    open: Vec<Entry>,
    number: u64,
    entries: u64,
    /// Pages that are ready, for whoever wants to write them away before the end.
    pub(super) ready: Vec<u8>,
}

impl PageWriter {
    /// Appends an entry that is not less than those before.
    pub(super) fn push(&mut self, entry: Entry) {
        self.open.push(entry);
        self.entries += 1;
        if self.open.len() == PAGE_ENTRIES {
            self.end_page();
        }
    }

    fn end_page(&mut self) {
        write_page(self.number, &self.open, &mut self.ready);
        self.number += 1;
        self.open.clear();
    }

    /// How many entries there were, and the pages that nobody took.
    pub(super) fn finish(mut self) -> (u64, Vec<u8>) {
        if !self.open.is_empty() {
            self.end_page();
        }
        (self.entries, self.ready)
    }
}
