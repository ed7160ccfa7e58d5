//! Traces to send, and the client that sends them.

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
pub use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Status};
use std::time::{SystemTime, UNIX_EPOCH};

pub type Client = TraceServiceClient<tonic::transport::Channel>;

pub async fn connect(endpoint: &str) -> Result<Client, tonic::transport::Error> {
    TraceServiceClient::connect(endpoint.to_string()).await
}

pub async fn send(
    client: &mut Client,
    spans: Vec<Span>,
    service: &str,
) -> Result<ExportTraceServiceResponse, tonic::Status> {
    client.export(request(spans, service)).await.map(tonic::Response::into_inner)
}

pub fn request(spans: Vec<Span>, service: &str) -> ExportTraceServiceRequest {
    ExportTraceServiceRequest {
        resource_spans: vec![ResourceSpans {
            resource: Some(Resource {
                attributes: vec![text("service.name", service)],
                ..Default::default()
            }),
            scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
            ..Default::default()
        }],
    }
}

pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..Default::default() }
}

pub fn now_nano() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}

/// A 16-byte id from a number. The low half, which probability sampling goes by, is spread evenly over its whole range
/// (a Weyl sequence): any run of numbers has its share of ids above any threshold, not just many of them on average.
pub fn trace_id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&mix(number).to_be_bytes());
    id[8..].copy_from_slice(&number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    id
}

/// splitmix64: every number gets one of its own, evenly spread.
pub fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The status of a span that failed.
pub fn failed() -> Option<Status> {
    Some(Status { message: "failed".into(), code: 2 })
}

/// What a generated trace is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    Plain,
    Error,
    Slow,
    Login,
}

/// A trace of `spans` spans, a root with children. The property that decides is on the root, but for an error: on a
/// child where there is one.
pub fn trace(number: u64, shape: Shape, spans: usize) -> Vec<Span> {
    let millis = 1_000_000;
    let duration = if shape == Shape::Slow { 700 * millis } else { 20 * millis };
    let start = now_nano() - duration;
    let route = if shape == Shape::Login { "/login" } else { "/items/{id}" };
    (0..spans)
        .map(|index| Span {
            trace_id: trace_id(number).to_vec(),
            span_id: mix(number << 8 | index as u64).to_be_bytes().to_vec(),
            parent_span_id: if index == 0 { vec![] } else { mix(number << 8).to_be_bytes().to_vec() },
            name: if index == 0 { format!("GET {route}") } else { format!("step {index}") },
            kind: if index == 0 { 2 } else { 1 },
            start_time_unix_nano: start + index as u64,
            end_time_unix_nano: start + if index == 0 { duration } else { duration / 2 },
            attributes: if index == 0 { vec![text("http.route", route)] } else { vec![] },
            status: (shape == Shape::Error && index == spans.min(2) - 1).then(failed).flatten(),
            ..Default::default()
        })
        .collect()
}
