//! Files behind a trait, so that a simulated disk can stand in for the real one.

mod real;
mod sequential;
mod whole;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

pub use real::RealDisk;
pub use sequential::Sequential;
pub use whole::{read_bounded, read_text, write_atomic};

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// An existing file, to read.
    Read,
    /// An existing file, to read and write.
    Write,
    /// A new file, to read and write. Fails with [`io::ErrorKind::AlreadyExists`] if the name is taken.
    CreateNew,
}

/// Room on the file system that holds a path, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    /// What an unprivileged writer can still use.
    pub free: u64,
    /// The size of the file system; 0 where it does not say.
    pub total: u64,
}

/// A file system. Nothing is durable before [`DiskFile::sync_data`] (contents) and [`Disk::sync_dir`] (names) return.
pub trait Disk: Send + Sync + 'static {
    /// Creates the directory and those above it; the names are synced.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// The names of the files in `dir`, in no particular order. Directories and names that are not UTF-8 are left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;

    /// Gives `from` the name `to`, replacing what had it, atomically.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file's name. Open handles keep reading it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Room on the file system of `path`.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// An open file. All access is positioned: handles have no cursor and may be shared.
pub trait DiskFile: Send + Sync {
    /// Reads at most `buf.len()` bytes at `offset`; 0 at the end of the file. May be short.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Writes from `bufs`, in order, at `offset`; gives the bytes written. May be short.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize>;

    /// Makes the contents, and as much metadata as is needed to read them, durable.
    /// After an error the contents written since the last success are in an unknown state: trying again proves nothing.
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts the file to, or extends it with zeros to, `bytes`.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// The file's length in bytes.
    fn size(&self) -> io::Result<u64>;
}

/// Reads at `offset` until `buf` is full or the file ends; gives the bytes read.
pub fn read_full_at(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

/// Writes all of `bufs`, in order, at `offset`. The slices are consumed.
pub fn write_all_at(file: &dyn DiskFile, mut bufs: &mut [IoSlice<'_>], offset: u64) -> io::Result<()> {
    /// What one system call takes (`IOV_MAX`).
    const SLICES_MAX: usize = 1024;
    let mut offset = offset;
    IoSlice::advance_slices(&mut bufs, 0); // Drops leading empty slices.
    while !bufs.is_empty() {
        let now = bufs.len().min(SLICES_MAX);
        match file.write_at(&bufs[..now], offset) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                offset += written as u64;
                IoSlice::advance_slices(&mut bufs, written);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Whether the error says that the disk, or the quota, is used up.
pub fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
