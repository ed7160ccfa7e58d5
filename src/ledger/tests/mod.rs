#![allow(clippy::unwrap_used)]

mod crash;
mod damage;
mod expiry;
mod model;
mod sorted;

use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::*;
use crate::runtime::disk::testing::MemDisk;

const DIR: &str = "/data/decisions";
const LOG: u64 = 7;
const HOUR: Duration = Duration::from_secs(3600);

/// Clocks that go when they are told to.
pub(super) struct TestClock {
    unix_nano: AtomicU64,
    monotonic_nano: AtomicU64,
}

impl TestClock {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            unix_nano: AtomicU64::new(1_000_000 * 1_000_000_000),
            monotonic_nano: AtomicU64::new(0),
        })
    }

    fn go(&self, time: Duration) {
        self.unix_nano.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        self.monotonic_nano.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    fn set_wall(&self, unix_nano: u64) {
        self.unix_nano.store(unix_nano, Ordering::Relaxed);
    }
}

impl Clock for TestClock {
    fn now_unix_nano(&self) -> u64 {
        self.unix_nano.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic_nano.load(Ordering::Relaxed))
    }
}

/// Keeps everything: the times that tests give are their positions.
fn config() -> LedgerConfig {
    LedgerConfig {
        dir: DIR.into(),
        log: LOG,
        keep: 1_000_000 * HOUR,
        bytes_max: 1 << 30,
        memory_max: 16 << 20,
    }
}

fn open(disk: &MemDisk, clock: &Arc<TestClock>) -> Ledger {
    Ledger::open(Arc::new(disk.clone()), clock.clone(), config())
}

fn id(number: u64) -> TraceId {
    let mut id = [3; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    TraceId(id)
}

fn verdict(rule: u64) -> Arc<Verdict> {
    Arc::new(Verdict {
        keep: rule.is_multiple_of(2),
        rules_version: 3,
        ..crate::sample::testing::verdict(&format!("rule-{rule}"))
    })
}

fn decided(trace: u64, rule: u64) -> Decided {
    Decided { tenant: Tenant::default(), trace_id: id(trace), verdict: verdict(rule), up_to: Position(0) }
}

/// A record of one decision. Its time tells its position.
fn note(ledger: &Ledger, position: u64, trace: u64, rule: u64) {
    ledger.append(Position(position), 1_000 * position, &[decided(trace, rule)]);
}

fn told(position: u64, rule: u64) -> Told {
    Told { verdict: verdict(rule), decided_unix_nano: 1_000 * position, position: Some(Position(position)) }
}

fn find(ledger: &Ledger, trace: u64) -> Option<Told> {
    ledger.find(&Tenant::default(), &id(trace))
}

/// Lets the young file grow old, and writes it sorted.
fn sort(ledger: &Ledger, clock: &TestClock) {
    ledger.flush().unwrap();
    clock.go(HOUR);
    ledger.flush().unwrap();
}

#[test]
fn a_decision_is_found_at_once_when_written_when_sorted_and_after_a_restart() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    assert_eq!((find(&ledger, 1), ledger.durable(), ledger.last()), (None, Position(u64::MAX), None));
    note(&ledger, 10, 1, 4);
    assert_eq!((find(&ledger, 1), ledger.durable()), (Some(told(10, 4)), Position(9)));
    ledger.flush().unwrap();
    assert_eq!((find(&ledger, 1), ledger.durable()), (Some(told(10, 4)), Position(u64::MAX)));
    assert_eq!((find(&ledger, 2), ledger.last()), (None, Some(Position(10))));
    sort(&ledger, &clock);
    let names: Vec<_> = disk.paths();
    assert_eq!(names, [Path::new(DIR).join("000000000001.run")]);
    assert_eq!((find(&ledger, 1), find(&ledger, 2)), (Some(told(10, 4)), None));
    let again = open(&disk.crashed(0.0), &clock);
    assert_eq!((find(&again, 1), again.last()), (Some(told(10, 4)), Some(Position(10))));
    assert_eq!((again.stats().entries, again.stats().damaged), (1, 0));
}

#[test]
fn the_last_verdict_holds_since_it_was_first_given() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    note(&ledger, 10, 1, 1);
    ledger.flush().unwrap();
    note(&ledger, 20, 1, 2);
    ledger.flush().unwrap();
    sort(&ledger, &clock);
    assert_eq!(find(&ledger, 1), Some(told(20, 2)));
    // Recorded again behind late spans: still decided back then.
    note(&ledger, 30, 1, 2);
    note(&ledger, 40, 1, 2);
    assert_eq!(find(&ledger, 1), Some(told(20, 2)));
    ledger.flush().unwrap();
    assert_eq!(find(&ledger, 1), Some(told(20, 2)));
}

