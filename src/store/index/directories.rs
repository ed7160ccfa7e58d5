//! What the directories of runs take in memory, of all tenants: bounded. The tenant that was not asked about for longest is
//! forgotten first; its runs are still in the cache, and are opened again when it is asked about. Of a single tenant that has
//! more than there is room for, the runs beyond are not used: their files are found by the table's statistics.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Index;
use super::cover::State;
use super::format::Directory;
use crate::runtime::Tenant;

/// A file of a run, without its path; and what finds it among the live ones.
const FILE_BYTES: u64 = 128;
/// A row group's part in the run.
const GROUP_BYTES: u64 = 32;

/// The bound, and what is taken.
#[derive(Clone, Default)]
pub(super) struct Directories(Arc<Shared>);

struct Shared {
    bytes_max: AtomicU64,
    bytes: AtomicU64,
    uses: AtomicU64,
}

impl Default for Shared {
    fn default() -> Self {
        let bytes_max = AtomicU64::new(Index::DIRECTORIES_BYTES_DEFAULT);
        Self { bytes_max, bytes: AtomicU64::new(0), uses: AtomicU64::new(0) }
    }
}

/// What is taken for one tenant; given back when it is dropped.
pub(super) struct Known {
    all: Directories,
    bytes: AtomicU64,
    last_use: AtomicU64,
}

impl Known {
    pub(super) fn new(all: &Directories) -> Self {
        Self { all: all.clone(), bytes: AtomicU64::new(0), last_use: AtomicU64::new(0) }
    }

    /// Whether another run fits, where a tenant has so many bytes of them.
    pub(super) fn has_room_for(&self, has: u64, directory: &Directory) -> bool {
        has + directory_bytes(directory) <= self.all.0.bytes_max.load(Ordering::Relaxed)
    }

    /// The tenant's directories take so many bytes now.
    pub(super) fn set(&self, bytes: u64) {
        let before = self.bytes.swap(bytes, Ordering::Relaxed);
        self.all.0.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.all.0.bytes.fetch_sub(before, Ordering::Relaxed);
        self.last_use.store(self.all.0.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        self.all.0.bytes.fetch_sub(self.bytes.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// What the directory of a run takes, about, in bytes.
pub(super) fn directory_bytes(directory: &Directory) -> u64 {
    let files = directory.files.iter();
    files.map(|file| FILE_BYTES + 2 * file.path.len() as u64 + GROUP_BYTES * file.groups.len() as u64).sum()
}

impl State {
    /// What the directories take, about, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.directories().map(directory_bytes).sum()
    }
}

impl Index {
    /// What the directories of runs may take, where nobody says.
    pub const DIRECTORIES_BYTES_DEFAULT: u64 = 64 << 20;

    /// What runs cover may take so many bytes of memory.
    pub fn with_directories(self, bytes_max: u64) -> Self {
        self.inner.directories.0.bytes_max.store(bytes_max, Ordering::Relaxed);
        self
    }

    /// What it takes now, in bytes.
    pub fn directories_bytes(&self) -> u64 {
        self.inner.directories.0.bytes.load(Ordering::Relaxed)
    }

    /// Forgets what is known of other tenants, until what is left fits.
    pub(super) fn forget_unused(&self, except: &Tenant) {
        let shared = &self.inner.directories.0;
        while shared.bytes.load(Ordering::Relaxed) > shared.bytes_max.load(Ordering::Relaxed) {
            let mut tenants = self.inner.tenants.lock();
            let others = tenants.iter().filter(|(tenant, _)| *tenant != except);
            let unused = others.min_by_key(|(_, index)| index.known.last_use.load(Ordering::Relaxed));
            let Some(tenant) = unused.map(|(tenant, _)| tenant.clone()) else { return };
            // Whoever asks about it right now finishes; what that brings is not counted twice, and goes with the answer.
            tenants.remove(&tenant);
        }
    }
}
