//! What an answer to an export means for the one who sent it: gRPC status codes, `google.rpc.RetryInfo`, HTTP status codes.
//! OTLP specification 1.11, "Failures" and "Throttling".

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::{HeaderMap, StatusCode};

use crate::wire::{Fields, WireKind};

/// What became of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable there, but for spans that were rejected for good.
    Taken {
        /// Spans rejected.
        rejected: u64,
        /// Why, in the receiver's words.
        message: String,
    },
    /// It will never be taken: sending it again does not help.
    Refused {
        /// Why, in the receiver's words.
        reason: String,
    },
    /// To be sent again.
    Later {
        /// Not before this, if the receiver said so.
        after: Option<Duration>,
        /// Why.
        reason: String,
    },
}

impl Outcome {
    /// Of something that failed before there was an answer.
    pub fn unreachable(reason: impl Into<String>) -> Self {
        Self::Later { after: None, reason: reason.into() }
    }
}

/// How much of what OTLP calls permanent is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belief {
    /// A gateway of ours: only what is wrong with the request itself is final. Whatever an operator can mend (a token, a
    /// version, a proxy) costs time, not spans.
    Gateway,
    /// Any backend: what OTLP calls permanent is.
    Backend,
}

const OK: u32 = 0;
const INVALID_ARGUMENT: u32 = 3;
const RESOURCE_EXHAUSTED: u32 = 8;
/// CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS.
const RETRYABLE: [u32; 6] = [1, 4, 10, 11, 14, 15];
/// What is shown of what a receiver said, in characters.
const REASON_MAX: usize = 200;

/// Reads a gRPC answer: its headers or trailers, whichever have the status, and its message.
pub fn of_grpc(headers: &HeaderMap, message: &[u8], belief: Belief) -> Outcome {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status").and_then(|code| code.parse::<u32>().ok()) else {
        return Outcome::unreachable("the answer has no gRPC status");
    };
    if code == OK {
        return taken(message);
    }
    let after = text("grpc-status-details-bin").and_then(retry_info);
    let reason =
        format!("gRPC status {code}: {}", shown(&percent_decoded(text("grpc-message").unwrap_or_default())));
    let is_final = match belief {
        Belief::Gateway => matches!(code, INVALID_ARGUMENT | RESOURCE_EXHAUSTED),
        Belief::Backend => !RETRYABLE.contains(&code),
    };
    if is_final && !(code == RESOURCE_EXHAUSTED && after.is_some()) {
        return Outcome::Refused { reason };
    }
    Outcome::Later { after, reason }
}

/// Reads an OTLP/HTTP answer with a protobuf body.
pub fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8], belief: Belief) -> Outcome {
    if status.is_success() {
        return taken(body);
    }
    let reason = match status_message(headers, body) {
        message if message.is_empty() => format!("HTTP status {}", status.as_u16()),
        message => format!("HTTP status {}: {message}", status.as_u16()),
    };
    let retryable = matches!(status.as_u16(), 429 | 502 | 503 | 504);
    let is_final = match belief {
        Belief::Gateway => matches!(status.as_u16(), 400 | 413),
        Belief::Backend => !retryable,
    };
    if is_final {
        return Outcome::Refused { reason };
    }
    let after = headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    // The other form, a date, would need the receiver's clock to be ours.
    let after = after.and_then(|seconds| seconds.trim().parse().ok()).map(Duration::from_secs);
    Outcome::Later { after, reason }
}

/// The message (2) of the `google.rpc.Status` that a refusal in protobuf has for a body.
fn status_message(headers: &HeaderMap, body: &[u8]) -> String {
    let kind =
        headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut message = String::new();
    if kind.starts_with("application/x-protobuf") {
        for_each(body, |number, kind| {
            if let (2, WireKind::Bytes(text)) = (number, kind) {
                message = shown(&String::from_utf8_lossy(text));
            }
        });
    }
    message
}

/// An `ExportTraceServiceResponse`: `partial_success` (1) with `rejected_spans` (1) and `error_message` (2).
fn taken(response: &[u8]) -> Outcome {
    let (mut rejected, mut message) = (0, String::new());
    for_each(response, |number, kind| {
        if let (1, WireKind::Bytes(partial)) = (number, kind) {
            for_each(partial, |number, kind| match (number, kind) {
                (1, WireKind::Varint(spans)) => rejected = spans,
                (2, WireKind::Bytes(text)) => message = shown(&String::from_utf8_lossy(text)),
                _ => {}
            });
        }
    });
    Outcome::Taken { rejected, message }
}

/// The delay in a `google.rpc.Status`: its details (3) are `Any`s with `type_url` (1) and `value` (2), there a `RetryInfo`
/// with `retry_delay` (1), a `Duration` of seconds (1) and nanos (2).
fn retry_info(base64: &str) -> Option<Duration> {
    let status = STANDARD_NO_PAD.decode(base64).or_else(|_| STANDARD.decode(base64)).ok()?;
    let mut found = None;
    for_each(&status, |number, kind| {
        let (3, WireKind::Bytes(any)) = (number, kind) else { return };
        let (mut is_retry_info, mut delay) = (false, Duration::ZERO);
        for_each(any, |number, kind| match (number, kind) {
            (1, WireKind::Bytes(url)) => is_retry_info = url.ends_with(b"google.rpc.RetryInfo"),
            (2, WireKind::Bytes(info)) => delay = delay_in(info),
            _ => {}
        });
        if is_retry_info {
            found = Some(delay);
        }
    });
    found
}

fn delay_in(retry_info: &[u8]) -> Duration {
    let (mut seconds, mut nanos) = (0, 0);
    for_each(retry_info, |number, kind| {
        if let (1, WireKind::Bytes(duration)) = (number, kind) {
            for_each(duration, |number, kind| match (number, kind) {
                (1, WireKind::Varint(value)) => seconds = value,
                (2, WireKind::Varint(value)) => nanos = value,
                _ => {}
            });
        }
    });
    // Negative ones are huge here; an hour is more than anybody means.
    Duration::from_secs(seconds.min(3600)) + Duration::from_nanos(nanos.min(999_999_999))
}

/// The fields up to the first that cannot be read.
fn for_each<'a>(message: &'a [u8], mut on_field: impl FnMut(u32, WireKind<'a>)) {
    let mut fields = Fields::new(message);
    while let Ok(Some(field)) = fields.read() {
        on_field(field.number, field.kind);
    }
}

/// What a receiver said, fit for a log line.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(REASON_MAX).collect()
}

/// `%XX` in a `grpc-message` ("gRPC over HTTP2", Responses).
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| bytes[at] == b'%') {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests;
