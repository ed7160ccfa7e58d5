//! Senders that are slow, broken or hostile, and the others beside them.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::peer::{frame, gzip, post, read_answer, zstd};
use super::{Server, eventually, small};
use crate::receive::{Reason, ReceiveConfig};

const PROTOBUF: &str = "content-type: application/x-protobuf\r\n";

/// How long the server may take to get rid of somebody.
const SOON: Duration = Duration::from_secs(5);

async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let closed = timeout(SOON, stream.read_to_end(&mut rest)).await;
    closed.expect("closed in time").ok();
}

async fn others_are_served(server: &Server) {
    assert_eq!(post(server.http, PROTOBUF, b"\x0a\x00").await.status, 200);
}

#[tokio::test]
async fn a_silent_connection_is_closed() {
    let server = Server::with(small()).await;
    for first in [&b""[..], b"P", b"PRI * HTTP/2.0\r\n", b"POST /v1/traces HTTP/1.1\r\nhost: t"] {
        for address in [server.grpc, server.http] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(first).await.unwrap();
            is_closed(&mut stream).await;
        }
    }
    others_are_served(&server).await;
}

#[tokio::test]
async fn a_slow_body_is_answered_so_that_it_is_sent_again() {
    let server = Server::with(small()).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head = format!("POST /v1/traces HTTP/1.1\r\nhost: test\r\n{PROTOBUF}content-length: 1000\r\n\r\nabc");
    stream.write_all(head.as_bytes()).await.unwrap();
    let answer = timeout(SOON, read_answer(&mut stream)).await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    assert_eq!(server.stats().refused(Reason::TimedOut), 1);
    assert_eq!(server.receiver.budget().bytes_used(), 0);
    others_are_served(&server).await;
}

#[tokio::test]
async fn a_body_that_breaks_off_gives_its_bytes_back() {
    let server = Server::with(small()).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    let head =
        format!("POST /v1/traces HTTP/1.1\r\nhost: test\r\n{PROTOBUF}content-length: 60000\r\n\r\nabc");
    stream.write_all(head.as_bytes()).await.unwrap();
    let budget = server.receiver.budget();
    eventually("reserved before it is read", || budget.bytes_used() == 60000).await;
    drop(stream);
    eventually("given back", || budget.bytes_used() == 0).await;
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn bombs_leave_memory_flat() {
    let server = Server::start().await;
    let bomb = vec![0; 128 * 1024 * 1024];
    let bombs = [("gzip", gzip(&bomb)), ("zstd", zstd(&bomb))];
    drop(bomb);
    for (encoding, wire) in bombs {
        let headers = format!("{PROTOBUF}content-encoding: {encoding}\r\n");
        assert_eq!(post(server.http, &headers, &wire).await.status, 413, "{encoding}");
        let request = ::http::Request::post("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
            .header("content-type", "application/grpc")
            .header("grpc-encoding", encoding);
        let answer = super::peer::send_h2(server.grpc, request, frame(1, &wire)).await;
        assert_eq!(answer.grpc_status(), 8, "{encoding}");
    }
    assert_eq!(server.receiver.budget().bytes_used(), 0);
    assert!(server.bodies().is_empty());
}

#[tokio::test]
async fn headers_without_end_are_refused() {
    let server = Server::with(small()).await;
    let mut stream = TcpStream::connect(server.http).await.unwrap();
    stream.write_all(b"POST /v1/traces HTTP/1.1\r\nhost: test\r\n").await.unwrap();
    let line = format!("x: {}\r\n", "x".repeat(1000));
    for _ in 0..100 {
        if stream.write_all(line.as_bytes()).await.is_err() {
            break;
        }
    }
    is_closed(&mut stream).await;
    others_are_served(&server).await;
}

/// An HTTP/2 frame (RFC 9113, section 4.1).
fn h2_frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `:method: POST`, `:scheme: http`, `:path: /`, from HPACK's static table.
const HEADERS: [u8; 3] = [0x83, 0x86, 0x84];

async fn h2_connection(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.grpc).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&h2_frame(4, 0, 0, b"")).await.unwrap();
    stream
}

