//! Small files read and written whole: configuration, rules, marks.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use super::{Disk, OpenMode, read_full_at, write_all_at};

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
/// [`io::ErrorKind::FileTooLarge`] if it is longer; otherwise what the disk says.
pub fn read_bounded(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    const STEP_BYTES: u64 = 64 * 1024;
    let file = disk.open(path, OpenMode::Read)?;
    let mut content = Vec::new();
    // The length a file claims is only a hint: some claim 0 and still have contents.
    loop {
        let have = content.len() as u64;
        let step = STEP_BYTES.min(bytes_max + 1 - have);
        content.resize((have + step) as usize, 0);
        let read = read_full_at(&*file, &mut content[have as usize..], have)?;
        content.truncate(have as usize + read);
        if content.len() as u64 > bytes_max {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        if (read as u64) < step {
            return Ok(content);
        }
    }
}

/// Reads a UTF-8 file of at most `bytes_max` bytes.
///
/// # Errors
/// [`io::ErrorKind::InvalidData`] if it is not UTF-8; otherwise as [`read_bounded`].
pub fn read_text(disk: &dyn Disk, path: &Path, bytes_max: u64) -> io::Result<String> {
    let content = read_bounded(disk, path, bytes_max)?;
    String::from_utf8(content).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e.utf8_error()))
}

/// Replaces `path` by `content`, durably: after a crash it holds the old content or the new one, whole.
/// One writer a path at a time.
pub fn write_atomic(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path);
    match disk.remove(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let written = write_synced(disk, &temporary, content).and_then(|()| disk.rename(&temporary, path));
    if let Err(error) = written {
        // Best effort: the first error is the one to tell.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    disk.sync_dir(path.parent().unwrap_or(Path::new("")))
}

fn write_synced(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    let file = disk.open(path, OpenMode::CreateNew)?;
    write_all_at(&*file, &mut [IoSlice::new(content)], 0)?;
    file.sync_data()
}

fn temporary_beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".tmp");
    path.with_file_name(name)
}
