//! Who is not let in is told so before its body is read.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::peer::{frame, post, read_answer, send_h2};
use super::*;
use crate::auth::{AuthConfig, Credentials, Gate, token_hash};

/// A server that knows one token, `open`, of the tenant `home`.
async fn guarded() -> Server {
    let clock: Arc<dyn crate::runtime::Clock> = Arc::new(SystemClock::new());
    let config = AuthConfig { credentials: Some("credentials.yaml".into()), ..AuthConfig::default() };
    let gate = Gate::new(config, clock, Handle::current(), &[7; 32]);
    let hash = hex::encode(token_hash("open"));
    let file = format!("tokens: [{{ name: a, sha256: {hash}, tenant: home, scopes: [write] }}]");
    gate.install_credentials(Credentials::parse(&file).unwrap());
    Server::behind(ReceiveConfig::default(), Arc::new(gate)).await
}

const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

#[tokio::test]
async fn a_strangers_body_is_not_waited_for_reserved_or_decompressed() {
    let server = guarded().await;
    let began = Instant::now();
    let head = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: test\r\nauthorization: Bearer wrong\r\n{PROTOBUF}\
         content-encoding: gzip\r\ncontent-length: 1000\r\nconnection: close\r\n\r\nnot gzip"
    );
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = timeout(Duration::from_secs(20), read_answer(&mut stream)).await.unwrap();
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer realm=\"tracewell\"")));
    assert!(began.elapsed() < Duration::from_secs(15), "the deadline of bodies is a minute");
    assert_eq!(server.receiver.budget().bytes_used(), 0);

    let request = ::http::Request::post("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
        .header("content-type", "application/grpc")
        .header("grpc-encoding", "gzip");
    let answer = send_h2(server.grpc, request, frame(1, b"not gzip")).await;
    assert_eq!(answer.grpc_status(), 16);
    assert!(answer.headers.contains_key("www-authenticate"));
    let stats = server.stats();
    assert_eq!((stats.refused(Reason::Unauthenticated), stats.refused(Reason::Malformed)), (2, 0));
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn the_next_stage_gets_the_tenant_and_not_the_credential() {
    let server = guarded().await;
    let headers = format!("{PROTOBUF}authorization: Bearer open\r\ncookie: a=b\r\nx-mine: 1\r\n");
    assert_eq!(post(server.http, &headers, b"\x0a\x00").await.status, 200);
    let requests = server.fake.requests.lock().unwrap();
    assert_eq!(requests[0].tenant.as_str(), "home");
    let headers = &requests[0].origin.headers;
    assert_eq!(headers["x-mine"], "1");
    assert!(!headers.contains_key("authorization") && !headers.contains_key("cookie"));
}

#[tokio::test]
async fn health_checks_need_no_credential() {
    let server = guarded().await;
    let request =
        ::http::Request::post("/grpc.health.v1.Health/Check").header("content-type", "application/grpc");
    assert_eq!(send_h2(server.grpc, request, frame(0, b"")).await.grpc_status(), 0);
}
