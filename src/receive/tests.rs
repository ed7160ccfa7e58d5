//! The receivers over real sockets, before a stage that answers what a test tells it.
#![allow(clippy::unwrap_used)]

mod admission;
mod decompress;
mod gate;
mod grpc;
mod hostile;
mod http;
mod peer;
mod rates;
mod serve;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value::Value};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::auth::Gate;
use crate::runtime::SystemClock;

/// The stage behind the receivers: remembers what came, answers what it was told.
struct Fake {
    requests: Mutex<Vec<ExportRequest>>,
    answer: Mutex<Result<Accepted, Refusal>>,
    /// Requests wait for a permit of this before they are answered.
    gate: Semaphore,
}

impl Ingest for Fake {
    async fn ingest(&self, request: ExportRequest) -> Result<Accepted, Refusal> {
        self.requests.lock().unwrap().push(request);
        drop(self.gate.acquire().await.unwrap());
        self.answer.lock().unwrap().clone()
    }
}

/// Both listeners, running.
struct Server {
    fake: Arc<Fake>,
    receiver: Receiver<Fake>,
    grpc: SocketAddr,
    http: SocketAddr,
    shutdown: CancellationToken,
    served: Vec<JoinHandle<()>>,
}

impl Server {
    async fn start() -> Self {
        Self::with(ReceiveConfig::default()).await
    }

    async fn with(config: ReceiveConfig) -> Self {
        let clock = Arc::new(SystemClock::new());
        Self::behind(config, Arc::new(Gate::open(clock, Handle::current()))).await
    }

    async fn behind(config: ReceiveConfig, gate: Arc<Gate>) -> Self {
        let fake = Arc::new(Fake {
            requests: Mutex::default(),
            answer: Mutex::new(Ok(Accepted::default())),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let clock = Arc::new(SystemClock::new());
        let receiver = Receiver::guarded(config, fake.clone(), clock, Handle::current(), gate).unwrap();
        let shutdown = CancellationToken::new();
        let (mut addresses, mut served) = (Vec::new(), Vec::new());
        for protocol in [Protocol::Grpc, Protocol::Http] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(listener.local_addr().unwrap());
            served.push(tokio::spawn(receiver.clone().serve(protocol, listener, shutdown.clone())));
        }
        Self { fake, receiver, grpc: addresses[0], http: addresses[1], shutdown, served }
    }

    fn answer(&self, answer: Result<Accepted, Refusal>) {
        *self.fake.answer.lock().unwrap() = answer;
    }

    /// From now on requests reach the stage and stay there.
    fn hold_answers(&self) {
        self.fake.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn release_answers(&self) {
        self.fake.gate.add_permits(1000);
    }

    fn bodies(&self) -> Vec<Bytes> {
        self.fake.requests.lock().unwrap().iter().map(|request| request.body.clone()).collect()
    }

    fn stats(&self) -> Arc<ReceiveStats> {
        self.receiver.stats()
    }
}

/// Small limits, so that tests of them are quick.
fn small() -> ReceiveConfig {
    ReceiveConfig {
        request_bytes_max: 64 * 1024,
        in_flight_bytes_max: 256 * 1024,
        header_timeout: Duration::from_millis(300),
        body_timeout: Duration::from_millis(300),
        ..ReceiveConfig::default()
    }
}

/// A request with `spans` spans of some hundred bytes.
fn sample(spans: usize) -> ExportTraceServiceRequest {
    let text = |key: &str, value: &str| KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(Value::StringValue(value.into())) }),
        ..KeyValue::default()
    };
    let span = |index: usize| Span {
        trace_id: vec![7; 16],
        span_id: (index as u64 + 1).to_be_bytes().to_vec(),
        name: format!("operation {index}"),
        kind: 2,
        start_time_unix_nano: 1_700_000_000_000_000_000,
        end_time_unix_nano: 1_700_000_000_001_000_000,
        attributes: vec![text("http.route", "/login"), text("note", &"n".repeat(200))],
        ..Span::default()
    };
    let scope_spans = ScopeSpans { spans: (0..spans).map(span).collect(), ..ScopeSpans::default() };
    let resource = Resource { attributes: vec![text("service.name", "shop")], ..Resource::default() };
    let resource_spans = ResourceSpans {
        resource: Some(resource),
        scope_spans: vec![scope_spans],
        ..ResourceSpans::default()
    };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// Waits until something is so, and fails when it takes too long.
async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 5 s: {what}");
}