#[test]
fn tenants_do_not_see_each_others_traces() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    note(&ledger, 10, 1, 1);
    let other = Tenant::new("other").unwrap();
    assert_eq!(ledger.find(&other, &id(1)), None);
    let theirs = Decided { tenant: other.clone(), ..decided(1, 2) };
    ledger.append(Position(20), 20_000, &[theirs, decided(2, 3)]);
    ledger.flush().unwrap();
    assert_eq!(ledger.find(&other, &id(1)), Some(told(20, 2)));
    assert_eq!((find(&ledger, 1), find(&ledger, 2)), (Some(told(10, 1)), Some(told(20, 3))));
}

#[test]
fn memory_is_seeded_with_the_newest_below_a_position_the_older_first() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    for file in 0..3 {
        for trace in 0..4 {
            note(&ledger, 100 * file + trace, trace, file);
        }
        sort(&ledger, &clock);
    }
    note(&ledger, 300, 9, 9);
    ledger.flush().unwrap();
    let seeded = |max, below| {
        let mut given = Vec::new();
        ledger.recent(max, Position(below), |trace, verdict| given.push((trace, verdict.clone())));
        given
    };
    let trace = |number| Fingerprint::of(&Tenant::default(), &id(number));
    let all = seeded(usize::MAX, u64::MAX);
    let of_first: Vec<_> = all.iter().filter(|(t, _)| *t == trace(1)).map(|(_, v)| v.clone()).collect();
    assert_eq!((all.len(), of_first), (13, vec![verdict(0), verdict(1), verdict(2)]));
    assert_eq!(all.last(), Some(&(trace(9), verdict(9))));
    assert_eq!(seeded(1, u64::MAX), [(trace(9), verdict(9))]);
    let (mut of_two, mut expected) = (seeded(2, 202), vec![(trace(0), verdict(2)), (trace(1), verdict(2))]);
    of_two.sort_by_key(|(trace, _)| *trace);
    expected.sort_by_key(|(trace, _)| *trace);
    assert_eq!(of_two, expected);
}

#[test]
fn positions_of_another_log_mean_nothing() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    note(&ledger, 1_000, 1, 1);
    ledger.flush().unwrap();
    let config = LedgerConfig { log: LOG + 1, ..config() };
    let next = Ledger::open(Arc::new(disk.clone()), clock.clone(), config);
    assert_eq!(next.last(), None);
    assert_eq!(find(&next, 1), Some(Told { position: None, ..told(1_000, 1) }));
    note(&next, 5, 2, 2);
    next.flush().unwrap();
    let mut given = 0;
    next.recent(10, Position(5), |_, _| given += 1);
    assert_eq!((given, next.last()), (1, Some(Position(5))));
    assert_eq!((find(&next, 1).map(|t| t.position), find(&next, 2)), (Some(None), Some(told(5, 2))));
}

#[test]
fn the_log_does_not_wait_for_a_ledger_that_fails_and_memory_is_bounded() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    disk.faults(|faults| faults.read_only = true);
    let record: Vec<_> = (0..8_192).map(|trace| decided(trace, 1)).collect();
    note(&ledger, 1, 9_999, 1);
    assert!(ledger.flush().is_err());
    assert_eq!(ledger.durable(), Position(0));
    clock.go(PATIENCE);
    assert_eq!(ledger.durable(), Position(u64::MAX));
    for position in 2..100 {
        ledger.append(Position(position), 1, &record);
        assert!(ledger.stats().waiting <= 2 * block::BLOCK_ENTRIES_MAX as u64);
    }
    assert!(ledger.flush().is_err());
    let stats = ledger.stats();
    assert_eq!(stats.lost + stats.waiting, 1 + 98 * 8_192);
    assert_eq!((stats.failures, find(&ledger, 9_999)), (2, None));
    disk.faults(|faults| faults.read_only = false);
    ledger.flush().unwrap();
    assert_eq!((ledger.stats().waiting, ledger.last()), (0, Some(Position(99))));
    assert_eq!(find(&ledger, 5).map(|told| told.verdict), Some(verdict(1)));
}

#[test]
fn a_failed_sync_costs_nothing_but_another_file() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    note(&ledger, 1, 1, 1);
    ledger.flush().unwrap();
    note(&ledger, 2, 2, 2);
    disk.faults(|faults| faults.syncs_to_fail = 2);
    assert!(ledger.flush().is_err());
    note(&ledger, 3, 3, 3);
    assert!(ledger.flush().is_err());
    assert_eq!(ledger.durable(), Position(1));
    ledger.flush().unwrap();
    assert_eq!(ledger.durable(), Position(u64::MAX));
    let again = open(&disk.crashed(0.0), &clock);
    for trace in 1..=3 {
        assert_eq!(find(&again, trace), Some(told(trace, trace)));
    }
    assert_eq!(again.stats().damaged, 0);
}
