//! OTLP/gRPC: each answer as the specification names it.

use std::time::Duration;

use ::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Status};

use super::peer::{H2Answer, channel, frame, gzip, send_h2, zstd};
use super::{Server, sample, small};
use crate::receive::status::{BadRequest, RetryInfo, Status as RpcStatus};
use crate::receive::{Accepted, Reason, Refusal, Transport};

const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

async fn export(server: &Server, request: ExportTraceServiceRequest) -> Result<(u64, String), Status> {
    let response = TraceServiceClient::new(channel(server.grpc).await).export(request).await?;
    let partial = response.into_inner().partial_success;
    Ok(partial.map_or((0, "unset".into()), |p| (p.rejected_spans as u64, p.error_message)))
}

async fn call(server: &Server, path: &str, encoding: &str, body: Vec<u8>) -> H2Answer {
    let mut request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    if !encoding.is_empty() {
        request = request.header("grpc-encoding", encoding);
    }
    send_h2(server.grpc, request, body).await
}

/// The status in `grpc-status-details-bin`.
fn details(encoded: &[u8]) -> RpcStatus {
    RpcStatus::decode(encoded).unwrap()
}

fn details_of(answer: &H2Answer) -> RpcStatus {
    details(&STANDARD_NO_PAD.decode(answer.headers["grpc-status-details-bin"].as_bytes()).unwrap())
}

#[tokio::test]
async fn a_request_arrives_as_the_bytes_that_were_sent() {
    let server = Server::start().await;
    assert_eq!(export(&server, sample(3)).await.unwrap(), (0, "unset".into()));
    assert_eq!(server.bodies(), [sample(3).encode_to_vec()]);
    assert_eq!(server.stats().requests(Transport::Grpc), 1);
    assert_eq!(server.stats().body_bytes(), sample(3).encoded_len() as u64);
    let request = server.fake.requests.lock().unwrap()[0].clone();
    assert_eq!(request.tenant, crate::runtime::Tenant::default());
    assert!(request.received_unix_nano > 1_600_000_000_000_000_000);
}

#[tokio::test]
async fn requests_of_many_frames_arrive_whole() {
    let server = Server::start().await;
    export(&server, sample(20_000)).await.unwrap();
    assert_eq!(server.bodies(), [sample(20_000).encode_to_vec()]);
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn gzip_and_zstd_are_decompressed() {
    let server = Server::start().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let client = TraceServiceClient::new(channel(server.grpc).await);
        client.send_compressed(encoding).accept_compressed(encoding).export(sample(5000)).await.unwrap();
    }
    assert_eq!(server.bodies(), [sample(5000).encode_to_vec(), sample(5000).encode_to_vec()]);
    assert!(server.stats().wire_bytes() < server.stats().body_bytes() / 10);
}

