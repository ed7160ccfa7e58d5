//! Keeps N connections × M requests in flight. Bytes go out as they are: nothing is encoded while it measures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::{Buf, BufMut, Bytes};
use http::uri::PathAndQuery;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use crate::template::{SPANS_PER_REQUEST, Templates, same_variant};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// How long to wait before a refused request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// What to send.
pub struct Plan {
    pub endpoint: String,
    pub requests: u64,
    pub connections: usize,
    pub in_flight: usize,
    /// 0: as fast as acknowledgements come.
    pub spans_per_second: u64,
    pub deadline: Duration,
}

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    /// Acknowledged requests; they are the first of the run when none failed.
    pub requests: u64,
    /// Spans of these that the server said it rejected.
    pub rejected_spans: u64,
    /// Answers that told the sender to come back; the request was sent again.
    pub refusals: u64,
    /// Requests given up.
    pub failed: u64,
    pub last_error: String,
    /// Each acknowledged request's time, sorted.
    pub latencies: Vec<Duration>,
}

/// Waits until something accepts connections there.
pub async fn wait_until_reachable(endpoint: &str, patience: Duration) -> anyhow::Result<()> {
    let address = endpoint.trim_start_matches("http://").trim_end_matches('/');
    let until = Instant::now() + patience;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        if Instant::now() > until {
            bail!("nothing listens on {address}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

/// Sends the plan's requests.
pub async fn send(plan: &Plan, templates: Arc<Templates>) -> anyhow::Result<Outcome> {
    let next = Arc::new(AtomicU64::new(0));
    let pace = Pace { start: Instant::now(), spans_per_second: plan.spans_per_second };
    let until = pace.start + plan.deadline;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..plan.connections {
        let endpoint = Endpoint::from_shared(plan.endpoint.clone())?
            .initial_stream_window_size(4 << 20)
            .initial_connection_window_size(16 << 20);
        let channel = endpoint.connect().await.context("cannot connect")?;
        for _ in 0..plan.in_flight {
            let worker = Worker {
                client: Grpc::new(channel.clone()),
                templates: templates.clone(),
                next: next.clone(),
                requests: plan.requests,
                pace,
                until,
            };
            tasks.spawn(worker.run());
        }
    }
    let mut outcome = Outcome::default();
    while let Some(part) = tasks.join_next().await {
        outcome.merge(part?);
    }
    outcome.latencies.sort_unstable();
    Ok(outcome)
}

#[derive(Clone, Copy)]
struct Pace {
    start: Instant,
    spans_per_second: u64,
}

impl Pace {
    /// Waits until request `number` is due; the instant from which its latency counts. With a rate that is the instant
    /// it was due, not the one it was sent: a server that stalls delays the requests behind it too.
    async fn due(self, number: u64) -> Instant {
        if self.spans_per_second == 0 {
            return Instant::now();
        }
        let seconds = (number * SPANS_PER_REQUEST) as f64 / self.spans_per_second as f64;
        let due = self.start + Duration::from_secs_f64(seconds);
        tokio::time::sleep_until(due.into()).await;
        due
    }
}

struct Worker {
    client: Grpc<Channel>,
    templates: Arc<Templates>,
    next: Arc<AtomicU64>,
    requests: u64,
    pace: Pace,
    until: Instant,
}

impl Worker {
    async fn run(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        // The bytes of the last request of this worker, to be patched again.
        let mut last: Option<(u64, Bytes)> = None;
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.requests {
                return outcome;
            }
            let from = self.pace.due(number).await;
            let body = self.body(number, last.take());
            match self.export(&body, &mut outcome).await {
                Ok(rejected) => {
                    outcome.requests += 1;
                    outcome.rejected_spans += rejected;
                    outcome.latencies.push(from.elapsed());
                }
                Err(status) => {
                    outcome.failed += 1;
                    outcome.last_error = format!("{:?}: {}", status.code(), status.message());
                }
            }
            last = Some((number, body));
        }
    }

    fn body(&self, number: u64, last: Option<(u64, Bytes)>) -> Bytes {
        let reused = last.filter(|(before, _)| same_variant(*before, number));
        let reused = reused.and_then(|(_, bytes)| bytes.try_into_mut().ok());
        let mut bytes = reused.unwrap_or_else(|| self.templates.start(number));
        self.templates.write(number, &mut bytes);
        bytes.freeze()
    }

    /// Sends until it is taken; how many spans the server rejected.
    async fn export(&mut self, body: &Bytes, outcome: &mut Outcome) -> Result<u64, Status> {
        loop {
            match self.call(body).await {
                Ok(response) => {
                    return Ok(response.partial_success.map_or(0, |p| p.rejected_spans.unsigned_abs()));
                }
                Err(status) => {
                    let come_back = matches!(status.code(), Code::Unavailable | Code::ResourceExhausted);
                    if !come_back || Instant::now() > self.until {
                        return Err(status);
                    }
                    outcome.refusals += 1;
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn call(&mut self, body: &Bytes) -> Result<ExportTraceServiceResponse, Status> {
        self.client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let request = Request::new(body.clone());
        let path = PathAndQuery::from_static(EXPORT);
        let call = self.client.unary(request, path, RawCodec);
        let left = self.until.saturating_duration_since(Instant::now());
        match tokio::time::timeout(left, call).await {
            Ok(response) => response.map(tonic::Response::into_inner),
            Err(_) => Err(Status::deadline_exceeded("the run took longer than --deadline")),
        }
    }
}

impl Outcome {
    fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.rejected_spans += other.rejected_spans;
        self.refusals += other.refusals;
        self.failed += other.failed;
        self.latencies.extend(other.latencies);
        if !other.last_error.is_empty() {
            self.last_error = other.last_error;
        }
    }
}

/// Takes encoded requests as they are.
struct RawCodec;

impl Codec for RawCodec {
    type Encode = Bytes;
    type Decode = ExportTraceServiceResponse;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&item);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = ExportTraceServiceResponse;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<ExportTraceServiceResponse>, Status> {
        let bytes = buffer.copy_to_bytes(buffer.remaining());
        let response = ExportTraceServiceResponse::decode(bytes);
        response.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
