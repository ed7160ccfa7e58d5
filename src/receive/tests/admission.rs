//! The byte budget.

use std::time::Duration;

use futures::FutureExt;

use crate::receive::{Budget, Exhausted, Party};
use crate::runtime::Tenant;

#[test]
fn what_is_reserved_comes_back_when_the_permit_is_dropped() {
    let budget = Budget::new(100);
    let permit = budget.try_reserve(&Party::default(), 60).unwrap();
    assert_eq!(budget.try_reserve(&Party::default(), 41).unwrap_err(), Exhausted);
    let rest = budget.try_reserve(&Party::default(), 40).unwrap();
    assert_eq!(budget.bytes_used(), 100);
    drop(permit);
    assert_eq!(budget.bytes_used(), 40);
    drop(rest);
    assert_eq!(budget.bytes_used(), 0);
}

#[test]
fn a_permit_grows_as_far_as_there_is_room_and_keeps_what_it_had() {
    let budget = Budget::new(100);
    let mut permit = budget.try_reserve(&Party::default(), 10).unwrap();
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
    let _permit = budget.try_reserve(&Party::default(), 10).unwrap();
    assert_eq!(budget.try_reserve(&Party::default(), usize::MAX).unwrap_err(), Exhausted);
}

#[tokio::test]
async fn who_waits_gets_what_is_given_back() {
    let budget = Budget::new(100);
    let mut held = budget.try_reserve(&Party::default(), 80).unwrap();
    let party = Party::default();
    let mut waiting = Box::pin(budget.reserve(&party, 90, Duration::from_secs(60)));
    assert!(waiting.as_mut().now_or_never().is_none());
    held.shrink_to(40);
    assert!(waiting.as_mut().now_or_never().is_none(), "not enough yet");
    drop(held);
    assert_eq!(waiting.await.unwrap().bytes(), 90);
}

#[tokio::test(start_paused = true)]
async fn who_waits_in_vain_is_told_so() {
    let budget = Budget::new(100);
    let _held = budget.try_reserve(&Party::default(), 80).unwrap();
    assert_eq!(budget.reserve(&Party::default(), 21, Duration::from_secs(1)).await.unwrap_err(), Exhausted);
    assert_eq!(budget.bytes_used(), 80);
    assert_eq!(budget.reserve(&Party::default(), 20, Duration::ZERO).await.unwrap().bytes(), 20);
}

#[tokio::test(start_paused = true)]
async fn only_so_many_wait() {
    let budget = Budget::new(100);
    let _held = budget.try_reserve(&Party::default(), 100).unwrap();
    let party = Party::default();
    let mut waiting: Vec<_> =
        (0..300).map(|_| Box::pin(budget.reserve(&party, 1, Duration::from_secs(60)))).collect();
    let refused = waiting.iter_mut().filter_map(|one| one.as_mut().now_or_never()).count();
    assert_eq!(refused, 300 - 256);
}

fn tenant(name: &str) -> Party {
    Party::Tenant(Tenant::new(name).unwrap())
}

#[tokio::test(start_paused = true)]
async fn who_floods_gets_no_more_than_its_share_while_somebody_else_waits() {
    let budget = Budget::fair(800);
    let (flood, calm) = (tenant("flood"), tenant("calm"));
    let mut held: Vec<_> = (0..7).map(|_| budget.try_reserve(&flood, 100).unwrap()).collect();
    assert_eq!(budget.try_reserve(&flood, 100).unwrap_err(), Exhausted, "an eighth is left to others");
    let first = budget.try_reserve(&calm, 100).unwrap();
    // Full: both wait for what comes back next.
    let patience = Duration::from_secs(60);
    let mut more = Box::pin(budget.reserve(&calm, 100, patience));
    let mut another = Box::pin(budget.reserve(&flood, 100, patience));
    assert!(more.as_mut().now_or_never().is_none() && another.as_mut().now_or_never().is_none());
    held.pop();
    assert!(another.as_mut().now_or_never().is_none(), "over its share, and somebody waits");
    let second = more.await.unwrap();
    assert_eq!(second.bytes(), 100);
    // Nobody else waits any more: what is free may be taken, but for what is left to others.
    drop((first, second));
    assert_eq!(another.await.unwrap().bytes(), 100);
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_more_than_its_share_does_not_hold_up_others() {
    let budget = Budget::fair(800);
    let (one, two) = (tenant("one"), tenant("two"));
    let _half = budget.try_reserve(&one, 400).unwrap();
    let _more = budget.try_reserve(&two, 300).unwrap();
    let mut over = Box::pin(budget.reserve(&one, 200, Duration::from_secs(1)));
    assert!(over.as_mut().now_or_never().is_none());
    assert!(budget.try_reserve(&two, 100).is_ok());
    assert_eq!(over.await.unwrap_err(), Exhausted);
}

#[test]
fn a_request_that_is_alone_of_its_tenant_may_be_as_large_as_any() {
    let budget = Budget::fair(800);
    let all = budget.try_reserve(&tenant("one"), 800).unwrap();
    drop(all);
    let mut growing = budget.try_reserve(&tenant("one"), 1).unwrap();
    growing.grow_to(800).unwrap();
    drop(growing);
    assert_eq!(budget.bytes_used(), 0);
}

#[test]
fn an_address_is_a_party_and_so_is_a_network_of_ipv6() {
    let at = |text: &str| Party::at(text.parse().unwrap());
    assert_eq!(at("10.0.0.1"), at("::ffff:10.0.0.1"), "an IPv4 address, seen by a socket for both");
    assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
    assert_eq!(
        at("2001:db8:1:2::1"),
        at("2001:db8:1:2:ffff::9"),
        "one machine has as many of these as it likes"
    );
    assert_ne!(at("2001:db8:1:2::1"), at("2001:db8:1:3::1"));
}
