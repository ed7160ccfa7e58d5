//! Runs that are kept here: in files of the data directory, or in memory. Bounded in bytes; what was not used for longest
//! goes first. A run never changes, so what is here is true; what a disk damaged is seen by the run's checksums, and fetched again.

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::Index;
use super::format::is_name;
use crate::runtime::disk::{read_full_at, write_all_at};
use crate::runtime::{Disk, OpenMode, Tenant};

/// Between the tenant and the run in a file's name: no tenant's name has it.
const SEPARATOR: char = '~';
const UNFINISHED: &str = ".tmp";

/// A folder of the data directory.
#[derive(Clone)]
pub struct LocalRuns {
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The folder, which is the index's alone.
    pub dir: PathBuf,
}

/// The cache.
pub(super) struct Cache {
    local: Option<LocalRuns>,
    bytes_max: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    runs: HashMap<String, Kept>,
    bytes: u64,
    uses: u64,
}

struct Kept {
    bytes: u64,
    last_use: u64,
    /// `None`: it is in a file.
    content: Option<Bytes>,
}

impl Cache {
    /// A cache of at most so many bytes, in the folder where one is given. A folder that cannot be used is none: then as much
    /// as is usual in memory.
    pub(super) fn open(local: Option<LocalRuns>, mut bytes_max: u64) -> Self {
        let mut state = State::default();
        let local = local.filter(|local| match state.read(local) {
            Ok(()) => true,
            Err(error) => {
                let folder = local.dir.display();
                tracing::warn!(%folder, %error, "index runs are kept in memory: their folder cannot be used");
                state = State::default();
                bytes_max = bytes_max.min(Index::MEMORY_BYTES_DEFAULT);
                false
            }
        });
        let cache = Self { local, bytes_max, state: Mutex::new(state) };
        cache.shrink(&mut cache.state.lock(), 0);
        cache
    }

    /// The runs of a tenant that are here, with their bytes.
    pub(super) fn runs_of(&self, tenant: &Tenant) -> Vec<(String, u64)> {
        let state = self.state.lock();
        let of_tenant = |(name, kept): (&String, &Kept)| {
            let (of, run) = name.split_once(SEPARATOR)?;
            (of == tenant.as_str()).then(|| (run.to_owned(), kept.bytes))
        };
        state.runs.iter().filter_map(of_tenant).collect()
    }

