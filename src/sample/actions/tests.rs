#![allow(clippy::unwrap_used)]

use super::*;

fn subject(randomness: u64, captures: &[u64], millis: u64) -> Subject<'_> {
    Subject { randomness, captures, now: Duration::from_millis(millis) }
}

fn limiter() -> Limiter {
    Limiter::new(1 << 20)
}

#[test]
fn a_percentage_compares_randomness() {
    let half = Action::Keep(Keep::percent(50.0).unwrap());
    let above = half.decide(subject(1 << 55, &[], 0), &mut limiter());
    let below = half.decide(subject((1 << 55) - 1, &[], 0), &mut limiter());
    assert_eq!((above.keep, below.keep), (true, false));
    assert_eq!(above.threshold, Threshold::parse("8"));
    assert!(!above.erase_threshold);
}

#[test]
fn everything_says_nothing_about_probability() {
    let all = Action::Keep(Keep::percent(100.0).unwrap());
    assert_eq!(all.decide(subject(0, &[], 0), &mut limiter()), Outcome::KEPT);
}

#[test]
fn impossible_shares_are_refused() {
    for percent in [0.0, -1.0, 100.1, f64::NAN, f64::INFINITY, 1e-30] {
        assert!(Keep::percent(percent).is_err(), "{percent}");
    }
}

#[test]
fn a_rate_lets_so_many_through_and_erases_the_threshold() {
    let rate = Action::Rate(Rate::new("chatty", 2.0, vec![0]).unwrap());
    let mut limiter = limiter();
    let mut kept = |key: u64, millis| rate.decide(subject(0, &[key], millis), &mut limiter).keep;
    assert_eq!([kept(2, 0), kept(2, 0), kept(2, 0)], [true, true, false]);
    assert!(kept(4, 0), "another key has its own bucket");
    assert!(!kept(2, 400));
    assert!(kept(2, 600));
    assert!(!kept(2, 700));
    let outcome = rate.decide(subject(0, &[8], 0), &mut limiter);
    assert!(outcome.erase_threshold && outcome.threshold.is_none());
}

#[test]
fn a_rate_below_one_a_second_still_keeps_some() {
    let rate = Action::Rate(Rate::new("rare", 0.1, Vec::new()).unwrap());
    let mut limiter = limiter();
    let kept =
        (0..100).filter(|second| rate.decide(subject(0, &[], second * 1000), &mut limiter).keep).count();
    assert_eq!(kept, 10);
}

#[test]
fn the_bucket_of_a_key_does_not_depend_on_where_it_was_captured() {
    let rate = Action::Rate(Rate::new("chatty", 1.0, vec![0]).unwrap());
    let mut limiter = limiter();
    assert!(rate.decide(subject(0, &[8], 0), &mut limiter).keep);
    assert!(!rate.decide(subject(0, &[9], 0), &mut limiter).keep);
}

#[test]
fn a_million_keys_stay_within_the_bound() {
    let rate = Action::Rate(Rate::new("chatty", 1.0, vec![0]).unwrap());
    let bytes_max = 64 << 10;
    let mut limiter = Limiter::new(bytes_max);
    let mut kept = 0u32;
    for key in 0..1_000_000u64 {
        kept += u32::from(rate.decide(subject(0, &[key << 1 | 256], key / 1000), &mut limiter).keep);
        assert!(limiter.bytes() <= bytes_max + BUCKET_SLACK);
    }
    assert!(kept > 500, "{kept}");
}

/// The shared bucket of a rule comes on top of the bound.
const BUCKET_SLACK: usize = 256;
