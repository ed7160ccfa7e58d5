#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::{Request, Response, Status};

use super::generate::Generator;
use crate::app::Entrance;
use crate::runtime::{Clock, SystemClock};

const NOW: u64 = 1_800_000_000_000_000_000;
const SECOND: u64 = 1_000_000_000;

/// The traces of a request: each trace's spans with the name of their service.
fn traces(request: &ExportTraceServiceRequest) -> BTreeMap<Vec<u8>, Vec<(String, Span)>> {
    let mut traces: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for group in &request.resource_spans {
        let attributes = &group.resource.as_ref().unwrap().attributes;
        let service = text(attributes, "service.name").unwrap();
        for span in group.scope_spans.iter().flat_map(|scope| &scope.spans) {
            traces.entry(span.trace_id.clone()).or_default().push((service.clone(), span.clone()));
        }
    }
    traces
}

fn text(attributes: &[opentelemetry_proto::tonic::common::v1::KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(value) => Some(value.clone()),
        _ => None,
    }
}

fn many(seed: u64, count: u64) -> BTreeMap<Vec<u8>, Vec<(String, Span)>> {
    let ends: Vec<u64> = (0..count).map(|i| NOW + i * SECOND).collect();
    traces(&Generator::new(seed).request(&ends))
}

fn root(spans: &[(String, Span)]) -> &Span {
    let mut roots = spans.iter().filter(|(_, span)| span.parent_span_id.is_empty());
    let root = &roots.next().unwrap().1;
    assert!(roots.next().is_none(), "one root");
    root
}

fn is_error(span: &Span) -> bool {
    span.status.as_ref().is_some_and(|status| status.code == i32::from(StatusCode::Error))
}

#[test]
fn the_same_seed_gives_the_same_traffic_and_another_seed_another() {
    assert_eq!(Generator::new(7).request(&[NOW, NOW + 1]), Generator::new(7).request(&[NOW, NOW + 1]));
    let ids: HashSet<_> = many(1, 500).into_keys().collect();
    assert!(many(2, 500).keys().all(|id| !ids.contains(id)));
}

#[test]
fn every_trace_is_one_tree_whose_spans_nest_in_time() {
    for (id, spans) in many(3, 2_000) {
        assert_eq!(id.len(), 16);
        root(&spans);
        let by_id: HashMap<_, _> = spans.iter().map(|(_, span)| (span.span_id.clone(), span)).collect();
        assert_eq!(by_id.len(), spans.len(), "span ids are unique");
        for (_, span) in &spans {
            assert_eq!(span.span_id.len(), 8);
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
            for event in &span.events {
                let inside = span.start_time_unix_nano..=span.end_time_unix_nano;
                assert!(inside.contains(&event.time_unix_nano));
            }
            if !span.parent_span_id.is_empty() {
                let parent = by_id[&span.parent_span_id];
                assert!(parent.start_time_unix_nano <= span.start_time_unix_nano);
                assert!(span.end_time_unix_nano <= parent.end_time_unix_nano);
            }
        }
    }
}

#[test]
fn roots_end_when_asked() {
    let ends: Vec<u64> = (0..50).map(|i| NOW + i * SECOND).collect();
    let traces = traces(&Generator::new(4).request(&ends));
    let found: BTreeSet<u64> = traces.values().map(|spans| root(spans).end_time_unix_nano).collect();
    assert_eq!(found, ends.into_iter().collect());
}

#[test]
fn about_two_in_a_hundred_fail_and_two_are_slow() {
    let traces = many(5, 10_000);
    let failed = traces.values().filter(|spans| is_error(root(spans))).count();
    let slow = traces.values().filter(|spans| {
        let root = root(spans);
        root.end_time_unix_nano - root.start_time_unix_nano > SECOND / 2
    });
    let slow = slow.count();
    assert!((130..280).contains(&failed), "{failed} failed");
    assert!((130..280).contains(&slow), "{slow} slow");
}

#[test]
fn a_failed_trace_tells_why() {
    for spans in many(6, 3_000).values().filter(|spans| is_error(root(spans))) {
        let exception =
            spans.iter().flat_map(|(_, span)| &span.events).find(|event| event.name == "exception");
        let stack = text(&exception.unwrap().attributes, "exception.stacktrace").unwrap();
        assert!(stack.lines().count() > 2, "{stack}");
    }
}

#[test]
fn the_whole_shop_takes_part() {
    let traces = many(8, 2_000);
    let spans: Vec<_> = traces.values().flatten().collect();
    let services: BTreeSet<_> = spans.iter().map(|(service, _)| service.as_str()).collect();
    assert_eq!(services, BTreeSet::from(["cart", "checkout", "frontend", "inventory", "payment", "search"]));
    let routes: HashSet<_> =
        spans.iter().filter_map(|(_, span)| text(&span.attributes, "http.route")).collect();
    assert!(["/login", "/upload", "/search", "/checkout"].iter().all(|route| routes.contains(*route)));
    let systems: HashSet<_> =
        spans.iter().filter_map(|(_, span)| text(&span.attributes, "db.system.name")).collect();
    assert!(systems.contains("postgresql") && systems.contains("redis"));
}

#[test]
fn the_queues_consumer_links_to_the_producers() {
    let traces = many(9, 2_000);
    let producers: HashSet<_> = traces
        .values()
        .flatten()
        .filter(|(_, span)| span.kind == i32::from(SpanKind::Producer))
        .map(|(_, span)| (span.trace_id.clone(), span.span_id.clone()))
        .collect();
    let consumers = traces.values().flatten().filter(|(_, span)| span.kind == i32::from(SpanKind::Consumer));
    let links: Vec<_> = consumers.flat_map(|(_, span)| &span.links).collect();
    assert!(!links.is_empty());
    for link in links {
        assert!(producers.contains(&(link.trace_id.clone(), link.span_id.clone())));
    }
}

/// A server that refuses the first request as overloaded and hands over the later ones.
struct Refusing {
    refusals: std::sync::atomic::AtomicU32,
    taken: mpsc::UnboundedSender<ExportTraceServiceRequest>,
}

#[tonic::async_trait]
impl TraceService for Refusing {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        if self.refusals.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 {
            return Err(Status::unavailable("come back later"));
        }
        let _ = self.taken.send(request.into_inner());
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

#[tokio::test]
async fn the_demo_tries_again_what_was_refused_and_stops_when_told() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let (taken, mut requests) = mpsc::unbounded_channel();
    let service = TraceServiceServer::new(Refusing { refusals: 0.into(), taken })
        .accept_compressed(CompressionEncoding::Gzip);
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming));

    let stop = CancellationToken::new();
    let clock = Arc::new(SystemClock::new());
    let demo = tokio::spawn(super::send(Entrance { endpoint, token: None }, stop.clone(), clock.clone()));
    let first = tokio::time::timeout(Duration::from_secs(20), requests.recv()).await.unwrap().unwrap();
    let second = tokio::time::timeout(Duration::from_secs(20), requests.recv()).await.unwrap().unwrap();
    assert!(traces(&first).len() >= 60, "the first request reaches back");
    assert!(!traces(&second).is_empty());
    let newest = traces(&second).values().map(|spans| root(spans).end_time_unix_nano).max().unwrap();
    assert!(clock.now_unix_nano() - newest < 10 * SECOND, "traces are fresh");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(5), demo).await.unwrap().unwrap();
}
