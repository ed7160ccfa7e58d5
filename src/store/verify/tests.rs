#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use super::*;
use crate::runtime::SystemRandom;
use crate::store::tests::fixtures::{DAY, Fixture, MapRecords, NOW, traces, verdict};
use crate::store::{CompactionConfig, Compactor, Unpaced};

struct Written {
    fixture: Fixture,
    store: Store,
}

impl Written {
    async fn new() -> Self {
        let fixture = Fixture::new();
        let store = fixture.store("one");
        for batch in 0..3 {
            let records = MapRecords::of(&[traces(batch * 100, 50, NOW)]);
            store.write(&records.batch(batch + 1, &verdict("all", "default")), &records).await.unwrap();
        }
        Self { fixture, store }
    }

    async fn verified(&self) -> Verified {
        let mut last = (0, 0);
        let verified = self.store.verify(&Tenant::default(), |done, all| last = (done, all)).await.unwrap();
        assert_eq!(last.0, last.1, "progress ends at the end");
        verified
    }

    /// The data files of a table, in the order of their names.
    fn files(&self, table: &str) -> Vec<PathBuf> {
        let folder = self.fixture.folder.path().join("default").join(table).join("retention=default");
        let days = fs::read_dir(folder).unwrap();
        let mut files: Vec<PathBuf> = days
            .flat_map(|day| fs::read_dir(day.unwrap().path()).unwrap())
            .map(|f| f.unwrap().path())
            .collect();
        files.sort();
        files
    }

    async fn only_finding(&self) -> Finding {
        let mut verified = self.verified().await;
        assert_eq!(verified.findings.len(), 1, "{:?}", verified.findings);
        verified.findings.remove(0)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_as_it_was_written_is_right() {
    let written = Written::new().await;
    let verified = written.verified().await;
    assert_eq!((verified.files, verified.rows), (6, 3 * 50 * 4 + 3 * 50));
    assert_eq!((verified.findings, verified.strays), (vec![], vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_file_is_found() {
    let written = Written::new().await;
    fs::remove_file(&written.files("spans")[1]).unwrap();
    let finding = written.only_finding().await;
    assert_eq!((finding.problem, finding.rows, finding.table), (Problem::Missing, 200, TableKind::Spans));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_was_cut_short_is_found() {
    let written = Written::new().await;
    let path = &written.files("spans")[0];
    let bytes = fs::read(path).unwrap();
    fs::write(path, &bytes[..bytes.len() - 1]).unwrap();
    let problem = written.only_finding().await.problem;
    assert_eq!(problem, Problem::Length { log: bytes.len() as u64, store: bytes.len() as u64 - 1 });
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_inside_of_a_file_and_a_foreign_one_are_found() {
    let written = Written::new().await;
    let path = &written.files("spans")[2];
    let bytes = fs::read(path).unwrap();
    let mut damaged = bytes.clone();
    // Behind the magic: the first page.
    damaged[4..400].fill(0xff);
    fs::write(path, &damaged).unwrap();
    assert_eq!(written.only_finding().await.problem.code(), "unreadable");

    fs::write(path, vec![7; bytes.len()]).unwrap();
    assert_eq!(written.only_finding().await.problem.code(), "unreadable");
}

/// Flips bits in a file's row groups one after the other: each is found.
async fn check_flips(written: &Written, path: &PathBuf) {
    let bytes = fs::read(path).unwrap();
    let footer = u32::from_le_bytes(*bytes[..bytes.len() - 4].last_chunk().unwrap()) as usize;
    let mut codes = BTreeSet::new();
    for at in (4..(bytes.len() - footer) / 2).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(path, &damaged).unwrap();
        codes.insert(written.only_finding().await.problem.code());
    }
    fs::write(path, &bytes).unwrap();
    assert!(codes.contains("checksum"), "{codes:?}");
    assert_eq!(written.verified().await.findings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bit_that_flipped_is_found_wherever_it_is() {
    let written = Written::new().await;
    check_flips(&written, &written.files("traces")[0]).await;
    let store = Arc::new(written.fixture.store("compactor"));
    let compactor = Compactor::new(store, CompactionConfig::default(), Arc::new(SystemRandom));
    for unit in compactor.plan(&Tenant::default(), NOW + 2 * DAY).await.unwrap() {
        compactor.compact(&unit, Box::new(Unpaced)).await.unwrap().unwrap();
    }
    let table = written.store.table(&Tenant::default(), TableKind::Spans).unwrap();
    let live = written.store.live_files(&table).await.unwrap();
    let name = live[0].object.filename().unwrap();
    let compacted = written.files("spans").into_iter().find(|file| file.ends_with(name)).unwrap();
    assert_eq!(live.len(), 1);
    check_flips(&written, &compacted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_says_wrongly_is_found() {
    let written = Written::new().await;
    let table = written.store.table(&Tenant::default(), TableKind::Spans).unwrap();
    let right = written.store.live_files(&table).await.unwrap()[0].clone();
    let problem = |change: fn(&mut DataFile)| {
        let (mut file, table) = (right.clone(), table.clone());
        change(&mut file);
        async move { check_rows(&table, &file).await.unwrap().1 }
    };
    assert_eq!(problem(|_| ()).await, None);
    assert_eq!(problem(|f| f.rows += 1).await, Some(Problem::Rows { log: 201, file: 200 }));
    assert_eq!(problem(|f| f.trace_id_max = Some("0".repeat(32))).await, Some(Problem::Bounds("trace_id")));
    assert_eq!(problem(|f| f.trace_id_min = f.trace_id_max.clone()).await, Some(Problem::Bounds("trace_id")));
    assert_eq!(problem(|f| f.start_max_unix_nano = 0).await, Some(Problem::Bounds("start_time")));
    assert_eq!(problem(|f| f.start_min_unix_nano = u64::MAX).await, Some(Problem::Bounds("start_time")));
    assert_eq!(problem(|f| f.duration_max_nano = 7).await, Some(Problem::Bounds("duration_nano")));
    assert_eq!(problem(|f| f.service_max = Some("a".into())).await, Some(Problem::Bounds("service_name")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_log_does_not_name_is_told_apart() {
    let written = Written::new().await;
    let files = written.files("spans");
    fs::write(files[0].with_file_name("part-lost.parquet"), b"lost").unwrap();
    let verified = written.verified().await;
    assert_eq!(verified.findings, vec![]);
    let [stray] = &verified.strays[..] else { panic!("{:?}", verified.strays) };
    assert!(stray.object.ends_with("part-lost.parquet"));
    assert_eq!((stray.bytes, stray.removed_unix_ms), (4, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_can_be_taken_out_and_the_rest_stays() {
    let written = Written::new().await;
    let files = written.files("spans");
    fs::remove_file(&files[0]).unwrap();
    fs::write(&files[1], b"not a file of Parquet").unwrap();
    let findings = written.verified().await.findings;
    let taken = written.store.take_out_lost(&Tenant::default(), findings).await.unwrap();
    assert_eq!(taken.iter().map(|finding| finding.rows).sum::<u64>(), 400);
    let verified = written.verified().await;
    assert_eq!((verified.findings, verified.rows), (vec![], 200 + 150));
}
