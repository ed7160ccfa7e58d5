use super::*;
use crate::wire::TraceId;

fn verdict(rule: &str) -> Arc<Verdict> {
    Arc::new(Verdict {
        keep: true,
        rule: rule.into(),
        rules_version: 1,
        retention: "default".into(),
        threshold: None,
        erase_threshold: false,
        early: false,
        late: false,
        debug: false,
    })
}

fn key(number: u8) -> Key {
    Key { tenant: 0, trace_id: TraceId([number; 16]) }
}

#[test]
fn the_first_verdict_holds() {
    let mut decisions = Decisions::new(1 << 20);
    decisions.insert(key(1), &verdict("first"));
    decisions.insert(key(1), &verdict("second"));
    assert_eq!(decisions.get(&key(1)).map(|v| &*v.rule), Some("first"));
    assert_eq!(decisions.get(&key(2)), None);
}

#[test]
fn at_the_bound_the_oldest_is_forgotten() {
    let mut decisions = Decisions::new(3 * DECISION_BYTES);
    for number in 0..5 {
        decisions.insert(key(number), &verdict("rule"));
    }
    let known: Vec<u8> = (0..5).filter(|n| decisions.get(&key(*n)).is_some()).collect();
    assert_eq!((known, decisions.len()), (vec![2, 3, 4], 3));
    assert!(decisions.bytes() <= 3 * DECISION_BYTES);
}
