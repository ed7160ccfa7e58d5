//! One request over one of OTLP's three ways, and what came back of it, in one shape.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::Value;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

use crate::support::Daemon;
use crate::support::rpc::{Any, RpcStatus, TYPES};

/// OTLP's ways in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Grpc,
    Protobuf,
    Json,
}

pub const ALL: [Way; 3] = [Way::Grpc, Way::Protobuf, Way::Json];
pub const HTTP: [Way; 2] = [Way::Protobuf, Way::Json];
pub const BINARY: [Way; 2] = [Way::Grpc, Way::Protobuf];

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// What is sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub method: &'static str,
    pub path: &'static str,
    /// In place of the way's own.
    pub content_type: Option<&'static str>,
    /// `Content-Encoding`, or gRPC's own.
    pub encoding: Option<&'static str>,
    /// Further headers; over gRPC they are metadata.
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Sent {
    /// A body as it goes over the wire, compressed already if `encoding` says so.
    pub fn body(body: impl Into<Vec<u8>>) -> Self {
        let headers = Vec::new();
        Self { method: "POST", path: "", content_type: None, encoding: None, headers, body: body.into() }
    }
}

/// `google.rpc.Status`, from protobuf or JSON.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Failure {
    pub code: i32,
    pub message: String,
    /// The type names of its details, without `type.googleapis.com/google.rpc.`.
    pub details: Vec<String>,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Got {
    /// HTTP's status; over gRPC 200.
    pub http: u16,
    /// gRPC's status; over HTTP that of the body, 0 for success.
    pub code: i32,
    pub content_type: String,
    pub retry_after: Option<String>,
    pub allow: Option<String>,
    /// The body, or gRPC's details, where it is no success.
    pub failure: Option<Failure>,
    /// Rejected spans and message of a partial success; `None` where it is unset.
    pub partial: Option<(i64, String)>,
}

pub async fn send(daemon: &Daemon, way: Way, sent: &Sent) -> Got {
    let sending = async {
        match way {
            Way::Grpc => over_grpc(daemon, sent).await,
            Way::Protobuf | Way::Json => over_http(daemon, way, sent).await,
        }
    };
    tokio::time::timeout(Duration::from_secs(30), sending).await.expect("an answer")
}

async fn over_grpc(daemon: &Daemon, sent: &Sent) -> Got {
    let mut framed = vec![u8::from(sent.encoding.is_some())];
    framed.extend((sent.body.len() as u32).to_be_bytes());
    framed.extend(&sent.body);
    let path = if sent.path.is_empty() { EXPORT } else { sent.path };
    let mut request = http::Request::builder()
        .method(sent.method)
        .uri(format!("{}{path}", daemon.grpc))
        .header("content-type", sent.content_type.unwrap_or("application/grpc"))
        .header("te", "trailers");
    if let Some(encoding) = sent.encoding {
        request = request.header("grpc-encoding", encoding);
    }
    for (name, value) in &sent.headers {
        request = request.header(*name, value);
    }
    let request = request.body(tonic::body::Body::new(Full::new(Bytes::from(framed)))).unwrap();
    let mut channel = Channel::from_shared(daemon.grpc.clone()).unwrap().connect().await.unwrap();
    let (head, body) = channel.ready().await.unwrap().call(request).await.unwrap().into_parts();
    let collected = body.collect().await.unwrap();
    let mut headers = head.headers;
    headers.extend(collected.trailers().cloned().unwrap_or_default());
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let code = text("grpc-status").map_or(-1, |code| code.parse().unwrap());
    let mut got = Got {
        http: head.status.as_u16(),
        code,
        content_type: text("content-type").unwrap_or_default(),
        ..Got::default()
    };
    if code == 0 {
        got.partial = partial(&ExportTraceServiceResponse::decode(&collected.to_bytes()[5..]).unwrap());
    } else if let Some(details) = text("grpc-status-details-bin") {
        let failure = failure_of(&STANDARD_NO_PAD.decode(details).unwrap());
        assert_eq!(failure.code, code, "the details say what the status says");
        got.failure = Some(failure);
    }
    got
}

async fn over_http(daemon: &Daemon, way: Way, sent: &Sent) -> Got {
    let own = if way == Way::Json { "application/json" } else { "application/x-protobuf" };
    let path = if sent.path.is_empty() { "/v1/traces" } else { sent.path };
    let mut request = reqwest::Client::new()
        .request(sent.method.parse().unwrap(), format!("{}{path}", daemon.http))
        .header("content-type", sent.content_type.unwrap_or(own))
        .body(sent.body.clone());
    if let Some(encoding) = sent.encoding {
        request = request.header("content-encoding", encoding);
    }
    for (name, value) in &sent.headers {
        request = request.header(*name, value);
    }
    let response = request.send().await.unwrap();
    let text = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
    let mut got = Got {
        http: response.status().as_u16(),
        content_type: text("content-type").unwrap_or_default(),
        retry_after: text("retry-after"),
        allow: text("allow"),
        ..Got::default()
    };
    let body = response.bytes().await.unwrap();
    let is_json = got.content_type == "application/json";
    match (got.http, is_json) {
        (200, false) => got.partial = partial(&ExportTraceServiceResponse::decode(body).unwrap()),
        (200, true) => got.partial = partial_of_json(&serde_json::from_slice(&body).unwrap()),
        (_, json) => {
            let failure = if json { failure_of_json(&body) } else { failure_of(&body) };
            got.code = failure.code;
            got.failure = Some(failure);
        }
    }
    got
}

fn partial(response: &ExportTraceServiceResponse) -> Option<(i64, String)> {
    response.partial_success.as_ref().map(|partial| (partial.rejected_spans, partial.error_message.clone()))
}

fn partial_of_json(response: &Value) -> Option<(i64, String)> {
    let partial = response.get("partialSuccess")?;
    // A 64-bit integer is a string in protobuf's JSON.
    let rejected = partial["rejectedSpans"].as_str().unwrap().parse().unwrap();
    Some((rejected, partial["errorMessage"].as_str().unwrap_or_default().to_owned()))
}

fn failure_of(status: &[u8]) -> Failure {
    let status = RpcStatus::decode(status).expect("a google.rpc.Status");
    let kind = |any: &Any| any.type_url.strip_prefix(TYPES).unwrap_or(&any.type_url).to_owned();
    Failure { code: status.code, details: status.details.iter().map(kind).collect(), message: status.message }
}

fn failure_of_json(status: &[u8]) -> Failure {
    let status: Value = serde_json::from_slice(status).expect("a google.rpc.Status as JSON");
    let kind = |any: &Value| any["@type"].as_str().unwrap().replace(TYPES, "");
    let details = status["details"].as_array().map(|details| details.iter().map(kind).collect());
    Failure {
        code: status["code"].as_i64().unwrap() as i32,
        message: status["message"].as_str().unwrap_or_default().to_owned(),
        details: details.unwrap_or_default(),
    }
}
