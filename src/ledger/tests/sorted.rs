//! Runs by themselves, also with fingerprints that are not spread evenly.

use proptest::prelude::*;

use super::*;
use block::Entry;
use run::Sorter;

fn run_of(disk: &MemDisk, traces: &[u64]) -> Run {
    let group = Group { decided_unix_nano: 5, position: Position(6) };
    let entry = |trace: &u64| Entry { trace: Fingerprint(*trace), verdict: 0, group: 0 };
    let entries = traces.iter().map(entry).collect();
    let mut sorter = Sorter::default();
    sorter.add(&Block { groups: vec![group], verdicts: vec![verdict(1)], entries });
    let (header, bytes) = sorter.write(disk, Path::new(DIR), 1, LOG).unwrap().unwrap();
    assert_eq!(header.bytes(), bytes);
    Run::open(disk, Path::new(DIR), 1).unwrap()
}

fn is_in(run: &Run, trace: u64) -> bool {
    run.find(Fingerprint(trace)).unwrap().is_some()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn each_trace_is_found_and_no_other(
        even in proptest::collection::vec(any::<u64>(), 0..2_000),
        crowded in proptest::collection::vec(0u64..5_000, 1..3_000),
        bits in 0u32..60,
    ) {
        let traces: Vec<u64> = even.into_iter().chain(crowded.into_iter().map(|t| t << bits)).collect();
        let run = run_of(&MemDisk::default(), &traces);
        let mut distinct = traces.clone();
        distinct.sort_unstable();
        distinct.dedup();
        prop_assert_eq!(run.header.entries, distinct.len() as u64);
        for trace in distinct.iter().step_by(41).chain([&distinct[0], &distinct[distinct.len() - 1]]) {
            prop_assert!(is_in(&run, *trace));
            for other in [trace.wrapping_sub(1), trace.wrapping_add(1)] {
                prop_assert_eq!(is_in(&run, other), distinct.binary_search(&other).is_ok());
            }
        }
        prop_assert_eq!(is_in(&run, 0), distinct[0] == 0);
        prop_assert_eq!(is_in(&run, u64::MAX), distinct[distinct.len() - 1] == u64::MAX);
    }
}

#[test]
fn a_decision_takes_little_more_than_twelve_bytes() {
    let (disk, clock) = (MemDisk::default(), TestClock::new());
    let ledger = open(&disk, &clock);
    let written = |ledger: &Ledger| {
        let stats = ledger.stats();
        assert_eq!(stats.entries, 50_000);
        let on_disk: usize = disk.paths().iter().map(|path| disk.get(path).len()).sum();
        assert!(on_disk.abs_diff(stats.bytes as usize) <= 64, "{on_disk} bytes, and {} counted", stats.bytes);
        on_disk as f64 / 50_000.0
    };
    for record in 0..50 {
        let decided: Vec<_> = (0..1_000).map(|n| decided(record * 1_000 + n, n % 5)).collect();
        ledger.append(Position(record), record, &decided);
    }
    ledger.flush().unwrap();
    let young = written(&ledger);
    sort(&ledger, &clock);
    let sorted = written(&ledger);
    assert!(young < 12.1 && sorted < 12.3, "{young} and {sorted} bytes");
}
