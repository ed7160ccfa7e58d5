//! Many small runs become one, so that a reader has few to fetch and to ask. What merging leaves out are files that are not live.
//!
//! Both are merged as they are read: of each run a few pages, or a few rows of a section, are in memory at a time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use object_store::{ObjectStoreExt, WriteMultipart};

use super::build::PageWriter;
use super::cover::Used;
use super::entry::{Entry, pages};
use super::filter::{BLOCK_BYTES, FilterSize, blocks_of};
use super::format::{Covered, Directory, FILES_MAX, Section, open_row, seal_row};
use super::run::{Run, Shelf, Trouble};
use super::{Coverage, Index};
use crate::runtime::Tenant;
use crate::store::error::StoreError;

/// So many runs of one order of magnitude are merged.
const RUNS: usize = 8;
/// Pages that are read of a run at once.
const PAGES_AT_ONCE: u64 = 64;
/// Rows of a section that are read of a run at once take about so much.
const ROWS_BYTES: u64 = 256 << 10;
/// What is uploaded at once; S3 takes no smaller parts.
const PART_BYTES: usize = 8 << 20;
/// Larger runs stay as they are, in entries: 1.5 GiB of them.
const ENTRIES_MAX: u64 = 1 << 27;

/// Runs of one order of magnitude (of 8) of which there are enough to be merged; the first few of them.
fn due(coverage: &Coverage) -> Option<Vec<&Used>> {
    let mut classes: BTreeMap<u32, Vec<&Used>> = BTreeMap::new();
    for used in coverage.runs.iter().filter(|used| used.run.directory.entries < ENTRIES_MAX / RUNS as u64) {
        classes.entry(used.run.directory.entries.max(1).ilog2() / 3).or_default().push(used);
    }
    let fits = |runs: &[&Used]| runs.iter().map(|used| used.live.len()).sum::<usize>() <= FILES_MAX;
    let mut enough = classes.into_values().filter(|runs| runs.len() >= RUNS && fits(&runs[..RUNS]));
    enough.next().map(|mut runs| {
        runs.truncate(RUNS);
        runs
    })
}

impl Index {
    /// Merges some runs, if there are eight of one order of magnitude (of 8); gives how many went. Two programs may do it at
    /// once: a file may then be in two runs, of which one is used.
    ///
    /// # Errors
    /// As the store has them; what was merged stays so.
    pub(in crate::store) async fn merge(
        &self,
        tenant: &Tenant,
        coverage: &Coverage,
    ) -> Result<u64, StoreError> {
        let of_tenant = self.tenant(tenant);
        let Some(runs) = due(coverage) else { return Ok(0) };
        let run = match merge_runs(&of_tenant.shelf, &runs).await {
            Ok(run) => run,
            Err(Trouble::Store(error)) => return Err(error),
            Err(trouble) => {
                tracing::warn!(%trouble, "runs of the index are not merged");
                return Ok(0);
            }
        };
        of_tenant.state.lock().await.add(Arc::new(run));
        let mut gone = BTreeSet::new();
        for used in &runs {
            of_tenant.forget(&used.run.name).await;
            gone.insert(of_tenant.shelf.path(&used.run.name));
        }
        of_tenant.shelf.delete(gone).await
    }
}

/// Writes the run of all live files of these.
async fn merge_runs(shelf: &Shelf, runs: &[&Used]) -> Result<Run, Trouble> {
    let mut files: Vec<Covered> = Vec::new();
    let mut numbers: Vec<Vec<Option<u16>>> = Vec::new();
    for used in runs {
        let number = |(file, live): (&Covered, &Option<u32>)| {
            live.map(|_| {
                files.push(file.clone());
                (files.len() - 1) as u16
            })
        };
        numbers.push(used.run.directory.files.iter().zip(&used.live).map(number).collect());
    }
    let name = Directory::new(0, files.clone()).name();
    let mut upload = Upload::begin(shelf, &name).await?;
    let entries = merge_entries(shelf, runs, &numbers, &mut upload).await?;
    let directory = Directory::new(entries, files);
    for section in &directory.sections {
        merge_section(shelf, runs, section.size, &mut upload).await?;
    }
    let mut end = Vec::new();
    directory.write(&mut end);
    let bytes = upload.finish(end).await?;
    Ok(Run { name, bytes, directory })
}

/// A run's entries, in pieces.
struct Cursor<'a> {
    run: &'a Run,
    numbers: &'a [Option<u16>],
    page: u64,
    ready: std::vec::IntoIter<Entry>,
}

impl Cursor<'_> {
    /// The next entry of a live file, with the file's number in the new run.
    async fn next(&mut self, shelf: &Shelf) -> Result<Option<Entry>, Trouble> {
        loop {
            for entry in self.ready.by_ref() {
                if let Some(Some(file)) = self.numbers.get(usize::from(entry.file())) {
                    return Ok(Some(Entry::new(entry.fingerprint(), *file, entry.group())));
                }
            }
            let end = pages(self.run.directory.entries).min(self.page + PAGES_AT_ONCE);
            if self.page >= end {
                return Ok(None);
            }
            self.ready = shelf.entries(self.run, self.page..end).await?.into_iter();
            self.page = end;
        }
    }
}

