//! A process that is killed at each step it takes in a folder: the kernel tells of each file that is begun, written, named
//! or deleted there.

use std::mem::MaybeUninit;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Killed at the step.
    Killed,
    /// By itself, before it had taken so many.
    Ended(Option<i32>),
}

/// Runs a command and kills it (−9) once it has taken so many steps in the folder and those below. Folders that it makes are
/// not looked into.
pub fn killed_at(step: usize, folder: &Path, mut command: Command) -> End {
    let watch = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
    let steps = WatchFlags::CREATE
        | WatchFlags::MODIFY
        | WatchFlags::CLOSE_WRITE
        | WatchFlags::MOVED_TO
        | WatchFlags::DELETE;
    for below in folders(folder) {
        add_watch(&watch, &below, steps).unwrap();
    }
    let mut child = command.spawn().unwrap();
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = Reader::new(&watch, &mut buffer);
    let (mut taken, started) = (0, Instant::now());
    loop {
        while let Ok(event) = events.next() {
            taken += usize::from(!event.events().is_empty());
            if taken >= step {
                child.kill().unwrap();
                child.wait().unwrap();
                return End::Killed;
            }
        }
        if let Some(status) = child.try_wait().unwrap() {
            return End::Ended(status.code());
        }
        assert!(started.elapsed() < Duration::from_secs(120), "it hangs");
        std::thread::sleep(Duration::from_micros(50));
    }
}

fn folders(top: &Path) -> Vec<std::path::PathBuf> {
    let mut all = vec![top.to_path_buf()];
    let mut at = 0;
    while at < all.len() {
        let entries = std::fs::read_dir(&all[at]).unwrap().map(|entry| entry.unwrap().path());
        let below: Vec<_> = entries.filter(|path| path.is_dir()).collect();
        all.extend(below);
        at += 1;
    }
    all
}

/// Copies a folder and all that is in it.
pub fn copy(from: &Path, to: &Path) {
    for folder in folders(from) {
        let target = to.join(folder.strip_prefix(from).unwrap());
        std::fs::create_dir_all(&target).unwrap();
        for entry in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_file() {
                std::fs::copy(&entry, target.join(entry.file_name().unwrap())).unwrap();
            }
        }
    }
}

/// Makes every file look as if it had been written so long ago.
pub fn age(folder: &Path, by: Duration) {
    let then = std::time::SystemTime::now() - by;
    for folder in folders(folder) {
        for file in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if file.is_file() {
                std::fs::File::options().write(true).open(&file).unwrap().set_modified(then).unwrap();
            }
        }
    }
}
