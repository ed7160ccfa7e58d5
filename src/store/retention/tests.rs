#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::*;
use crate::store::tests::fixtures::*;

fn file(retention: &str, day: i64, start_max_unix_nano: u64) -> DataFile {
    DataFile {
        in_log: format!("{retention}-{day}"),
        object: Path::from("x"),
        bytes: 1,
        rows: 1,
        retention: retention.into(),
        day,
        trace_id_min: None,
        trace_id_max: None,
        start_min_unix_nano: 0,
        start_max_unix_nano,
        duration_max_nano: u64::MAX,
        service_min: None,
        service_max: None,
        names_services: false,
        committed_ms: 0,
    }
}

fn classes() -> RetentionClasses {
    let days = |n: u64| Duration::from_secs(n * 86_400).into();
    [("default".to_owned(), days(3)), ("errors".to_owned(), days(30))].into()
}

#[test]
fn a_file_is_due_when_its_newest_span_is_older_than_its_class() {
    let today = (NOW / DAY) as i64;
    for (case, file, due_now) in [
        ("young", file("default", today - 2, NOW - 2 * DAY), false),
        ("a minute short", file("default", today - 3, NOW - 3 * DAY + 60_000_000_000), false),
        ("a minute over", file("default", today - 3, NOW - 3 * DAY - 60_000_000_000), true),
        ("of a class with longer life", file("errors", today - 4, NOW - 4 * DAY), false),
        ("of that class, old", file("errors", today - 31, NOW - 31 * DAY), true),
        ("of an unknown class", file("pinned", 1, DAY), false),
        ("a wrong clock's, filed long ago", file("default", today - 5, u64::MAX), true),
        ("a wrong clock's, filed today", file("default", today, 0), false),
        ("without statistics or day", file("default", i64::MAX / 2, u64::MAX), false),
    ] {
        let files = [(TableKind::Spans, &file)];
        assert_eq!(!due(files.into_iter(), &classes(), NOW).is_empty(), due_now, "{case}");
    }
}

#[test]
fn a_file_that_is_not_due_is_not_due_an_hour_earlier_either() {
    let today = (NOW / DAY) as i64;
    for minutes in 0..10_000 {
        let file = file("default", today - 3, NOW - minutes * 60_000_000_000);
        let due = |now| due([(TableKind::Spans, &file)].into_iter(), &classes(), now);
        let (earlier, now) = (due(NOW - DAY / 24), due(NOW));
        assert!(earlier.len() <= now.len());
    }
}

#[test]
fn a_class_that_is_too_large_loses_its_oldest_files_of_both_tables() {
    let today = (NOW / DAY) as i64;
    let at = |name: &str, hours: u64, bytes| DataFile {
        in_log: name.into(),
        bytes,
        ..file("errors", today, NOW - hours * 3_600_000_000_000)
    };
    let files = [at("newest", 0, 40), at("oldest", 3, 30), at("middle", 2, 30), at("a trace's", 1, 10)];
    let unbounded = file("default", today, NOW);
    let due_at = |bytes_max| {
        let mut classes = classes();
        classes.get_mut("errors").unwrap().bytes_max = Some(bytes_max);
        let live =
            files.iter().zip([TableKind::Spans, TableKind::Spans, TableKind::Spans, TableKind::Traces]);
        let live = live.map(|(file, kind)| (kind, file)).chain([(TableKind::Spans, &unbounded)]);
        due(live, &classes, NOW).iter().map(|(_, file)| file.in_log.clone()).collect::<Vec<_>>()
    };
    assert_eq!(due_at(110), Vec::<String>::new());
    assert_eq!(due_at(109), ["oldest"]);
    assert_eq!(due_at(79), ["oldest", "middle"]);
    assert_eq!(due_at(45), ["oldest", "middle", "a trace's"]);
    assert_eq!(due_at(39), ["oldest", "middle", "a trace's", "newest"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_takes_what_is_due_and_vacuum_follows_after_the_grace() {
    let fixture = Fixture::new();
    let store = fixture.store("a");
    let old = MapRecords::of(&[traces(0, 10, NOW - 5 * DAY)]);
    store.write(&old.batch(1, &verdict("all", "default")), &old).await.unwrap();
    let kept = MapRecords::of(&[traces(100, 10, NOW - 5 * DAY)]);
    store.write(&kept.batch(2, &verdict("errors", "errors")), &kept).await.unwrap();
    let young = MapRecords::of(&[traces(200, 10, NOW)]);
    store.write(&young.batch(3, &verdict("all", "default")), &young).await.unwrap();

    let tenant = Tenant::default();
    assert_eq!(store.tenants().await.unwrap(), std::slice::from_ref(&tenant));
    let policy = RetentionPolicy::new(classes());
    let planned = store.expiry_plan(&tenant, &policy, NOW).await.unwrap();
    let expired = store.expire_tenant(&tenant, &policy, NOW).await.unwrap();
    assert_eq!((expired.files, expired.rows, expired.deleted), (2, 50, 0));
    assert_eq!(planned, expired);
    assert_eq!(store.expire_tenant(&tenant, &policy, NOW).await.unwrap(), Expired::default());
    let reader = fixture.reader();
    let spans_of = async |trace| reader.by_id(&tenant, trace_id(trace)).await.unwrap().len();
    assert_eq!((spans_of(5).await, spans_of(105).await, spans_of(205).await), (0, 4, 4));

    // The commit's own clock is the machine's, so the grace is counted from it.
    let machine = crate::runtime::SystemClock::new();
    let after_grace = crate::runtime::Clock::now_unix_nano(&machine) + 2 * 3_600_000_000_000;
    assert_eq!(data_files(&fixture), 6);
    let nothing_due = RetentionPolicy { classes: BTreeMap::new(), ..policy };
    assert_eq!(store.expire_tenant(&tenant, &nothing_due, after_grace).await.unwrap().deleted, 2);
    assert_eq!(data_files(&fixture), 4);
    assert_eq!((spans_of(5).await, spans_of(105).await, spans_of(205).await), (0, 4, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_go_when_they_are_old_and_uploads_under_way_stay() {
    let fixture = Fixture::new();
    let store = fixture.store("a");
    let records = MapRecords::of(&[traces(0, 10, NOW)]);
    store.write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    let orphan = fixture.folder.path().join("default/spans/retention=default/part-x.parquet");
    std::fs::write(&orphan, b"half a file").unwrap();
    let machine = crate::runtime::SystemClock::new();
    let now = crate::runtime::Clock::now_unix_nano(&machine);
    let policy = RetentionPolicy::new(BTreeMap::new());
    let tenant = Tenant::default();
    assert_eq!(store.expire_tenant(&tenant, &policy, now + DAY / 2).await.unwrap().deleted, 0);
    assert_eq!(store.expire_tenant(&tenant, &policy, now + DAY + DAY / 24).await.unwrap().deleted, 1);
    assert!(!orphan.exists());
    assert_eq!(fixture.reader().by_id(&tenant, trace_id(5)).await.unwrap().len(), 4);
    assert!(fixture.clock.0.load(Ordering::Relaxed) >= NOW);
}

fn data_files(fixture: &Fixture) -> usize {
    let mut folders = vec![fixture.folder.path().to_owned()];
    let mut count = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if !path.ends_with("_delta_log") && !path.ends_with("index") {
                    folders.push(path);
                }
            } else {
                count += 1;
            }
        }
    }
    count
}
