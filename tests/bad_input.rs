//! Bad input and bad surroundings: each a clear error, nothing accepted lost, no panic.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use support::disk::Mounted;
use support::traffic::{self, Shape};
use support::{Daemon, Start, tracewell};

const KEEP_ALL: &str =
    "version: 1\ndecision: { wait: 500ms, after_root: 100ms }\nrules: [{ name: all, keep: 100% }]\n";

fn start(folder: &Path) -> Start {
    Start::new(&folder.join("data")).rules(KEEP_ALL)
}

async fn post(daemon: &Daemon, content_type: &str, encoding: Option<&str>, body: Vec<u8>) -> (u16, String) {
    let client = reqwest::Client::new();
    let mut request =
        client.post(format!("{}/v1/traces", daemon.http)).header("content-type", content_type).body(body);
    if let Some(encoding) = encoding {
        request = request.header("content-encoding", encoding);
    }
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
}

fn gzip(content: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_requests_get_a_4xx_that_says_why_and_the_next_good_one_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    support::get(&format!("{}/ready", daemon.api)).await;
    let good = traffic::request(traffic::trace(1, Shape::Plain, 3), "shop").encode_to_vec();
    let protobuf = "application/x-protobuf";
    let json = "application/json";

    let truncated = good[..good.len() - 7].to_vec();
    let (status, body) = post(&daemon, protobuf, None, truncated).await;
    assert_eq!(status, 400, "{body}");

    let mut not_utf8 = good.clone();
    let at = not_utf8.windows(4).position(|w| w == b"GET ").unwrap();
    not_utf8[at] = 0xff;
    let (status, body) = post(&daemon, protobuf, None, not_utf8).await;
    assert!(status == 400 && body.contains("UTF-8"), "{status} {body}");

    let wrong_types = br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":5}]}]}]}"#.to_vec();
    let (status, body) = post(&daemon, json, None, wrong_types).await;
    assert_eq!(status, 400, "{body}");

    let deep = format!(
        r#"{{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"k","value":{}{}{}}}]}}}}]}}"#,
        r#"{"arrayValue":{"values":["#.repeat(100),
        r#"{"boolValue":true}"#,
        "]}}".repeat(100)
    );
    let (status, body) = post(&daemon, json, None, deep.into_bytes()).await;
    assert_eq!(status, 400, "{body}");

    let before = daemon.resident_mib_max();
    let zeros = vec![0u8; 512 << 20];
    for (encoding, bomb) in [("gzip", gzip(&zeros)), ("zstd", zstd::encode_all(&zeros[..], 3).unwrap())] {
        let (status, body) = post(&daemon, protobuf, Some(encoding), bomb).await;
        assert_eq!(status, 413, "{encoding}: {body}");
    }
    let grown = daemon.resident_mib_max() - before;
    assert!(grown < 300, "bombs of 512 MiB cost {grown} MiB");

    let (status, body) = post(&daemon, protobuf, None, good).await;
    assert_eq!(status, 200, "{body}");
    let (_, found) = daemon.get(&format!("/api/traces/{}", traffic::hex(&traffic::trace_id(1)))).await;
    assert!(found.contains("GET /items/{id}"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_with_invalid_ids_are_rejected_one_by_one_and_the_rest_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    let mut spans = traffic::trace(1, Shape::Plain, 3);
    spans.push(Span { trace_id: vec![0; 16], span_id: vec![1; 8], ..Default::default() });
    spans.push(Span { trace_id: vec![1; 5], span_id: vec![1; 8], ..Default::default() });
    spans.push(Span { trace_id: vec![1; 16], span_id: vec![], ..Default::default() });
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let answer = traffic::send(&mut client, spans, "shop").await.unwrap();
    let partial = answer.partial_success.unwrap();
    assert_eq!(partial.rejected_spans, 3);
    assert!(partial.error_message.contains("trace_id"), "{}", partial.error_message);
    let found = daemon.search("{}", 10).await;
    assert_eq!(found.values().map(Vec::len).collect::<Vec<_>>(), [3]);
}

#[test]
fn a_data_directory_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, said) = Start::new(&file.join("data")).run_to_failure();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(file.to_str().unwrap()) && !said.contains("panicked"), "{said}");
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused_with_the_pid_of_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = start(folder.path()).run();
    let (code, said) = start(folder.path()).run_to_failure();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(&first.pid().to_string()), "{said}");
}

