//! Scans for attributes: what they read, and that they find what there is.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::TryStreamExt;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use proptest::prelude::*;

use super::counting::Counting;
use crate::runtime::Tenant;
use crate::store::tests::fixtures::*;
use crate::store::{
    AttributeScope, HintValue, Projection, Reader, ReaderConfig, ScanHint, ScanRequest, Store, StoreConfig,
};

fn store(objects: &Counting) -> Store {
    Store::open(StoreConfig::new(objects.location(), "a"), TestClock::new()).unwrap()
}

fn reader(objects: &Counting) -> Reader {
    let config = ReaderConfig { refresh_after: Duration::from_secs(3600), ..ReaderConfig::default() };
    Reader::new(objects.location(), TestClock::new(), config)
}

fn equals(scope: AttributeScope, key: &str, value: HintValue) -> ScanHint {
    ScanHint::AttributeEquals { scope, key: key.into(), value }
}

/// Span ids of the rows that come.
async fn scan(reader: &Reader, hint: ScanHint) -> BTreeSet<String> {
    let projection = Projection::Columns(vec!["name".into()]);
    let request = ScanRequest { start_unix_nano: 0..u64::MAX, projection, hints: vec![hint] };
    let rows = reader.scan(&Tenant::default(), request).await.unwrap();
    let rows: Vec<_> = rows.try_collect().await.unwrap();
    let ids = rows.iter().flat_map(|r| (0..r.len()).map(|row| r.text("span_id", row).unwrap().to_owned()));
    ids.collect()
}

const COMMITS: u64 = 120;
const SPANS: u64 = 2_500;

