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
    assert_eq!(load(&disk, data, "id"), None);
    save(&disk, data, "id", &checkpoint()).unwrap();
    assert_eq!(load(&disk, data, "id"), Some(checkpoint()));
    assert_eq!(load(&disk, data, "another log"), None);
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
