#![allow(clippy::unwrap_used)]

use super::*;

const TRACES: u64 = 40_000;

fn ring(gateways: std::ops::Range<u32>) -> Ring {
    Ring::new(gateways.map(|n| Member::new(&format!("gateway-{n}:4317"))))
}

fn trace(number: u64) -> TraceId {
    let mut id = [0; 16];
    id[8..].copy_from_slice(&(number + 1).to_be_bytes());
    TraceId(id)
}

#[test]
fn one_more_of_n_takes_its_share_from_all_and_moves_nothing_else() {
    for n in [1u32, 2, 5, 16] {
        let (before, after) = (ring(0..n), ring(0..n + 1));
        let joined = Member::new(&format!("gateway-{n}:4317"));
        let mut moved = 0;
        for number in 0..TRACES {
            let (old, new) = (before.owner(&trace(number)).unwrap(), after.owner(&trace(number)).unwrap());
            if old != new {
                assert_eq!(new, &joined, "a trace moved between two that stayed");
                moved += 1;
            }
        }
        let share = f64::from(moved) / TRACES as f64 * f64::from(n + 1);
        assert!((0.93..1.07).contains(&share), "{moved} of {TRACES} moved to the one that joined {n}");
    }
}

#[test]
fn each_has_about_its_share() {
    let ring = ring(0..7);
    let mut counts = [0u32; 7];
    (0..TRACES).for_each(|number| counts[ring.owner_index(&trace(number).0)] += 1);
    let fair = TRACES as f64 / 7.0;
    assert!(counts.iter().all(|count| (f64::from(*count) / fair - 1.0).abs() < 0.07), "{counts:?}");
}

#[test]
fn the_order_and_number_of_mentions_change_nothing() {
    let names = ["b:1", "a:1", "c:1"];
    let one = Ring::new(names.map(Member::new));
    let other = Ring::new(["c:1", "b:1", "a:1", "b:1", ""].map(Member::new));
    assert_eq!(one, other);
    assert!((0..100).all(|number| one.owner(&trace(number)) == other.owner(&trace(number))));
    assert_eq!(one.members().len(), 3);
}

#[test]
fn nobody_owns_a_trace_where_nobody_is() {
    let empty = Ring::default();
    assert_eq!(empty.owner(&trace(1)), None);
    assert_eq!(empty.owner_index(&trace(1).0), 0);
    assert_eq!(ring(0..3).without(|_| true), empty);
}

#[test]
fn where_a_trace_goes_never_changes_between_versions() {
    // Agents and gateways of two versions must agree while a fleet is upgraded.
    let ring = Ring::new(["a:4317", "b:4317", "c:4317"].map(Member::new));
    let owners: Vec<_> = (0..12).map(|number| ring.owner_index(&trace(number).0)).collect();
    assert_eq!(owners, EXPECTED);
}

const EXPECTED: [usize; 12] = [1, 0, 1, 0, 1, 2, 2, 2, 0, 0, 2, 0];
