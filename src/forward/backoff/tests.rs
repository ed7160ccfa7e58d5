use super::*;
use crate::runtime::SeededRandom;

#[test]
fn waits_grow_to_a_bound_are_jittered_and_honour_what_was_asked() {
    let random = SeededRandom::new(7);
    let mut backoff = Backoff::default();
    for round in 0..20u32 {
        let whole = (FIRST * 2u32.pow(round.min(10))).min(MAX);
        let wait = backoff.next(&random, None);
        assert!(wait >= whole / 2 && wait <= whole, "{round}: {wait:?}");
    }
    assert_eq!(backoff.next(&random, Some(Duration::from_secs(60))), Duration::from_secs(60));
    assert_eq!(backoff.next(&random, Some(Duration::from_secs(9999))), ASKED_MAX);
}
