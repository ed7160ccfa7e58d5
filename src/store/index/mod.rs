//! The index beside the tables: where each trace lies, and which row groups may hold an attribute.
//!
//! Each commit of data files to `spans` also writes one *run* (`STORE/<tenant>/index/run-<hash>.idx`, [`format`]), before the
//! commit: for each trace of the files the row groups it is in, sorted by fingerprint, and for each row group a filter of its
//! attributes. A run says which files it covers, by their paths and sizes in the Delta log; it never changes. The index is
//! an aid and never the truth: a file that no run covers is found by the table's statistics and its own bloom filters, an
//! entry of a file that is not live (any more) is ignored, and what is missing or damaged is made again from the data.
//!
//! # Requests
//! A run is fetched once and then kept ([`LocalRuns`], or memory). A reader whose runs are all there asks the store nothing
//! to know a trace's row groups. One that has none asks for one list of the folder and one object a run, sixteen at a time; of a
//! run that is larger than 1 MiB it reads the directory, and a few pages a question, until somebody fetches it whole
//! ([`crate::store::Reader::warm`]). Runs are merged as they become many: there are at most seven of
//! each order of magnitude (of 8) after that.

mod batches;
mod build;
mod cache;
mod cover;
mod directories;
mod entry;
mod filter;
mod format;
mod merge;
mod rebuild;
mod run;
mod sieve;
mod sweep;
mod verify;

pub use cache::LocalRuns;
pub use rebuild::Rebuilt;
pub use verify::{Disagreement, VerifiedIndex};

pub(in crate::store) use batches::RowsIndex;
pub(in crate::store) use build::{FileIndex, Indexed};
pub(in crate::store) use cover::{Candidate, Coverage};
pub(in crate::store) use filter::{FilterBuilder, FilterScope, Needle, key_seed};
pub(in crate::store) use sieve::{Sieve, Sought};

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use object_store::{PutMode, PutOptions};
use parking_lot::Mutex;

use self::cache::Cache;
use self::cover::State;
use self::directories::{Directories, Known};
use self::run::{Run, Shelf};
use super::backends::Location;
use super::error::StoreError;
use crate::runtime::Tenant;

/// The folder of a tenant's runs.
const FOLDER: &str = "index";

/// The index of one store: shared by those who write to its tables and those who read them. Cheap to clone.
#[derive(Clone)]
pub struct Index {
    inner: Arc<Inner>,
}

struct Inner {
    location: Location,
    cache: Arc<Cache>,
    tenants: Mutex<HashMap<Tenant, Arc<TenantIndex>>>,
    directories: Directories,
}

/// What is known of one tenant's runs.
struct TenantIndex {
    shelf: Shelf,
    state: tokio::sync::Mutex<State>,
    /// What the directories take that it has.
    known: Known,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Index({})", self.inner.location.url)
    }
}

impl Index {
    /// What runs may take in memory, where there is no folder for them, in bytes.
    pub const MEMORY_BYTES_DEFAULT: u64 = 64 << 20;

    /// The index of the store at `location`. Runs are kept in `local`, or in memory where there is none; they take at most
    /// `bytes_max` there, and their directories beside it what [`Self::with_directories`] says.
    pub fn open(location: Location, local: Option<LocalRuns>, bytes_max: u64) -> Self {
        let cache = Arc::new(Cache::open(local, bytes_max));
        let directories = Directories::default();
        Self { inner: Arc::new(Inner { location, cache, tenants: Mutex::default(), directories }) }
    }

    /// What the runs that are kept take, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.inner.cache.bytes()
    }

    /// Writes the run of files that are about to be committed to `spans`: call it before the commit. The same files have the
    /// same run, so doing it again is harmless. Where it fails the files are found without it.
    ///
    /// # Errors
    /// As the store has them.
    pub(in crate::store) async fn write(
        &self,
        tenant: &Tenant,
        files: &[Indexed<'_>],
    ) -> Result<(), StoreError> {
        let Some(new) = build::encode(files) else { return Ok(()) };
        let of_tenant = self.tenant(tenant);
        let (name, content) = (new.directory.name(), Bytes::from(new.bytes));
        let (path, bytes) = (of_tenant.shelf.path(&name), content.len() as u64);
        let options = PutOptions { mode: PutMode::Overwrite, ..PutOptions::default() };
        let put = self.inner.location.objects.put_opts(&path, content.clone().into(), options).await;
        put.map_err(|e| StoreError::of_objects(&format!("cannot write {path}"), e))?;
        of_tenant.shelf.keep(&name, content).await;
        let mut state = of_tenant.state.lock().await;
        if of_tenant.known.has_room_for(state.bytes(), &new.directory) {
            state.add(Arc::new(Run { name, bytes, directory: new.directory }));
        }
        of_tenant.known.set(state.bytes());
        drop(state);
        self.forget_unused(tenant);
        Ok(())
    }

    fn tenant(&self, tenant: &Tenant) -> Arc<TenantIndex> {
        let mut tenants = self.inner.tenants.lock();
        if let Some(known) = tenants.get(tenant) {
            return Arc::clone(known);
        }
        let location = &self.inner.location;
        let shelf = Shelf {
            tenant: tenant.clone(),
            objects: Arc::clone(&location.objects),
            folder: location.path.clone().join(tenant.as_str()).join(FOLDER),
            cache: Arc::clone(&self.inner.cache),
        };
        let known = Known::new(&self.inner.directories);
        let new = Arc::new(TenantIndex { shelf, state: tokio::sync::Mutex::default(), known });
        tenants.insert(tenant.clone(), Arc::clone(&new));
        new
    }
}

#[cfg(test)]
mod tests;
