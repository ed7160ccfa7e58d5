//! The texts of rules that were in force, by version: pending traces are decided by the rules of their first span over a
//! restart, and a verdict can be explained long after. One file a version.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::runtime::Disk;
use crate::runtime::disk::{read_text, write_atomic};

use super::file::TEXT_BYTES_MAX;

/// Versions kept. Of rules edited every minute, the last sixteen hours.
const VERSIONS_MAX: usize = 1000;

/// The folder that holds them.
#[derive(Clone)]
pub struct RulesHistory {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
}

impl RulesHistory {
    /// The history in a folder, which is created with the first version.
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf) -> Self {
        Self { disk, dir }
    }

    /// The versions there are, ascending.
    pub fn versions(&self) -> Vec<u32> {
        let names = self.disk.list(&self.dir).unwrap_or_default();
        let mut versions: Vec<u32> = names.iter().filter_map(|name| version_of(name)).collect();
        versions.sort_unstable();
        versions
    }

    /// The text of a version; `None` if it is not there, or cannot be read.
    pub fn text(&self, version: u32) -> Option<String> {
        read_text(&*self.disk, &self.path(version), TEXT_BYTES_MAX).ok()
    }

    /// The newest version whose text can be read.
    pub fn newest(&self) -> Option<(u32, String)> {
        self.versions().into_iter().rev().find_map(|version| Some((version, self.text(version)?)))
    }

    /// The newest versions before one, at most so many.
    pub fn before(&self, version: u32, most: usize) -> BTreeMap<u32, String> {
        let older = self.versions().into_iter().rev().filter(|known| *known < version).take(most);
        older.filter_map(|known| Some((known, self.text(known)?))).collect()
    }

    /// Keeps the text of a version, and forgets the oldest of too many.
    ///
    /// # Errors
    /// If the disk does not take it.
    pub fn keep(&self, version: u32, text: &str) -> io::Result<()> {
        self.disk.create_dir_all(&self.dir)?;
        write_atomic(&*self.disk, &self.path(version), text.as_bytes())?;
        let versions = self.versions();
        let excess = versions.len().saturating_sub(VERSIONS_MAX);
        versions[..excess].iter().try_for_each(|old| self.disk.remove(&self.path(*old)))
    }

    fn path(&self, version: u32) -> PathBuf {
        self.dir.join(format!("{version}.yaml"))
    }
}

fn version_of(name: &str) -> Option<u32> {
    name.strip_suffix(".yaml")?.parse().ok()
}

#[cfg(test)]
mod tests;
