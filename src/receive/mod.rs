//! OTLP receivers: gRPC and HTTP on listeners of their own, admission by bytes, errors to the letter of the OTLP
//! specification. A request stays one [`Bytes`]; spans are not decoded here.

mod admission;
mod body;
mod config;
mod cors;
mod decompress;
mod failure;
mod json;
mod lz4;
mod otlp_grpc;
mod otlp_http;
mod rates;
mod reply;
mod room;
mod serve;
mod snappy;
mod stats;
mod status;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

pub use admission::{Budget, Exhausted, Party, Permit};
pub use config::{ReceiveConfig, ReceiveConfigError};
pub use cors::OriginPattern;
pub use rates::{Metered, Rate, Rates};
pub use serve::{Protocol, Receiver};
pub use stats::{Reason, ReceiveStats, Transport};

use crate::runtime::{RequestId, Tenant};

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The sender's address, or that of the proxy before it; `None` where there is none (a Unix socket, a test).
    pub client: Option<SocketAddr>,
    /// The request's headers; over gRPC they are its metadata. They may hold credentials: never to be logged.
    pub headers: Arc<HeaderMap>,
}

/// One export request, admitted and decompressed.
#[derive(Clone, Debug)]
pub struct ExportRequest {
    /// Whose spans these are.
    pub tenant: Tenant,
    /// Correlates this request's log lines through all stages.
    pub request_id: RequestId,
    /// When its head arrived, nanoseconds since the Unix epoch.
    pub received_unix_nano: u64,
    /// Who sent it.
    pub origin: Origin,
    /// A protobuf `ExportTraceServiceRequest`, decompressed, not validated. Empty when nothing was sent.
    pub body: Bytes,
}

/// What became of a request that was taken: it is durable, except for the spans counted here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Spans that were refused for good (invalid ids): the sender must not send them again.
    pub rejected_spans: u64,
    /// Why, in words; with no rejected span a warning. Empty when there is nothing to say.
    pub message: String,
}

/// Why a whole request was not taken. Nothing of it was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The bytes are not an export request. Sending them again will not help.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// More is in flight than the budgets allow.
    #[error("overloaded: {reason}")]
    Overloaded {
        /// When to come back.
        retry_after: Duration,
        /// Which budget, in words.
        reason: String,
    },
    /// The request cannot be made durable now (disk full, failing, shutting down).
    #[error("unavailable: {reason}")]
    Unavailable {
        /// When to come back.
        retry_after: Duration,
        /// What is the matter, in words.
        reason: String,
    },
}

/// The stage behind the receivers: validates, edits and makes a request durable.
///
/// The returned future may be dropped at any await when the sender goes away; what was begun may then still
/// become durable, which OTLP allows (the sender was told nothing and will send again).
pub trait Ingest: Send + Sync + 'static {
    /// Takes a request. `Ok` means that every span of it not counted as rejected is durable.
    fn ingest(&self, request: ExportRequest) -> impl Future<Output = Result<Accepted, Refusal>> + Send;

    /// Adds what this process says of itself to the head of each gRPC answer, whatever it is.
    fn announce(&self, _headers: &mut HeaderMap) {}

    /// Answers a gRPC method of the stage's own, called for a tenant that the caller may name; `None` if it has no method at
    /// this path.
    fn call(
        &self,
        _path: &str,
        _tenant: &Tenant,
        _message: Bytes,
    ) -> impl Future<Output = Option<Result<Bytes, Refusal>>> + Send {
        std::future::ready(None)
    }
}
