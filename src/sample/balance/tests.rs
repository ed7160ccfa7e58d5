#![allow(clippy::unwrap_used)]

use super::*;

fn of(service: u16, spans: u32) -> ServiceSpans {
    ServiceSpans { service, spans }
}

fn verdict(keep: bool, early: bool) -> Verdict {
    Verdict { keep, early, ..crate::sample::testing::verdict("some") }
}

#[test]
fn each_span_is_in_one_column() {
    let mut balance = Balance::new(1 << 20);
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
    let mut balance = Balance::new(1 << 20);
    balance.begin(Position(100));
    assert!(balance.at(Position(100)).is_none());
    balance.at(Position(101)).unwrap().received(0, &[of(1, 1)]);
    assert_eq!(balance.iter().next().unwrap().2.received, 1);
}

#[test]
fn what_is_missing_after_a_replay_was_damaged() {
    let mut balance = Balance::new(1 << 20);
    balance.at(Position(1)).unwrap().received(0, &[of(1, 10)]);
    assert_eq!(balance.settle(&BTreeMap::from([((0, 1), 7), ((0, 2), 4)])), 3);
    let accounts: Vec<_> = balance.iter().map(|(_, _, account)| account.clone()).collect();
    assert_eq!((accounts[0].damaged, accounts[0].outstanding()), (3, 7));
    assert_eq!((accounts[1].received, accounts[1].outstanding()), (4, 4), "received in a part that is gone");
}

#[test]
fn beyond_the_bound_services_and_rules_are_counted_together() {
    const MAX: usize = 64 * 1024;
    let mut balance = Balance::new(MAX);
    let dropped = |rule: u16| Verdict { rule: format!("rule {rule}").into(), ..verdict(false, false) };
    for number in 0..2000u16 {
        let services = [ServiceSpans { service: number + 2, spans: 3 }];
        let mut open = balance.at(Position(u64::from(number) + 1)).unwrap();
        open.received(7, &services);
        open.decided(7, &services, &dropped(number / 10));
    }
    assert!(balance.bytes() <= MAX + ACCOUNT_BYTES + RULES_BYTES, "{}", balance.bytes());
    assert!(balance.iter().count() > 20, "as many as there is room for stand on their own");
    let mut all = Account::default();
    balance.iter().for_each(|(_, _, account)| all.add(account));
    assert_eq!((all.received, all.dropped_total(), all.outstanding()), (6000, 6000, 0));
    // What is outstanding is looked for where it is counted.
    assert_eq!(balance.settle(&[((7, 1999), 0)].into()), 0);
    let services = [ServiceSpans { service: 1900, spans: 5 }];
    balance.at(Position(9000)).unwrap().received(7, &services);
    assert_eq!(balance.settle(&[((7, 1900), 5)].into()), 0);
    let one: BTreeMap<_, _> = [((7, 1900), 5)].into();
    balance.at(Position(9001)).unwrap().stored(&one, &[((7, 1900), (4, 1))].into());
    let mut all = Account::default();
    balance.iter().for_each(|(_, _, account)| all.add(account));
    assert_eq!((all.stored, all.duplicates, all.damaged, all.outstanding()), (4, 1, 0, 0));
}
