//! Reading runs: from the cache where they are in it, else ranges of the object.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use super::cache::Cache;
use super::entry::{Entry, PAGE_BYTES, PAGE_ENTRIES, pages, read_page};
use super::filter::{BLOCK_BYTES, Needle, block_may_hold, block_number, blocks_of};
use super::format::{Directory, TRAILER_BYTES, Trailer, open_row};
use crate::runtime::Tenant;
use crate::store::error::StoreError;
use crate::store::table::blocking;

/// A run of at most so many bytes is fetched whole. Of a larger one pieces are read until somebody fetches it.
const WHOLE_BYTES_MAX: u64 = 1 << 20;
/// What is read of a larger run's end: the directory of some hundred files is in it.
const TAIL_BYTES: u64 = 64 << 10;
/// What is read at once when a large run is fetched.
const PIECE_BYTES: u64 = 4 << 20;
/// Entries of one trace in one run; more than it has files are not expected.
const MATCHES_MAX: usize = 1 << 16;
/// Pages that are read where the first guess was wrong.
const PAGES_AT_A_GUESS: u64 = 16;

/// Why a run does not answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// Another program merged it into a larger one, or swept it.
    #[error("it is not there (any more)")]
    Gone,
    #[error("it is damaged")]
    Damaged,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A run whose directory is known.
pub(super) struct Run {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) directory: Directory,
}

/// Where a tenant's runs are.
#[derive(Clone)]
pub(super) struct Shelf {
    pub(super) tenant: Tenant,
    pub(super) objects: Arc<dyn ObjectStore>,
    /// The folder of the tenant's runs.
    pub(super) folder: Path,
    pub(super) cache: Arc<Cache>,
}

impl Shelf {
    /// The object of a run.
    pub(super) fn path(&self, name: &str) -> Path {
        self.folder.clone().join(name)
    }

    /// Opens a run of so many bytes: no request if it is in the cache, one if it is small.
    pub(super) async fn open(&self, name: &str, bytes: u64) -> Result<Run, Trouble> {
        if bytes < TRAILER_BYTES as u64 {
            return Err(Trouble::Damaged);
        }
        if bytes <= WHOLE_BYTES_MAX {
            let kept = self.kept(name, 0..bytes).await?;
            if let Some(directory) = kept.as_deref().and_then(directory_of) {
                return Ok(Run { name: name.to_owned(), bytes, directory });
            }
            let content = self.fetch(name, 0..bytes).await?;
            let directory = directory_of(&content).ok_or(Trouble::Damaged)?;
            self.keep(name, content).await;
            return Ok(Run { name: name.to_owned(), bytes, directory });
        }
        let begin = bytes.saturating_sub(TAIL_BYTES);
        let read_trailer = |tail: &[u8]| Some((Trailer::read(tail, bytes)?, Bytes::copy_from_slice(tail)));
        let (trailer, tail) = self.checked(name, begin..bytes, read_trailer).await?;
        let at = trailer.directory();
        let directory = match at.start.checked_sub(begin) {
            Some(from) => Directory::read(&trailer, &tail[from as usize..(at.end - begin) as usize]),
            None => Some(self.checked(name, at, |bytes| Directory::read(&trailer, bytes)).await?),
        };
        Ok(Run { name: name.to_owned(), bytes, directory: directory.ok_or(Trouble::Damaged)? })
    }

    /// Puts a run into the cache. It is an aid: what goes wrong is told, and the store is asked instead.
    pub(super) async fn keep(&self, name: &str, content: Bytes) {
        let (cache, tenant, run) = (Arc::clone(&self.cache), self.tenant.clone(), name.to_owned());
        let kept = blocking(move || Ok(cache.keep(&tenant, &run, &content))).await;
        if let Ok(Err(error)) = kept {
            tracing::warn!(run = name, %error, "cannot keep an index run on this disk");
        }
    }

    /// Brings a run into the cache, piece by piece.
    pub(super) async fn fetch_whole(&self, run: &Run) -> Result<(), Trouble> {
        let failed = |error| tracing::warn!(run = run.name, %error, "cannot keep an index run on this disk");
        let Ok(mut incoming) = self.cache.begin(&self.tenant, &run.name).map_err(failed) else {
            return Ok(());
        };
        let mut at = 0;
        while at < run.bytes {
            let end = run.bytes.min(at + PIECE_BYTES);
            let piece = self.fetch(&run.name, at..end).await?;
            if incoming.append(&piece).map_err(failed).is_err() {
                return Ok(());
            }
            at = end;
        }
        let _ = incoming.finish().map_err(failed);
        Ok(())
    }