#[test]
fn a_port_in_use_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = support::binary();
    command.args(["run", "--grpc", "127.0.0.1:0", "--api", "127.0.0.1:0", "--http", &address]);
    let output = command.arg("--data").arg(folder.path().join("data")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains(&address), "{said}");
}

#[test]
fn an_unknown_configuration_key_is_shown_with_line_column_and_the_nearest_known_one() {
    let folder = tempfile::tempdir().unwrap();
    let start = start(folder.path()).config("log:\n  segmnt: 1MiB\n");
    let (code, said) = start.run_to_failure();
    assert_eq!(code, Some(2), "{said}");
    let place = format!("{}:2:3", start.config.as_ref().unwrap().display());
    assert!(said.contains(&place) && said.contains("segmnt") && said.contains("segment"), "{said}");
}

#[test]
fn rules_check_shows_line_and_column_and_exits_1() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, "version: 1\nrules:\n  - { name: a, when: '{ status = }', keep: 100% }\n")
        .unwrap();
    let (code, out, err) = tracewell(&["rules", "check", rules.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(format!("{out}{err}").contains("rules.yaml:3:"), "{out}{err}");
    std::fs::write(&rules, KEEP_ALL).unwrap();
    let (code, out, err) = tracewell(&["rules", "check", rules.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{out}{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_08_a_full_disk_is_told_to_come_back_and_recovers_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let Some(disk) = Mounted::small(&folder.path().join("disk"), "8m") else {
        eprintln!("SKIPPED: this user may not mount a small disk");
        return;
    };
    let config = "query: { limit_max: 100000 }\n";
    let mut start = Start::new(&disk.0.join("data")).config(config).env("TRACE_DEBUG", "1");
    start.store = Some(format!("file://{}", folder.path().join("store").display()));
    let daemon = start.run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let filler = disk.0.join("filler");
    std::fs::write(&filler, vec![1u8; 7 << 20]).unwrap();
    let mut acknowledged = Vec::new();
    let mut refused = None;
    for number in 0..20_000 {
        let mut trace = traffic::trace(number, Shape::Plain, 8);
        let noise: String = (0..200).map(|i| format!("{:x}", traffic::mix(number << 20 | i))).collect();
        trace[0].attributes.push(traffic::text("noise", &noise));
        match traffic::send(&mut client, trace, "shop").await {
            Ok(_) => acknowledged.push(number),
            Err(status) => {
                refused = Some(status);
                break;
            }
        }
    }
    let refused = refused.expect("a disk of 8 MiB fills");
    assert_eq!(refused.code(), tonic::Code::Unavailable, "{refused:?}");
    assert!(!refused.details().is_empty(), "a retry hint: {refused:?}");
    let body = traffic::request(traffic::trace(1 << 40, Shape::Plain, 8), "shop").encode_to_vec();
    let (status, said) = post(&daemon, "application/x-protobuf", None, body).await;
    assert_eq!(status, 503, "{said}");

    std::fs::remove_file(&filler).unwrap();
    let mut tries = 0;
    while traffic::send(&mut client, traffic::trace(1 << 41, Shape::Plain, 2), "shop").await.is_err() {
        tries += 1;
        assert!(tries < 100, "does not recover");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let found = daemon.search("{}", 100_000).await;
    let lost = acknowledged.iter().find(|n| !found.contains_key(&traffic::hex(&traffic::trace_id(**n))));
    assert_eq!(lost, None, "an acknowledged trace is gone");
}
