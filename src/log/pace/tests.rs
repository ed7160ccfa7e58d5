use super::*;

#[test]
fn a_record_that_comes_alone_does_not_wait() {
    let mut pace = Pace::default();
    assert_eq!(pace.more(), More::default());
    (0..100).for_each(|_| pace.saw(1, Duration::from_millis(1)));
    assert_eq!(pace.more().time, Duration::ZERO);
}

#[test]
fn records_that_come_together_wait_for_others_as_the_disk_has_it() {
    let mut pace = Pace::default();
    (0..100).for_each(|_| pace.saw(2, Duration::from_micros(400)));
    let fast = pace.more().time;
    assert!((Duration::from_micros(1000)..=Duration::from_micros(1200)).contains(&fast), "{fast:?}");
    (0..100).for_each(|_| pace.saw(2, Duration::from_millis(40)));
    assert_eq!(pace.more().time, Duration::ZERO, "on a slow disk enough gathers by itself");
}
