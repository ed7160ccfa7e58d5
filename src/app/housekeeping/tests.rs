use super::*;

#[test]
fn a_clock_that_jumped_either_way_is_not_steady() {
    let hour = 3_600_000_000_000;
    let cases = [(hour, true), (hour + 60_000_000_000, true), (2 * hour, false), (0, false)];
    for (wall_went, steady) in cases {
        let (before, after) = ((50 * hour, Duration::ZERO), (50 * hour + wall_went, EVERY));
        assert_eq!(is_steady(before, after), steady, "the wall clock went on by {wall_went} ns in an hour");
    }
}
