//! OTLP/HTTP: each answer as the specification names it, in the request's own encoding.

use std::time::Duration;

use ::http::Request;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peer::{Answer, deflate, gzip, post, send, send_h2, zstd};
use super::{Server, sample, small};
use crate::receive::status::{BadRequest, Status};
use crate::receive::{Accepted, Reason, ReceiveConfig, Refusal, Transport};

const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";
const JSON: &str = "content-type: application/json\r\n";
const ONE_SPAN: &[u8] =
    br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C",
    "spanId":"eee19b7ec3c1b174","name":"a","kind":2}]}]}]}"#;

/// The error of an answer, whatever its encoding: code and message.
fn error(answer: &Answer) -> (i64, String) {
    match answer.header("content-type").unwrap() {
        "application/x-protobuf" => {
            let status = Status::decode(&answer.body[..]).unwrap();
            (status.code.into(), status.message)
        }
        "application/json" => {
            let status = answer.json();
            (status["code"].as_i64().unwrap(), status["message"].as_str().unwrap().into())
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn protobuf_arrives_as_the_bytes_that_were_sent() {
    let server = Server::start().await;
    let body = sample(300).encode_to_vec();
    let encodings = [
        ("", body.clone()),
        ("content-encoding: identity\r\n", body.clone()),
        ("content-encoding: gzip\r\n", gzip(&body)),
        ("content-encoding: zstd\r\n", zstd(&body)),
        ("content-encoding: deflate\r\n", deflate(&body)),
    ];
    for (header, wire) in &encodings {
        let answer = post(server.http, &format!("{PROTOBUF}{header}"), wire).await;
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "{header}");
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    }
    assert_eq!(server.bodies(), vec![body; 5]);
    assert_eq!(server.stats().requests(Transport::HttpProtobuf), 5);
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn json_arrives_as_protobuf_and_is_answered_in_json() {
    let server = Server::start().await;
    for header in [JSON, "Content-Type: Application/JSON; charset=utf-8\r\n"] {
        let answer = post(server.http, header, ONE_SPAN).await;
        assert_eq!((answer.status, answer.json()), (200, json!({})));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let answer = post(server.http, &format!("{JSON}content-encoding: gzip\r\n"), &gzip(ONE_SPAN)).await;
    assert_eq!(answer.status, 200);
    let request = super::ExportTraceServiceRequest::decode(server.bodies()[2].clone()).unwrap();
    let span = &request.resource_spans[0].scope_spans[0].spans[0];
    assert_eq!(hex::encode(&span.trace_id), "5b8efff798038103d269b633813fc60c");
    assert_eq!(server.stats().requests(Transport::HttpJson), 3);
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn large_json_is_converted_beside_other_requests() {
    let server = Server::start().await;
    let json = serde_json::to_vec(&sample(3000)).unwrap();
    assert!(json.len() > 512 * 1024);
    assert_eq!(post(server.http, JSON, &json).await.status, 200);
    assert_eq!(super::ExportTraceServiceRequest::decode(server.bodies().remove(0)).unwrap(), sample(3000));
    assert_eq!(post(server.http, JSON, &json[..json.len() - 1]).await.status, 400);
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn empty_requests_succeed() {
    let server = Server::start().await;
    assert_eq!(post(server.http, PROTOBUF, b"").await.status, 200);
    assert_eq!(post(server.http, JSON, b"{}").await.json(), json!({}));
    assert_eq!(post(server.http, JSON, br#"{"resourceSpans":[]}"#).await.json(), json!({}));
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn rejected_spans_are_a_partial_success_in_either_encoding() {
    let server = Server::start().await;
    server.answer(Ok(Accepted { rejected_spans: 3, message: "bad id".into() }));
    let answer = post(server.http, PROTOBUF, &sample(5).encode_to_vec()).await;
    let partial = ExportTraceServiceResponse::decode(&answer.body[..]).unwrap().partial_success.unwrap();
    assert_eq!((answer.status, partial.rejected_spans, &*partial.error_message), (200, 3, "bad id"));
    let answer = post(server.http, JSON, ONE_SPAN).await;
    let partial = json!({ "partialSuccess": { "rejectedSpans": "3", "errorMessage": "bad id" } });
    assert_eq!((answer.status, answer.json()), (200, partial));
}

#[tokio::test]
async fn snake_case_keys_are_ignored_with_a_warning() {
    let server = Server::start().await;
    let answer = post(server.http, JSON, br#"{"resource_spans":[{}],"other_thing":1}"#).await;
    let partial = &answer.json()["partialSuccess"];
    assert_eq!((answer.status, &partial["rejectedSpans"]), (200, &json!("0")));
    assert!(partial["errorMessage"].as_str().unwrap().starts_with("1 snake_case keys"), "{partial}");
    assert_eq!(server.stats().json_snake_case_keys(), 1);
}

#[tokio::test]
async fn bad_data_is_400_with_details() {
    let server = Server::start().await;
    server.answer(Err(Refusal::Malformed("field 2 ends early".into())));
    let answer = post(server.http, PROTOBUF, b"\x0a\x05abc").await;
    assert_eq!((answer.status, error(&answer)), (400, (3, "field 2 ends early".into())));
    let status = Status::decode(&answer.body[..]).unwrap();
    assert_eq!(status.details[0].type_url, "type.googleapis.com/google.rpc.BadRequest");
    let bad = BadRequest::decode(&status.details[0].value[..]).unwrap();
    assert_eq!(bad.field_violations[0].description, "field 2 ends early");

    let answer = post(server.http, JSON, br#"{"resourceSpans":[{"scopeSpans":[{},{"spans":5}]}]}"#).await;
    assert_eq!((answer.status, error(&answer).0), (400, 3));
    let violation = &answer.json()["details"][0]["fieldViolations"][0];
    assert_eq!(violation["field"], "resourceSpans[0].scopeSpans[1].spans");
    assert!(violation["description"].as_str().unwrap().starts_with("expected an array, found a number"));
    assert_eq!(server.stats().refused(Reason::Malformed), 2);
}

#[tokio::test]
async fn damaged_compression_is_400() {
    let server = Server::start().await;
    let body = sample(1).encode_to_vec();
    for (encoding, wire) in [
        ("gzip", body.clone()),
        ("gzip", gzip(&body)[..30].to_vec()),
        ("zstd", body.clone()),
        ("zstd", zstd(&body)[..30].to_vec()),
        ("deflate", body.clone()),
    ] {
        let answer = post(server.http, &format!("{PROTOBUF}content-encoding: {encoding}\r\n"), &wire).await;
        assert_eq!((answer.status, error(&answer).0), (400, 3), "{encoding}");
    }
}

#[tokio::test]
async fn throttling_is_503_with_retry_after() {
    let server = Server::start().await;
    let reason = String::from("the disk is full");
    server.answer(Err(Refusal::Unavailable { retry_after: Duration::from_millis(1200), reason }));
    let answer = post(server.http, PROTOBUF, &sample(1).encode_to_vec()).await;
    assert_eq!((answer.status, error(&answer)), (503, (14, "the disk is full".into())));
    assert_eq!(answer.header("retry-after"), Some("2"));
    let answer = post(server.http, JSON, ONE_SPAN).await;
    assert_eq!((answer.status, error(&answer).0), (503, 14));
    assert_eq!(answer.json()["details"][0]["retryDelay"], "1.2s");
}

#[tokio::test]
async fn other_paths_methods_types_and_encodings_have_their_status() {
    let server = Server::start().await;
    let get = send(server.http, "GET /v1/traces HTTP/1.1\r\n", b"").await;
    assert_eq!((get.status, get.header("allow")), (405, Some("POST")));
    assert_eq!(error(&get).0, 12);
    for path in ["/", "/v1/metrics", "/v1/traces/", "/v1/logs"] {
        let answer = send(server.http, &format!("POST {path} HTTP/1.1\r\n{PROTOBUF}"), b"").await;
        assert_eq!((answer.status, error(&answer).0), (404, 5), "{path}");
        assert_eq!(answer.header("content-type"), Some("application/x-protobuf"));
    }
    for content_type in ["", "content-type: text/plain\r\n", "content-type: application/grpc\r\n"] {
        let answer = post(server.http, content_type, b"{}").await;
        assert_eq!((answer.status, error(&answer).0), (415, 3), "{content_type}");
    }
    let answer = post(server.http, &format!("{PROTOBUF}content-encoding: br\r\n"), b"x").await;
    assert_eq!((answer.status, error(&answer).0), (415, 12));
    assert!(answer.header("accept-encoding").unwrap().contains("gzip"));
    assert_eq!(server.stats().refused(Reason::Unsupported), 9);
}

#[tokio::test]
async fn an_oversize_request_is_413() {
    let server = Server::with(small()).await;
    let large = vec![b' '; 65 * 1024];
    for headers in [PROTOBUF, JSON] {
        let answer = post(server.http, headers, &large).await;
        assert_eq!((answer.status, error(&answer).0), (413, 8));
        assert_eq!(answer.header("retry-after"), None);
        for (encoding, wire) in [("gzip", gzip(&large)), ("zstd", zstd(&large)), ("deflate", deflate(&large))]
        {
            let answer =
                post(server.http, &format!("{headers}content-encoding: {encoding}\r\n"), &wire).await;
            assert_eq!((answer.status, error(&answer).0), (413, 8), "{encoding}");
        }
    }
    assert_eq!(server.stats().refused(Reason::TooLarge), 8);
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn a_sender_gets_to_read_that_its_request_is_too_large() {
    let server = Server::with(ReceiveConfig { request_bytes_max: 1 << 20, ..ReceiveConfig::default() }).await;
    // More than the kernel holds for the two: a connection closed before all is read is reset.
    let large = vec![b' '; 7 << 20];
    for _ in 0..3 {
        assert_eq!(post(server.http, PROTOBUF, &large).await.status, 413);
    }
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_and_limited() {
    let server = Server::with(small()).await;
    let body = sample(20).encode_to_vec();
    for (times, status) in [(1, "200"), (20, "413")] {
        let mut stream = TcpStream::connect(server.http).await.unwrap();
        let head =
            "POST /v1/traces HTTP/1.1\r\nhost: test\r\nconnection: close\r\ntransfer-encoding: chunked\r\n";
        stream.write_all(format!("{head}{PROTOBUF}\r\n").as_bytes()).await.unwrap();
        for _ in 0..times {
            stream.write_all(format!("{:x}\r\n", body.len()).as_bytes()).await.unwrap();
            stream.write_all(&body).await.unwrap();
            stream.write_all(b"\r\n").await.unwrap();
        }
        stream.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(super::peer::read_answer(&mut stream).await.status.to_string(), status);
    }
    assert_eq!(server.bodies(), [body]);
    assert_eq!(server.receiver.budget().bytes_used(), 0);
}

#[tokio::test]
async fn a_connection_is_used_again() {
    let server = Server::start().await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    for _ in 0..3 {
        let head = format!("POST /v1/traces HTTP/1.1\r\nhost: test\r\n{JSON}content-length: 2\r\n\r\n{{}}");
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = vec![0; 1000];
        let length = stream.read(&mut answer).await.unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK\r\n") && answer[..length].ends_with(b"{}"));
    }
    assert_eq!(server.stats().connections(), 1);
}

#[tokio::test]
async fn a_sender_that_asks_before_it_sends_is_answered_either_way() {
    let server = Server::with(small()).await;
    let head = format!("POST /v1/traces HTTP/1.1\r\nhost: test\r\n{PROTOBUF}expect: 100-continue\r\n");
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(format!("{head}content-length: 99999999\r\n\r\n").as_bytes()).await.unwrap();
    assert_eq!(super::peer::read_answer(&mut stream).await.status, 413);

    let body = sample(1).encode_to_vec();
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!("{head}connection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(&body).await.unwrap();
    assert_eq!(super::peer::read_answer(&mut stream).await.status, 200);
}

#[tokio::test]
async fn http2_works_too() {
    let server = Server::start().await;
    let request = Request::post("/v1/traces").header("content-type", "application/x-protobuf");
    let body = sample(300).encode_to_vec();
    assert_eq!(send_h2(server.http, request, body.clone()).await.status, 200);
    assert_eq!(server.bodies(), [body]);
}
