#![allow(clippy::unwrap_used)]

use http::HeaderValue;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;

use super::*;

fn status(code: u32, message: &str, details: &[u8]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("grpc-status", HeaderValue::from(code));
    headers.insert("grpc-message", HeaderValue::from_str(message).unwrap());
    if !details.is_empty() {
        let details = STANDARD_NO_PAD.encode(details);
        headers.insert("grpc-status-details-bin", HeaderValue::from_str(&details).unwrap());
    }
    headers
}

/// As tonic's own types write it.
fn details(seconds: i64, nanos: i32) -> Vec<u8> {
    let duration = prost_types_duration(seconds, nanos);
    let mut info = vec![0x0a, duration.len() as u8];
    info.extend(duration);
    let url = b"type.googleapis.com/google.rpc.RetryInfo";
    let mut any = vec![0x0a, url.len() as u8];
    any.extend(url);
    any.extend([0x12, info.len() as u8]);
    any.extend(info);
    let mut status = vec![0x08, 14, 0x1a, any.len() as u8];
    status.extend(any);
    status
}

fn prost_types_duration(seconds: i64, nanos: i32) -> Vec<u8> {
    let mut out = vec![0x08];
    crate::wire::put_varint(&mut out, seconds as u64);
    out.push(0x10);
    crate::wire::put_varint(&mut out, nanos as u64);
    out
}

#[test]
fn a_gateway_is_believed_only_about_the_request_itself() {
    for code in 1..=16 {
        let outcome = of_grpc(&status(code, "no", &[]), &[], Belief::Gateway);
        let refused = matches!(outcome, Outcome::Refused { .. });
        assert_eq!(refused, [3, 8].contains(&code), "{code}: {outcome:?}");
    }
}

#[test]
fn of_a_backend_what_otlp_calls_retryable_is_tried_again_and_nothing_else() {
    for code in 1..=16 {
        let outcome = of_grpc(&status(code, "no", &[]), &[], Belief::Backend);
        assert_eq!(
            matches!(outcome, Outcome::Later { .. }),
            RETRYABLE.contains(&code),
            "{code}: {outcome:?}"
        );
    }
    for (code, later) in [(400, false), (401, false), (429, true), (500, false), (502, true), (503, true)] {
        let status = StatusCode::from_u16(code).unwrap();
        let outcome = of_http(status, &HeaderMap::new(), &[], Belief::Backend);
        assert_eq!(matches!(outcome, Outcome::Later { .. }), later, "{code}");
    }
}

#[test]
fn when_to_come_back_is_heard() {
    let outcome = of_grpc(&status(14, "full", &details(2, 500_000_000)), &[], Belief::Backend);
    let expected =
        Outcome::Later { after: Some(Duration::from_millis(2500)), reason: "gRPC status 14: full".into() };
    assert_eq!(outcome, expected);
    // With a time to come back even RESOURCE_EXHAUSTED is worth another try.
    let outcome = of_grpc(&status(8, "", &details(1, 0)), &[], Belief::Gateway);
    assert!(matches!(outcome, Outcome::Later { after: Some(_), .. }));
    let mut headers = HeaderMap::new();
    headers.insert("retry-after", HeaderValue::from_static("7"));
    let outcome = of_http(StatusCode::SERVICE_UNAVAILABLE, &headers, &[], Belief::Backend);
    assert!(matches!(outcome, Outcome::Later { after: Some(after), .. } if after.as_secs() == 7));
}

#[test]
fn what_our_own_receiver_says_is_understood() {
    // A negative delay, and a huge one, are an hour at most.
    let outcome = of_grpc(&status(14, "", &details(-1, 0)), &[], Belief::Gateway);
    assert!(matches!(outcome, Outcome::Later { after: Some(after), .. } if after.as_secs() == 3600));
    let outcome = of_grpc(&status(3, "span %C3%A4 is 100%", &[]), &[], Belief::Gateway);
    assert_eq!(outcome, Outcome::Refused { reason: "gRPC status 3: span ä is 100%".into() });
}

#[test]
fn partial_success_is_counted() {
    let partial = ExportTracePartialSuccess { rejected_spans: 3, error_message: "bad ids".into() };
    let response = ExportTraceServiceResponse { partial_success: Some(partial) }.encode_to_vec();
    let expected = Outcome::Taken { rejected: 3, message: "bad ids".into() };
    assert_eq!(of_grpc(&status(0, "", &[]), &response, Belief::Gateway), expected);
    assert_eq!(of_http(StatusCode::OK, &HeaderMap::new(), &response, Belief::Backend), expected);
    let none = Outcome::Taken { rejected: 0, message: String::new() };
    assert_eq!(of_grpc(&status(0, "", &[]), &[], Belief::Gateway), none);
}

#[test]
fn why_http_refuses_is_read_from_its_status_message() {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static("application/x-protobuf"));
    let status = [&[0x08, 3, 0x12, 9][..], b"wrong key"].concat();
    let refused = |headers: &HeaderMap| of_http(StatusCode::UNAUTHORIZED, headers, &status, Belief::Backend);
    assert_eq!(refused(&headers), Outcome::Refused { reason: "HTTP status 401: wrong key".into() });
    assert_eq!(refused(&HeaderMap::new()), Outcome::Refused { reason: "HTTP status 401".into() });
}

#[test]
fn an_answer_without_a_status_proves_nothing() {
    let outcome = of_grpc(&HeaderMap::new(), &[], Belief::Backend);
    assert!(matches!(outcome, Outcome::Later { .. }));
}
