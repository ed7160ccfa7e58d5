//! What cannot be stored does not hold up the rest, and is counted.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use prost::Message;

use super::fixtures::*;
use crate::log::{Position, SpansRecord};
use crate::runtime::Tenant;
use crate::sample::Batch;
use crate::store::*;
use crate::wire::put_bytes_field;

/// The batch, with the number of spans of each trace as it is.
fn batch(records: &MapRecords, spans: u32) -> Batch {
    let mut batch = records.batch(1, &verdict("all", "default"));
    batch.traces.iter_mut().for_each(|trace| trace.spans = spans);
    batch
}

/// Makes the first span of trace 7 one that cannot be decoded: an event that ends too early.
fn damage(records: &mut MapRecords) {
    let mut request = traces(0, 20, NOW);
    let spans = &mut request.resource_spans[0].scope_spans[0].spans;
    let at = spans.iter().position(|span| span.trace_id == trace_id(7).0).unwrap();
    let mut raw = spans.remove(at).encode_to_vec();
    put_bytes_field(&mut raw, 11, &[0x12, 200]);
    let mut scope_spans = request.resource_spans[0].scope_spans[0].encode_to_vec();
    put_bytes_field(&mut scope_spans, 2, &raw);
    let mut resource_spans = Vec::new();
    put_bytes_field(
        &mut resource_spans,
        1,
        &request.resource_spans[0].resource.as_ref().unwrap().encode_to_vec(),
    );
    put_bytes_field(&mut resource_spans, 2, &scope_spans);
    let mut body = Vec::new();
    put_bytes_field(&mut body, 1, &resource_spans);
    let whole = &records.0[&Position(0)];
    let damaged = SpansRecord { meta: whole.meta.clone(), body: body.into() };
    records.0.insert(Position(0), Arc::new(damaged));
}

fn service(name: &str, stored: u64, duplicates: u64) -> WrittenService {
    WrittenService { tenant: Tenant::default(), service: name.into(), stored, duplicates }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_cannot_be_encoded_is_left_out_and_the_rest_is_written() {
    let fixture = Fixture::new();
    let mut records = MapRecords::of(&[traces(0, 20, NOW)]);
    let batch = batch(&records, 4);
    damage(&mut records);
    let written = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((written.spans, written.traces, written.left_out), (76, 19, 4));
    assert_eq!(written.services, [service("shop", 76, 0)]);
    assert_eq!(written.lost, [LostSpans { tenant: Tenant::default(), spans: 4 }]);
    let reader = fixture.reader();
    assert!(reader.by_id(&Tenant::default(), trace_id(7)).await.unwrap().is_empty());
    for trace in (0..20).filter(|trace| *trace != 7) {
        assert_eq!(reader.by_id(&Tenant::default(), trace_id(trace)).await.unwrap().len(), 4);
    }
    // Written again, nothing is new, and the counts are the same.
    let again = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((again.spans, again.already), (0, 2));
    assert_eq!((again.services, again.lost, again.left_out), (written.services, written.lost, 4));
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_are_counted_by_service_the_same_each_time() {
    let fixture = Fixture::new();
    let mut of_b = traces(20, 5, NOW);
    of_b.resource_spans[0].resource = None;
    let mut records = MapRecords::of(&[traces(0, 10, NOW), traces(5, 10, NOW), of_b, traces(40, 3, NOW)]);
    let mut batch = batch(&records, 4);
    for trace in &mut batch.traces {
        trace.spans = 4 * trace.places.len() as u32;
    }
    records.0.remove(&Position(3));
    let written = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!(written.services, [service("shop", 60, 20), service("unknown_service", 20, 0)]);
    assert_eq!(written.lost, [LostSpans { tenant: Tenant::default(), spans: 12 }]);
    // After a crash half-way.
    std::fs::remove_dir_all(fixture.folder.path().join("default/traces")).unwrap();
    let again = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((again.spans, again.traces, again.already), (0, 20, 1));
    assert_eq!((&again.services, &again.lost), (&written.services, &written.lost));
    // In both tables, and out of the log: they count as stored.
    records.0.clear();
    let later = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((later.already, later.services), (2, vec![service("(unknown)", 112, 0)]));
    assert_eq!(later.lost, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_beyond_a_thousand_count_as_one() {
    let fixture = Fixture::new();
    let requests: Vec<_> = (0..1_010)
        .map(|n| {
            let mut request = traces(n, 1, NOW);
            request.resource_spans[0].resource.as_mut().unwrap().attributes =
                vec![text("service.name", &format!("service-{n:04}"))];
            request
        })
        .collect();
    let records = MapRecords::of(&requests);
    let written = fixture.store("a").write(&batch(&records, 4), &records).await.unwrap();
    assert_eq!(written.services.len(), 1_001);
    assert_eq!(written.services[0], service("(others)", 40, 0));
    assert_eq!(written.services[1_000], service("service-0999", 4, 0));
    assert_eq!(written.lost, []);
}
