//! The split of the memory limit.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const NOTHING: [Option<u64>; PARTS_COUNT] = [None; PARTS_COUNT];

#[test]
fn the_shares_are_all_of_the_limit() {
    assert_eq!(PARTS.iter().map(|part| part.percent).sum::<u64>(), 100);
}

#[test]
fn a_quarter_of_the_machine_is_the_limit_but_enough_to_work_with() {
    assert_eq!(limit_for(Some(24 << 30)), 6 << 30);
    assert_eq!(limit_for(None), 1 << 30);
    assert_eq!(limit_for(Some(1)), least(&NOTHING));
    assert!(split(limit_for(Some(0)), &NOTHING).is_ok());
}

#[test]
fn on_a_large_machine_only_what_holds_undecided_traces_grows_on() {
    let (large, larger) = (split(6 << 30, &NOTHING).unwrap(), split(60 << 30, &NOTHING).unwrap());
    for (index, part) in PARTS.iter().enumerate() {
        let grew = larger[index] > large[index];
        assert_eq!(grew && larger[index] != part.bytes_max, index == INDEX, "{part:?}");
    }
    assert_eq!(large[LOG_CACHE], 64 << 20);
    assert_eq!(large[LOG_QUEUE], 16 << 20);
    assert_eq!(large[ADMISSION], 256 << 20);
    assert_eq!(large[STORE], 64 << 20);
}

#[test]
fn a_limit_that_is_too_small_names_the_least() {
    let least = least(&NOTHING);
    assert!(least <= 96 << 20, "{least}");
    assert!(split(least, &NOTHING).is_ok());
    let error = split(16 << 20, &NOTHING).unwrap_err();
    assert_eq!(error, format!("16MiB is less than the least that works, {}", ByteSize(least)));
}

#[test]
fn parts_that_exceed_the_limit_are_named_with_figures() {
    let mut set = NOTHING;
    set[ADMISSION] = Some(256 << 20);
    set[INDEX] = Some(50 << 20);
    let error = split(512 << 20, &set).unwrap_err();
    assert!(error.contains("receive.budget (256MiB, 512MiB at peak)"), "{error}");
    assert!(error.contains("sample.index (50MiB, 100MiB at peak)"), "{error}");
    assert!(split(1 << 30, &set).is_ok());
}

#[test]
fn a_part_that_is_set_smaller_leaves_the_others_as_they_are() {
    let before = split(1 << 30, &NOTHING).unwrap();
    let mut set = NOTHING;
    set[INDEX] = Some(1);
    let mut expected = before;
    expected[INDEX] = 1;
    assert_eq!(split(1 << 30, &set).unwrap(), expected);
}

fn anything_set() -> impl Strategy<Value = [Option<u64>; PARTS_COUNT]> {
    let one = prop_oneof![3 => Just(None), 1 => (0..=1u64 << 34).prop_map(Some), 1 => (0..=64u64 << 20).prop_map(Some)];
    proptest::collection::vec(one, PARTS_COUNT).prop_map(|set| set.try_into().unwrap())
}

proptest! {
    #[test]
    fn shares_fit_the_limit_and_each_works(limit in 0..=1u64 << 40, set in anything_set()) {
        match split(limit, &set) {
            Ok(shares) => {
                prop_assert!(peak(&shares) <= limit, "{shares:?}");
                for (index, part) in PARTS.iter().enumerate() {
                    match set[index] {
                        Some(bytes) => prop_assert_eq!(shares[index], bytes),
                        None => prop_assert!((part.bytes_min..=part.bytes_max).contains(&shares[index]), "{part:?}"),
                    }
                }
            }
            Err(_) => prop_assert!(limit < least(&set)),
        }
    }

    #[test]
    fn the_least_is_enough_and_less_is_not(set in anything_set()) {
        let least = least(&set);
        prop_assert!(split(least, &set).is_ok());
        prop_assert!(least == 0 || split(least - 1, &set).is_err());
    }
}

#[test]
fn a_merge_takes_its_share_and_no_more_than_helps() {
    assert_eq!(split(96 << 20, &NOTHING).unwrap()[COMPACTION], (17 << 20) + STEP);
    assert_eq!(split(6 << 30, &NOTHING).unwrap()[COMPACTION], 192 << 20);
    let mut set = NOTHING;
    set[COMPACTION] = Some(0);
    assert!(split(96 << 20, &set).unwrap()[COMPACTION] == 0, "where the daemon does not compact");
}
