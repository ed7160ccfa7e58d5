//! OTLP → wire → writer → Parquet → reader → OTLP is equal.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use arrow_array::Array;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::sample::Threshold;
use crate::store::tests::fixtures::*;

/// Doubles that compare by their bits, NaN and −0 too.
fn double() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i32>().prop_map(f64::from),
        (any::<i32>(), -30i32..30).prop_map(|(m, e)| f64::from(m) * 10f64.powi(e)),
        Just(f64::NAN),
        Just(f64::INFINITY),
        Just(-0.0),
        Just(f64::MIN_POSITIVE / 8.0),
    ]
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => "[a-d]{0,3}",
        2 => Just("http.route".to_owned()),
        1 => Just("service.name".to_owned()),
        1 => any::<String>(),
        1 => Just("\u{0}\"\\\n\u{7f}ü€😀".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = AnyValue> {
    let leaf = prop_oneof![
        Just(None),
        word().prop_map(|s| Some(Value::StringValue(s))),
        any::<bool>().prop_map(|b| Some(Value::BoolValue(b))),
        any::<i64>().prop_map(|i| Some(Value::IntValue(i))),
        double().prop_map(|d| Some(Value::DoubleValue(d))),
        vec(any::<u8>(), 0..20).prop_map(|b| Some(Value::BytesValue(b))),
    ];
    let leaf = leaf.prop_map(|value| AnyValue { value });
    leaf.prop_recursive(4, 24, 4, |inner| {
        let list = vec(inner.clone(), 0..4).prop_map(|values| Value::ArrayValue(ArrayValue { values }));
        let entry = (word(), proptest::option::of(inner));
        let entry = entry.prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() });
        let map = vec(entry, 0..4).prop_map(|values| Value::KvlistValue(KeyValueList { values }));
        prop_oneof![list, map].prop_map(|value| AnyValue { value: Some(value) })
    })
}

fn attributes() -> impl Strategy<Value = Vec<KeyValue>> {
    let entry = (word(), proptest::option::weighted(0.95, value()));
    let entry = entry.prop_map(|(key, value)| KeyValue { key, value, ..KeyValue::default() }).boxed();
    prop_oneof![8 => vec(entry.clone(), 0..6), 1 => vec(entry, 60..80)]
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![any::<u64>(), NOW - DAY..NOW + DAY, Just(0), Just(u64::MAX), Just(i64::MAX as u64 + 1)]
}

fn event() -> impl Strategy<Value = Event> {
    (time(), word(), attributes(), any::<u32>()).prop_map(
        |(time_unix_nano, name, attributes, dropped_attributes_count)| Event {
            time_unix_nano,
            name,
            attributes,
            dropped_attributes_count,
        },
    )
}

fn link() -> impl Strategy<Value = Link> {
    let ids = (vec(any::<u8>(), 0..40), vec(any::<u8>(), 0..9));
    (ids, word(), attributes(), any::<u32>(), any::<u32>()).prop_map(
        |((trace_id, span_id), trace_state, attributes, dropped_attributes_count, flags)| Link {
            trace_id,
            span_id,
            trace_state,
            attributes,
            dropped_attributes_count,
            flags,
        },
    )
}

fn any_span() -> impl Strategy<Value = Span> {
    let ids = (
        any::<[u8; 2]>(),
        any::<[u8; 8]>(),
        prop_oneof![Just(vec![]), vec(any::<u8>(), 8), Just(vec![0; 8])],
    );
    let scalars = (word(), prop_oneof![0..6i32, any::<i32>()], any::<u32>(), word());
    let counts = (any::<u32>(), any::<u32>(), any::<u32>());
    let status = proptest::option::of((word(), prop_oneof![0..3i32, any::<i32>()]));
    let nested = (attributes(), vec(event(), 0..3), vec(link(), 0..3));
    (ids, scalars, (time(), time()), counts, status, nested).prop_map(
        |(ids, scalars, times, counts, status, nested)| Span {
            trace_id: [vec![7; 14], ids.0.to_vec()].concat(),
            span_id: ids.1.to_vec(),
            trace_state: scalars.3,
            parent_span_id: ids.2,
            flags: scalars.2,
            name: scalars.0,
            kind: scalars.1,
            start_time_unix_nano: times.0,
            end_time_unix_nano: times.1,
            attributes: nested.0,
            dropped_attributes_count: counts.0,
            events: nested.1,
            dropped_events_count: counts.1,
            links: nested.2,
            dropped_links_count: counts.2,
            status: status.map(|(message, code)| Status { message, code }),
        },
    )
}

