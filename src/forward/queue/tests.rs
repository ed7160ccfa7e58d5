#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const RECORD: u64 = 10;

fn parcel(number: u64, bytes: usize) -> Parcel {
    Parcel {
        position: Position(number * RECORD),
        tenant: Tenant::default(),
        body: vec![0; bytes].into(),
        spans: 1,
        received_unix_nano: number,
    }
}

fn end(number: u64) -> Position {
    Position((number + 1) * RECORD)
}

fn offer(queue: &mut Queue, number: u64, bytes: usize) {
    queue.offer(Position(number * RECORD), end(number), Some(parcel(number, bytes)));
}

fn live(bytes_max: usize) -> Queue {
    let mut queue = Queue::new(bytes_max, Position(0));
    assert_eq!(queue.behind(), None, "nothing was offered yet");
    queue
}

#[test]
fn progress_is_the_first_record_that_is_not_settled() {
    let mut queue = live(100_000);
    (0..3).for_each(|number| offer(&mut queue, number, 10));
    let first = queue.take(1);
    let rest = queue.take(10_000);
    assert_eq!((first.len(), rest.len(), queue.progress()), (1, 2, Position(0)));
    queue.done(&rest);
    assert_eq!(queue.progress(), Position(0), "the oldest is still under way");
    queue.done(&first);
    assert_eq!((queue.progress(), queue.outstanding_bytes()), (end(2), 0));
}

#[test]
fn a_full_queue_falls_behind_and_takes_up_from_the_log_where_it_stopped() {
    let mut queue = live(1000);
    (0..10).for_each(|number| offer(&mut queue, number, 300));
    assert!(queue.is_behind());
    assert_eq!(queue.behind(), Some(end(1)..end(9)), "three fit");
    let taken = queue.take(10_000);
    queue.done(&taken);
    for number in 2..4 {
        assert!(queue.feed(end(number), Some(parcel(number, 300))));
    }
    assert!(!queue.feed(end(4), Some(parcel(4, 300))), "full again");
    assert_eq!(queue.behind(), Some(end(3)..end(9)));
}

#[test]
fn what_is_larger_than_the_queue_goes_alone() {
    let mut queue = live(100);
    offer(&mut queue, 0, 5000);
    assert!(!queue.is_behind());
    offer(&mut queue, 1, 1);
    assert!(queue.is_behind());
    assert_eq!(queue.take(10).len(), 1);
}

#[test]
fn one_request_is_of_one_tenant() {
    let mut queue = live(10_000);
    let other = Tenant::new("other").unwrap();
    for (number, tenant) in [(0, None), (1, None), (2, Some(other)), (3, None)] {
        let mut parcel = parcel(number, 1);
        parcel.tenant = tenant.unwrap_or(parcel.tenant);
        queue.offer(parcel.position, end(number), Some(parcel));
    }
    let sizes: Vec<_> = std::iter::from_fn(|| Some(queue.take(10_000).len()).filter(|n| *n > 0)).collect();
    assert_eq!(sizes, [2, 1, 1]);
}

proptest! {
    /// The splitter, the reader of the log and the sender take turns in any order: every record is sent once.
    #[test]
    fn no_record_is_left_out_and_none_comes_twice(turns in prop::collection::vec((0u8..5, 1usize..400), 1..300)) {
        let mut queue = Queue::new(1000, Position(0));
        let (mut committed, mut sent, mut under_way) = (0u64, BTreeSet::new(), Vec::new());
        let mut finish = vec![(4, 1); 3000];
        finish.iter_mut().step_by(2).for_each(|turn| turn.0 = 2);
        finish.iter_mut().step_by(3).for_each(|turn| turn.0 = 3);
        for (turn, bytes) in turns.into_iter().chain(finish) {
            match turn {
                0 => { offer(&mut queue, committed, bytes); committed += 1; }
                1 => { queue.pass_over(Position(committed * RECORD), end(committed)); committed += 1; }
                2 => if let Some(part) = queue.behind() && queue.wants_more() {
                    for number in part.start.0 / RECORD..part.end.0 / RECORD {
                        if !queue.feed(end(number), Some(parcel(number, bytes))) { break }
                    }
                },
                3 => under_way.push(queue.take(500)),
                _ => if !under_way.is_empty() {
                    let parcels = under_way.remove(0);
                    for parcel in &parcels {
                        prop_assert!(sent.insert(parcel.position.0 / RECORD), "twice");
                    }
                    queue.done(&parcels);
                },
            }
            prop_assert!(queue.outstanding_bytes() <= 1000);
            prop_assert!((0..queue.progress().0 / RECORD).all(|n| sent.contains(&n)), "progress before its time");
        }
        prop_assert_eq!(sent.len() as u64, committed);
        prop_assert_eq!(queue.progress(), Position(committed * RECORD));
    }
}
