//! `google.rpc.Status` and the details that OTLP names, as protobuf and as JSON.
//! Field numbers from googleapis `google/rpc/status.proto` and `google/rpc/error_details.proto`.

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};

use super::failure::Failure;

const BAD_REQUEST: &str = "type.googleapis.com/google.rpc.BadRequest";
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    #[prost(string, tag = "2")]
    pub(super) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<ProtoDuration>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct ProtoDuration {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

/// `google.rpc.BadRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) field_violations: Vec<FieldViolation>,
}

/// `google.rpc.BadRequest.FieldViolation`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct FieldViolation {
    #[prost(string, tag = "1")]
    pub(super) field: String,
    #[prost(string, tag = "2")]
    pub(super) description: String,
}

/// The detail that belongs to a failure, if one does.
enum Detail<'a> {
    BadRequest { field: &'a str, description: &'a str },
    RetryInfo(Duration),
}

fn detail(failure: &Failure, retry_after: Duration) -> Option<Detail<'_>> {
    if let Failure::Malformed { field, message } = failure {
        return Some(Detail::BadRequest { field, description: message });
    }
    failure.retry_after(retry_after).map(Detail::RetryInfo)
}

/// A failure as a protobuf `google.rpc.Status`.
pub(super) fn to_protobuf(failure: &Failure, retry_after: Duration) -> Vec<u8> {
    let details = detail(failure, retry_after).map(|detail| match detail {
        Detail::BadRequest { field, description } => {
            let violation = FieldViolation { field: field.into(), description: description.into() };
            let value = BadRequest { field_violations: vec![violation] }.encode_to_vec();
            Any { type_url: BAD_REQUEST.into(), value }
        }
        Detail::RetryInfo(delay) => {
            let seconds = i64::try_from(delay.as_secs()).unwrap_or(i64::MAX);
            let delay = ProtoDuration { seconds, nanos: delay.subsec_nanos().cast_signed() };
            let value = RetryInfo { retry_delay: Some(delay) }.encode_to_vec();
            Any { type_url: RETRY_INFO.into(), value }
        }
    });
    let details = details.into_iter().collect();
    Status { code: failure.code() as i32, message: failure.message(), details }.encode_to_vec()
}

/// A failure as a `google.rpc.Status` in protobuf's JSON mapping.
pub(super) fn to_json(failure: &Failure, retry_after: Duration) -> Vec<u8> {
    let mut status = json!({ "code": failure.code() as i32, "message": failure.message() });
    let detail: Option<Value> = detail(failure, retry_after).map(|detail| match detail {
        Detail::BadRequest { field, description } => {
            json!({ "@type": BAD_REQUEST, "fieldViolations": [{ "field": field, "description": description }] })
        }
        Detail::RetryInfo(delay) => json!({ "@type": RETRY_INFO, "retryDelay": format!("{}s", delay.as_secs_f64()) }),
    });
    if let Some(detail) = detail {
        status["details"] = json!([detail]);
    }
    status.to_string().into_bytes()
}