#[tokio::test]
async fn a_rapid_reset_closes_the_connection() {
    let server = Server::with(small()).await;
    let mut stream = h2_connection(&server).await;
    for n in 0..20_000 {
        let mut frames = h2_frame(1, 4, 2 * n + 1, &HEADERS);
        frames.extend(h2_frame(3, 0, 2 * n + 1, &8u32.to_be_bytes()));
        if stream.write_all(&frames).await.is_err() {
            break;
        }
    }
    is_closed(&mut stream).await;
    others_are_served(&server).await;
}

#[tokio::test]
async fn a_flood_of_continuations_closes_the_connection() {
    let server = Server::with(small()).await;
    let mut stream = h2_connection(&server).await;
    stream.write_all(&h2_frame(1, 0, 1, &HEADERS)).await.unwrap();
    for _ in 0..20_000 {
        // A literal header without indexing, name and value of one letter.
        let header = [0x00, 1, b'x', 1, b'y'].repeat(100);
        if stream.write_all(&h2_frame(9, 0, 1, &header)).await.is_err() {
            break;
        }
    }
    is_closed(&mut stream).await;
    others_are_served(&server).await;
}

#[tokio::test]
async fn a_dead_http2_peer_is_found_by_ping() {
    let config = ReceiveConfig {
        keepalive_interval: Duration::from_millis(100),
        keepalive_timeout: Duration::from_millis(100),
        ..small()
    };
    let server = Server::with(config).await;
    let mut stream = h2_connection(&server).await;
    is_closed(&mut stream).await;
}

#[tokio::test]
async fn connections_over_the_limit_wait_for_a_place() {
    let server = Server::with(ReceiveConfig { connections_max: 1, ..small() }).await;
    let idle = TcpStream::connect(server.http).await.unwrap();
    eventually("the place is taken", || server.stats().connections_open() == 1).await;
    let waiting = post(server.http, PROTOBUF, b"\x0a\x00");
    let mut waiting = std::pin::pin!(waiting);
    assert!(timeout(Duration::from_millis(50), waiting.as_mut()).await.is_err());
    drop(idle);
    assert_eq!(waiting.await.status, 200);
}

#[tokio::test]
async fn random_bytes_are_answered_or_closed() {
    let server = Server::with(small()).await;
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..50 {
        let bytes: Vec<u8> = (0..random.usize(1..500)).map(|_| random.u8(..)).collect();
        for address in [server.grpc, server.http] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
            is_closed(&mut stream).await;
        }
    }
    others_are_served(&server).await;
}

/// A connection from this address of the machine.
async fn connect_from(from: &str, to: std::net::SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(format!("{from}:0").parse().unwrap()).unwrap();
    socket.connect(to).await.unwrap()
}

fn head(length: usize) -> String {
    format!(
        "POST /v1/traces HTTP/1.1\r\nhost: t\r\nconnection: close\r\n{PROTOBUF}content-length: {length}\r\n\r\n"
    )
}

#[tokio::test]
async fn without_credentials_addresses_share_the_budget_and_one_cannot_have_it_all() {
    let config = ReceiveConfig { open_to_others: true, body_timeout: Duration::from_secs(60), ..small() };
    let server = Server::with(config).await;
    let budget = server.receiver.budget();
    let mut held = Vec::new();
    for _ in 0..6 {
        let mut stream = connect_from("127.0.0.1", server.http).await;
        stream.write_all(head(60_000).as_bytes()).await.unwrap();
        held.push(stream);
    }
    // Four of them would fit; an eighth is left to others.
    eventually("three are told to come back", || server.stats().refused(Reason::Overloaded) == 3).await;
    assert_eq!(budget.bytes_used(), 180_000);
    let mut other = connect_from("127.0.0.2", server.http).await;
    let body = [&[0x0a, 0xcc, 0xea, 0x01][..], &[0; 29_996]].concat();
    other.write_all(&[head(body.len()).as_bytes(), &body].concat()).await.unwrap();
    assert_eq!(timeout(SOON, read_answer(&mut other)).await.unwrap().status, 200);

    // Where only this machine can connect, nobody is told apart, and nothing is left unused.
    let server = Server::with(ReceiveConfig { body_timeout: Duration::from_secs(60), ..small() }).await;
    let mut held = Vec::new();
    for _ in 0..4 {
        let mut stream = connect_from("127.0.0.1", server.http).await;
        stream.write_all(head(60_000).as_bytes()).await.unwrap();
        held.push(stream);
    }
    let budget = server.receiver.budget();
    eventually("all four", || budget.bytes_used() == 240_000).await;
}