/// Spans of a shop with many users, each seen in one trace of four spans.
fn users(number: u64) -> ExportTraceServiceRequest {
    let of_trace = |trace: u64| {
        (0..4).map(move |n| {
            let mut span = span(trace, n, NOW + trace);
            let noise = |salt: u64| (trace * 4 + n).wrapping_mul(salt) ^ salt.rotate_left(17);
            span.attributes.push(text("request.id", &format!("{:016x}", noise(0xc2b2_ae3d_27d4_eb4f))));
            if n == 0 && trace.is_multiple_of(1_000) {
                span.attributes.push(attribute("order.number", Value::IntValue(trace as i64)));
            }
            // As large as spans are, compressed.
            let message =
                (1..6).map(|n| format!("{:016x}", noise(0x9e37_79b9_7f4a_7c15u64.wrapping_mul(n)))).collect();
            span.status = Some(Status { message, code: 0 });
            span
        })
    };
    request("shop", (number * SPANS / 4..(number + 1) * SPANS / 4).flat_map(of_trace).collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_needle_reads_less_than_a_hundredth_of_the_table() {
    let objects = Counting::default();
    let store = store(&objects);
    for number in 0..COMMITS {
        let records = MapRecords::of(&[users(number)]);
        store.write(&records.batch(number + 1, &verdict("all", "default")), &records).await.unwrap();
    }
    let of_table = objects.objects(".parquet").await;
    let table: u64 =
        of_table.iter().filter(|o| o.location.as_ref().contains("/spans/")).map(|o| o.size).sum();
    let user = |n: u64| equals(AttributeScope::Span, "user.id", HintValue::Str(format!("user-{n}")));

    // Before: without runs, that is all attributes of all files.
    let without = Counting::default();
    copy_but_runs(&objects, &without).await;
    let unindexed = reader(&without);
    scan(&unindexed, user(1)).await;
    without.take();
    let expected = scan(&unindexed, user(31_234)).await;
    let before = without.take();
    assert_eq!(expected.len(), 4);

    let reader = reader(&objects);
    scan(&reader, user(1)).await;
    objects.take();
    for (hint, spans) in [
        (user(31_234), 4),
        (equals(AttributeScope::Any, "request.id", HintValue::Str("no such".into())), 0),
        (equals(AttributeScope::Span, "order.number", HintValue::Int(17_000)), 1),
    ] {
        let found = scan(&reader, hint.clone()).await;
        assert_eq!(found.len(), spans, "{hint:?}");
        let after = objects.take();
        assert!(after.data_bytes() * 100 < table, "{} of {table}", after.data_bytes());
        assert!(after.data_bytes() * 20 < before.data_bytes());
    }
    assert_eq!(scan(&reader, user(31_234)).await, expected);
}

async fn copy_but_runs(from: &Counting, to: &Counting) {
    use object_store::ObjectStoreExt;
    for object in from.objects("").await.iter().filter(|o| !o.location.as_ref().ends_with(".idx")) {
        let bytes = from.inner.get(&object.location).await.unwrap().bytes().await.unwrap();
        to.inner.put(&object.location, bytes.into()).await.unwrap();
    }
}

fn value() -> impl Strategy<Value = Value> {
    let text = || "[ab]{0,2}".prop_map(Value::StringValue);
    let scalar = prop_oneof![
        text(),
        (-3..3i64).prop_map(Value::IntValue),
        prop_oneof![Just(0.0), Just(-0.0), Just(1.0), Just(2.5), Just(-1e300)].prop_map(Value::DoubleValue),
        any::<bool>().prop_map(Value::BoolValue),
    ];
    let any = |value| AnyValue { value: Some(value) };
    prop_oneof![
        6 => scalar,
        1 => proptest::collection::vec(text().prop_map(any), 0..3)
            .prop_map(|values| Value::ArrayValue(ArrayValue { values })),
    ]
}

/// Few keys, so that they come twice in a span.
fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let key = prop_oneof![Just("a"), Just("b"), Just("c")];
    proptest::collection::vec((key, value()).prop_map(|(key, value)| attribute(key, value)), 0..4)
}

/// What a span is asked for, and whether it has it: any of the values of the key, and those inside of arrays.
fn has(attributes: &[KeyValue], key: &str, wanted: &HintValue) -> bool {
    let is = |value: &Value| match (value, wanted) {
        (Value::StringValue(a), HintValue::Str(b)) => a == b,
        (Value::BoolValue(a), HintValue::Bool(b)) => a == b,
        (Value::IntValue(a), HintValue::Int(b)) => a == b,
        (Value::DoubleValue(a), HintValue::Double(b)) => a == b,
        (Value::IntValue(a), HintValue::Double(b)) => *a as f64 == *b,
        (Value::DoubleValue(a), HintValue::Int(b)) => *a == *b as f64,
        _ => false,
    };
    let inside = |value: &Value| match value {
        Value::ArrayValue(array) => array.values.iter().filter_map(|v| v.value.as_ref()).any(is),
        value => is(value),
    };
    // The first of a key counts.
    let first = attributes.iter().find(|a| a.key == key);
    first.and_then(|a| a.value.as_ref()?.value.as_ref()).is_some_and(inside)
}

fn hint_value(value: &Value) -> Option<HintValue> {
    Some(match value {
        Value::StringValue(text) => HintValue::Str(text.clone()),
        Value::BoolValue(value) => HintValue::Bool(*value),
        Value::IntValue(value) => HintValue::Int(*value),
        Value::DoubleValue(value) => HintValue::Double(*value),
        Value::ArrayValue(array) => hint_value(array.values.first()?.value.as_ref()?)?,
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Several commits; each attribute that a span or its resource has is asked for.
    #[test]
    fn what_is_there_is_found(
        commits in proptest::collection::vec(
            (attributes(), proptest::collection::vec(attributes(), 1..4)),
            1..4,
        )
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let objects = Counting::default();
            let store = store(&objects);
            let mut all: Vec<(String, Vec<KeyValue>, Vec<KeyValue>)> = Vec::new();
            for (number, (resource, spans)) in commits.iter().enumerate() {
                let spans = spans.iter().enumerate().map(|(at, attributes)| {
                    let trace = (number * 10 + at) as u64;
                    let one = Span { attributes: attributes.clone(), ..span(trace, 0, NOW) };
                    all.push((hex::encode(&one.span_id), attributes.clone(), resource.clone()));
                    one
                });
                let mut request = request("shop", spans.collect());
                request.resource_spans[0].resource.as_mut().unwrap().attributes = resource.clone();
                let records = MapRecords::of(&[request]);
                let batch = records.batch(number as u64 + 1, &verdict("all", "default"));
                store.write(&batch, &records).await.unwrap();
            }
            let reader = reader(&objects);
            let mut asked = BTreeSet::new();
            for attribute in all.iter().flat_map(|(_, a, b)| a.iter().chain(b)) {
                let value = attribute.value.as_ref().and_then(|v| hint_value(v.value.as_ref()?));
                let Some(value) = value else { continue };
                if !asked.insert(format!("{}{value:?}", attribute.key)) {
                    continue;
                }
                for scope in [AttributeScope::Span, AttributeScope::Resource, AttributeScope::Any] {
                    let found = scan(&reader, equals(scope, &attribute.key, value.clone())).await;
                    for (id, of_span, of_resource) in &all {
                        let (span, resource) =
                            (has(of_span, &attribute.key, &value), has(of_resource, &attribute.key, &value));
                        let wanted = match scope {
                            AttributeScope::Span => span,
                            AttributeScope::Resource => resource,
                            AttributeScope::Any => span || resource,
                        };
                        assert!(!wanted || found.contains(id), "{scope:?} {} {value:?}", attribute.key);
                    }
                }
            }
        });
    }
}
