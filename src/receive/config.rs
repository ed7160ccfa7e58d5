//! What can be set about the receivers.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::cors::OriginPattern;
use super::rates::Rates;

const MIB: usize = 1024 * 1024;

/// Addresses, limits and deadlines of the OTLP receivers. [`ReceiveConfig::validate`] says what cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveConfig {
    /// Where OTLP/gRPC listens.
    pub grpc: SocketAddr,
    /// Where OTLP/HTTP listens.
    pub http: SocketAddr,
    /// The largest request, in bytes, before and after decompression. A larger one is refused for good.
    pub request_bytes_max: usize,
    /// Bytes of requests in memory at a time, over both listeners. At the bound senders are told to come back.
    pub in_flight_bytes_max: usize,
    /// Open connections of each listener; more wait in the kernel's backlog.
    pub connections_max: usize,
    /// HTTP/2 streams of one connection at a time.
    pub streams_max: u32,
    /// Bytes of one request's headers.
    pub header_bytes_max: u32,
    /// From a connection's first moment, or from the last answer, until a request's headers are complete (HTTP/1.1).
    pub header_timeout: Duration,
    /// From a request's headers until its body is complete.
    pub body_timeout: Duration,
    /// Quiet time after which an HTTP/2 connection is pinged.
    pub keepalive_interval: Duration,
    /// How long the answer to a ping may take before the connection is closed.
    pub keepalive_timeout: Duration,
    /// When a sender that met the byte budget's bound is told to come back.
    pub retry_after: Duration,
    /// Whether other machines may connect: where nobody is asked who it is, they share the budget by their addresses.
    pub open_to_others: bool,
    /// Whose pages may send from browsers over OTLP/HTTP.
    pub cors_origins: Vec<OriginPattern>,
    /// What each tenant may send.
    pub rates: Rates,
}

impl Default for ReceiveConfig {
    fn default() -> Self {
        Self {
            grpc: SocketAddr::from((Ipv4Addr::LOCALHOST, 4317)),
            http: SocketAddr::from((Ipv4Addr::LOCALHOST, 4318)),
            request_bytes_max: 64 * MIB,
            in_flight_bytes_max: 256 * MIB,
            connections_max: 4096,
            streams_max: 256,
            header_bytes_max: 32 * 1024,
            header_timeout: Duration::from_secs(30),
            body_timeout: Duration::from_secs(60),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(20),
            retry_after: Duration::from_secs(1),
            open_to_others: false,
            cors_origins: Vec::new(),
            rates: Rates::default(),
        }
    }
}

/// A setting that cannot work: its name as in [`ReceiveConfig`], and what it would have to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct ReceiveConfigError {
    /// The field of [`ReceiveConfig`].
    pub key: &'static str,
    /// What is wrong with its value, in words.
    pub problem: String,
}

impl ReceiveConfig {
    /// Checks that every value can work, alone and beside the others.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ReceiveConfigError> {
        let wrong = |key, problem: String| Err(ReceiveConfigError { key, problem });
        if self.grpc == self.http && self.grpc.port() != 0 {
            return wrong("http", format!("{} is already where OTLP/gRPC listens", self.http));
        }
        // The length prefix of gRPC has 32 bits.
        if !(1024..=1024 * MIB).contains(&self.request_bytes_max) {
            return wrong("request_bytes_max", "must be from 1 KiB to 1 GiB".into());
        }
        // A compressed request of the largest size holds its window and its output at the same time; were
        // there less room, it would be told to come back for ever.
        if self.in_flight_bytes_max < 2 * self.request_bytes_max {
            return wrong("in_flight_bytes_max", "must be at least twice request_bytes_max".into());
        }
        if self.connections_max == 0 {
            return wrong("connections_max", "must be at least 1".into());
        }
        if self.streams_max == 0 {
            return wrong("streams_max", "must be at least 1".into());
        }
        if !(8 * 1024..=1024 * 1024).contains(&self.header_bytes_max) {
            return wrong("header_bytes_max", "must be from 8 KiB to 1 MiB".into());
        }
        for (key, value) in self.durations() {
            if value.is_zero() || value > Duration::from_secs(3600) {
                return wrong(key, "must be more than 0 and at most 1 h".into());
            }
        }
        Ok(())
    }

    fn durations(&self) -> [(&'static str, Duration); 5] {
        [
            ("header_timeout", self.header_timeout),
            ("body_timeout", self.body_timeout),
            ("keepalive_interval", self.keepalive_interval),
            ("keepalive_timeout", self.keepalive_timeout),
            ("retry_after", self.retry_after),
        ]
    }
}
