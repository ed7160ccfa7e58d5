//! One daemon a data directory.
#![allow(clippy::disallowed_methods)]

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

/// The name of the lock file in the directory.
pub const LOCK_FILE: &str = "LOCK";

/// Why the directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it.
    #[error("{} is in use by {}", dir.display(), holder(*pid))]
    Held {
        /// The directory asked for.
        dir: PathBuf,
        /// The process that has it, where the lock file says.
        pid: Option<u32>,
    },
    /// The lock file cannot be created, read or locked.
    #[error("cannot lock {}: {source}", dir.display())]
    Io {
        /// The directory asked for.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn holder(pid: Option<u32>) -> String {
    pid.map_or_else(|| "another process".to_owned(), |pid| format!("another process (pid {pid})"))
}

/// Exclusive use of a directory, until dropped or until the process ends, however it ends.
/// The file [`LOCK_FILE`] stays behind and holds the last owner's pid; only the lock on it counts.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Locks `dir`, which must exist. Does not wait.
    ///
    /// # Errors
    /// [`LockError::Held`] with the other's pid, [`LockError::Io`] if the directory cannot be written.
    pub fn acquire(dir: &Path) -> Result<Self, LockError> {
        let io = |source| LockError::Io { dir: dir.to_path_buf(), source };
        let path = dir.join(LOCK_FILE);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(io)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(LockError::Held { dir: dir.to_path_buf(), pid: read_pid(&mut file) });
            }
            Err(e) => return Err(io(e.into())),
        }
        write_pid(&mut file).map_err(io)?;
        Ok(Self { _file: file })
    }
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

fn write_pid(file: &mut File) -> io::Result<()> {
    let text = format!("{}\n", std::process::id());
    file.seek(SeekFrom::Start(0))?;
    match file.write_all(text.as_bytes()) {
        Ok(()) => file.set_len(text.len() as u64),
        // A full disk is to be survived: the lock itself holds, only the pid is missing.
        Err(e) if super::disk::is_full(&e) => file.set_len(0),
        Err(e) => Err(e),
    }
}
