//! One file's bytes: as the system shows them, and as they are on the platter.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::dice::Dice;

/// What the disk writes whole, or tears. Small, so that small records are torn too.
pub const SECTOR_BYTES: usize = 512;

pub struct Inode {
    /// The name it was made under.
    pub path: PathBuf,
    /// What reads see.
    pub cache: Vec<u8>,
    /// What is left when the power is cut.
    pub platter: Vec<u8>,
    /// Sectors that the next sync has to write.
    pub dirty: BTreeSet<usize>,
}

impl Inode {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_path_buf(), cache: Vec::new(), platter: Vec::new(), dirty: BTreeSet::new() }
    }

    pub fn write(&mut self, data: &[u8], offset: usize) {
        let end = offset + data.len();
        if self.cache.len() < end {
            self.cache.resize(end, 0);
        }
        self.cache[offset..end].copy_from_slice(data);
        if end > offset {
            self.dirty.extend(offset / SECTOR_BYTES..=(end - 1) / SECTOR_BYTES);
        }
    }

    pub fn truncate(&mut self, bytes: usize) {
        self.cache.resize(bytes, 0);
    }

    fn range(&self, sector: usize) -> Range<usize> {
        let end = ((sector + 1) * SECTOR_BYTES).min(self.cache.len());
        (sector * SECTOR_BYTES).min(end)..end
    }

    /// Writes the first bytes of a sector to the platter.
    fn store(&mut self, sector: usize, bytes: usize) {
        let mut range = self.range(sector);
        range.end = range.end.min(range.start + bytes);
        if self.platter.len() < range.end {
            self.platter.resize(range.end, 0);
        }
        self.platter[range.clone()].copy_from_slice(&self.cache[range]);
    }

    pub fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.store(sector, SECTOR_BYTES);
        }
        self.platter.resize(self.cache.len(), 0);
    }

    /// The sync failed: of each sector nobody knows whether it was written, and all are taken for clean from now on.
    pub fn fail_sync(&mut self, dice: &Dice) {
        let evicts = dice.chance(0.5);
        for sector in std::mem::take(&mut self.dirty) {
            if dice.chance(0.5) {
                self.store(sector, SECTOR_BYTES);
            } else if evicts {
                // The page is read again when somebody looks: the write never was.
                let range = self.range(sector);
                let old: Vec<u8> =
                    range.clone().map(|at| self.platter.get(at).copied().unwrap_or(0)).collect();
                self.cache[range].copy_from_slice(&old);
            }
        }
    }

    /// Syncs, but one sector goes to another's place. Gives both places, where what was written is not.
    pub fn sync_misdirected(&mut self, dice: &Dice) -> Option<[Range<u64>; 2]> {
        let dirty: Vec<usize> = self.dirty.iter().copied().collect();
        let sectors = self.cache.len().div_ceil(SECTOR_BYTES);
        if dirty.is_empty() || sectors < 2 {
            self.sync();
            return None;
        }
        let wanted = *dice.pick(&dirty);
        let went = (wanted + 1 + dice.below(sectors - 1)) % sectors;
        let mut stale = self.platter.clone();
        stale.resize(self.cache.len(), 0);
        self.sync();
        let (from, to) = (self.range(wanted), self.range(went));
        let length = from.len().min(to.len());
        let data = self.cache[from.clone()][..length].to_vec();
        self.platter[from.clone()].copy_from_slice(&stale[from.clone()]);
        self.platter[to.start..to.start + length].copy_from_slice(&data);
        Some([from, to].map(|range| range.start as u64..range.end as u64))
    }

    pub fn cut_power(&mut self, dice: &Dice) {
        let mode = dice.between(0..=2);
        let (before, now) = (self.platter.len(), self.cache.len());
        let length = match dice.between(0..=2) {
            0 => before,
            1 => now,
            _ => dice.between(before.min(now) as u64..=before.max(now) as u64) as usize,
        };
        for sector in std::mem::take(&mut self.dirty) {
            match mode {
                0 => {}
                1 => self.store(sector, SECTOR_BYTES),
                _ => match dice.between(0..=2) {
                    0 => {}
                    1 => self.store(sector, SECTOR_BYTES),
                    _ => self.store(sector, dice.below(SECTOR_BYTES)),
                },
            }
        }
        self.platter.resize(length, 0);
        self.cache.clone_from(&self.platter);
    }
}
