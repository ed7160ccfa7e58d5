//! What is too old, and what is too much.

use super::*;

fn open(disk: &MemDisk, clock: &Arc<TestClock>) -> Ledger {
    let config = LedgerConfig { keep: 24 * HOUR, ..config() };
    Ledger::open(Arc::new(disk.clone()), clock.clone(), config)
}

/// One decision each hour, sorted into a file of its own.
fn hours(ledger: &Ledger, clock: &TestClock, hours: std::ops::Range<u64>) {
    for hour in hours {
        ledger.append(Position(hour + 1), clock.now_unix_nano(), &[decided(hour, 1)]);
        sort(ledger, clock);
    }
}

fn known(ledger: &Ledger, traces: std::ops::Range<u64>) -> Vec<u64> {
    traces.filter(|trace| find(ledger, *trace).is_some()).collect()
}

#[test]
fn decisions_are_kept_for_a_day_and_not_much_longer() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    hours(&ledger, &clock, 0..30);
    // The last one was made an hour ago: the one of 24 hours ago is still there.
    assert_eq!(known(&ledger, 0..30), (6..30).collect::<Vec<_>>());
    assert_eq!(ledger.stats().files, 24);
    let oldest = clock.now_unix_nano() - 24 * HOUR.as_nanos() as u64;
    assert_eq!(ledger.stats().oldest_unix_nano, oldest);
    clock.go(22 * HOUR + HOUR / 2);
    ledger.flush().unwrap();
    assert_eq!(known(&ledger, 0..30), [29]);
    // What is open for writing goes too, when nothing comes any more.
    note(&ledger, 100, 100, 1);
    ledger.append(Position(100), clock.now_unix_nano(), &[decided(100, 1)]);
    ledger.flush().unwrap();
    clock.go(25 * HOUR);
    ledger.flush().unwrap();
    ledger.flush().unwrap();
    assert_eq!((known(&ledger, 0..101), disk.paths().len()), (vec![], 0));
}

#[test]
fn beyond_the_size_the_oldest_go() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    const MAX: u64 = 64 * 1024;
    let config = LedgerConfig { bytes_max: MAX, ..config() };
    let ledger = Ledger::open(Arc::new(disk.clone()), clock.clone(), config);
    for record in 0..100 {
        let decided: Vec<_> = (0..200).map(|n| decided(record * 200 + n, 1)).collect();
        ledger.append(Position(record + 1), clock.now_unix_nano(), &decided);
        ledger.flush().unwrap();
        let on_disk: usize = disk.paths().iter().map(|path| disk.get(path).len()).sum();
        // A file is expired before the one being written is sorted.
        assert!(on_disk as u64 <= MAX + MAX / 4, "{on_disk} bytes");
    }
    // One of each record tells of all.
    let known: Vec<u64> = (0..100).filter(|record| find(&ledger, record * 200 + record).is_some()).collect();
    assert!(known.len() > 15, "only {known:?} are known");
    assert_eq!(known, (100 - known.len() as u64..100).collect::<Vec<_>>());
    assert_eq!(ledger.stats().lost, 0);
}

#[test]
fn a_clock_that_jumps_forward_expires_nothing_until_it_has_been_steady() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    hours(&ledger, &clock, 0..3);
    let right = clock.now_unix_nano();
    clock.set_wall(right + 1_000 * HOUR.as_nanos() as u64);
    ledger.flush().unwrap();
    clock.go(STEADY_FOR / 2);
    ledger.flush().unwrap();
    assert_eq!(known(&ledger, 0..3), [0, 1, 2]);
    clock.set_wall(right);
    ledger.flush().unwrap();
    clock.go(STEADY_FOR);
    ledger.flush().unwrap();
    assert_eq!(known(&ledger, 0..3), [0, 1, 2]);
    clock.set_wall(right + 1_000 * HOUR.as_nanos() as u64);
    ledger.flush().unwrap();
    clock.go(STEADY_FOR);
    ledger.flush().unwrap();
    assert_eq!(known(&ledger, 0..3), Vec::<u64>::new());
}

#[test]
fn a_clock_that_jumps_back_loses_nothing() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    hours(&ledger, &clock, 0..3);
    clock.set_wall(5);
    hours(&ledger, &clock, 3..6);
    ledger.flush().unwrap();
    assert_eq!(known(&ledger, 0..6), (0..6).collect::<Vec<_>>());
    let again = open(&disk.crashed(0.0), &clock);
    assert_eq!(known(&again, 0..6), (0..6).collect::<Vec<_>>());
    assert_eq!(find(&again, 3).map(|told| told.decided_unix_nano), Some(5));
}
