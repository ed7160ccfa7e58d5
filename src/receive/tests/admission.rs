//! The byte budget.

use std::time::Duration;

use futures::FutureExt;

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

#[tokio::test]
async fn who_waits_gets_what_is_given_back() {
    let budget = Budget::new(100);
    let mut held = budget.try_reserve(80).unwrap();
    let mut waiting = Box::pin(budget.reserve(90, Duration::from_secs(60)));
    assert!(waiting.as_mut().now_or_never().is_none());
    held.shrink_to(40);
    assert!(waiting.as_mut().now_or_never().is_none(), "not enough yet");
    drop(held);
    assert_eq!(waiting.await.unwrap().bytes(), 90);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_so() {
    let budget = Budget::new(100);
    let _held = budget.try_reserve(80).unwrap();
    assert_eq!(budget.reserve(21, Duration::from_secs(1)).await.unwrap_err(), Exhausted);
    assert_eq!(budget.bytes_used(), 80);
    assert_eq!(budget.reserve(20, Duration::ZERO).await.unwrap().bytes(), 20);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait() {
    let budget = Budget::new(100);
    let _held = budget.try_reserve(100).unwrap();
    let mut waiting: Vec<_> =
        (0..300).map(|_| Box::pin(budget.reserve(1, Duration::from_secs(60)))).collect();
    let refused = waiting.iter_mut().filter_map(|one| one.as_mut().now_or_never()).count();
    assert_eq!(refused, 300 - 256);
}
