//! What the receivers count, for metrics and status.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::rates::Metered;
use crate::runtime::Tenant;

/// Tenants told apart where they are over their rates, some hundred bytes each; further ones are in the sum only.
const TENANTS_MAX: usize = 1000;

/// The ways a request can come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// OTLP/gRPC.
    Grpc,
    /// OTLP/HTTP with protobuf.
    HttpProtobuf,
    /// OTLP/HTTP with JSON.
    HttpJson,
}

impl Transport {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Grpc, Self::HttpProtobuf, Self::HttpJson];

    /// The name of the protocol as in `OTEL_EXPORTER_OTLP_PROTOCOL`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::HttpProtobuf => "http/protobuf",
            Self::HttpJson => "http/json",
        }
    }
}

/// Why requests are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The bytes are not a request: protobuf, JSON, compression or framing.
    Malformed,
    /// Over the size limit, before or after decompression.
    TooLarge,
    /// Over a budget.
    Overloaded,
    /// It could not be made durable.
    Unavailable,
    /// The body did not arrive in time.
    TimedOut,
    /// The sender went away in the middle.
    Disconnected,
    /// A path, method, content type or compression that is not spoken here.
    Unsupported,
    /// Nobody that is known here.
    Unauthenticated,
    /// Somebody who may not do this.
    Forbidden,
    /// Over the rate of its tenant.
    RateLimited,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Malformed,
        Self::TooLarge,
        Self::Overloaded,
        Self::Unavailable,
        Self::TimedOut,
        Self::Disconnected,
        Self::Unsupported,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::RateLimited,
    ];

    /// A label for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::Overloaded => "overloaded",
            Self::Unavailable => "unavailable",
            Self::TimedOut => "timed_out",
            Self::Disconnected => "disconnected",
            Self::Unsupported => "unsupported",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::RateLimited => "rate_limited",
        }
    }
}

/// Counters since the start, and the number of open connections. What every request counts is counted without locks.
#[derive(Debug, Default)]
pub struct ReceiveStats {
    requests: [AtomicU64; Transport::ALL.len()],
    refused: [AtomicU64; Reason::ALL.len()],
    wire_bytes: AtomicU64,
    body_bytes: AtomicU64,
    rejected_spans: AtomicU64,
    json_snake_case_keys: AtomicU64,
    connections: AtomicU64,
    connections_open: AtomicU64,
    over_rate: Mutex<BTreeMap<Tenant, [u64; Metered::ALL.len()]>>,
}

impl ReceiveStats {
    /// Export requests that came in this way, however they ended.
    pub fn requests(&self, transport: Transport) -> u64 {
        read(&self.requests[transport as usize])
    }

    /// Requests refused as a whole.
    pub fn refused(&self, reason: Reason) -> u64 {
        read(&self.refused[reason as usize])
    }

    /// Bytes of request bodies as they came over the wire.
    pub fn wire_bytes(&self) -> u64 {
        read(&self.wire_bytes)
    }

    /// Bytes handed over, as decompressed protobuf.
    pub fn body_bytes(&self) -> u64 {
        read(&self.body_bytes)
    }

    /// Requests refused because their tenant was over its rate, of each of [`Metered::ALL`]; of all tenants, or of one.
    pub fn over_rate(&self, of: Option<&Tenant>) -> Vec<(Tenant, [u64; Metered::ALL.len()])> {
        let counts = self.over_rate.lock();
        let wanted = counts.iter().filter(|(tenant, _)| of.is_none_or(|of| of == *tenant));
        wanted.map(|(tenant, counts)| (tenant.clone(), *counts)).collect()
    }

    /// Spans refused by partial success.
    pub fn rejected_spans(&self) -> u64 {
        read(&self.rejected_spans)
    }

    /// JSON keys that were ignored and look like the snake_case spelling of a field.
    pub fn json_snake_case_keys(&self) -> u64 {
        read(&self.json_snake_case_keys)
    }

    /// Connections taken.
    pub fn connections(&self) -> u64 {
        read(&self.connections)
    }

    /// Connections open now.
    pub fn connections_open(&self) -> u64 {
        read(&self.connections_open)
    }

    pub(super) fn count_request(&self, transport: Transport) {
        add(&self.requests[transport as usize], 1);
    }

    pub(super) fn count_refused(&self, reason: Reason) {
        add(&self.refused[reason as usize], 1);
    }

    pub(super) fn count_over_rate(&self, tenant: &Tenant, what: Metered) {
        let mut counts = self.over_rate.lock();
        if counts.len() < TENANTS_MAX || counts.contains_key(tenant) {
            counts.entry(tenant.clone()).or_default()[what as usize] += 1;
        }
    }

    pub(super) fn count_bytes(&self, wire: usize, body: usize) {
        add(&self.wire_bytes, wire as u64);
        add(&self.body_bytes, body as u64);
    }

    pub(super) fn count_rejected_spans(&self, spans: u64) {
        add(&self.rejected_spans, spans);
    }

    pub(super) fn count_json_snake_case_keys(&self, keys: u64) {
        add(&self.json_snake_case_keys, keys);
    }

    pub(super) fn connection_opened(&self) {
        add(&self.connections, 1);
        add(&self.connections_open, 1);
    }

    pub(super) fn connection_closed(&self) {
        self.connections_open.fetch_sub(1, Ordering::Relaxed);
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}
