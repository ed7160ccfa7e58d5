//! Columns for attributes of one's own: added to a table that is there, filled from then on, and back to the beginning by
//! whoever writes rows again.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Array, RecordBatch};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::fixtures::*;
use crate::runtime::{SystemRandom, Tenant};
use crate::store::schema::{AddedColumn, Layout};
use crate::store::*;

/// By span id: `user_id`, `retries`, `team_name`.
type Values = BTreeMap<String, (Option<String>, Option<i64>, Option<String>)>;

fn columns(written: &[(&str, &str)]) -> Vec<AddedColumn> {
    written.iter().map(|(attribute, kind)| AddedColumn::new(attribute, kind).unwrap()).collect()
}

fn store(fixture: &Fixture, app_id: &str, columns: Vec<AddedColumn>) -> Store {
    let config = StoreConfig { columns, ..StoreConfig::new(fixture.location(), app_id) };
    Store::open(config, fixture.clock.clone()).unwrap()
}

/// Ten traces; their spans have `retries`, a number, but those of each third a text.
fn batch(first: u64) -> ExportTraceServiceRequest {
    let mut request = traces(first, 10, NOW);
    let resource = request.resource_spans[0].resource.as_mut().unwrap();
    resource.attributes.push(text("team.name", "checkout"));
    for (at, span) in request.resource_spans[0].scope_spans[0].spans.iter_mut().enumerate() {
        let value = if at % 3 == 0 { Value::StringValue("3".into()) } else { Value::IntValue(at as i64) };
        span.attributes.push(attribute("retries", value));
    }
    request
}

async fn write(store: &Store, id: u64, request: &ExportTraceServiceRequest) {
    let records = MapRecords::of(std::slice::from_ref(request));
    store.write(&records.batch(id, &verdict("all", "default")), &records).await.unwrap();
}

/// The live files of spans.
async fn files(store: &Store, fixture: &Fixture) -> Vec<RecordBatch> {
    let table = store.table(&Tenant::default(), TableKind::Spans).unwrap();
    let files = store.live_files(&table).await.unwrap();
    let read = |name: &str| {
        let name = name.rsplit_once("/default/").unwrap().1;
        let file = std::fs::File::open(fixture.folder.path().join("default").join(name)).unwrap();
        let batches = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().with_batch_size(9999);
        batches.build().unwrap().next().unwrap().unwrap()
    };
    files.iter().map(|file| read(&format!("/{}", file.object))).collect()
}

/// Each row's values by span id.
fn values(batch: &RecordBatch) -> Values {
    let text = |column: &str| batch.column_by_name(column).unwrap().as_string::<i32>().clone();
    let (ids, users, teams) = (text("span_id"), text("user_id"), text("team_name"));
    let retries = batch.column_by_name("retries").unwrap().as_primitive::<Int64Type>();
    let some =
        |column: &arrow_array::StringArray, row| column.is_valid(row).then(|| column.value(row).to_owned());
    let row = |row: usize| {
        let retries = retries.is_valid(row).then(|| retries.value(row));
        (ids.value(row).to_owned(), (some(&users, row), retries, some(&teams, row)))
    };
    (0..batch.num_rows()).map(row).collect()
}

/// What [`values`] must be, from what was sent.
fn expected(request: &ExportTraceServiceRequest) -> Values {
    let value = |span: &opentelemetry_proto::tonic::trace::v1::Span, key: &str| {
        span.attributes.iter().find(|a| a.key == key).and_then(|a| a.value.clone()?.value)
    };
    let row = |span: &opentelemetry_proto::tonic::trace::v1::Span| {
        let Some(Value::StringValue(user)) = value(span, "user.id") else { panic!() };
        let retries =
            value(span, "retries").and_then(|v| if let Value::IntValue(v) = v { Some(v) } else { None });
        (hex::encode(&span.span_id), (Some(user), retries, Some("checkout".to_owned())))
    };
    request.resource_spans[0].scope_spans[0].spans.iter().map(row).collect()
}

const ADDED: &[(&str, &str)] =
    &[("span.user.id", "text"), ("span.retries", "long"), ("resource.team.name", "text")];

#[tokio::test(flavor = "multi_thread")]
async fn a_column_added_later_is_filled_from_then_on_and_old_files_are_read_as_before() {
    let fixture = Fixture::new();
    write(&store(&fixture, "before", Vec::new()), 1, &batch(0)).await;
    write(&store(&fixture, "with", columns(ADDED)), 1, &batch(100)).await;
    // Who is not told of the columns knows them from the table.
    let last = store(&fixture, "after", Vec::new());
    write(&last, 1, &batch(200)).await;

    let table = last.table(&Tenant::default(), TableKind::Spans).unwrap();
    let layout = tokio::task::spawn_blocking(move || table.layout().unwrap()).await.unwrap();
    assert!(std::ptr::eq(layout, Layout::with(columns(ADDED))));
    let written = files(&last, &fixture).await;
    let (with, without): (Vec<_>, Vec<_>) =
        written.iter().partition(|batch| batch.column_by_name("user_id").is_some());
    let mut filled = expected(&batch(100));
    filled.extend(expected(&batch(200)));
    assert_eq!(
        (with.iter().flat_map(|batch| values(batch)).collect::<BTreeMap<_, _>>(), without.len()),
        (filled, 1)
    );
    for trace in [5, 105, 205] {
        let found = fixture.reader().by_id(&Tenant::default(), trace_id(trace)).await.unwrap();
        let request = batch(trace / 100 * 100);
        let sent = request.resource_spans[0].scope_spans[0].spans.iter();
        let sent: Vec<_> = sent.filter(|s| s.trace_id == trace_id(trace).0).cloned().collect();
        assert_eq!(found.into_iter().map(|span| span.span).collect::<Vec<_>>(), sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_fills_the_columns_of_files_that_were_written_before() {
    let fixture = Fixture::new();
    write(&store(&fixture, "before", Vec::new()), 1, &batch(0)).await;
    let with = Arc::new(store(&fixture, "with", columns(ADDED)));
    write(&with, 1, &batch(100)).await;
    let compactor = Compactor::new(Arc::clone(&with), CompactionConfig::default(), Arc::new(SystemRandom));
    for unit in compactor.plan(&Tenant::default(), NOW + 2 * DAY).await.unwrap() {
        compactor.compact(&unit, Box::new(Unpaced)).await.unwrap().unwrap();
    }
    let [merged] = &files(&with, &fixture).await[..] else { panic!("not one file") };
    let mut all = expected(&batch(0));
    all.extend(expected(&batch(100)));
    assert_eq!(values(merged), all);
}

#[test]
fn columns_that_cannot_be_are_refused() {
    for (attribute, kind, why) in [
        ("user.id", "text", "no attribute such as"),
        ("span.", "text", "no attribute such as"),
        ("span.a", "double", "write text or long"),
        ("resource.a", "long", "is text"),
        ("span.http.route", "text", "has a column already"),
        ("resource.service.name", "text", "has a column already"),
        ("span.trace.id", "text", "another column named trace_id"),
        ("resource.HTTP-route", "text", "another column named http_route"),
    ] {
        let error = AddedColumn::new(attribute, kind).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration);
        assert!(error.to_string().contains(why), "{attribute}: {error}");
    }
}
