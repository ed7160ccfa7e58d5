//! An open file.

use std::io::{self, IoSlice};

use tracewell::runtime::DiskFile;

use super::{EIO, ENOSPC, Fate, SimDisk, error, name_of, outcome};
use crate::journal::note;

pub struct SimFile {
    pub disk: SimDisk,
    pub inode: usize,
}

impl DiskFile for SimFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.disk.state();
        if state.dead {
            // Not the error of a bad sector: the machine is off.
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let from = state.inodes[self.inode].cache.get(offset as usize..).unwrap_or_default();
        let read = from.len().min(buf.len());
        buf[..read].copy_from_slice(&from[..read]);
        Ok(read)
    }

    /// Often short, as system calls may be.
    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let fate = state.begin()?;
        let fails = state.dice.chance(state.weather.writes);
        let slices = if state.dice.chance(0.2) { state.dice.below(bufs.len()) + 1 } else { bufs.len() };
        let data: Vec<u8> = bufs.iter().take(slices).flat_map(|buf| buf.iter().copied()).collect();
        let free = state.weather.capacity_bytes.saturating_sub(state.used_bytes()) as usize;
        let inode = &mut state.inodes[self.inode];
        let grown = (offset as usize + data.len()).saturating_sub(inode.cache.len());
        let fits = data.len() - grown.saturating_sub(free).min(data.len());
        let (name, wanted) = (name_of(&inode.path), data.len());
        note!(state.journal, "disk write {name} {offset}+{wanted} ({fits} fit) {}", outcome(fate, fails));
        if fits == 0 && wanted > 0 {
            return Err(error(ENOSPC));
        }
        let written = match (fate, fails) {
            (Fate::Normal, false) => fits,
            // Some of it is there all the same.
            (Fate::DiesBefore, _) => 0,
            _ => state.dice.below(fits + 1),
        };
        inode.write(&data[..written], offset as usize);
        if fails || fate != Fate::Normal { Err(error(EIO)) } else { Ok(written) }
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let fate = state.begin()?;
        let fails = state.dice.chance(state.weather.syncs);
        let misdirected = state.dice.chance(state.weather.misdirected);
        let inode = &mut state.inodes[self.inode];
        note!(state.journal, "disk sync {} {}", name_of(&inode.path), outcome(fate, fails));
        match fate {
            Fate::DiesBefore => return Err(error(EIO)),
            _ if fails => {
                inode.fail_sync(&state.dice);
                return Err(error(EIO));
            }
            _ if misdirected => {
                if let Some(places) = inode.sync_misdirected(&state.dice) {
                    note!(state.journal, "a sector of {} is misdirected: {places:?}", name_of(&inode.path));
                    let path = inode.path.clone();
                    state.damage.extend(places.map(|place| (path.clone(), place)));
                }
            }
            _ => inode.sync(),
        }
        state.alive()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let mut guard = self.disk.state();
        let state = &mut *guard;
        let fate = state.begin()?;
        let fails = state.dice.chance(state.weather.writes);
        let inode = &mut state.inodes[self.inode];
        note!(state.journal, "disk truncate {} to {bytes} {}", name_of(&inode.path), outcome(fate, fails));
        if fate == Fate::DiesBefore || fails {
            return Err(error(EIO));
        }
        inode.truncate(bytes as usize);
        state.alive()
    }

    fn size(&self) -> io::Result<u64> {
        let state = self.disk.state();
        state.alive()?;
        Ok(state.inodes[self.inode].cache.len() as u64)
    }
}
