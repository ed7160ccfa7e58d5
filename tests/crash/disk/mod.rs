//! A disk that lies the way disks do. Reads see the system's cache; a power cut leaves what reached the platter: synced
//! sectors, some of the others, some of them torn, and of the names' changes that nobody synced any or none.

mod file;
mod inode;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tracewell::runtime::disk::Space;
use tracewell::runtime::{Disk, DiskFile, OpenMode};

use crate::dice::Dice;
use crate::journal::{Journal, note};
use file::SimFile;
use inode::Inode;

pub const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;

/// What goes wrong from now on, as probabilities of each operation.
#[derive(Clone, Debug)]
pub struct Weather {
    pub writes: f64,
    pub syncs: f64,
    pub names: f64,
    pub opens: f64,
    /// One sector of a sync goes to another place.
    pub misdirected: f64,
    pub read_only: bool,
    pub capacity_bytes: u64,
    pub tells_space: bool,
}

pub const CALM: Weather = Weather {
    writes: 0.0,
    syncs: 0.0,
    names: 0.0,
    opens: 0.0,
    misdirected: 0.0,
    read_only: false,
    capacity_bytes: 1 << 40,
    tells_space: true,
};

/// A change of names that is not durable yet.
enum Change {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Change {
    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Link(path, _) | Self::Unlink(path) | Self::Rename(_, path)) = self;
        path.parent() == Some(dir)
    }

    fn apply(self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            Self::Link(path, inode) => drop(names.insert(path, inode)),
            Self::Unlink(path) => drop(names.remove(&path)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
        }
    }
}

struct State {
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    changes: Vec<Change>,
    inodes: Vec<Inode>,
    /// The bases of all segments of the log that ever were, and whether they were removed.
    segments: BTreeMap<u64, bool>,
    weather: Weather,
    /// The machine dies at the operation after so many.
    dies_in: Option<u64>,
    dead: bool,
    damage: Vec<(PathBuf, Range<u64>)>,
    dice: Dice,
    journal: Journal,
}

/// What an operation that changes something has to expect.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Normal,
    /// The machine dies before it takes effect, …
    DiesBefore,
    /// … or right after.
    DiesAfter,
}

/// The disk; clones are the same one.
#[derive(Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

pub fn error(errno: i32) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

impl State {
    fn used_bytes(&self) -> u64 {
        self.names.values().map(|inode| self.inodes[*inode].cache.len() as u64).sum()
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead { Err(error(EIO)) } else { Ok(()) }
    }

    /// Before an operation that changes something.
    fn begin(&mut self) -> io::Result<Fate> {
        self.alive()?;
        if self.weather.read_only {
            return Err(error(EROFS));
        }
        match &mut self.dies_in {
            Some(0) => {
                self.dead = true;
                self.dies_in = None;
                note!(self.journal, "the machine dies");
                Ok(if self.dice.chance(0.5) { Fate::DiesAfter } else { Fate::DiesBefore })
            }
            Some(left) => {
                *left -= 1;
                Ok(Fate::Normal)
            }
            None => Ok(Fate::Normal),
        }
    }

    /// Carries an operation on names out, as fate has it.
    fn change(&mut self, what: &str, change: Change) -> io::Result<()> {
        let fate = self.begin()?;
        let fails = self.dice.chance(self.weather.names);
        let (Change::Link(path, _) | Change::Unlink(path) | Change::Rename(path, _)) = &change;
        note!(self.journal, "disk {what} {} {}", name_of(path), outcome(fate, fails));
        if fate == Fate::DiesBefore || fails {
            return Err(error(EIO));
        }
        let copy = match &change {
            Change::Link(path, inode) => Change::Link(path.clone(), *inode),
            Change::Unlink(path) => Change::Unlink(path.clone()),
            Change::Rename(from, to) => Change::Rename(from.clone(), to.clone()),
        };
        match &change {
            Change::Link(path, _) => {
                if let Some(base) = base_of(path) {
                    // What lay behind was never durable: its positions are given anew.
                    self.segments.split_off(&base);
                    self.segments.insert(base, false);
                }
            }
            Change::Unlink(path) => drop(base_of(path).map(|base| self.segments.insert(base, true))),
            Change::Rename(..) => {}
        }
        copy.apply(&mut self.names);
        self.changes.push(change);
        self.alive()
    }
}

fn outcome(fate: Fate, fails: bool) -> &'static str {
    match (fate, fails) {
        (Fate::Normal, false) => "ok",
        (Fate::Normal, true) => "fails",
        (Fate::DiesBefore, _) => "dies before",
        (Fate::DiesAfter, _) => "dies after",
    }
}

/// The base position in the name of a segment of the log.
pub fn base_of(path: &Path) -> Option<u64> {
    name_of(path).strip_suffix(".seg")?.parse().ok()
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or("?")
}

