//! Look-up and search over a real table and a log.

use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue};

use super::fixtures::*;
use crate::query::{EngineConfig, Hit, SearchRequest, SearchResponse};
use crate::runtime::Tenant;
use crate::sample::LiveState;
use crate::traceql::parse;

async fn search_with(world: &World, query: &str, edit: impl FnOnce(&mut SearchRequest)) -> SearchResponse {
    let mut request = SearchRequest::new(parse(query).unwrap());
    edit(&mut request);
    world.engine.search(&Tenant::default(), request).await.unwrap()
}

/// The numbers of the traces found, in order.
async fn search(world: &World, query: &str) -> Vec<u8> {
    numbers(&search_with(world, query, |_| {}).await)
}

fn numbers(response: &SearchResponse) -> Vec<u8> {
    response.hits.iter().map(|hit: &Hit| hit.summary.trace_id.0[0]).collect()
}

/// Trace n starts n seconds after the first; every third fails, every second is slow.
fn plain(n: u8) -> opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest {
    let start = u64::from(n) * SECOND;
    let root = span(n, 1, 0, start, if n.is_multiple_of(2) { 800 * MS } else { 80 * MS });
    let child = with(span(n, 2, 1, start + MS, 10 * MS), &[text("user.id", &format!("u{n}"))]);
    let child = if n.is_multiple_of(3) { failed(child) } else { child };
    request(if n < 5 { "cart" } else { "shop" }, vec![root, child])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_is_found_by_id_wherever_it_is() {
    let mut world = World::new();
    let id = trace_id(7);
    let find = async |world: &World| world.engine.trace(&Tenant::default(), id).await.unwrap();
    assert!(find(&world).await.is_none());

    world.log(&plain(7), LiveState::Pending);
    let pending = find(&world).await.unwrap();
    assert_eq!(pending.spans.len(), 2);
    assert!(pending.spans[0].kept.is_none());

    // In both at once: each span once.
    world.store().await;
    assert_eq!(find(&world).await.unwrap().spans.len(), 2);

    world.forget();
    let stored = find(&world).await.unwrap();
    assert_eq!(&*stored.spans[0].kept.as_ref().unwrap().rule, "errors");
    let otlp = stored.into_otlp();
    assert_eq!(otlp.resource_spans, plain(7).resource_spans);
}

#[tokio::test(flavor = "multi_thread")]
async fn late_spans_in_the_log_join_those_in_the_table() {
    let mut world = World::new();
    world.stored(&[request("cart", vec![span(1, 1, 0, 0, SECOND)])]).await;
    let late = failed(span(1, 2, 1, 100 * MS, 10 * MS));
    world.log(&request("stock", vec![late]), LiveState::Kept(verdict()));
    let found =
        search_with(&world, "{ status = error } && { resource.service.name = \"cart\" }", |_| {}).await;
    assert_eq!(numbers(&found), [1]);
    assert_eq!(found.hits[0].summary.spans(), 2);
    assert_eq!(found.hits[0].summary.services.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_the_same_in_the_log_and_in_the_table() {
    let mut world = World::new();
    let all: Vec<_> = (1..=9).map(plain).collect();
    all.iter().for_each(|r| world.log(r, LiveState::Pending));
    let questions: [(&str, &[u8]); 12] = [
        ("{ }", &[9, 8, 7, 6, 5, 4, 3, 2, 1]),
        ("{ status = error }", &[9, 6, 3]),
        ("{ traceDuration > 500ms }", &[8, 6, 4, 2]),
        ("{ duration > 500ms && resource.service.name = \"cart\" }", &[4, 2]),
        ("{ status = error && traceDuration > 500ms }", &[6]),
        ("{ span.user.id = \"u4\" }", &[4]),
        ("{ span.user.id = \"u4\" || span.user.id = \"u5\" }", &[5, 4]),
        ("{ name = \"span 1\" && resource.service.name = \"shop\" } >> { status = error }", &[9, 6]),
        ("{ status = error } | count() > 1", &[]),
        ("{ rootServiceName = \"cart\" && kind = server }", &[4, 3, 2, 1]),
        ("{ .user.id =~ \"u[12]\" }", &[2, 1]),
        ("{ status = unset } !>> { status = error }", &[]),
    ];
    for (query, expected) in questions {
        assert_eq!(search(&world, query).await, expected, "{query} over the log");
    }
    world.store().await;
    for (query, expected) in questions {
        assert_eq!(search(&world, query).await, expected, "{query} over both");
    }
    world.forget();
    for (query, expected) in questions {
        assert_eq!(search(&world, query).await, expected, "{query} over the table");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn elements_of_an_array_are_found_in_the_table() {
    let mut world = World::new();
    let tagged = with(span(1, 1, 0, 0, SECOND), &[texts("tags", &["a", "b"])]);
    world.stored(&[request("cart", vec![tagged])]).await;
    assert_eq!(search(&world, "{ span.tags = \"b\" }").await, [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_of_another_type_than_its_column_is_found_wherever_it_is() {
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let mut world = World::new();
    let large = 1i64 << 60;
    let codes = |values: &[i64]| {
        let one = |value: &i64| AnyValue { value: Some(Value::IntValue(*value)) };
        let values = values.iter().map(one).collect();
        attribute("http.response.status_code", Value::ArrayValue(ArrayValue { values }))
    };
    let of_span = [
        text("http.route", "a"),
        texts("http.route", &["b", "a"]),
        codes(&[200, 500]),
        attribute("http.response.status_code", Value::DoubleValue(large as f64)),
        attribute("http.response.status_code", Value::IntValue(500)),
    ];
    let mut all: Vec<_> = (1..)
        .zip(of_span)
        .map(|(n, a)| request("cart", vec![with(span(n, 1, 0, u64::from(n) * SECOND, SECOND), &[a])]))
        .collect();
    let mut two_names = request("", vec![span(6, 1, 0, 6 * SECOND, SECOND)]);
    two_names.resource_spans[0].resource.as_mut().unwrap().attributes =
        vec![texts("service.name", &["cart", "x"])];
    all.push(two_names);
    all.iter().for_each(|r| world.log(r, LiveState::Pending));
    let large = format!("{{ span.http.response.status_code = {large} }}");
    let questions: [(&str, &[u8]); 6] = [
        ("{ span.http.route = \"a\" }", &[2, 1]),
        ("{ span.http.route = \"b\" && duration > 1ms }", &[2]),
        ("{ span.http.response.status_code = 500 }", &[5, 3]),
        (&large, &[4]),
        ("{ resource.service.name = \"x\" }", &[6]),
        ("{ resource.service.name = \"cart\" && duration > 1ms && kind = server }", &[6, 5, 4, 3, 2, 1]),
    ];
    for (query, expected) in questions {
        assert_eq!(search(&world, query).await, expected, "{query} over the log");
    }
    world.store().await;
    world.forget();
    for (query, expected) in questions {
        assert_eq!(search(&world, query).await, expected, "{query} over the table");
    }
    // Another file, with values of the columns' types alone.
    world.stored(&[request("shop", vec![with(span(7, 1, 0, 0, SECOND), &[text("http.route", "c")])])]).await;
    assert!(world.compact().await >= 4);
    for (query, expected) in questions {
        assert_eq!(search(&world, query).await, expected, "{query} over the compacted table");
    }
    assert_eq!(search(&world, "{ span.http.route = \"c\" }").await, [7]);
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_found_whatever_their_type() {
    let mut world = World::new();
    use opentelemetry_proto::tonic::common::v1::any_value::Value;
    let code = |value| attribute("http.response.status_code", value);
    let spans = [Value::IntValue(500), Value::DoubleValue(500.0), Value::StringValue("500".into())];
    for (n, value) in (1..).zip(spans) {
        let span = with(span(n, 1, 0, u64::from(n) * SECOND, SECOND), &[code(value)]);
        world.stored(&[request("cart", vec![span])]).await;
    }
    assert_eq!(search(&world, "{ span.http.response.status_code = 500 }").await, [2, 1]);
    assert_eq!(search(&world, "{ span.http.response.status_code >= 500 }").await, [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_in_two_batches_is_as_long_as_both() {
    let mut world = World::new();
    world.stored(&[request("cart", vec![span(1, 1, 0, 0, 300 * MS)])]).await;
    world.stored(&[request("cart", vec![span(1, 2, 1, 400 * MS, 300 * MS)])]).await;
    assert_eq!(search(&world, "{ traceDuration > 600ms }").await, [1]);
    assert_eq!(search(&world, "{ traceDuration > 800ms }").await, [] as [u8; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_come_first_whatever_the_limit_and_the_chunks() {
    let config = EngineConfig { traces_a_chunk: 2, candidates_max: 3, ..EngineConfig::default() };
    let mut world = World::with_config(config);
    let all: Vec<_> = (1..=9).map(plain).collect();
    world.stored(&all[3..6]).await;
    world.stored(&all[..3]).await;
    all[6..].iter().for_each(|r| world.log(r, LiveState::Pending));
    for limit in 1..=10 {
        let found = search_with(&world, "{ }", |r| r.limit = limit).await;
        let newest: Vec<u8> = (1..=9).rev().take(limit).collect();
        assert_eq!(numbers(&found), newest);
        assert!(found.complete);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_takes_what_reaches_into_it() {
    let mut world = World::new();
    world.stored(&(1..=9).map(plain).collect::<Vec<_>>()).await;
    let first = NOW - 3_600 * SECOND;
    let found = search_with(&world, "{ }", |r| {
        // Trace 4 takes 800 ms: it began before, and ends within.
        r.start_unix_nano = first + 4 * SECOND + 500 * MS;
        r.end_unix_nano = first + 7 * SECOND;
    });
    assert_eq!(numbers(&found.await), [6, 5, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_memory_reads_fewer_traces_at_a_time() {
    let config = EngineConfig { bytes_max: 40_000, ..EngineConfig::default() };
    let mut world = World::with_config(config);
    world.stored(&(1..=9).map(plain).collect::<Vec<_>>()).await;
    assert_eq!(search(&world, "{ status = error }").await, [9, 6, 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn matched_spans_come_with_the_fields_of_the_query() {
    let world = World::new();
    world.log(&plain(3), LiveState::Pending);
    let found = search_with(&world, "{ span.user.id = \"u3\" && status = error }", |_| {}).await;
    let set = &found.hits[0].span_sets[0];
    assert_eq!(set.matched, 1);
    assert_eq!(set.spans[0].name, "span 2");
    let keys: Vec<&str> = set.spans[0].attributes.iter().map(|a| a.key.as_str()).collect();
    assert_eq!(keys, ["user.id", "status"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_without_its_root_says_so() {
    let world = World::new();
    world.log(&request("cart", vec![span(1, 2, 1, 0, SECOND)]), LiveState::Pending);
    let found = search_with(&world, "{ }", |_| {}).await;
    assert_eq!(found.hits[0].summary.root_name, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_do_not_see_each_other() {
    let mut world = World::new();
    world.log(&plain(1), LiveState::Pending);
    world.stored(&[plain(2)]).await;
    let other = Tenant::new("other").unwrap();
    let request = SearchRequest::new(parse("{ }").unwrap());
    assert!(world.engine.search(&other, request).await.unwrap().hits.is_empty());
    assert!(world.engine.trace(&other, trace_id(2)).await.unwrap().is_none());
}