async fn merge_entries(
    shelf: &Shelf,
    runs: &[&Used],
    numbers: &[Vec<Option<u16>>],
    upload: &mut Upload,
) -> Result<u64, Trouble> {
    let mut cursors = Vec::new();
    let mut next = BinaryHeap::new();
    for (number, used) in runs.iter().enumerate() {
        let mut cursor =
            Cursor { run: &used.run, numbers: &numbers[number], page: 0, ready: Vec::new().into_iter() };
        if let Some(entry) = cursor.next(shelf).await? {
            next.push(Reverse((entry, number)));
        }
        cursors.push(cursor);
    }
    let mut writer = PageWriter::default();
    while let Some(Reverse((entry, number))) = next.pop() {
        writer.push(entry);
        if writer.ready.len() >= PART_BYTES {
            upload.put(std::mem::take(&mut writer.ready)).await?;
        }
        if let Some(entry) = cursors[number].next(shelf).await? {
            next.push(Reverse((entry, number)));
        }
    }
    let (entries, rest) = writer.finish();
    upload.put(rest).await?;
    Ok(entries)
}

/// The filters of one size, those of one run after those of the other, as the directory has their files.
async fn merge_section(
    shelf: &Shelf,
    runs: &[&Used],
    size: FilterSize,
    upload: &mut Upload,
) -> Result<(), Trouble> {
    let of_size = |used: &&Used| {
        let section = used.run.directory.sections.iter().find(|s| s.size == size)?;
        let is_live = |(file, _): &(u16, u16)| used.live[usize::from(*file)].is_some();
        let live: Vec<bool> = section.groups.iter().map(is_live).collect();
        Some((Arc::clone(&used.run), section.clone(), live))
    };
    let parts: Vec<(Arc<Run>, Section, Vec<bool>)> = runs.iter().filter_map(of_size).collect();
    let widest = parts.iter().map(|(_, section, _)| section.row_bytes()).max().unwrap_or(1);
    let step = (ROWS_BYTES / widest).max(1) as u32;
    let blocks = blocks_of(size);
    let mut first = 0;
    while first < blocks {
        let last = blocks.min(first + step) - 1;
        let mut rows: Vec<Vec<u8>> = vec![Vec::new(); (last - first + 1) as usize];
        for (run, section, live) in &parts {
            let range = section.row(first).start..section.row(last).end;
            let open = |bytes: &[u8]| {
                let opened = bytes.chunks(section.row_bytes() as usize).zip(first..=last);
                opened
                    .map(|(row, block)| open_row(block, row).map(<[u8]>::to_vec))
                    .collect::<Option<Vec<_>>>()
            };
            for (row, of_run) in rows.iter_mut().zip(shelf.checked(&run.name, range, open).await?) {
                let blocks = of_run.chunks(BLOCK_BYTES).zip(live).filter(|(_, live)| **live);
                blocks.for_each(|(block, _)| row.extend_from_slice(block));
            }
        }
        for (row, block) in rows.iter_mut().zip(first..=last) {
            seal_row(block, 0, row);
        }
        upload.put(rows.concat()).await?;
        first = last + 1;
    }
    Ok(())
}

/// An object that is written piece by piece: in parts once it is large.
struct Upload {
    shelf: Shelf,
    name: String,
    begun: Option<WriteMultipart>,
    pending: Vec<u8>,
    bytes: u64,
}

impl Upload {
    async fn begin(shelf: &Shelf, name: &str) -> Result<Self, Trouble> {
        Ok(Self { shelf: shelf.clone(), name: name.to_owned(), begun: None, pending: Vec::new(), bytes: 0 })
    }

    fn failed(&self, error: object_store::Error) -> Trouble {
        let path = self.shelf.path(&self.name);
        StoreError::of_objects(&format!("cannot write {path}"), error).into()
    }

    async fn put(&mut self, bytes: Vec<u8>) -> Result<(), Trouble> {
        self.bytes += bytes.len() as u64;
        self.pending.extend_from_slice(&bytes);
        if self.pending.len() < PART_BYTES {
            return Ok(());
        }
        if self.begun.is_none() {
            let begun = self.shelf.objects.put_multipart(&self.shelf.path(&self.name)).await;
            let begun = begun.map_err(|e| self.failed(e))?;
            self.begun = Some(WriteMultipart::new_with_chunk_size(begun, PART_BYTES));
        }
        if let Some(upload) = &mut self.begun {
            upload.put(std::mem::take(&mut self.pending).into());
            let room = upload.wait_for_capacity(2).await;
            room.map_err(|e| self.failed(e))?;
        }
        Ok(())
    }

    /// Writes the end; gives the object's bytes.
    async fn finish(mut self, end: Vec<u8>) -> Result<u64, Trouble> {
        self.bytes += end.len() as u64;
        self.pending.extend_from_slice(&end);
        let pending = std::mem::take(&mut self.pending);
        let done = match self.begun.take() {
            Some(mut upload) => {
                upload.put(pending.into());
                upload.finish().await
            }
            None => self.shelf.objects.put(&self.shelf.path(&self.name), pending.into()).await,
        };
        done.map_err(|e| self.failed(e))?;
        Ok(self.bytes)
    }
}
