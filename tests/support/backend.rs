//! A backend that takes OTLP over gRPC and HTTP, keeps what it gets, and is in a mood.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;
use tracewell::receive::{Accepted, ExportRequest, Ingest, Protocol, ReceiveConfig, Receiver, Refusal};
use tracewell::runtime::SystemClock;

/// What it does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Mood {
    #[default]
    Takes,
    /// It is told to come back after this.
    Later(Duration),
    /// It will never take them.
    Refuses,
    /// It rejects spans of this name, and takes the others.
    RejectsRoots,
    /// It takes so long that nobody waits for it.
    Hangs,
}

#[derive(Default)]
pub struct Keeper {
    pub mood: Mutex<Mood>,
    /// Everything that was taken.
    pub requests: Mutex<Vec<ExportTraceServiceRequest>>,
    /// The headers of each request that came, and when.
    pub heads: Mutex<Vec<(Instant, http::HeaderMap)>>,
}

/// One on ports of its own.
pub struct Backend {
    pub grpc: String,
    pub http: String,
    pub keeper: Arc<Keeper>,
}

impl Ingest for Keeper {
    async fn ingest(&self, request: ExportRequest) -> Result<Accepted, Refusal> {
        self.heads.lock().unwrap().push((Instant::now(), (*request.origin.headers).clone()));
        let mut taken = ExportTraceServiceRequest::decode(&*request.body).unwrap();
        let mood = *self.mood.lock().unwrap();
        let mut accepted = Accepted::default();
        match mood {
            Mood::Takes => {}
            Mood::Later(retry_after) => {
                return Err(Refusal::Overloaded { retry_after, reason: "later".into() });
            }
            Mood::Refuses => return Err(Refusal::Malformed("not of our kind".into())),
            Mood::Hangs => tokio::time::sleep(Duration::from_secs(600)).await,
            Mood::RejectsRoots => {
                for span in taken.resource_spans.iter_mut().flat_map(|r| &mut r.scope_spans) {
                    let before = span.spans.len();
                    span.spans.retain(|span| !span.parent_span_id.is_empty());
                    accepted.rejected_spans += (before - span.spans.len()) as u64;
                }
                accepted.message = "no roots, please".into();
            }
        }
        self.requests.lock().unwrap().push(taken);
        Ok(accepted)
    }
}

impl Backend {
    pub async fn serve() -> Self {
        let keeper = Arc::new(Keeper::default());
        let (clock, handle) = (Arc::new(SystemClock::new()), tokio::runtime::Handle::current());
        let receiver = Receiver::new(ReceiveConfig::default(), keeper.clone(), clock, handle).unwrap();
        let mut addresses = Vec::new();
        for protocol in [Protocol::Grpc, Protocol::Http] {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(format!("http://{}", listener.local_addr().unwrap()));
            tokio::spawn(receiver.clone().serve(protocol, listener, Default::default()));
        }
        let http = addresses.pop().unwrap();
        Self { grpc: addresses.pop().unwrap(), http, keeper }
    }

    pub fn be(&self, mood: Mood) {
        *self.keeper.mood.lock().unwrap() = mood;
    }

    /// Trace → span → how often it came, in hexadecimal.
    pub fn spans(&self) -> BTreeMap<String, BTreeMap<String, u32>> {
        let mut all: BTreeMap<String, BTreeMap<String, u32>> = BTreeMap::new();
        for request in &*self.keeper.requests.lock().unwrap() {
            let scopes = request.resource_spans.iter().flat_map(|of_resource| &of_resource.scope_spans);
            for span in scopes.flat_map(|scope| &scope.spans) {
                let trace = all.entry(super::traffic::hex(&span.trace_id)).or_default();
                *trace.entry(super::traffic::hex(&span.span_id)).or_default() += 1;
            }
        }
        all
    }

    /// The numbers of spans that came, each counted once, by trace.
    pub fn traces(&self) -> BTreeMap<String, usize> {
        self.spans().into_iter().map(|(trace, spans)| (trace, spans.len())).collect()
    }
}