fn any_request() -> impl Strategy<Value = ExportTraceServiceRequest> {
    let entities = proptest::option::weighted(0.2, word());
    let resource =
        (attributes(), any::<u32>(), entities).prop_map(|(attributes, dropped, entity)| Resource {
            attributes,
            dropped_attributes_count: dropped,
            entity_refs: entity
                .into_iter()
                .map(|r#type| EntityRef { r#type, ..EntityRef::default() })
                .collect(),
        });
    let scope =
        (word(), word(), attributes(), any::<u32>()).prop_map(|(name, version, attributes, dropped)| {
            InstrumentationScope { name, version, attributes, dropped_attributes_count: dropped }
        });
    let scope_spans = (proptest::option::of(scope), vec(any_span(), 0..4), word());
    let scope_spans =
        scope_spans.prop_map(|(scope, spans, schema_url)| ScopeSpans { scope, spans, schema_url });
    let resource_spans = (proptest::option::of(resource), vec(scope_spans, 0..3), word());
    let resource_spans = resource_spans.prop_map(|(resource, scope_spans, schema_url)| ResourceSpans {
        resource,
        scope_spans,
        schema_url,
    });
    vec(resource_spans, 0..3).prop_map(|resource_spans| ExportTraceServiceRequest { resource_spans })
}

/// What was sent and what came back, span by span. As bytes, so that NaN equals itself.
type Spans = BTreeMap<(Vec<u8>, Vec<u8>, i32), (Vec<u8>, Vec<u8>, String, Vec<u8>, String)>;

fn sent(request: &ExportTraceServiceRequest) -> Spans {
    let mut spans = Spans::new();
    for resource in &request.resource_spans {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let value = (
                    span.encode_to_vec(),
                    resource.resource.clone().unwrap_or_default().encode_to_vec(),
                    resource.schema_url.clone(),
                    scope.scope.clone().unwrap_or_default().encode_to_vec(),
                    scope.schema_url.clone(),
                );
                spans.insert((span.trace_id.clone(), span.span_id.clone(), span.kind), value);
            }
        }
    }
    spans
}

fn found(spans: &[FullSpan]) -> Spans {
    let one = |s: &FullSpan| {
        let value = (
            s.span.encode_to_vec(),
            s.resource.resource.encode_to_vec(),
            s.resource.schema_url.clone(),
            s.scope.scope.encode_to_vec(),
            s.scope.schema_url.clone(),
        );
        ((s.span.trace_id.clone(), s.span.span_id.clone(), s.span.kind), value)
    };
    spans.iter().map(one).collect()
}

