//! What OTLP's specification (1.11) says of a server, line by line: each line is a test, over each way in.
//!
//! The lines are in the order of the specification's sections: wire, success, partial success, failures, limits, JSON,
//! what is valid, probability sampling, known hazards. `peer` brings the three ways into one shape.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod data;
mod failures;
mod hazards;
mod peer;
mod sampling;
#[path = "../support/mod.rs"]
mod support;
mod wire;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use peer::{Got, Sent, Way};
use prost::Message;
use support::traffic::{self, Shape};
use support::{Daemon, Start};

const KEEP_ALL: &str =
    "version: 1\ndecision: { wait: 500ms, after_root: 100ms }\nrules: [{ name: all, keep: 100% }]\n";

/// A daemon, and the folder it lives in.
struct Server {
    daemon: Daemon,
    _folder: tempfile::TempDir,
}

impl Server {
    fn start(config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Start::new(&folder.path().join("data")).rules(KEEP_ALL).config(config).run();
        Self { daemon, _folder: folder }
    }

    fn with_rules(rules: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let daemon = Start::new(&folder.path().join("data")).rules(rules).run();
        Self { daemon, _folder: folder }
    }

    async fn send(&self, way: Way, sent: &Sent) -> Got {
        peer::send(&self.daemon, way, sent).await
    }

    /// What it gives back of a trace, OTLP as JSON; `null` if there is no such trace.
    async fn trace(&self, id: &[u8]) -> serde_json::Value {
        match self.daemon.get(&format!("/api/traces/{}", traffic::hex(id))).await {
            (200, body) => serde_json::from_str(&body).unwrap(),
            _ => serde_json::Value::Null,
        }
    }

    /// The spans of that trace.
    async fn spans(&self, id: &[u8]) -> Vec<serde_json::Value> {
        let trace = self.trace(id).await;
        let list = |value: &serde_json::Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let batches = [list(&trace, "batches"), list(&trace, "resourceSpans")].concat();
        let scopes = batches.iter().flat_map(|batch| list(batch, "scopeSpans"));
        scopes.flat_map(|scope| list(&scope, "spans")).collect()
    }
}

/// A request of one trace of three spans.
fn sample(number: u64) -> ExportTraceServiceRequest {
    traffic::request(traffic::trace(number, Shape::Plain, 3), "shop")
}

/// The same in the way's own encoding.
fn encoded(way: Way, request: &ExportTraceServiceRequest) -> Vec<u8> {
    match way {
        Way::Json => serde_json::to_vec(request).unwrap(),
        Way::Grpc | Way::Protobuf => request.encode_to_vec(),
    }
}
