//! The process, or the disk, dies at each single operation.

use std::io::{self, IoSlice};
use std::sync::atomic::AtomicI64;

use super::*;
use crate::runtime::OpenMode;
use crate::runtime::disk::{DiskFile, Space};

/// A disk that takes so many operations that change something, and then none.
struct Dying {
    disk: MemDisk,
    left: Arc<AtomicI64>,
}

struct DyingFile {
    file: Arc<dyn DiskFile>,
    left: Arc<AtomicI64>,
}

fn take(left: &AtomicI64) -> io::Result<()> {
    if left.fetch_sub(1, Ordering::Relaxed) > 0 { Ok(()) } else { Err(io::Error::other("gone")) }
}

impl Disk for Dying {
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        if mode == OpenMode::CreateNew {
            take(&self.left)?;
        }
        Ok(Arc::new(DyingFile { file: self.disk.open(path, mode)?, left: self.left.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.disk.remove(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        take(&self.left)?;
        self.disk.sync_dir(dir)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

impl DiskFile for DyingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, bufs: &[IoSlice<'_>], offset: u64) -> io::Result<usize> {
        take(&self.left)?;
        self.file.write_at(bufs, offset)
    }

    fn sync_data(&self) -> io::Result<()> {
        take(&self.left)?;
        self.file.sync_data()
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        take(&self.left)?;
        self.file.truncate(bytes)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}

/// Writes, sorts, writes on and sorts again. Gives what was durable at the end; some of it may have failed.
fn scenario(disk: Arc<dyn Disk>, clock: &Arc<TestClock>) -> Position {
    let ledger = Ledger::open(disk, clock.clone(), config());
    let mut durable = Position(0);
    for position in 1..=12 {
        note(&ledger, position, position, position);
        // What fails is tried again with the next. Then no time passes: the log would not wait any more.
        if ledger.flush().is_ok() && position % 4 == 0 {
            clock.go(HOUR);
        }
        // Where nothing waits, all that was appended.
        durable = ledger.durable().min(Position(position));
    }
    durable
}

#[test]
fn after_each_operation_what_was_durable_is_found() {
    let mut operations = 0;
    loop {
        let (disk, clock) = (MemDisk::default(), TestClock::new());
        let left = Arc::new(AtomicI64::new(operations));
        let durable = scenario(Arc::new(Dying { disk: disk.clone(), left: left.clone() }), &clock);
        for share in [0.0, 0.4, 1.0] {
            let after = disk.crashed(share);
            let again = open(&after, &clock);
            assert_eq!(again.stats().damaged, 0, "after {operations} operations");
            for position in 1..=12 {
                match find(&again, position) {
                    Some(found) => assert_eq!(found, told(position, position)),
                    None => assert!(
                        Position(position) > durable && Some(Position(position)) > again.last(),
                        "after {operations} operations {position} is not found, and {durable} was durable"
                    ),
                }
            }
            // It goes on.
            note(&again, 100, 100, 1);
            again.flush().unwrap();
            let once_more = open(&after.crashed(0.0), &clock);
            assert_eq!(find(&once_more, 100), Some(told(100, 1)));
        }
        if left.load(Ordering::Relaxed) > 0 {
            assert_eq!(durable, Position(12));
            break;
        }
        operations += 1;
    }
    assert!(operations > 30, "only {operations} operations");
}

#[test]
fn a_run_replaces_the_young_file_that_was_left_beside_it() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    note(&ledger, 1, 1, 1);
    ledger.flush().unwrap();
    let young = Path::new(DIR).join("000000000001.young");
    let content = disk.get(&young);
    sort(&ledger, &clock);
    disk.put(&young, &content);
    disk.put(&Path::new(DIR).join("000000000002.run.tmp"), b"half");
    let again = open(&disk, &clock);
    assert_eq!((find(&again, 1), again.stats().entries), (Some(told(1, 1)), 1));
    assert_eq!(disk.paths(), [Path::new(DIR).join("000000000001.run")]);
}
