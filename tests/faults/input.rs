//! Rows 21 and 26: senders that repeat themselves, and senders that take memory.

use std::time::Duration;

use prost::Message;
use tokio::io::AsyncWriteExt;

use crate::support::Start;
use crate::support::traffic::{self, Shape};

#[tokio::test(flavor = "multi_thread")]
async fn row_21_a_request_sent_again_before_and_after_the_verdict_and_a_restart_changes_no_answer() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data"))
        .rules("version: 1\ndecision: { wait: 1s, after_root: 300ms }\nrules: [{ name: all, keep: 100% }]\n")
        .config("store: { flush: { age: 200ms } }\n");
    let mut daemon = start.run();
    let trace = traffic::trace(1, Shape::Error, 5);
    for round in 0..4 {
        let mut client = traffic::connect(&daemon.grpc).await.unwrap();
        for _ in 0..=round % 2 {
            traffic::send(&mut client, trace.clone(), "shop").await.unwrap();
        }
        for _ in 0..2 {
            let found = daemon.search("{}", 10).await;
            let spans: std::collections::BTreeSet<_> = found.values().flatten().collect();
            assert_eq!((found.len(), spans.len(), found.values().flatten().count()), (1, 5, 5), "{round}");
            let id = traffic::hex(&traffic::trace_id(1));
            let whole = daemon.json(&format!("/api/v2/traces/{id}")).await.to_string();
            assert_eq!(whole.matches("\"spanId\"").count(), 5, "round {round}: {whole}");
            // First wherever it is by now, then from the table.
            daemon.settle(Duration::from_secs(60)).await;
        }
        if round == 2 {
            daemon.kill();
            daemon = start.run();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_26_requests_beyond_the_budget_are_told_to_come_back_before_they_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let start =
        Start::new(&folder.path().join("data")).config("memory: { limit: 96MiB }\n").env("TRACE_DEBUG", "1");
    let daemon = start.run();
    let part =
        |status: &serde_json::Value, key: &str| status["memory"]["parts"]["admission"][key].as_u64().unwrap();
    let bound = part(&daemon.json("/status").await, "bound");
    let announced = bound / 2 - 1000;
    // Senders that announce much and send little.
    let mut slow = Vec::new();
    for _ in 0..2 {
        let mut stream =
            tokio::net::TcpStream::connect(daemon.http.trim_start_matches("http://")).await.unwrap();
        let head = format!(
            "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-type: application/x-protobuf\r\ncontent-length: {announced}\r\n\r\n\0"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let full = |status: &serde_json::Value| part(status, "used") >= 2 * announced;
    daemon.status_when("the budget is used up", Duration::from_secs(10), full).await;

    let _ = rustls::crypto::ring::default_provider().install_default();
    let body = traffic::request(crate::noisy(1), "shop").encode_to_vec();
    let post = || {
        let request = reqwest::Client::new().post(format!("{}/v1/traces", daemon.http));
        request.header("content-type", "application/x-protobuf").body(body.clone()).send()
    };
    let refused = post().await.unwrap();
    assert_eq!(refused.status(), 503);
    assert!(refused.headers().contains_key("retry-after"), "{refused:?}");
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let refused = traffic::send(&mut client, crate::noisy(2), "shop").await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    assert!(!refused.details().is_empty(), "a retry hint: {refused:?}");
    let (_, metrics) = daemon.get("/metrics").await;
    let used = format!("tracewell_memory_bytes{{part=\"admission\"}} {}", 2 * announced);
    let bound = format!("tracewell_memory_bound_bytes{{part=\"admission\"}} {bound}");
    assert!(metrics.contains(&used) && metrics.contains(&bound), "{metrics}");

    drop(slow);
    let free = |status: &serde_json::Value| part(status, "used") == 0;
    daemon.status_when("the budget is free", Duration::from_secs(10), free).await;
    assert_eq!(post().await.unwrap().status(), 200);
}