#[tokio::test]
async fn an_empty_request_succeeds() {
    let server = Server::start().await;
    assert_eq!(export(&server, ExportTraceServiceRequest::default()).await.unwrap(), (0, "unset".into()));
    let answer = call(&server, EXPORT, "gzip", frame(1, &gzip(b""))).await;
    assert_eq!((answer.grpc_status(), &answer.body[..]), (0, &[0; 5][..]));
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn rejected_spans_are_a_partial_success() {
    let server = Server::start().await;
    server.answer(Ok(Accepted { rejected_spans: 2, message: "span 4: all zeros".into() }));
    assert_eq!(export(&server, sample(9)).await.unwrap(), (2, "span 4: all zeros".into()));
    assert_eq!(server.stats().rejected_spans(), 2);
    server.answer(Ok(Accepted { rejected_spans: 0, message: "only a warning".into() }));
    assert_eq!(export(&server, sample(9)).await.unwrap(), (0, "only a warning".into()));
}

#[tokio::test]
async fn a_malformed_request_is_an_invalid_argument_with_bad_request_details() {
    let server = Server::start().await;
    server.answer(Err(Refusal::Malformed("field 2 ends early, 100 % sure – ü".into())));
    let status = export(&server, sample(1)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert_eq!(status.message(), "field 2 ends early, 100 % sure – ü");
    let details = details(status.details());
    assert_eq!(details.code, Code::InvalidArgument as i32);
    assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    let bad = BadRequest::decode(&details.details[0].value[..]).unwrap();
    assert_eq!(bad.field_violations[0].description, "field 2 ends early, 100 % sure – ü");
    assert_eq!(server.stats().refused(Reason::Malformed), 1);
}

#[tokio::test]
async fn throttling_is_unavailable_with_retry_info() {
    let server = Server::start().await;
    let retry_after = Duration::from_millis(2500);
    let reason = String::from("the disk is full");
    for refusal in [
        Refusal::Unavailable { retry_after, reason: reason.clone() },
        Refusal::Overloaded { retry_after, reason: reason.clone() },
    ] {
        server.answer(Err(refusal));
        let status = export(&server, sample(1)).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (Code::Unavailable, "the disk is full"));
        let details = details(status.details());
        assert_eq!(details.details[0].type_url, "type.googleapis.com/google.rpc.RetryInfo");
        let delay = RetryInfo::decode(&details.details[0].value[..]).unwrap().retry_delay.unwrap();
        assert_eq!((delay.seconds, delay.nanos), (2, 500_000_000));
    }
    assert_eq!(server.stats().refused(Reason::Unavailable), 1);
    assert_eq!(server.stats().refused(Reason::Overloaded), 1);
}

#[tokio::test]
async fn an_oversize_request_is_resource_exhausted_without_retry_info() {
    let server = Server::with(small()).await;
    let large = vec![0; 65 * 1024];
    for (encoding, body) in [
        ("", frame(0, &large)),
        ("gzip", frame(1, &gzip(&large))),
        ("zstd", frame(1, &zstd(&large))),
        // Only announced: refused before any of it is read.
        ("", vec![0, 0xff, 0xff, 0xff, 0xff]),
    ] {
        let answer = call(&server, EXPORT, encoding, body).await;
        assert_eq!(answer.grpc_status(), Code::ResourceExhausted as i32);
        assert!(details_of(&answer).details.is_empty());
    }
    assert_eq!(export(&server, sample(1000)).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(server.stats().refused(Reason::TooLarge), 5);
    assert!(server.bodies().is_empty());
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn a_sender_in_the_middle_of_an_oversize_request_gets_to_read_the_status() {
    let server = Server::with(small()).await;
    for _ in 0..5 {
        let status = export(&server, sample(40_000)).await.unwrap_err();
        assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    }
}

#[tokio::test]
async fn over_the_byte_budget_senders_are_told_to_come_back() {
    let server = Server::with(small()).await;
    server.hold_answers();
    let body = frame(0, &vec![0; 60 * 1024]);
    let mut held = Vec::new();
    for n in 1..=4 {
        let (grpc, body) = (server.grpc, body.clone());
        let request = Request::post(EXPORT).header("content-type", "application/grpc");
        held.push(tokio::spawn(async move { send_h2(grpc, request, body).await }));
        super::eventually("the request is held", || server.bodies().len() == n).await;
    }
    let answer = call(&server, EXPORT, "", body.clone()).await;
    assert_eq!(answer.grpc_status(), Code::Unavailable as i32);
    assert!(details_of(&answer).details[0].type_url.ends_with("RetryInfo"));
    server.release_answers();
    for held in held {
        assert_eq!(held.await.unwrap().grpc_status(), 0);
    }
    assert_eq!(call(&server, EXPORT, "", body).await.grpc_status(), 0);
    assert_eq!(server.stats().refused(Reason::Overloaded), 1);
}

#[tokio::test]
async fn unknown_methods_are_unimplemented() {
    let server = Server::start().await;
    for path in ["/opentelemetry.proto.collector.trace.v1.TraceService/Import", "/a.B/C", "/"] {
        let answer = call(&server, path, "", frame(0, b"")).await;
        assert_eq!(answer.grpc_status(), Code::Unimplemented as i32, "{path}");
        assert!(answer.body.is_empty() && !answer.trailers, "errors are trailers only");
    }
}

#[tokio::test]
async fn an_unknown_compression_is_unimplemented_and_names_ours() {
    let server = Server::start().await;
    let answer = call(&server, EXPORT, "br", frame(1, b"x")).await;
    assert_eq!(answer.grpc_status(), Code::Unimplemented as i32);
    let accepted = answer.headers["grpc-accept-encoding"].to_str().unwrap();
    assert!(accepted.contains("gzip") && accepted.contains("zstd"), "{accepted}");
}

#[tokio::test]
async fn framing_that_is_wrong_has_its_status() {
    let server = Server::start().await;
    let message = sample(1).encode_to_vec();
    let two = [frame(0, &message), frame(0, &message)].concat();
    let cut = frame(0, &message)[..message.len()].to_vec();
    for (what, encoding, body, code) in [
        ("no message", "", Vec::new(), Code::InvalidArgument),
        ("half a prefix", "", vec![0, 0], Code::InvalidArgument),
        ("half a message", "", cut, Code::InvalidArgument),
        ("two messages", "", two, Code::Unimplemented),
        ("compressed without an encoding", "", frame(1, &gzip(&message)), Code::Internal),
        ("a strange flag", "gzip", frame(2, &message), Code::Internal),
        ("not gzip at all", "gzip", frame(1, &message), Code::InvalidArgument),
        ("half of the gzip", "gzip", frame(1, &gzip(&message)[..20]), Code::InvalidArgument),
        ("half of the zstd", "zstd", frame(1, &zstd(&message)[..20]), Code::InvalidArgument),
    ] {
        let answer = call(&server, EXPORT, encoding, body).await;
        assert_eq!(answer.grpc_status(), code as i32, "{what}");
    }
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn an_encoding_may_be_named_and_not_used() {
    let server = Server::start().await;
    let message = sample(1).encode_to_vec();
    assert_eq!(call(&server, EXPORT, "gzip", frame(0, &message)).await.grpc_status(), 0);
    assert_eq!(server.bodies(), [message]);
}

#[tokio::test]
async fn what_is_not_grpc_is_an_unsupported_media_type() {
    let server = Server::start().await;
    let request = Request::post(EXPORT).header("content-type", "application/json");
    assert_eq!(send_h2(server.grpc, request, b"{}".to_vec()).await.status, 415);
    let answer = super::peer::post(server.grpc, "content-type: application/x-protobuf\r\n", b"").await;
    assert_eq!(answer.status, 415);
    assert!(String::from_utf8(answer.body).unwrap().contains("4318"));
}

#[tokio::test]
async fn the_health_service_says_serving() {
    let server = Server::start().await;
    let path = "/grpc.health.v1.Health/Check";
    let service = b"opentelemetry.proto.collector.trace.v1.TraceService";
    let named = [&[0x0a, service.len() as u8][..], service].concat();
    for message in [Vec::new(), named] {
        let answer = call(&server, path, "", frame(0, &message)).await;
        assert_eq!((answer.grpc_status(), &answer.body[..]), (0, &[0, 0, 0, 0, 2, 8, 1][..]));
    }
    let answer = call(&server, path, "", frame(0, b"\x0a\x01x")).await;
    assert_eq!(answer.grpc_status(), Code::NotFound as i32);
}