impl SimDisk {
    pub fn new(dice: Dice, journal: Journal) -> Self {
        Self(Arc::new(Mutex::new(State {
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            changes: Vec::new(),
            inodes: Vec::new(),
            segments: BTreeMap::new(),
            weather: CALM,
            dies_in: None,
            dead: false,
            damage: Vec::new(),
            dice,
            journal,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }

    pub fn set_weather(&self, weather: Weather) {
        self.state().weather = weather;
    }

    pub fn weather(&self) -> Weather {
        self.state().weather.clone()
    }

    pub fn used_bytes(&self) -> u64 {
        self.state().used_bytes()
    }

    /// The machine dies at the operation after so many more, before or after it takes effect.
    pub fn die_in(&self, operations: u64) {
        self.state().dies_in = Some(operations);
    }

    pub fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// The process is gone, the machine is not: what was written is still in the system's cache.
    pub fn revive(&self) {
        let mut state = self.state();
        (state.dead, state.dies_in) = (false, None);
    }

    /// The machine loses its power and is switched on again.
    pub fn cut_power(&self) {
        let mut guard = self.state();
        let state = &mut *guard;
        (state.dead, state.dies_in) = (false, None);
        let mode = state.dice.between(0..=3);
        let mut lost = 0;
        for change in std::mem::take(&mut state.changes) {
            let kept = match mode {
                0 => false,
                1 => true,
                // Most file systems keep the order of such changes, …
                2 => lost == 0 && state.dice.chance(0.5),
                // … but nobody promised.
                _ => state.dice.chance(0.5),
            };
            match kept {
                true => change.apply(&mut state.durable_names),
                false => lost += 1,
            }
        }
        state.names.clone_from(&state.durable_names);
        for inode in &mut state.inodes {
            inode.cut_power(&state.dice);
        }
        note!(state.journal, "power cut: {} files, {lost} changes of names lost", state.names.len());
    }

    /// Flips a bit in one of the log's files; `false` if there is none.
    pub fn flip_a_bit(&self) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let segments = state.names.iter().filter(|(path, _)| path.extension().is_some_and(|e| e == "seg"));
        let full: Vec<_> = segments.filter(|(_, inode)| !state.inodes[**inode].platter.is_empty()).collect();
        if full.is_empty() {
            return false;
        }
        let (path, inode) = (*state.dice.pick(&full)).to_owned();
        let (path, inode) = (path.clone(), &mut state.inodes[*inode]);
        let at = state.dice.below(inode.platter.len());
        let bit = 1 << state.dice.below(8);
        inode.platter[at] ^= bit;
        if let Some(byte) = inode.cache.get_mut(at) {
            *byte ^= bit;
        }
        note!(state.journal, "bit flipped in {} at {at}", name_of(&path));
        state.damage.push((path, at as u64..at as u64 + 1));
        true
    }

    /// Whether the segment of the log that held this position was removed, be that durable or not.
    pub fn has_removed(&self, position: u64) -> bool {
        let state = self.state();
        state.segments.range(..=position).next_back().is_some_and(|(_, removed)| *removed)
    }

    /// Where bytes are not what was written: the file, and which.
    pub fn damage(&self) -> Vec<(PathBuf, Range<u64>)> {
        self.state().damage.clone()
    }
}

impl Disk for SimDisk {
    fn create_dir_all(&self, _dir: &Path) -> io::Result<()> {
        self.state().alive()
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.alive()?;
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.map(|path| name_of(path).to_owned()).collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.state();
        state.alive()?;
        if mode == OpenMode::CreateNew {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let inode = state.inodes.len();
            state.inodes.push(Inode::new(path));
            state.change("create", Change::Link(path.to_path_buf(), inode))?;
        } else if state.dice.chance(state.weather.opens) {
            note!(state.journal, "disk open {} fails", name_of(path));
            return Err(error(EMFILE));
        }
        if mode == OpenMode::Write && state.weather.read_only {
            return Err(error(EROFS));
        }
        let inode = *state.names.get(path).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change("rename", Change::Rename(from.to_path_buf(), to.to_path_buf()))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.alive()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change("remove", Change::Unlink(path.to_path_buf()))
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let fate = state.begin()?;
        let fails = state.dice.chance(state.weather.syncs);
        note!(state.journal, "disk sync of names {}", outcome(fate, fails));
        if fate == Fate::DiesBefore || fails {
            return Err(error(EIO));
        }
        let (now, later) = std::mem::take(&mut state.changes).into_iter().partition(|c| c.is_in(dir));
        state.changes = later;
        let now: Vec<Change> = now;
        now.into_iter().for_each(|change| change.apply(&mut state.durable_names));
        state.alive()
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.state();
        state.alive()?;
        let total = if state.weather.tells_space { state.weather.capacity_bytes } else { 0 };
        Ok(Space { free: state.weather.capacity_bytes.saturating_sub(state.used_bytes()), total })
    }
}