    /// What `check` makes of a run's bytes. Where it makes nothing of those in the cache, they are fetched again.
    pub(super) async fn checked<T>(
        &self,
        name: &str,
        range: Range<u64>,
        check: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<T, Trouble> {
        if let Some(bytes) = self.kept(name, range.clone()).await? {
            if let Some(checked) = check(&bytes) {
                return Ok(checked);
            }
            tracing::warn!(run = name, "an index run on this disk is damaged; it is fetched again");
            self.cache.forget(&self.tenant, name);
        }
        check(&self.fetch(name, range).await?).ok_or(Trouble::Damaged)
    }

    /// Bytes of a run in the cache.
    async fn kept(&self, name: &str, range: Range<u64>) -> Result<Option<Bytes>, Trouble> {
        let (cache, tenant, run) = (Arc::clone(&self.cache), self.tenant.clone(), name.to_owned());
        match blocking(move || Ok(cache.read(&tenant, &run, range))).await? {
            Ok(bytes) => Ok(bytes),
            Err(error) => {
                tracing::warn!(run = name, %error, "an index run on this disk cannot be read; it is fetched again");
                self.cache.forget(&self.tenant, name);
                Ok(None)
            }
        }
    }

    async fn fetch(&self, name: &str, range: Range<u64>) -> Result<Bytes, Trouble> {
        let path = self.path(name);
        let length = range.end - range.start;
        match self.objects.get_range(&path, range).await {
            Ok(bytes) if bytes.len() as u64 == length => Ok(bytes),
            Ok(_) => Err(Trouble::Damaged),
            Err(object_store::Error::NotFound { .. }) => Err(Trouble::Gone),
            Err(error) => Err(StoreError::of_objects(&format!("cannot read {path}"), error).into()),
        }
    }

    /// The entries of pages of a run.
    pub(super) async fn entries(&self, run: &Run, numbers: Range<u64>) -> Result<Vec<Entry>, Trouble> {
        let total = run.directory.entries;
        let range = numbers.start * PAGE_BYTES as u64..numbers.end * PAGE_BYTES as u64;
        let read = |bytes: &[u8]| {
            let mut entries = Vec::with_capacity(bytes.len() / PAGE_BYTES * PAGE_ENTRIES);
            for (at, page) in bytes.chunks(PAGE_BYTES).enumerate() {
                entries.extend(read_page(numbers.start + at as u64, total, page)?);
            }
            Some(entries)
        };
        self.checked(&run.name, range, read).await
    }

    /// The entries of a fingerprint. One read nearly always: fingerprints are spread evenly, so that one's place is known
    /// within a few pages.
    pub(super) async fn find(&self, run: &Run, fingerprint: u64) -> Result<Vec<Entry>, Trouble> {
        let (mut low, mut high) = (0, pages(run.directory.entries));
        let mut window = first_window(fingerprint, run.directory.entries);
        let mut found: Vec<Entry> = Vec::new();
        while low < high {
            let entries = self.entries(run, window.clone()).await?;
            let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
                return Err(Trouble::Damaged);
            };
            if first.fingerprint() >= fingerprint && window.start > low && found.is_empty() {
                high = window.start + 1;
            } else if last.fingerprint() < fingerprint {
                low = window.end;
            } else {
                let equal = entries.iter().filter(|e| e.fingerprint() == fingerprint);
                found.extend(equal);
                if last.fingerprint() > fingerprint || found.len() >= MATCHES_MAX {
                    break;
                }
                // The next page may go on with it.
                low = window.end;
                window = low..high.min(low + 1);
                continue;
            }
            let middle = low + high.saturating_sub(low) / 2;
            window = middle.saturating_sub(PAGES_AT_A_GUESS / 2).max(low)
                ..high.min(middle + PAGES_AT_A_GUESS / 2 + 1);
        }
        Ok(found)
    }

    /// The row groups (file, row group) of the run's files that cannot hold the attribute.
    pub(super) async fn without(&self, run: &Run, needle: &Needle) -> Result<Vec<(u16, u16)>, Trouble> {
        let mut without = Vec::new();
        for section in &run.directory.sections {
            let flags = |(file, group): &(u16, u16)| {
                let file = &run.directory.files[usize::from(*file)];
                file.groups[usize::from(*group)].flags
            };
            let of_groups: Vec<Option<Vec<u64>>> =
                section.groups.iter().map(|group| needle.hashes(flags(group))).collect();
            let mut wanted: Vec<u64> = of_groups.iter().flatten().flatten().copied().collect();
            wanted.sort_unstable();
            wanted.dedup();
            let mut may_hold = vec![false; section.groups.len()];
            for hash in wanted {
                let number = block_number(hash, blocks_of(section.size));
                let open = |bytes: &[u8]| open_row(number, bytes).map(Bytes::copy_from_slice);
                let row = self.checked(&run.name, section.row(number), open).await?;
                let blocks = row.chunks(BLOCK_BYTES).zip(&of_groups);
                for (may, (block, hashes)) in may_hold.iter_mut().zip(blocks) {
                    let asked = hashes.as_ref().is_none_or(|hashes| hashes.contains(&hash));
                    *may |= asked && block_may_hold(block, hash);
                }
            }
            let known = section.groups.iter().zip(&of_groups).zip(may_hold);
            without
                .extend(known.filter(|((_, hashes), may)| hashes.is_some() && !may).map(|((at, _), _)| *at));
        }
        Ok(without)
    }
}

/// The directory of a whole run; `None` if it is damaged.
fn directory_of(run: &[u8]) -> Option<Directory> {
    let trailer = Trailer::read(run, run.len() as u64)?;
    let at = trailer.directory();
    Directory::read(&trailer, &run[at.start as usize..at.end as usize])
}

/// The pages that hold a fingerprint but in one case of 10^8: the place of one among so many even ones deviates by at most
/// half their number's root, on average.
fn first_window(fingerprint: u64, entries: u64) -> Range<u64> {
    let place = (u128::from(fingerprint) * u128::from(entries)) >> 64;
    let deviation = entries.isqrt() * 3 + 1;
    let last = pages(entries).saturating_sub(1);
    let page = |place: u64| (place / PAGE_ENTRIES as u64).min(last);
    page((place as u64).saturating_sub(deviation))..page(place as u64 + deviation) + 1
}
