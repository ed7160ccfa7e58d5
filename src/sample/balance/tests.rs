#![allow(clippy::unwrap_used)]

use super::*;

fn of(service: u16, spans: u32) -> ServiceSpans {
    ServiceSpans { service, spans }
}

fn verdict(keep: bool, early: bool) -> Verdict {
    Verdict {
        keep,
        rule: "some".into(),
        rules_version: 1,
        retention: "default".into(),
        threshold: None,
        erase_threshold: false,
        early,
        late: false,
        debug: false,
    }
}

#[test]
fn each_span_is_in_one_column() {
    let mut balance = Balance::default();
    let mut open = balance.at(Position(1)).unwrap();
    open.received(0, &[of(1, 10), of(2, 5)]);
    open.decided(0, &[of(1, 4)], &verdict(false, true));
    open.decided(0, &[of(1, 6)], &verdict(true, false));
    let expected = BTreeMap::from([((0, 1), 6)]);
    open.stored(&expected, &BTreeMap::from([((0, 1), (3, 1))]));
    let accounts: BTreeMap<_, _> =
        balance.iter().map(|(_, service, account)| (service, account.clone())).collect();
    let one = &accounts[&1];
    assert_eq!((one.received, one.dropped_total(), one.early), (10, 4, 4));
    assert_eq!((one.stored, one.duplicates, one.damaged, one.outstanding()), (3, 1, 2, 0));
    assert_eq!(accounts[&2].outstanding(), 5);
}

#[test]
fn what_a_checkpoint_counted_is_not_counted_again() {
    let mut balance = Balance::default();
    balance.begin(Position(100));
    assert!(balance.at(Position(100)).is_none());
    balance.at(Position(101)).unwrap().received(0, &[of(1, 1)]);
    assert_eq!(balance.iter().next().unwrap().2.received, 1);
}

#[test]
fn what_is_missing_after_a_replay_was_damaged() {
    let mut balance = Balance::default();
    balance.at(Position(1)).unwrap().received(0, &[of(1, 10)]);
    assert_eq!(balance.settle(&BTreeMap::from([((0, 1), 7), ((0, 2), 4)])), 3);
    let accounts: Vec<_> = balance.iter().map(|(_, _, account)| account.clone()).collect();
    assert_eq!((accounts[0].damaged, accounts[0].outstanding()), (3, 7));
    assert_eq!((accounts[1].received, accounts[1].outstanding()), (4, 4), "received in a part that is gone");
}
