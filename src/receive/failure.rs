//! Everything that can go wrong with a request, and what each protocol calls it.
//!
//! Only what is worth sending again may look retryable: over HTTP that is 429, 502, 503 and 504, over gRPC among others
//! UNAVAILABLE and DEADLINE_EXCEEDED (OTLP specification, "Failures").

use std::time::Duration;

use http::{HeaderValue, StatusCode};
use tonic::Code;

use super::Refusal;
use super::admission::Exhausted;
use super::stats::Reason;
use crate::auth::Denied;

/// Why a request is not answered with success.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Not a request. `field` says where, if that is known.
    Malformed { field: String, message: String },
    /// Over the size limit (bytes).
    TooLarge { bytes_max: usize },
    /// Over the byte budget; how long to stay away is for the receiver to say.
    NoRoom,
    /// The next stage says no for now.
    ComeBack { reason: Reason, retry_after: Duration, message: String },
    /// The body did not arrive within this time.
    TimedOut(Duration),
    /// The sender went away; nobody reads the answer.
    Disconnected,
    /// A compression we do not have.
    Encoding(String),
    /// A content type we do not have.
    MediaType(String),
    /// A method other than POST.
    Method(String),
    /// A path nobody serves.
    Path(String),
    /// A gRPC call that does not keep to the protocol, with the status gRPC prescribes for it.
    Protocol { code: Code, message: String },
    /// Nobody, or nobody who may do this. `challenge` is what is asked for.
    Denied { denied: Denied, challenge: HeaderValue },
    /// Over the rate of its tenant.
    OverRate { retry_after: Duration, message: String },
}

impl Failure {
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::Malformed { field: String::new(), message: message.into() }
    }

    /// For the counters.
    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::Malformed { .. } | Self::Protocol { .. } => Reason::Malformed,
            Self::TooLarge { .. } => Reason::TooLarge,
            Self::NoRoom => Reason::Overloaded,
            Self::ComeBack { reason, .. } => *reason,
            Self::TimedOut(_) => Reason::TimedOut,
            Self::Disconnected => Reason::Disconnected,
            Self::Encoding(_) | Self::MediaType(_) | Self::Method(_) | Self::Path(_) => Reason::Unsupported,
            Self::Denied { denied, .. } if denied.is_forbidden() => Reason::Forbidden,
            Self::Denied { .. } => Reason::Unauthenticated,
            Self::OverRate { .. } => Reason::RateLimited,
        }
    }

    /// The gRPC status.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Malformed { .. } | Self::MediaType(_) => Code::InvalidArgument,
            Self::TooLarge { .. } => Code::ResourceExhausted,
            // Every exporter sends again what was UNAVAILABLE; some throw away what was RESOURCE_EXHAUSTED.
            Self::NoRoom | Self::ComeBack { .. } | Self::OverRate { .. } => Code::Unavailable,
            Self::Denied { denied, .. } if denied.is_transient() => Code::Unavailable,
            Self::Denied { denied, .. } if denied.is_forbidden() => Code::PermissionDenied,
            Self::Denied { .. } => Code::Unauthenticated,
            Self::TimedOut(_) => Code::DeadlineExceeded,
            Self::Disconnected => Code::Cancelled,
            Self::Encoding(_) | Self::Method(_) => Code::Unimplemented,
            Self::Path(_) => Code::NotFound,
            Self::Protocol { code, .. } => *code,
        }
    }

    /// The HTTP status.
    pub(super) fn http_status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. } | Self::Protocol { .. } | Self::Disconnected => StatusCode::BAD_REQUEST,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            // A sender that was too slow did nothing wrong; upon 408 it would throw its spans away.
            Self::NoRoom | Self::ComeBack { .. } | Self::TimedOut(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Encoding(_) | Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path(_) => StatusCode::NOT_FOUND,
            Self::Denied { denied, .. } if denied.is_transient() => StatusCode::SERVICE_UNAVAILABLE,
            Self::Denied { denied, .. } if denied.is_forbidden() => StatusCode::FORBIDDEN,
            Self::Denied { .. } => StatusCode::UNAUTHORIZED,
            Self::OverRate { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// When to send it again, if that is worth it. `default` is for our own budget.
    pub(super) fn retry_after(&self, default: Duration) -> Option<Duration> {
        match self {
            Self::NoRoom | Self::TimedOut(_) => Some(default),
            Self::ComeBack { retry_after, .. } | Self::OverRate { retry_after, .. } => Some(*retry_after),
            Self::Denied { denied, .. } if denied.is_transient() => Some(default),
            _ => None,
        }
    }

    /// For the sender, in words.
    pub(super) fn message(&self) -> String {
        match self {
            Self::Malformed { field, message } if field.is_empty() => message.clone(),
            Self::Malformed { field, message } => format!("{field}: {message}"),
            Self::TooLarge { bytes_max } => {
                format!(
                    "the request is larger than {bytes_max} bytes (the limit holds after decompression too)"
                )
            }
            Self::NoRoom => "too many bytes in flight".into(),
            Self::ComeBack { message, .. }
            | Self::OverRate { message, .. }
            | Self::Protocol { message, .. } => message.clone(),
            Self::Denied { denied, .. } => denied.to_string(),
            Self::TimedOut(after) => format!("the body did not arrive within {} s", after.as_secs_f64()),
            Self::Disconnected => "the body ended early".into(),
            Self::Encoding(name) => {
                format!("compression {name:?} is not supported; use gzip, zstd, deflate, snappy, lz4 or none")
            }
            Self::MediaType(name) if name.is_empty() => format!("the content type is missing; {MEDIA_TYPES}"),
            Self::MediaType(name) => format!("content type {name:?} is not supported; {MEDIA_TYPES}"),
            Self::Method(name) => format!("method {name:?} is not allowed; use POST"),
            Self::Path(path) => format!("nothing is served at {path:?}; traces go to /v1/traces"),
        }
    }
}

const MEDIA_TYPES: &str = "use application/x-protobuf or application/json";

impl From<Exhausted> for Failure {
    fn from(_: Exhausted) -> Self {
        Self::NoRoom
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Malformed(message) => Self::malformed(message),
            Refusal::Overloaded { retry_after, reason } => {
                Self::ComeBack { reason: Reason::Overloaded, retry_after, message: reason }
            }
            Refusal::Unavailable { retry_after, reason } => {
                Self::ComeBack { reason: Reason::Unavailable, retry_after, message: reason }
            }
        }
    }
}
