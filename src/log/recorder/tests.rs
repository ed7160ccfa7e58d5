//! The file of a segment's index. That the index as a whole is right is tested with the log, in `log::tests::recorder`.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;
use std::path::Path;

use proptest::prelude::*;

use super::entry::Entry;
use super::sidecar::{self, Header, Sidecar, Unusable};
use crate::runtime::disk::testing::MemDisk;

const BASE: u64 = 4096;

fn dir() -> &'static Path {
    Path::new("/data/log")
}

/// A disk with the sidecar of these fingerprints; the n-th lies at offset n.
fn written(fingerprints: &[u64]) -> MemDisk {
    let disk = MemDisk::default();
    let mut entries: Vec<Entry> = (0..).zip(fingerprints).map(|(n, of)| Entry::new(*of, n)).collect();
    entries.sort_unstable();
    let header = Header { base: BASE, end: 9999, entries: entries.len() as u64, partial: false };
    sidecar::write(&disk, dir(), header, &entries).unwrap();
    disk
}

fn open(disk: &MemDisk) -> Result<Sidecar, Unusable> {
    Sidecar::open(disk, dir(), BASE)
}

fn expected(fingerprints: &[u64]) -> HashMap<u64, Vec<u32>> {
    let mut offsets: HashMap<u64, Vec<u32>> = HashMap::new();
    for (n, of) in (0..).zip(fingerprints) {
        offsets.entry(*of).or_default().push(n);
    }
    offsets
}

/// Spread evenly, or crowded in a corner so that no interpolation helps; some many times over, beyond a page.
fn fingerprints() -> impl Strategy<Value = Vec<u64>> {
    let one = prop_oneof![
        4 => prop::collection::vec(any::<u64>(), 1..50),
        2 => prop::collection::vec(0..2_000u64, 1..50),
        1 => Just(vec![u64::MAX]),
        1 => (prop_oneof![Just(0), Just(u64::MAX), any::<u64>()], 1..800usize).prop_map(|(of, n)| vec![of; n]),
    ];
    prop::collection::vec(one, 0..200).prop_map(|lists| lists.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn every_entry_is_found_and_no_other(fingerprints in fingerprints(), others in prop::collection::vec(any::<u64>(), 20)) {
        let sidecar = open(&written(&fingerprints)).unwrap();
        let expected = expected(&fingerprints);
        let asked = expected.keys().take(100).chain(&others).chain(&[0, 1, u64::MAX]);
        for wanted in asked {
            let offsets = sidecar.offsets(*wanted, usize::MAX).unwrap();
            prop_assert_eq!(offsets, expected.get(wanted).cloned().unwrap_or_default());
        }
    }
}

#[test]
fn no_more_are_given_than_asked_for() {
    let sidecar = open(&written(&[7; 1_000])).unwrap();
    assert_eq!(sidecar.offsets(7, 400).unwrap(), (0..400).collect::<Vec<_>>());
}

#[test]
fn a_changed_byte_is_noticed_wherever_it_is() {
    let fingerprints: Vec<u64> = (0..700).map(|n: u64| n << 54).collect();
    let intact = written(&fingerprints);
    let path = sidecar::sidecar_path(dir(), BASE);
    let bytes = intact.get(&path);
    assert_eq!(bytes.len(), 4 * 4096);
    for at in (0..48).chain((4096..bytes.len()).step_by(97)) {
        let disk = MemDisk::default();
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        disk.put(&path, &damaged);
        let page = at.saturating_sub(4096) / 4096;
        let asked = fingerprints[page * 341];
        let answer = open(&disk).and_then(|sidecar| sidecar.offsets(asked, 10));
        assert!(matches!(answer, Err(Unusable::Damaged)), "byte {at}");
    }
    for length in [0, 47, 4096, bytes.len() - 1, bytes.len() + 1] {
        let disk = MemDisk::default();
        let mut cut = bytes.clone();
        cut.resize(length, 0);
        disk.put(&path, &cut);
        assert!(matches!(open(&disk), Err(Unusable::Damaged)), "{length} bytes");
    }
}

#[test]
fn a_sidecar_of_another_segment_or_version_is_not_taken() {
    let disk = written(&[1, 2, 3]);
    let bytes = disk.get(&sidecar::sidecar_path(dir(), BASE));
    disk.put(&sidecar::sidecar_path(dir(), 5000), &bytes);
    assert!(matches!(Sidecar::open(&disk, dir(), 5000), Err(Unusable::Damaged)));
    assert!(matches!(Sidecar::open(&disk, dir(), 1), Err(Unusable::Io(_))));
}

#[test]
fn names_of_sidecars_are_told_from_others() {
    let name = "00000000000000004096";
    assert_eq!(sidecar::sidecar_path(dir(), BASE).to_str().unwrap(), format!("/data/log/{name}.idx"));
    for (name, base) in [
        (format!("{name}.idx"), Some(BASE)),
        (format!("{name}.idx.tmp"), Some(BASE)),
        (format!("{name}.seg"), None),
        ("x.idx".to_owned(), None),
        ("id.tmp".to_owned(), None),
    ] {
        assert_eq!(sidecar::sidecar_of(&name), base, "{name}");
    }
}
