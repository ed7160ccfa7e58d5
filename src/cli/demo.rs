//! `tracewell run --demo`: realistic traffic of a small web shop, sent over OTLP/gRPC like any SDK would.
//!
//! [`generate`] invents the traffic and is a pure function of its seed; this file only sends it.

pub mod generate;
mod shop;
mod story;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, Endpoint};

use crate::app::Entrance;
use crate::runtime::Clock;
use generate::Generator;

/// How often a request is sent. With one to three traces in each this makes a few traces a second.
const INTERVAL: Duration = Duration::from_millis(500);
/// How far back the first request reaches, so that a first look finds something.
const BACKFILL: Duration = Duration::from_secs(60);
/// Traces in that first request.
const BACKFILL_TRACES: u64 = 60;
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(5);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends demo traffic to the daemon until `stop` is cancelled. A server that is away or overloaded is tried again; the demo
/// never ends by itself except when its endpoint is not a URI.
pub async fn send(entrance: Entrance, stop: CancellationToken, clock: Arc<dyn Clock>) {
    let Entrance { endpoint, token } = entrance;
    let channel = match Endpoint::from_shared(endpoint.clone()) {
        Ok(endpoint) => endpoint.timeout(CALL_TIMEOUT).connect_lazy(),
        Err(error) => {
            tracing::error!(%endpoint, %error, "demo traffic: not an endpoint");
            return;
        }
    };
    let client = TraceServiceClient::new(channel).send_compressed(CompressionEncoding::Gzip);
    // Seeded by the time, so that two runs never share a trace id.
    let generator = Generator::new(clock.now_unix_nano());
    let authorization = token.and_then(|token| format!("Bearer {token}").parse().ok());
    let mut demo = Demo { client, authorization, generator, clock };
    tokio::select! {
        () = stop.cancelled() => {}
        () = demo.run() => {}
    }
}

struct Demo {
    client: TraceServiceClient<Channel>,
    authorization: Option<AsciiMetadataValue>,
    generator: Generator,
    clock: Arc<dyn Clock>,
}

impl Demo {
    async fn run(&mut self) {
        let request = self.generate(BACKFILL, BACKFILL_TRACES);
        self.export(request).await;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let traces = self.generator.traces_now();
            let request = self.generate(INTERVAL, traces);
            self.export(request).await;
        }
    }

    /// One request of `traces` traces that ended evenly over the `span` of time up to now.
    fn generate(&mut self, span: Duration, traces: u64) -> ExportTraceServiceRequest {
        let now = self.clock.now_unix_nano();
        let step = u64::try_from(span.as_nanos()).unwrap_or(u64::MAX) / traces.max(1);
        let ends: Vec<u64> = (0..traces).rev().map(|back| now.saturating_sub(back * step)).collect();
        self.generator.request(&ends)
    }

    async fn export(&mut self, request: ExportTraceServiceRequest) {
        let mut pause = RETRY_MIN;
        loop {
            let mut call = tonic::Request::new(request.clone());
            if let Some(value) = &self.authorization {
                call.metadata_mut().insert("authorization", value.clone());
            }
            match self.client.export(call).await {
                Ok(_) => return,
                Err(status) if is_retryable(status.code()) => {
                    tracing::debug!(code = ?status.code(), "demo traffic: not taken, trying again");
                    tokio::time::sleep(pause).await;
                    pause = RETRY_MAX.min(pause * 2);
                }
                Err(status) => {
                    tracing::warn!(code = ?status.code(), message = status.message(), "demo traffic: refused");
                    return;
                }
            }
        }
    }
}

/// The codes after which OTLP has a client try again.
fn is_retryable(code: tonic::Code) -> bool {
    use tonic::Code;
    matches!(
        code,
        Code::Unavailable
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::OutOfRange
            | Code::DataLoss
            | Code::ResourceExhausted
    )
}
