//! A disk in memory that fails on demand and forgets what was not synced when it crashes.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Disk, DiskFile, OpenMode, Space};

const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// What goes wrong from now on.
#[derive(Clone, Debug)]
pub(crate) struct Faults {
    /// The size of the disk, in bytes.
    pub(crate) capacity: u64,
    /// The next syncs of files that fail; each loses what it should have synced, for good.
    pub(crate) syncs_to_fail: u32,
    /// The next syncs of directories that fail.
    pub(crate) dir_syncs_to_fail: u32,
    /// The next truncations that fail.
    pub(crate) truncates_to_fail: u32,
    /// The next opens of files that are there that fail.
    pub(crate) opens_to_fail: u32,
    pub(crate) read_only: bool,
    /// Whether the disk says how full it is.
    pub(crate) tells_space: bool,
    /// How long a sync takes.
    pub(crate) sync_time: Duration,
    /// Reads that touch this offset of any file fail.
    pub(crate) bad_offset: Option<u64>,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            capacity: 1 << 40,
            syncs_to_fail: 0,
            dir_syncs_to_fail: 0,
            truncates_to_fail: 0,
            opens_to_fail: 0,
            read_only: false,
            tells_space: true,
            sync_time: Duration::ZERO,
            bad_offset: None,
        }
    }
}

#[derive(Default)]
struct Inode {
    data: Vec<u8>,
    durable: Vec<u8>,
    /// A sync has failed: later ones say yes and do nothing.
    lying: bool,
}

type Shared = Arc<Mutex<Inode>>;

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Shared>,
    durable_names: BTreeMap<PathBuf, Shared>,
    faults: Faults,
    syncs: u64,
}

impl State {
    fn used(&self) -> u64 {
        self.names.values().map(|inode| inode.lock().data.len() as u64).sum()
    }

    fn writable(&self) -> io::Result<()> {
        if self.faults.read_only { Err(io::Error::from_raw_os_error(EROFS)) } else { Ok(()) }
    }
}

/// The disk; clones are the same disk.
#[derive(Clone, Default)]
pub(crate) struct MemDisk(Arc<Mutex<State>>);

impl MemDisk {
    pub(crate) fn faults(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.0.lock().faults);
    }

    /// Successful syncs of files.
    pub(crate) fn syncs(&self) -> u64 {
        self.0.lock().syncs
    }

    /// The disk as another process finds it after a power cut: synced names with their synced contents, and of what was
    /// appended since, the share `kept` (0.0 to 1.0).
    pub(crate) fn crashed(&self, kept: f64) -> Self {
        let state = self.0.lock();
        let after = |inode: &Shared| {
            let inode = inode.lock();
            let mut data = inode.durable.clone();
            if inode.data.len() > data.len() && !inode.lying {
                let more = ((inode.data.len() - data.len()) as f64 * kept) as usize;
                data.extend_from_slice(&inode.data[data.len()..data.len() + more]);
            }
            Arc::new(Mutex::new(Inode { durable: data.clone(), data, lying: false }))
        };
        let names: BTreeMap<_, _> = state.durable_names.iter().map(|(n, i)| (n.clone(), after(i))).collect();
        let state = State { durable_names: names.clone(), names, ..State::default() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// A copy with everything that was written, synced or not.
    pub(crate) fn copied(&self) -> Self {
        let copy = Self::default();
        for (path, inode) in &self.0.lock().names {
            copy.put(path, &inode.lock().data);
        }
        copy
    }

    /// A file's contents.
    pub(crate) fn get(&self, path: &Path) -> Vec<u8> {
        self.0.lock().names[path].lock().data.clone()
    }

    /// Gives a file contents, durably.
    pub(crate) fn put(&self, path: &Path, data: &[u8]) {
        let inode = Inode { data: data.to_vec(), durable: data.to_vec(), lying: false };
        let inode = Arc::new(Mutex::new(inode));
        let mut state = self.0.lock();
        state.names.insert(path.to_path_buf(), Arc::clone(&inode));
        state.durable_names.insert(path.to_path_buf(), inode);
    }

    /// The paths of all files, in order.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.0.lock().names.keys().cloned().collect()
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for MemDisk {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.0.lock();
        if mode != OpenMode::Read {
            state.writable()?;
        }
        if mode == OpenMode::CreateNew {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.names.insert(path.to_path_buf(), Shared::default());
        } else if state.faults.opens_to_fail > 0 {
            state.faults.opens_to_fail -= 1;
            return Err(io::Error::from_raw_os_error(EMFILE));
        }
        let inode = Arc::clone(state.names.get(path).ok_or_else(not_found)?);
        Ok(Arc::new(MemFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.writable()?;
        let inode = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        state.writable()?;
        state.names.remove(path).map(drop).ok_or_else(not_found)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.faults.dir_syncs_to_fail > 0 {
            state.faults.dir_syncs_to_fail -= 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        state.durable_names.retain(|path, _| path.parent() != Some(dir));
        let now: Vec<_> = state.names.iter().map(|(path, inode)| (path.clone(), Arc::clone(inode))).collect();
        state.durable_names.extend(now.into_iter().filter(|(path, _)| path.parent() == Some(dir)));
        Ok(())
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.0.lock();
        let total = if state.faults.tells_space { state.faults.capacity } else { 0 };
        Ok(Space { free: state.faults.capacity.saturating_sub(state.used()), total })
    }
}

struct MemFile {
    disk: MemDisk,
    inode: Shared,
}

impl DiskFile for MemFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let bad = self.disk.0.lock().faults.bad_offset;
        if bad.is_some_and(|bad| (offset..offset + buf.len() as u64).contains(&bad)) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let inode = self.inode.lock();
        let from = inode.data.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(buf.len());
        buf[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    /// Writes at most three slices, so that short writes are what everybody sees.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let state = self.disk.0.lock();
        state.writable()?;
        let data: Vec<u8> = bufs.iter().take(3).flat_map(|buf| buf.iter().copied()).collect();
        let free = state.faults.capacity.saturating_sub(state.used()) as usize;
        let mut inode = self.inode.lock();
        let end = offset as usize + data.len();
        let grown = end.saturating_sub(inode.data.len());
        let fits = data.len() - grown.saturating_sub(free).min(data.len());
        if fits == 0 {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        let end = offset as usize + fits;
        let length = inode.data.len().max(end);
        inode.data.resize(length, 0);
        inode.data[offset as usize..end].copy_from_slice(&data[..fits]);
        Ok(fits)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        let pause = state.faults.sync_time;
        let mut inode = self.inode.lock();
        if state.faults.syncs_to_fail > 0 {
            state.faults.syncs_to_fail -= 1;
            inode.lying = true;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        state.syncs += 1;
        if !inode.lying {
            inode.durable = inode.data.clone();
        }
        drop((inode, state));
        std::thread::sleep(pause);
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.0.lock();
        state.writable()?;
        if state.faults.truncates_to_fail > 0 {
            state.faults.truncates_to_fail -= 1;
            return Err(io::Error::from_raw_os_error(EIO));
        }
        self.inode.lock().data.resize(bytes as usize, 0);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.inode.lock().data.len() as u64)
    }
}
