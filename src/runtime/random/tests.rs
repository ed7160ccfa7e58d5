#![allow(clippy::unwrap_used)]

use super::*;

#[test]
fn the_same_seed_gives_the_same_numbers() {
    let (a, b) = (SeededRandom::new(7), SeededRandom::new(7));
    assert_eq!([a.bits(), a.below(10)], [b.bits(), b.below(10)]);
    assert_ne!(SeededRandom::new(8).bits(), SeededRandom::new(7).bits());
}

#[test]
fn numbers_stay_in_their_ranges() {
    let random = SeededRandom::new(1);
    for _ in 0..1000 {
        assert!(random.below(3) < 3);
        assert!((0.0..1.0).contains(&random.unit()));
        let wait = random.jittered(Duration::from_secs(2));
        assert!((Duration::from_secs(1)..=Duration::from_secs(2)).contains(&wait));
    }
    assert_eq!(random.below(0), 0);
}

#[test]
fn a_uuid_has_its_version_and_variant() {
    let uuid = SystemRandom.uuid();
    assert_eq!(uuid.len(), 36);
    assert_eq!(&uuid[14..15], "4");
    assert!("89ab".contains(&uuid[19..20]));
}
