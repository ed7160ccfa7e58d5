#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn key(number: u8) -> Key {
    Key { tenant: u16::from(number % 3), trace_id: TraceId([number; 16]) }
}

fn entry(start: u64) -> Entry {
    let note = TraceNote {
        trace_id: TraceId([1; 16]),
        spans: 1,
        errors: 0,
        bytes: 10,
        start_unix_nano: start,
        end_unix_nano: start + 1,
        has_root: false,
        randomness: None,
        matches: smallvec::smallvec![Matches { version: 1, ..Matches::default() }],
        services: smallvec::smallvec![ServiceSpans { service: 7, spans: 1 }],
    };
    Entry::new(Position(start), &note, Duration::ZERO)
}

proptest! {
    /// Slots are used again, the order of arrival stays, nothing gets lost.
    #[test]
    fn is_a_map_in_the_order_of_arrival(steps in proptest::collection::vec((any::<bool>(), 0u8..40), 0..3000)) {
        let mut entries = Entries::default();
        let mut model: BTreeMap<u8, u64> = BTreeMap::new();
        for (at, (insert, number)) in (0u64..).zip(steps) {
            if insert && !model.contains_key(&number) {
                entries.insert(key(number), entry(at));
                model.insert(number, at);
            } else if !insert {
                let removed = entries.remove(&key(number)).map(|e| e.start_unix_nano);
                prop_assert_eq!(removed, model.remove(&number));
            }
            prop_assert_eq!(entries.len(), model.len());
        }
        let mut expected: Vec<_> = model.iter().map(|(number, at)| (*at, key(*number))).collect();
        expected.sort();
        let found: Vec<_> = entries.oldest_first().map(|(_, key, e)| (e.start_unix_nano, key)).collect();
        prop_assert_eq!(found, expected);
        for (number, at) in &model {
            prop_assert_eq!(entries.get(&key(*number)).map(|e| e.start_unix_nano), Some(*at));
        }
    }
}

#[test]
fn an_entry_is_about_a_hundred_bytes() {
    let memory = entry(1).memory();
    assert!(memory <= 150, "{memory} bytes");
}

#[test]
fn services_are_counted_when_there_are_several() {
    let mut one = entry(1);
    let note = |services: &[(u16, u32)]| TraceNote {
        spans: services.iter().map(|s| s.1).sum(),
        services: services
            .iter()
            .map(|(service, spans)| ServiceSpans { service: *service, spans: *spans })
            .collect(),
        ..TraceNote {
            trace_id: TraceId([1; 16]),
            spans: 0,
            errors: 0,
            bytes: 10,
            start_unix_nano: 5,
            end_unix_nano: 6,
            has_root: true,
            randomness: Some(3),
            matches: smallvec::smallvec![],
            services: smallvec::smallvec![],
        }
    };
    one.add(Position(2), &note(&[(7, 2)]));
    assert_eq!(one.services().as_slice(), [ServiceSpans { service: 7, spans: 3 }]);
    one.add(Position(3), &note(&[(8, 1), (7, 1)]));
    one.add(Position(4), &note(&[(9, 5)]));
    let services: Vec<_> = one.services().iter().map(|s| (s.service, s.spans)).collect();
    assert_eq!(services, [(7, 4), (8, 1), (9, 5)]);
    assert_eq!(one.spans, 10);
    assert_eq!(one.randomness(), Some(3));
}
