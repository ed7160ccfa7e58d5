//! Ordered shutdown, and configurations that cannot work.

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::peer::{channel, post};
use super::{Server, eventually, sample, small};
use crate::receive::ReceiveConfig;

#[tokio::test]
async fn shutdown_answers_what_is_in_flight_and_takes_nothing_new() {
    let server = Server::start().await;
    server.hold_answers();
    let mut client = TraceServiceClient::new(channel(server.grpc).await);
    let over_grpc = tokio::spawn(async move { client.export(sample(1)).await });
    let http = server.http;
    let over_http =
        tokio::spawn(
            async move { post(http, "content-type: application/x-protobuf\r\n", b"\x0a\x00").await },
        );
    let idle = TcpStream::connect(server.http).await.unwrap();
    eventually("both are held", || server.bodies().len() == 2).await;
    eventually("all are open", || server.stats().connections_open() == 3).await;

    server.shutdown.cancel();
    eventually("the idle one is closed", || server.stats().connections_open() == 2).await;
    drop(idle);
    assert!(TcpStream::connect(server.http).await.is_err(), "nobody listens any more");
    assert!(server.served.iter().all(|served| !served.is_finished()), "two are still in flight");

    server.release_answers();
    over_grpc.await.unwrap().unwrap();
    assert_eq!(over_http.await.unwrap().status, 200);
    for served in server.served {
        timeout(Duration::from_secs(5), served).await.unwrap().unwrap();
    }
    assert_eq!(server.fake.requests.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn dropping_the_server_cuts_what_is_open() {
    let server = Server::start().await;
    server.hold_answers();
    let http = server.http;
    let held = tokio::spawn(async move {
        let stream = TcpStream::connect(http).await.unwrap();
        stream.readable().await.unwrap();
    });
    eventually("it is open", || server.stats().connections_open() == 1).await;
    for served in &server.served {
        served.abort();
    }
    timeout(Duration::from_secs(5), held).await.unwrap().unwrap();
    eventually("none is open", || server.stats().connections_open() == 0).await;
}

#[tokio::test]
async fn request_ids_differ() {
    let server = Server::start().await;
    for _ in 0..3 {
        post(server.http, "content-type: application/x-protobuf\r\n", b"\x0a\x00").await;
    }
    let requests = server.fake.requests.lock().unwrap();
    assert!(requests.windows(2).all(|pair| pair[0].request_id != pair[1].request_id));
}

#[test]
fn the_default_configuration_works_and_each_wrong_value_is_named() {
    ReceiveConfig::default().validate().unwrap();
    small().validate().unwrap();
    let default = ReceiveConfig::default;
    let wrong = [
        ("http", ReceiveConfig { http: default().grpc, ..default() }),
        ("request_bytes_max", ReceiveConfig { request_bytes_max: 10, ..default() }),
        ("request_bytes_max", ReceiveConfig { request_bytes_max: usize::MAX, ..default() }),
        ("in_flight_bytes_max", ReceiveConfig { in_flight_bytes_max: 100 << 20, ..default() }),
        ("connections_max", ReceiveConfig { connections_max: 0, ..default() }),
        ("streams_max", ReceiveConfig { streams_max: 0, ..default() }),
        ("header_bytes_max", ReceiveConfig { header_bytes_max: 0, ..default() }),
        ("body_timeout", ReceiveConfig { body_timeout: Duration::ZERO, ..default() }),
        ("retry_after", ReceiveConfig { retry_after: Duration::MAX, ..default() }),
    ];
    for (key, config) in wrong {
        assert_eq!(config.validate().unwrap_err().key, key);
    }
}
