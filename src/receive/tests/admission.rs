//! The byte budget.

use crate::receive::{Budget, Exhausted};

#[test]
fn what_is_reserved_comes_back_when_the_permit_is_dropped() {
    let budget = Budget::new(100);
    let permit = budget.try_reserve(60).unwrap();
    assert_eq!(budget.try_reserve(41).unwrap_err(), Exhausted);
    let rest = budget.try_reserve(40).unwrap();
    assert_eq!(budget.bytes_used(), 100);
    drop(permit);
    assert_eq!(budget.bytes_used(), 40);
    drop(rest);
    assert_eq!(budget.bytes_used(), 0);
}

#[test]
fn a_permit_grows_as_far_as_there_is_room_and_keeps_what_it_had() {
    let budget = Budget::new(100);
    let mut permit = budget.try_reserve(10).unwrap();
    permit.grow_to(5).unwrap();
    assert_eq!(permit.bytes(), 10);
    permit.grow_to(100).unwrap();
    assert_eq!(permit.grow_to(101), Err(Exhausted));
    assert_eq!((permit.bytes(), budget.bytes_used()), (100, 100));
    permit.shrink_to(30);
    assert_eq!((permit.bytes(), budget.bytes_used()), (30, 30));
}

#[test]
fn sums_that_overflow_are_over_the_budget() {
    let budget = Budget::new(usize::MAX);
    let _permit = budget.try_reserve(10).unwrap();
    assert_eq!(budget.try_reserve(usize::MAX).unwrap_err(), Exhausted);
}
