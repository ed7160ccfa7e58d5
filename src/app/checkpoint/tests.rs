#![allow(clippy::unwrap_used)]

use super::*;
use crate::runtime::disk::testing::MemDisk;

fn checkpoint() -> Checkpoint {
    let account =
        Account { received: 10, stored: 3, dropped: [("baseline".into(), 7)].into(), ..Account::default() };
    let tenant = Tenant::new("acme").unwrap();
    let expired = [(tenant.clone(), 5)].into();
    Checkpoint {
        counted: Position(900),
        replay_from: Position(100),
        next_batch: 7,
        accounts: vec![AccountOf { tenant, service: "shop \"x\"".into(), account }],
        expired,
    }
}

#[test]
fn comes_back_as_it_went() {
    let disk = MemDisk::default();
    let data = Path::new("/data");
    disk.create_dir_all(data).unwrap();
    assert_eq!(load(&disk, data, "id").unwrap(), None);
    save(&disk, data, "id", &checkpoint()).unwrap();
    assert_eq!(load(&disk, data, "id").unwrap(), Some(checkpoint()));
    assert_eq!(load(&disk, data, "another log").unwrap(), None);
}

#[test]
fn a_flipped_byte_anywhere_is_noticed() {
    let bytes = encode("id", &checkpoint());
    for at in 0..bytes.len() {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1;
        assert_eq!(decode("id", &flipped), None, "byte {at}");
    }
    for length in 0..bytes.len() {
        assert_eq!(decode("id", &bytes[..length]), None, "cut at {length}");
    }
}

#[test]
fn the_log_forgets_what_a_checkpoint_covers() {
    let covered = Covered::by(None);
    assert_eq!(covered.below(Duration::ZERO), Position(0));
    covered.kept(&checkpoint(), true, Duration::ZERO);
    assert_eq!(covered.below(Duration::ZERO), Position(100));
    let later = Checkpoint { replay_from: Position(300), ..checkpoint() };
    covered.kept(&later, false, Duration::from_secs(10));
    covered.kept(&later, false, Duration::from_secs(60));
    assert_eq!(covered.below(Duration::from_secs(69)), Position(100));
    assert_eq!(covered.below(Duration::from_secs(70)), Position(u64::MAX), "the log does not wait for ever");
    covered.kept(&later, true, Duration::from_secs(71));
    assert_eq!(covered.below(Duration::from_secs(500)), Position(300));
}
