#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::runtime::Tenant;
use crate::wire::TraceId;

fn verdict(rule: &str) -> Arc<Verdict> {
    Arc::new(crate::sample::testing::verdict(rule))
}

fn trace(number: u64) -> Fingerprint {
    let mut id = [7; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    Fingerprint::of(&Tenant::default(), &TraceId(id))
}

#[test]
fn a_fingerprint_is_what_is_on_disk() {
    let id = TraceId([1; 16]);
    let other = Tenant::new("other").unwrap();
    assert_eq!(Fingerprint::of(&Tenant::default(), &id), Fingerprint(13_761_969_538_134_735_383));
    assert_ne!(Fingerprint::of(&other, &id), Fingerprint::of(&Tenant::default(), &id));
    assert_eq!(Fingerprint::seeded(Fingerprint::seed(&other), &id), Fingerprint::of(&other, &id));
}

#[test]
fn the_first_verdict_holds_unless_it_is_overridden() {
    let mut decisions = Decisions::new(1 << 20);
    decisions.insert(trace(1), &verdict("first"));
    decisions.insert(trace(1), &verdict("second"));
    assert_eq!(decisions.get(trace(1)).map(|v| &*v.rule), Some("first"));
    assert_eq!(decisions.get(trace(2)), None);
    decisions.replace(trace(1), &verdict("rescued"));
    assert_eq!((decisions.get(trace(1)).map(|v| &*v.rule), decisions.len()), (Some("rescued"), 1));
}

#[test]
fn an_override_holds_over_the_older_generation() {
    let mut decisions = Decisions::new(1 << 20);
    decisions.insert(trace(1), &verdict("first"));
    decisions.forget();
    assert_eq!(decisions.get(trace(1)).map(|v| &*v.rule), Some("first"));
    decisions.insert(trace(1), &verdict("second"));
    assert_eq!(decisions.get(trace(1)).map(|v| &*v.rule), Some("first"));
    decisions.replace(trace(1), &verdict("rescued"));
    assert_eq!(decisions.get(trace(1)).map(|v| &*v.rule), Some("rescued"));
}

#[test]
fn at_the_bound_the_oldest_are_forgotten_and_half_of_what_fits_is_known() {
    const MAX: usize = 1 << 20;
    let (mut decisions, rule) = (Decisions::new(MAX), verdict("rule"));
    for number in 0..200_000 {
        decisions.insert(trace(number), &rule);
        assert!(decisions.bytes() <= MAX, "{} bytes with {} traces", decisions.bytes(), decisions.len());
    }
    let known = (0..200_000).rev().take_while(|n| decisions.get(trace(*n)).is_some()).count();
    assert!(known >= MAX / 2 / 16, "only the last {known} are known");
    assert!(decisions.get(trace(0)).is_none());
}

#[test]
fn a_decision_takes_less_than_sixteen_bytes() {
    let (mut decisions, rule) = (Decisions::new(64 << 20), verdict("rule"));
    let empty = decisions.bytes();
    for number in 0..300_000 {
        decisions.insert(trace(number), &rule);
        assert!(number < 10_000 || decisions.bytes() - empty <= 16 * decisions.len());
    }
    assert_eq!(decisions.len(), 300_000);
}

#[test]
fn a_great_many_verdicts_are_bounded_too() {
    const MAX: usize = 1 << 20;
    let mut decisions = Decisions::new(MAX);
    for number in 0..100_000u64 {
        let each = verdict(&format!("rule {number}"));
        decisions.insert(trace(number), &each);
        assert_eq!(decisions.get(trace(number)), Some(&each));
        assert!(decisions.bytes() <= MAX);
    }
}

#[test]
fn verdicts_beyond_what_a_number_counts_begin_a_new_generation() {
    let mut decisions = Decisions::new(1 << 30);
    for number in 0..=u64::from(u16::MAX) + 1 {
        decisions.insert(trace(number), &verdict(&format!("rule {number}")));
    }
    assert_eq!(decisions.young.verdicts.len(), 1);
    for number in [0, 1, u64::from(u16::MAX), u64::from(u16::MAX) + 1] {
        assert_eq!(decisions.get(trace(number)).map(|v| &*v.rule), Some(&*format!("rule {number}")));
    }
}

#[test]
fn equal_verdicts_are_shared() {
    let mut decisions = Decisions::new(1 << 20);
    let one = decisions.share(Verdict::clone(&verdict("rule")));
    assert!(Arc::ptr_eq(&one, &decisions.share(Verdict::clone(&verdict("rule")))));
}

proptest! {
    #[test]
    fn it_is_a_map_while_there_is_room(
        writes in proptest::collection::vec((0u64..64, 0u8..4, any::<bool>(), 0u64..4), 0..400),
    ) {
        // Fingerprints close together, at both ends of a shard and at zero: they probe past each other.
        let near = |place: u64, number: u64| Fingerprint(match place {
            0 => number,
            1 => u64::MAX - number,
            2 => (3 << 56) | number,
            _ => (4u64 << 56) - 1 - number,
        });
        let (mut decisions, mut model) = (Decisions::new(1 << 20), HashMap::new());
        for (number, rule, overrides, place) in writes {
            let (trace, verdict) = (near(place, number.max(2)), verdict(&rule.to_string()));
            if overrides {
                decisions.replace(trace, &verdict);
                model.insert(trace, verdict);
            } else {
                decisions.insert(trace, &verdict);
                model.entry(trace).or_insert(verdict);
            }
        }
        prop_assert_eq!(decisions.len(), model.len());
        for place in 0..4 {
            for number in 2..64 {
                let trace = near(place, number);
                prop_assert_eq!(decisions.get(trace), model.get(&trace));
            }
        }
    }
}
