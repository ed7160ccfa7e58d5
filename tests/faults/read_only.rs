//! Row 9: a disk that can only be read.

use std::time::Duration;

use crate::support::Start;
use crate::support::disk::Mounted;
use crate::support::traffic;
use crate::{ids, noisy, send_until_refused, send_until_taken};
use prost::Message;

#[tokio::test(flavor = "multi_thread")]
async fn row_09_a_disk_that_turns_read_only_refuses_with_a_hint_is_not_ready_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data"))
        .config("log: { segment: 1MiB }\nquery: { limit_max: 100000 }\n")
        .env("TRACE_DEBUG", "1");
    let mut daemon = start.run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    send_until_taken(&mut client, noisy(0)).await;
    let Some(read_only) = Mounted::read_only(&folder.path().join("data/log")) else {
        eprintln!("SKIPPED: this user may not mount");
        return;
    };
    // What it has open it may write on; the next segment it cannot begin.
    let (acknowledged, refusal) = send_until_refused(&mut client, 1..2000).await;
    assert_eq!(refusal.code(), tonic::Code::Unavailable, "{refusal:?}");
    assert!(!refusal.details().is_empty(), "a retry hint: {refusal:?}");
    let http = reqwest::Client::new();
    let body = traffic::request(noisy(5000), "shop").encode_to_vec();
    let url = format!("{}/v1/traces", daemon.http);
    let request = http.post(url).header("content-type", "application/x-protobuf").body(body);
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 503);
    assert!(answer.headers().contains_key("retry-after"), "{answer:?}");
    let mut not_ready = (200, String::new());
    for _ in 0..100 {
        assert!(traffic::send(&mut client, noisy(5000), "shop").await.is_err());
        not_ready = daemon.get("/ready").await;
        if not_ready.0 != 200 {
            break;
        }
    }
    assert_eq!(not_ready.0, 503, "{not_ready:?}");
    assert!(daemon.is_running());

    drop(read_only);
    send_until_taken(&mut client, noisy(6000)).await;
    let ready = |status: &serde_json::Value| status["ready"] == true;
    daemon.status_when("ready again", Duration::from_secs(30), ready).await;
    let found: std::collections::BTreeSet<_> = daemon.search("{}", 100_000).await.into_keys().collect();
    let missing: Vec<_> = ids(acknowledged).into_iter().filter(|id| !found.contains(id)).collect();
    assert!(missing.is_empty(), "acknowledged and gone: {missing:?}");
    assert!(found.is_superset(&ids([0, 6000])));
}

#[test]
fn row_09_a_read_only_data_directory_is_named_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir_all(&data).unwrap();
    let Some(_read_only) = Mounted::read_only(&data) else {
        eprintln!("SKIPPED: this user may not mount");
        return;
    };
    let (code, said) = Start::new(&data).run_to_failure();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(data.to_str().unwrap()) && !said.contains("panicked"), "{said}");
}