    /// What they take, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.state.lock().bytes
    }

    /// Whether a run of so many bytes is worth a place: one that takes most of it would only drive out the others.
    pub(super) fn has_room_for(&self, bytes: u64) -> bool {
        bytes <= self.bytes_max / 2
    }

    pub(super) fn has(&self, tenant: &Tenant, run: &str) -> bool {
        self.state.lock().runs.contains_key(&name(tenant, run))
    }

    /// Bytes of a run, if it is here. May block.
    pub(super) fn read(&self, tenant: &Tenant, run: &str, range: Range<u64>) -> io::Result<Option<Bytes>> {
        let name = name(tenant, run);
        let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX);
        {
            let mut state = self.state.lock();
            state.uses += 1;
            let now = state.uses;
            let Some(kept) = state.runs.get_mut(&name) else { return Ok(None) };
            if range.end > kept.bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            kept.last_use = now;
            if let Some(content) = &kept.content {
                return Ok(Some(content.slice(range.start as usize..range.end as usize)));
            }
        }
        let Some(local) = &self.local else { return Ok(None) };
        let file = local.disk.open(&local.dir.join(&name), OpenMode::Read)?;
        let mut bytes = vec![0; length];
        let read = read_full_at(&*file, &mut bytes, range.start)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(bytes.into()))
    }

    /// Keeps a run, if it is worth a place. May block.
    pub(super) fn keep(&self, tenant: &Tenant, run: &str, content: &Bytes) -> io::Result<()> {
        if !self.has_room_for(content.len() as u64) {
            return Ok(());
        }
        let mut kept = self.begin(tenant, run)?;
        kept.append(content)?;
        kept.finish()
    }

    /// Begins to keep a run that comes piece by piece.
    pub(super) fn begin(&self, tenant: &Tenant, run: &str) -> io::Result<Incoming<'_>> {
        let name = name(tenant, run);
        let file = match &self.local {
            Some(local) => {
                let path = local.dir.join(format!("{name}{UNFINISHED}"));
                remove(&*local.disk, &path)?;
                Some(local.disk.open(&path, OpenMode::CreateNew)?)
            }
            None => None,
        };
        Ok(Incoming { cache: self, name, file, memory: Vec::new(), bytes: 0 })
    }

    /// Forgets a run.
    pub(super) fn forget(&self, tenant: &Tenant, run: &str) {
        self.drop_run(&mut self.state.lock(), &name(tenant, run));
    }

    fn drop_run(&self, state: &mut State, name: &str) {
        let Some(kept) = state.runs.remove(name) else { return };
        state.bytes -= kept.bytes;
        if let (Some(local), None) = (&self.local, &kept.content)
            && let Err(error) = remove(&*local.disk, &local.dir.join(name))
        {
            tracing::warn!(run = name, %error, "cannot delete an index run from this disk");
        }
    }

    /// Makes room for so many bytes.
    fn shrink(&self, state: &mut State, bytes: u64) {
        if state.bytes + bytes <= self.bytes_max {
            return;
        }
        let mut oldest: Vec<_> =
            state.runs.iter().map(|(name, kept)| (kept.last_use, name.clone())).collect();
        oldest.sort_unstable();
        for (_, name) in oldest {
            if state.bytes + bytes <= self.bytes_max {
                break;
            }
            self.drop_run(state, &name);
        }
    }
}

impl State {
    /// What is in the folder. Files that were never finished go.
    fn read(&mut self, local: &LocalRuns) -> io::Result<()> {
        local.disk.create_dir_all(&local.dir)?;
        for name in local.disk.list(&local.dir)? {
            let path = local.dir.join(&name);
            let run = name.split_once(SEPARATOR).map(|(_, run)| run);
            if run.is_some_and(is_name) {
                let bytes = local.disk.open(&path, OpenMode::Read)?.size()?;
                self.bytes += bytes;
                self.runs.insert(name, Kept { bytes, last_use: 0, content: None });
            } else if name.ends_with(UNFINISHED) {
                remove(&*local.disk, &path)?;
            }
        }
        Ok(())
    }
}

/// A run on its way in.
pub(super) struct Incoming<'a> {
    cache: &'a Cache,
    name: String,
    file: Option<Arc<dyn crate::runtime::DiskFile>>,
    memory: Vec<u8>,
    bytes: u64,
}

impl Incoming<'_> {
    /// The next bytes. May block.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &self.file {
            Some(file) => write_all_at(&**file, &mut [IoSlice::new(bytes)], self.bytes)?,
            None => self.memory.extend_from_slice(bytes),
        }
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// All of it is in. Nothing is synced: what a crash damages is seen by its checksums. May block.
    pub(super) fn finish(self) -> io::Result<()> {
        let Self { cache, name, file, memory, bytes } = self;
        let mut state = cache.state.lock();
        cache.drop_run(&mut state, &name);
        cache.shrink(&mut state, bytes);
        if let (Some(local), Some(_)) = (&cache.local, &file) {
            let path = local.dir.join(&name);
            local.disk.rename(&local.dir.join(format!("{name}{UNFINISHED}")), &path)?;
        }
        state.uses += 1;
        let content = file.is_none().then(|| memory.into());
        let kept = Kept { bytes, last_use: state.uses, content };
        state.bytes += bytes;
        state.runs.insert(name, kept);
        Ok(())
    }
}

fn name(tenant: &Tenant, run: &str) -> String {
    format!("{tenant}{SEPARATOR}{run}")
}

fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
