//! Runs as bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use proptest::prelude::*;

use crate::runtime::Tenant;
use crate::store::index::build::{FileIndex, Indexed, NewRun, encode};
use crate::store::index::cache::Cache;
use crate::store::index::filter::{FilterBuilder, FilterScope, Needle, key_seed};
use crate::store::index::format::{Directory, TRAILER_BYTES, Trailer};
use crate::store::index::run::{Run, Shelf, Trouble};

/// A file of row groups: of each the fingerprints of its traces, and its users.
type Groups = Vec<(Vec<u64>, Vec<String>)>;

fn seed() -> u64 {
    key_seed(FilterScope::Span, b"user.id")
}

fn file_index(groups: &Groups) -> FileIndex {
    let mut index = FileIndex::default();
    for (traces, users) in groups {
        let mut filter = FilterBuilder::default();
        users.iter().for_each(|user| filter.insert(seed(), user.as_bytes()));
        index.push_group(traces.iter().copied(), Some(filter.finish(8 << 20)));
    }
    index
}

fn new_run(files: &[Groups]) -> NewRun {
    let indexes: Vec<_> = files.iter().map(file_index).collect();
    let indexed = indexes.iter().enumerate().map(|(at, index)| Indexed {
        in_log: format!("retention=a/date=2026-11-21/part-{at}.parquet"),
        bytes: 1000 + at as u64,
        index,
    });
    encode(&indexed.collect::<Vec<_>>()).unwrap()
}

fn shelf(objects: &Arc<dyn ObjectStore>) -> Shelf {
    Shelf {
        tenant: Tenant::default(),
        objects: Arc::clone(objects),
        folder: "default/index".into(),
        cache: Arc::new(Cache::open(None, 0)),
    }
}

async fn opened(content: Vec<u8>) -> (Shelf, Result<Run, Trouble>) {
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let shelf = shelf(&objects);
    let bytes = content.len() as u64;
    objects.put(&shelf.path("run"), Bytes::from(content).into()).await.unwrap();
    let run = shelf.open("run", bytes).await;
    (shelf, run)
}

async fn check(files: &[Groups]) {
    let mut expected: BTreeMap<u64, Vec<(u16, u16)>> = BTreeMap::new();
    for (file, groups) in files.iter().enumerate() {
        for (group, (traces, _)) in groups.iter().enumerate() {
            for trace in traces {
                expected.entry(*trace).or_default().push((file as u16, group as u16));
            }
        }
    }
    let (shelf, run) = opened(new_run(files).bytes).await;
    let run = run.unwrap();
    for (trace, mut places) in expected {
        places.dedup();
        let found = shelf.find(&run, trace).await.unwrap();
        let found: Vec<_> = found.iter().map(|e| (e.file(), e.group())).collect();
        assert_eq!(found, places, "{trace:x}");
    }
    for (file, groups) in files.iter().enumerate() {
        for (group, (_, users)) in groups.iter().enumerate() {
            for user in users.iter().take(3) {
                let needle = Needle::new(&[FilterScope::Span], "user.id", vec![user.clone()]);
                let without = shelf.without(&run, &needle).await.unwrap();
                assert!(!without.contains(&(file as u16, group as u16)), "{user}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn what_goes_into_a_run_is_found_in_it(
        files in proptest::collection::vec(
            proptest::collection::vec(
                (
                    // Also such as nobody would draw: all in one place.
                    prop_oneof![
                        proptest::collection::vec(any::<u64>(), 1..600),
                        proptest::collection::vec(0..40u64, 1..600),
                        proptest::collection::vec(u64::MAX - 5000..u64::MAX, 1..600),
                    ],
                    proptest::collection::vec("[a-z0-9]{0,12}", 0..400),
                ),
                1..4,
            ),
            1..5,
        )
    ) {
        let mut files = files;
        for (traces, _) in files.iter_mut().flatten() {
            traces.sort_unstable();
            traces.dedup();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(check(&files));
    }
}

#[tokio::test]
async fn a_filter_says_no_to_nearly_all_that_is_not_there() {
    let users = (0..30_000).map(|n| format!("user-{n}")).collect();
    let (shelf, run) = opened(new_run(&[vec![(vec![1], users)]]).bytes).await;
    let run = run.unwrap();
    let mut wrong = 0;
    for n in 0..2_000 {
        let needle = Needle::new(&[FilterScope::Span], "user.id", vec![format!("nobody-{n}")]);
        wrong += usize::from(shelf.without(&run, &needle).await.unwrap().is_empty());
    }
    assert!(wrong < 30, "{wrong} of 2000");
    let other = Needle::new(&[FilterScope::Resource], "user.id", vec!["user-1".into()]);
    assert_eq!(shelf.without(&run, &other).await.unwrap(), [(0, 0)]);
}

#[test]
fn a_filter_takes_little_of_its_row_group() {
    let mut filter = FilterBuilder::default();
    (0..200_000).for_each(|n: u32| filter.insert(seed(), &n.to_le_bytes()));
    let mut index = FileIndex::default();
    index.push_group([1].into_iter(), Some(filter.finish(1_000_000)));
    let indexed = Indexed { in_log: "a".into(), bytes: 1_000_000, index: &index };
    let run = encode(&[indexed]).unwrap();
    assert!(run.bytes.len() < 40_000 + 10_000, "{}", run.bytes.len());
}

#[tokio::test]
async fn damage_is_seen_wherever_it_is() {
    let traces: Vec<u64> = (0..1000).map(|n: u64| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
    let users = (0..500).map(|n| format!("user-{n}")).collect();
    let good = new_run(&[vec![(traces.clone(), users)]]);
    let needle = Needle::new(&[FilterScope::Span], "user.id", vec!["user-7".into()]);
    for at in (0..good.bytes.len()).step_by(97).chain([good.bytes.len() - 1]) {
        let mut bytes = good.bytes.clone();
        bytes[at] ^= 0x40;
        let (shelf, run) = opened(bytes).await;
        let run = match run {
            Ok(run) => run,
            Err(trouble) => {
                assert!(matches!(trouble, Trouble::Damaged), "{trouble}");
                continue;
            }
        };
        for trace in &traces {
            match shelf.find(&run, *trace).await {
                Ok(entries) => assert_eq!(entries.len(), 1),
                Err(trouble) => assert!(matches!(trouble, Trouble::Damaged), "{trouble}"),
            }
        }
        match shelf.without(&run, &needle).await {
            Ok(without) => assert_eq!(without, []),
            Err(trouble) => assert!(matches!(trouble, Trouble::Damaged), "{trouble}"),
        }
    }
}

#[test]
fn a_run_cut_short_or_of_nothing_is_no_run() {
    let good = new_run(&[vec![(vec![1, 2, 3], vec!["a".into()])]]).bytes;
    for length in 0..good.len() {
        assert_eq!(Trailer::read(&good[..length], length as u64), None);
    }
    assert_eq!(Trailer::read(&good, good.len() as u64 + 1), None);
    let trailer = Trailer::read(&good, good.len() as u64).unwrap();
    let at = trailer.directory();
    assert_eq!(at.end as usize + TRAILER_BYTES, good.len());
    let directory = &good[at.start as usize..at.end as usize];
    assert!(Directory::read(&trailer, directory).is_some());
    assert_eq!(Directory::read(&trailer, &directory[1..]), None);
    assert!(encode(&[]).is_none());
}
