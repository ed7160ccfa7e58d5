#![allow(clippy::unwrap_used)]

mod added_columns;
pub(in crate::store) mod fixtures;
mod left_out;
mod s3;

use fixtures::*;
use futures::TryStreamExt;

use super::*;
use crate::runtime::Tenant;

async fn all_traces(reader: &Reader) -> Vec<TraceRow> {
    reader.traces_scan(&Tenant::default(), TracesRequest::all()).await.unwrap().try_concat().await.unwrap()
}

async fn count_spans(reader: &Reader, hints: Vec<ScanHint>) -> usize {
    let projection = Projection::Columns(vec!["name".into()]);
    let request = ScanRequest { start_unix_nano: 0..u64::MAX, projection, hints };
    let rows: Vec<_> = reader.scan(&Tenant::default(), request).await.unwrap().try_collect().await.unwrap();
    rows.iter().map(SpanRows::len).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_not_there_reads_as_empty() {
    let fixture = Fixture::new();
    let reader = fixture.reader();
    assert_eq!(reader.by_id(&Tenant::default(), trace_id(1)).await.unwrap(), []);
    assert_eq!(all_traces(&reader).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_traces_are_found_by_id_and_by_scan() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&[traces(0, 100, NOW)]);
    let written =
        fixture.store("a").write(&records.batch(1, &verdict("errors", "errors")), &records).await.unwrap();
    assert_eq!((written.spans, written.traces, written.files), (400, 100, 2));
    let reader = fixture.reader();
    let spans = reader.by_id(&Tenant::default(), trace_id(42)).await.unwrap();
    let sent: Vec<_> = (0..4).map(|s| span(42, s, NOW + 42)).collect();
    assert_eq!(spans.iter().map(|s| s.span.clone()).collect::<Vec<_>>(), sent);
    assert_eq!(&*spans[0].kept.as_ref().unwrap().retention, "errors");
    assert_eq!(reader.by_id(&Tenant::default(), trace_id(1_000)).await.unwrap(), []);

    let rows = all_traces(&reader).await;
    assert_eq!(rows.len(), 100);
    let row = rows.iter().find(|r| r.trace_id == trace_id(42)).unwrap();
    assert_eq!(row.root_service_name.as_deref(), Some("shop"));
    assert_eq!(
        (row.span_count, row.error_count, row.duration_nano, row.complete),
        (4, 0, 1_000_000_000, true)
    );
    assert_eq!(
        (row.root_name.as_deref(), row.services.as_slice()),
        (Some("GET /shop"), &["shop".to_owned()][..])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hints_keep_what_matches_and_little_else() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&[traces(0, 100, NOW)]);
    fixture.store("a").write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    let reader = fixture.reader();
    let equals = |scope, key: &str, value| ScanHint::AttributeEquals { scope, key: key.into(), value };
    let (any, of_span, of_resource) = (AttributeScope::Any, AttributeScope::Span, AttributeScope::Resource);
    let shop = || HintValue::Str("shop".into());
    for (hints, expected) in [
        (vec![], 400),
        (vec![ScanHint::StatusEquals(2)], 40),
        (vec![ScanHint::KindEquals(2)], 100),
        (vec![ScanHint::NameEquals("step 2".into())], 100),
        (vec![ScanHint::MinDurationNano(500_000_000)], 100),
        (vec![ScanHint::MinDurationNano(1_000_000_001)], 0),
        (vec![ScanHint::MaxDurationNano(500_000_000)], 300),
        (vec![equals(of_resource, "service.name", shop())], 400),
        (vec![equals(any, "service.name", shop())], 400),
        (vec![equals(of_span, "service.name", shop())], 0),
        (vec![equals(of_resource, "service.name", HintValue::Str("bank".into()))], 0),
        (vec![equals(of_span, "user.id", HintValue::Str("user-7".into()))], 4),
        (vec![equals(of_span, "http.response.status_code", HintValue::Int(200))], 400),
        (vec![equals(of_span, "http.response.status_code", HintValue::Double(200.0))], 400),
        (vec![equals(of_span, "http.response.status_code", HintValue::Int(500))], 0),
        (vec![ScanHint::TraceIds(vec![trace_id(3), trace_id(4)]), ScanHint::KindEquals(1)], 6),
    ] {
        assert_eq!(count_spans(&reader, hints.clone()).await, expected, "{hints:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_written_again_adds_nothing() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&[traces(0, 10, NOW), traces(5, 10, NOW)]);
    let batch = records.batch(3, &verdict("all", "default"));
    let first = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((first.spans, first.traces, first.duplicates), (60, 15, 20));
    let again = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((again.spans, again.already), (0, 2));
    assert_eq!(count_spans(&fixture.reader(), vec![]).await, 60);
    // Another data directory's batch of the same number is another batch.
    fixture.store("b").write(&batch, &records).await.unwrap();
    assert_eq!(count_spans(&fixture.reader(), vec![]).await, 120);
    assert_eq!(fixture.reader().by_id(&Tenant::default(), trace_id(7)).await.unwrap().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_the_two_tables_is_made_good_by_writing_again() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&[traces(0, 10, NOW)]);
    let batch = records.batch(1, &verdict("all", "default"));
    fixture.store("a").write(&batch, &records).await.unwrap();
    // As if the process had died after the commit to `spans`.
    std::fs::remove_dir_all(fixture.folder.path().join("default/traces")).unwrap();
    assert_eq!(all_traces(&fixture.reader()).await, []);
    let again = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((again.spans, again.traces, again.already), (0, 10, 1));
    assert_eq!(all_traces(&fixture.reader()).await.len(), 10);
    assert_eq!(count_spans(&fixture.reader(), vec![]).await, 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_all_get_in_and_readers_follow() {
    let fixture = Fixture::new();
    let reader = fixture.reader();
    let writers = (0..8u64).map(|writer| {
        let store = fixture.store(&format!("writer-{writer}"));
        tokio::spawn(async move {
            for batch in 0..6u64 {
                let records = MapRecords::of(&[traces(writer * 1_000 + batch * 10, 10, NOW)]);
                store.write(&records.batch(batch + 1, &verdict("all", "default")), &records).await.unwrap();
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        count_spans(&reader, vec![]).await;
        writer.await.unwrap();
    }
    assert_eq!(count_spans(&reader, vec![]).await, 8 * 6 * 40);
    assert_eq!(all_traces(&reader).await.len(), 8 * 6 * 10);
    // By now there are checkpoints, and a reader that begins with one sees the same.
    assert_eq!(count_spans(&fixture.reader(), vec![]).await, 8 * 6 * 40);
    let log = fixture.folder.path().join("default/spans/_delta_log/_last_checkpoint");
    assert!(log.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_of_several_days_and_classes_go_to_their_partitions() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&[
        request("a", vec![span(1, 0, NOW), span(1, 1, NOW - DAY)]),
        request("a", vec![span(2, 0, 0), span(2, 1, u64::MAX - 1_000_000_000)]),
    ]);
    let mut batch = records.batch(1, &verdict("all", "default"));
    batch.traces[1].verdict = verdict("odd", "a b/ü%");
    let other = batch.traces[1].trace_id;
    fixture.store("a").write(&batch, &records).await.unwrap();
    let folder = fixture.folder.path().join("default/spans");
    let partitions = |class: &str| -> Vec<String> {
        let days = std::fs::read_dir(folder.join(class)).unwrap();
        let mut days: Vec<_> = days.map(|d| d.unwrap().file_name().into_string().unwrap()).collect();
        days.sort();
        days
    };
    let mut found = partitions("retention=default");
    found.extend(partitions("retention=a%20b%2F%C3%BC%25"));
    found.sort();
    // Times that cannot be right are filed under the day of receipt.
    assert_eq!(found, ["date=2026-11-20", "date=2026-11-21", "date=2026-11-21"]);
    let spans = fixture.reader().by_id(&Tenant::default(), other).await.unwrap();
    assert_eq!(spans.len(), 2);
    assert_eq!(&*spans[0].kept.as_ref().unwrap().retention, "a b/ü%");
    assert_eq!(count_spans(&fixture.reader(), vec![]).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_lost_does_not_hold_up_the_others() {
    let fixture = Fixture::new();
    let mut records = MapRecords::of(&[traces(0, 5, NOW), traces(10, 5, NOW)]);
    let batch = records.batch(1, &verdict("all", "default"));
    records.0.remove(&crate::log::Position(0));
    let written = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((written.spans, written.unreadable_records), (20, 1));
}

#[tokio::test]
async fn a_runtime_of_one_thread_is_enough() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&[traces(0, 5, NOW)]);
    fixture.store("a").write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    assert_eq!(fixture.reader().by_id(&Tenant::default(), trace_id(3)).await.unwrap().len(), 4);
}

#[test]
fn errors_say_what_to_do() {
    for (store, words) in [
        ("ftp://x/y", "use file:///folder"),
        ("s3:///prefix", "names no bucket"),
        ("https://user:secret@host/x", "use file:///folder"),
    ] {
        let error = Location::parse(store).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(words) && !error.to_string().contains("secret"), "{error}");
    }
}
