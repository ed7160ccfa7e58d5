//! The ledger against a list, with failures and power cuts in between.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Decide(Vec<(u64, u64)>),
    Flush,
    FlushFails,
    Sort,
    /// The machine goes down; of what was not synced this share (in tenths) is there.
    Crash(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => proptest::collection::vec((0u64..24, 0u64..3), 1..6).prop_map(Step::Decide),
        4 => Just(Step::Flush),
        1 => Just(Step::FlushFails),
        1 => Just(Step::Sort),
        1 => (0u8..=10).prop_map(Step::Crash),
    ]
}

/// The records of the log: position, and what was decided.
type Log = Vec<(u64, Vec<(u64, u64)>)>;

/// The last rule of each trace, and the position since which it holds.
fn expected(log: &Log) -> BTreeMap<u64, (u64, u64)> {
    let mut known = BTreeMap::new();
    for (position, decisions) in log {
        for (trace, rule) in decisions {
            let (since, last) = known.entry(*trace).or_insert((*position, *rule));
            if last != rule {
                (*since, *last) = (*position, *rule);
            }
        }
    }
    known
}

fn append(ledger: &Ledger, position: u64, decisions: &[(u64, u64)]) {
    let decisions: Vec<_> = decisions.iter().map(|(trace, rule)| decided(*trace, *rule)).collect();
    ledger.append(Position(position), 1_000 * position, &decisions);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_durable_is_known_whatever_happens(steps in proptest::collection::vec(step(), 1..50)) {
        let (mut disk, clock) = (MemDisk::default(), TestClock::new());
        let mut ledger = open(&disk, &clock);
        let mut log: Log = Vec::new();
        for step in steps {
            match step {
                Step::Decide(decisions) => {
                    // A verdict changes to another one, never back.
                    let known = expected(&log);
                    let at_least = |trace: &u64| known.get(trace).map_or(0, |(_, rule)| *rule);
                    let decisions: Vec<_> =
                        decisions.iter().map(|(trace, rule)| (*trace, (*rule).max(at_least(trace)))).collect();
                    let mut each = BTreeMap::new();
                    for (trace, rule) in decisions {
                        let last = each.entry(trace).or_insert(rule);
                        *last = rule.max(*last);
                    }
                    let position = 10 * (log.len() as u64 + 1);
                    log.push((position, each.into_iter().collect()));
                    let (position, decisions) = log.last().unwrap();
                    append(&ledger, *position, decisions);
                }
                Step::Flush => ledger.flush().unwrap(),
                Step::FlushFails => {
                    disk.faults(|faults| faults.syncs_to_fail = 1);
                    let _ = ledger.flush();
                    disk.faults(|faults| faults.syncs_to_fail = 0);
                }
                Step::Sort => {
                    ledger.flush().unwrap();
                    sort(&ledger, &clock);
                }
                Step::Crash(share) => {
                    let durable = ledger.durable();
                    disk = disk.crashed(f64::from(share) / 10.0);
                    ledger = open(&disk, &clock);
                    let last = ledger.last();
                    // The log may have forgotten what was durable, and gives the rest again.
                    let given = |position: &u64| Some(Position(*position)) > last;
                    prop_assert!(log.iter().all(|(p, _)| !given(p) || Position(*p) > durable));
                    for (position, decisions) in log.iter().filter(|(p, _)| given(p)) {
                        append(&ledger, *position, decisions);
                    }
                }
            }
            let expected = expected(&log);
            for trace in 0..24 {
                let expected = expected.get(&trace).map(|(position, rule)| told(*position, *rule));
                prop_assert_eq!(find(&ledger, trace), expected, "trace {}", trace);
            }
        }
        prop_assert_eq!(ledger.stats().damaged, 0);
        prop_assert_eq!(ledger.stats().lost, 0);
    }
}
