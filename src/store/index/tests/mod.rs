//! The index as its users meet it.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // Looks at files, and at the machine's time.

mod batches;
mod commits;
mod counting;
mod directories;
mod format;
mod lookups;
mod needles;
mod upkeep;

use super::format::{Covered, Directory, Trailer};

/// Says of a run's only file that it has `to` bytes.
fn resize(run: &mut Vec<u8>, from: u64, to: u64) {
    let trailer = Trailer::read(run, run.len() as u64).unwrap();
    let at = trailer.directory();
    let directory = Directory::read(&trailer, &run[at.start as usize..at.end as usize]).unwrap();
    let resized = |file: Covered| {
        assert_eq!(file.bytes, from);
        Covered { bytes: to, ..file }
    };
    let files = directory.files.into_iter().map(resized).collect();
    run.truncate(at.start as usize);
    Directory::new(directory.entries, files).write(run);
}
