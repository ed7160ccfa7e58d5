#![allow(clippy::unwrap_used)]

use super::super::ring::Member;
use super::*;

fn ring(names: &[&str]) -> Ring {
    Ring::new(names.iter().map(|name| Member::new(name)))
}

#[test]
fn a_record_belongs_to_the_ring_that_was_there_when_it_was_written() {
    let mut epochs = Epochs::new(ring(&["a"]));
    assert!(epochs.begin(Position(100), ring(&["a", "b"])));
    assert!(epochs.begin(Position(200), ring(&["b"])));
    let at = |position| epochs.at(Position(position)).members().len();
    assert_eq!([0, 99, 100, 199].map(at), [1, 1, 2, 2]);
    assert_eq!(**epochs.at(Position(200)), ring(&["b"]));
    assert_eq!(**epochs.current(), ring(&["b"]));
}

#[test]
fn what_nobody_asks_about_is_forgotten_and_the_rest_stays() {
    let mut epochs = Epochs::new(ring(&["a"]));
    for number in 1..10u64 {
        assert!(epochs.begin(Position(number * 100), ring(&["a", &format!("b{number}")])));
    }
    let before = epochs.at(Position(450)).clone();
    epochs.forget_below(Position(450));
    assert_eq!((epochs.iter().count(), epochs.at(Position(450))), (6, &before));
    epochs.forget_below(Position(u64::MAX));
    assert_eq!(epochs.iter().count(), 1);
}

#[test]
fn the_same_ring_again_is_no_change_and_there_is_a_bound() {
    let mut epochs = Epochs::new(ring(&["a"]));
    assert!(epochs.begin(Position(10), ring(&["a"])));
    assert_eq!(epochs.iter().count(), 1);
    let last = (1..3000u64).take_while(|n| epochs.begin(Position(n * 10), ring(&[&format!("m{n}")]))).last();
    assert_eq!(last, Some(999));
    assert!(
        epochs.begin(Position(9990), ring(&["z"])),
        "in the place of one that no record was written under"
    );
}

#[test]
fn rings_out_of_order_are_none() {
    assert_eq!(Epochs::of(vec![]), None);
    assert_eq!(Epochs::of(vec![(Position(5), ring(&["a"])), (Position(5), ring(&["b"]))]), None);
}