fn unique(request: &mut ExportTraceServiceRequest) {
    let scopes = request.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans);
    for (at, span) in scopes.flat_map(|s| &mut s.spans).enumerate() {
        span.span_id[..4].copy_from_slice(&(at as u32 + 1).to_be_bytes());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_comes_back_is_what_was_sent(mut request in any_request()) {
        unique(&mut request);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(async {
            let fixture = Fixture::new();
            let records = MapRecords::of(std::slice::from_ref(&request));
            let batch = records.batch(1, &verdict("all", "default"));
            fixture.store("a").write(&batch, &records).await.unwrap();
            let reader = fixture.reader();
            let everything =
                ScanRequest { start_unix_nano: 0..u64::MAX, projection: Projection::All, hints: vec![] };
            let rows = reader.scan(&Tenant::default(), everything).await.unwrap();
            let rows: Vec<SpanRows> = rows.try_collect().await.unwrap();
            let spans: Vec<_> = rows.iter().flat_map(|r| r.full_spans().unwrap()).collect();
            assert_eq!(found(&spans), sent(&request));
            // And the log tells the same as the table.
            let record = &records.0[&crate::log::Position(0)];
            let verdict = verdict("all", "default");
            let from_log = FullSpan::from_record(record, |_| Wanted::Kept(&verdict)).unwrap();
            assert_eq!(found(&from_log), found(&spans));
            for trace in &batch.traces {
                let by_id = reader.by_id(&Tenant::default(), trace.trace_id).await.unwrap();
                let of_trace = |s: &&FullSpan| s.span.trace_id == trace.trace_id.0;
                assert_eq!(by_id.len(), spans.iter().filter(of_trace).count());
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_threshold_of_the_verdict_is_on_the_spans_from_table_and_log() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&[traces(0, 1, NOW)]);
    let mut verdict = (*verdict("some", "default")).clone();
    verdict.threshold = Threshold::from_probability(0.25, 4);
    let verdict = Arc::new(verdict);
    fixture.store("a").write(&records.batch(1, &verdict), &records).await.unwrap();
    let stored = fixture.reader().by_id(&Tenant::default(), trace_id(0)).await.unwrap();
    let record = &records.0[&crate::log::Position(0)];
    let logged = FullSpan::from_record(record, |_| Wanted::Kept(&verdict)).unwrap();
    assert_eq!(stored, logged);
    assert_eq!((stored[0].adjusted_count, stored[0].span.trace_state.as_str()), (4.0, "ot=th:c"));
    assert_eq!(FullSpan::from_record(record, |_| Wanted::Pending).unwrap()[0].kept, None);
    assert_eq!(FullSpan::from_record(record, |_| Wanted::No).unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_ranges_are_kept_and_newest_files_come_first() {
    let fixture = Fixture::new();
    let store = fixture.store("a");
    for (number, day) in [2, 0, 1].into_iter().enumerate() {
        let records = MapRecords::of(&[traces(day * 100, 10, NOW - day * DAY)]);
        store.write(&records.batch(number as u64 + 1, &verdict("all", "default")), &records).await.unwrap();
    }
    let reader = fixture.reader();
    let scan = async |start_unix_nano| {
        let projection = Projection::Columns(vec![]);
        let request = ScanRequest { start_unix_nano, projection, hints: vec![] };
        let rows = reader.scan(&Tenant::default(), request).await.unwrap();
        let rows: Vec<SpanRows> = rows.try_collect().await.unwrap();
        let starts = |r: &SpanRows| (0..r.len()).map(|row| r.start_unix_nano(row)).collect::<Vec<_>>();
        rows.iter().map(starts).collect::<Vec<_>>()
    };
    let all = scan(0..u64::MAX).await;
    let newest: Vec<_> = all.iter().map(|starts| (NOW + DAY / 2 - starts[0]) / DAY).collect();
    assert_eq!(newest, [0, 1, 2]);
    assert_eq!(scan(NOW - DAY - 1_000..NOW - 1_000).await.iter().map(Vec::len).sum::<usize>(), 40);
    assert_eq!(scan(NOW + DAY..u64::MAX).await.len(), 0);
}

const STATUS_CODE: &str = "http.response.status_code";

/// Many spans, unlike each other in every way that the writer tells apart: services, sequences of attributes, repeated keys,
/// nulls, events, names that hardly come twice.
fn motley(traces: u64) -> Vec<ExportTraceServiceRequest> {
    let services = ["front", "cart", "", "pay"];
    let any = |value| AnyValue { value };
    let span_of = |trace: u64, number: u64| {
        let mut span = span(trace, number, NOW + trace);
        let odd = trace * 7 + number * 3;
        span.name = if odd.is_multiple_of(3) { format!("job {trace}-{number}") } else { "job".into() };
        span.attributes
            .extend((0..odd % 5).map(|n| text(&format!("key.{}", (odd + n) % 40), &format!("{odd}"))));
        if odd.is_multiple_of(11) {
            span.attributes.push(text("http.route", "/twice"));
        }
        if !odd.is_multiple_of(7) {
            span.attributes.push(match odd % 23 {
                0 => text(STATUS_CODE, "200"),
                1 => attribute(STATUS_CODE, Value::DoubleValue(200.0)),
                2 => attribute(STATUS_CODE, Value::ArrayValue(ArrayValue::default())),
                _ => attribute(STATUS_CODE, Value::IntValue(200 + (odd % 3) as i64)),
            });
        }
        if odd.is_multiple_of(13) {
            span.attributes.push(KeyValue { key: "nothing".into(), value: None, ..KeyValue::default() });
            span.attributes
                .insert(1, KeyValue { key: "empty".into(), value: Some(any(None)), ..KeyValue::default() });
        }
        if odd.is_multiple_of(17) {
            span.attributes = (0..90)
                .map(|n| attribute(&format!("n{}", n % 80), Value::DoubleValue(n as f64 / 7.0)))
                .collect();
        }
        if odd.is_multiple_of(19) {
            span.attributes.clear();
        }
        if odd.is_multiple_of(5) {
            let event = Event { time_unix_nano: NOW + odd, name: "retry".into(), ..Event::default() };
            let mut events = vec![event; (odd % 3) as usize + 1];
            events[0].attributes = span.attributes.clone();
            span.events = events;
            span.links =
                vec![Link { trace_id: vec![3; 16], attributes: vec![text("why", "")], ..Link::default() }];
        }
        span
    };
    let request = |of: u64| {
        let spans = (of * 64..(of + 1) * 64).flat_map(|trace| (0..6).map(move |n| (trace, n)));
        let resource_spans = services.iter().enumerate().map(|(at, service)| {
            let mine = spans.clone().filter(|(_, number)| number % 4 == at as u64);
            let mut all = request(service, mine.map(|(t, n)| span_of(t, n)).collect());
            if service.is_empty() {
                all.resource_spans[0].resource = None;
            }
            all.resource_spans.remove(0)
        });
        ExportTraceServiceRequest { resource_spans: resource_spans.collect() }
    };
    (0..traces / 64).map(request).collect()
}

async fn read_all(fixture: &Fixture) -> Spans {
    let everything = ScanRequest { start_unix_nano: 0..u64::MAX, projection: Projection::All, hints: vec![] };
    let rows = fixture.reader().scan(&Tenant::default(), everything).await.unwrap();
    let rows: Vec<SpanRows> = rows.try_collect().await.unwrap();
    found(&rows.iter().flat_map(|r| r.full_spans().unwrap()).collect::<Vec<_>>())
}

fn sent_in(requests: &[ExportTraceServiceRequest]) -> Spans {
    requests.iter().flat_map(sent).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn many_pages_of_motley_spans_come_back() {
    let fixture = Fixture::new();
    let requests = motley(2_048);
    let records = MapRecords::of(&requests);
    let batch = records.batch(1, &verdict("all", "default"));
    let written = fixture.store("a").write(&batch, &records).await.unwrap();
    assert_eq!((written.spans, written.traces, written.files), (2_048 * 6, 2_048, 2));
    assert!(read_all(&fixture).await == sent_in(&requests), "spans differ");
    // A look-up reads few pages of each column.
    for trace in [0, 777, 2_047] {
        let spans = fixture.reader().by_id(&Tenant::default(), trace_id(trace)).await.unwrap();
        let expected = sent_in(&requests).into_iter().filter(|(key, _)| key.0 == trace_id(trace).0).collect();
        assert!(found(&spans) == expected, "trace {trace} differs");
    }
    let named = |name: &str| ScanRequest {
        start_unix_nano: 0..u64::MAX,
        projection: Projection::Columns(vec![]),
        hints: vec![ScanHint::NameEquals(name.to_owned())],
    };
    let rows = fixture.reader().scan(&Tenant::default(), named("job 900-3")).await.unwrap();
    let rows: Vec<SpanRows> = rows.try_collect().await.unwrap();
    assert_eq!(rows.iter().map(SpanRows::len).sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods)] // Looks at the file itself.
async fn columns_of_attributes_have_what_the_maps_have() {
    let fixture = Fixture::new();
    let records = MapRecords::of(&motley(1_024));
    fixture.store("a").write(&records.batch(1, &verdict("all", "default")), &records).await.unwrap();
    let data = fixture.folder.path().join("default/spans/retention=default/date=2026-11-21");
    let file = std::fs::read_dir(data).unwrap().next().unwrap().unwrap().path();
    let bytes = bytes::Bytes::from(std::fs::read(file).unwrap());
    let mut found = (0, 0);
    for rows in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
        let rows = rows.unwrap();
        let column = |name: &str| rows.column_by_name(name).unwrap();
        let (maps, types) = (column("attributes").as_map(), column("attributes_types").as_string::<i32>());
        let routes = column("http_route").as_string::<i32>();
        let codes = column("http_response_status_code").as_primitive::<Int64Type>();
        for row in 0..rows.num_rows() {
            let map = maps.value(row);
            let (keys, values) = (map.column(0).as_string::<i32>(), map.column(1).as_string::<i32>());
            let of = |key: &str| {
                let at = keys.iter().position(|found| found == Some(key))?;
                Some((types.value(row).as_bytes()[at], values.value(at)))
            };
            let route = of("http.route").filter(|(kind, _)| *kind == b's').map(|(_, route)| route);
            assert_eq!(routes.is_valid(row).then(|| routes.value(row)), route);
            let code = of(STATUS_CODE).filter(|(kind, _)| b"id".contains(kind));
            let code = code.map(|(_, code)| code.parse::<i64>().unwrap());
            assert_eq!(codes.is_valid(row).then(|| codes.value(row)), code);
            found = (found.0 + u32::from(route.is_some()), found.1 + u32::from(code.is_some()));
        }
    }
    assert!(found.0 > 5_000 && found.1 > 4_000, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods)] // Looks at the file itself.
async fn keys_beyond_measure_begin_another_row_group() {
    let fixture = Fixture::new();
    let key = |n: u64| format!("{n:06}{}", "k".repeat(300));
    let spans = (0..6_000).map(|n| Span { attributes: vec![text(&key(n), "v")], ..span(n, 0, NOW) });
    let requests = [request("shop", spans.collect())];
    let records = MapRecords::of(&requests);
    let batch = records.batch(1, &verdict("all", "default"));
    fixture.store("a").write(&batch, &records).await.unwrap();
    assert!(read_all(&fixture).await == sent_in(&requests), "spans differ");
    let data = fixture.folder.path().join("default/spans/retention=default/date=2026-11-21");
    let file = std::fs::read_dir(data).unwrap().next().unwrap().unwrap().path();
    let bytes = bytes::Bytes::from(std::fs::read(file).unwrap());
    let metadata = parquet::file::metadata::ParquetMetaDataReader::new().parse_and_finish(&bytes).unwrap();
    assert_eq!(metadata.num_row_groups(), 2);
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::disallowed_methods)] // Looks at the file itself.
async fn a_batch_gives_the_same_bytes_each_time() {
    let requests = motley(256);
    let records = MapRecords::of(&requests);
    let batch = records.batch(1, &verdict("all", "default"));
    let mut files = Vec::new();
    for _ in 0..2 {
        let fixture = Fixture::new();
        fixture.store("a").write(&batch, &records).await.unwrap();
        let data = ["spans", "traces"].map(|table| {
            let folder = format!("default/{table}/retention=default/date=2026-11-21");
            let file =
                std::fs::read_dir(fixture.folder.path().join(folder)).unwrap().next().unwrap().unwrap();
            (file.file_name(), std::fs::read(file.path()).unwrap())
        });
        files.push(data);
    }
    assert!(files[0] == files[1], "bytes differ");
}
