//! Disks of a test's own, where it may mount: small ones, and ones that take no more files.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Something mounted; unmounted when dropped.
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// A disk of `size` (`8m`). None where this user may not mount.
    pub fn small(at: &Path, size: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size}");
        let mounted = run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at));
        mounted.then(|| Self(at.to_path_buf()))
    }

    /// The same folder again, over itself, read-only: whoever has files of it open for writing goes on writing to them;
    /// nobody creates, removes or opens one for writing.
    pub fn read_only(folder: &Path) -> Option<Self> {
        if !run(Command::new("mount").arg("--bind").arg(folder).arg(folder)) {
            return None;
        }
        let mounted = Self(folder.to_path_buf());
        run(Command::new("mount").args(["-o", "remount,bind,ro"]).arg(folder)).then_some(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        run(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn run(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}
