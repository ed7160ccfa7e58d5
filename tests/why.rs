//! `trace why`, seen from outside: over kill −9, after the log has forgotten, and without its ledger.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use support::traffic::{self, Shape};
use support::{Daemon, Start, tracewell};

const RULES: &str = r#"
version: 1
decision: { wait: 300s, after_root: 200ms }
rules:
  - { name: health, when: '{ name = "GET /health" }', drop: true }
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: items, when: '{ name = "GET /items/{id}" }', drop: true }
  - { name: login, when: '{ span.http.route = "/login" }', keep: 100% }
  - { name: odd, when: '{ name = "step 1" }', keep: { per_second: 100000 } }
  - { name: rest, drop: true }
retention: { default: 3d, errors: 30d }
"#;
const DEADLINE: Duration = Duration::from_secs(60);

fn id(number: u64) -> String {
    traffic::hex(&traffic::trace_id(number))
}

/// Asks until the answer is as wanted.
async fn until(daemon: &Daemon, path: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let started = Instant::now();
    loop {
        let (status, body) = daemon.get(path).await;
        let answer: Value = serde_json::from_str(&body).unwrap_or_default();
        if status == 200 && wanted(&answer) {
            return answer;
        }
        assert!(started.elapsed() < DEADLINE, "{path} does not become {what}: {status} {body}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Why, once it is decided.
async fn decided(daemon: &Daemon, number: u64) -> Value {
    let path = format!("/api/traces/{}/why", id(number));
    until(daemon, &path, "decided", |answer| !answer["decision"].is_null()).await
}

async fn why(daemon: &Daemon, number: u64) -> Value {
    daemon.json(&format!("/api/traces/{}/why", id(number))).await
}

fn result_of<'a>(answer: &'a Value, rule: &str) -> &'a Value {
    let rules = answer["rules"].as_array().unwrap();
    rules.iter().find(|line| line["name"] == rule).unwrap_or(&Value::Null)
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_dropped_pending_and_unknown_traces_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Start::new(&folder.path().join("data")).rules(RULES).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let failed = traffic::trace(1, Shape::Error, 4);
    traffic::send(&mut client, failed.clone(), "shop").await.unwrap();
    traffic::send(&mut client, traffic::trace(2, Shape::Plain, 3), "shop").await.unwrap();
    // Without its root it waits for long.
    traffic::send(&mut client, traffic::trace(3, Shape::Plain, 3).split_off(1), "shop").await.unwrap();

    let kept = decided(&daemon, 1).await;
    assert_eq!((&kept["state"], &kept["traceId"]), (&json!("kept"), &json!(id(1))));
    let decision = &kept["decision"];
    assert_eq!((&decision["rule"], &decision["rulesVersion"]), (&json!("errors"), &json!(1)));
    assert_eq!((&decision["retention"], &decision["pinned"]), (&json!("errors"), &json!(false)));
    assert_eq!(result_of(&kept, "health")["result"], "no-match");
    let errors = result_of(&kept, "errors");
    assert_eq!((&errors["result"], &errors["matchedCount"]), (&json!("decided"), &json!(1)));
    assert_eq!(errors["spans"][0]["spanId"], traffic::hex(&failed[1].span_id));
    assert_eq!(errors["spans"][0]["service"], "shop");
    assert_eq!(
        kept["rules"].as_array().unwrap().len(),
        2,
        "the rules behind the one that decided were not asked"
    );

    let dropped = decided(&daemon, 2).await;
    assert_eq!((&dropped["state"], &dropped["decision"]["rule"]), (&json!("dropped"), &json!("items")));
    assert_eq!(result_of(&dropped, "items")["result"], "decided");
    // The flight recorder still has its spans.
    let why_dropped = format!("/api/traces/{}/why", id(2));
    let dropped = until(&daemon, &why_dropped, "found", |answer| answer["spans"]["found"] == 3).await;
    assert_eq!(result_of(&dropped, "items")["matchedCount"], 1);
    assert_eq!(result_of(&dropped, "items")["spans"][0]["name"], "GET /items/{id}");

    let pending = why(&daemon, 3).await;
    assert_eq!((&pending["state"], &pending["decision"]), (&json!("pending"), &Value::Null));
    let due: u64 = pending["dueTimeUnixNano"].as_str().unwrap().parse().unwrap();
    let waits = Duration::from_nanos(due.saturating_sub(traffic::now_nano()));
    assert!((Duration::from_secs(200)..=Duration::from_secs(300)).contains(&waits), "{waits:?}");
    assert_eq!(result_of(&pending, "odd")["result"], "matches");
    assert_eq!(result_of(&pending, "errors")["result"], "no-match");

    let ask = |args: &[&str]| {
        let all: Vec<&str> = ["trace", "why", "--url", &daemon.api].iter().chain(args).copied().collect();
        tracewell(&all)
    };
    let (code, out, err) = ask(&[&id(1)]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.contains("kept by rule errors\n") && out.contains("decided on 1 span\n"), "{out}");
    let (code, out, _) = ask(&["--json", &id(2)]);
    assert_eq!((code, serde_json::from_str::<Value>(&out).unwrap()), (Some(0), why(&daemon, 2).await));
    assert!(ask(&[&id(3)]).1.contains("pending: not decided yet"));
    let (code, out, err) = ask(&[&id(4)]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains(&id(4)), "{err}");
    assert_eq!(ask(&["not an id"]).0, Some(2));
    assert_eq!(tracewell(&["trace", "why", "--url", "http://127.0.0.1:1", &id(1)]).0, Some(2));
    assert_eq!(tracewell(&["trace", "why", "--store", "/nowhere", &id(1)]).0, Some(2));
}

/// Sends dropped traces until the log has forgotten everything up to a position.
async fn push_out(daemon: &Daemon, position: u64, from: u64) {
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let started = Instant::now();
    let mut next = from;
    loop {
        let log = &daemon.json("/status").await["log"];
        if log["oldest_position"].as_u64().unwrap() > position {
            return;
        }
        assert!(started.elapsed() < DEADLINE, "the log does not let go of {position}: {log}");
        let spans = (next..next + 50).flat_map(|number| traffic::trace(number, Shape::Plain, 3)).collect();
        traffic::send(&mut client, spans, "shop").await.unwrap();
        next += 50;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verdict_outlives_the_logs_segments_and_kill_9_and_late_spans_inherit_it() {
    let folder = tempfile::tempdir().unwrap();
    let config = "store: { flush: { age: 300ms } }\nlog: { segment: 64KiB }\nrecorder: { size: 0B }\n";
    let start = Start::new(&folder.path().join("data")).rules(RULES).config(config);
    let daemon = start.run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let mut dropped = traffic::trace(1, Shape::Plain, 3);
    let mut kept = traffic::trace(2, Shape::Login, 4);
    // Alone, one late part would be kept by the rule `odd`, the other dropped by the rule `rest`.
    let (late_of_dropped, late_of_kept) = (vec![dropped.remove(1)], kept.split_off(2));
    traffic::send(&mut client, dropped, "shop").await.unwrap();
    traffic::send(&mut client, kept, "shop").await.unwrap();
    let before = [decided(&daemon, 1).await, decided(&daemon, 2).await];
    let position = |answer: &Value| answer["decision"]["logPosition"].as_u64().unwrap();
    push_out(&daemon, before.iter().map(position).max().unwrap(), 1_000).await;
    daemon.kill();

    let daemon = start.run();
    let after = [why(&daemon, 1).await, why(&daemon, 2).await];
    for (before, after) in before.iter().zip(&after) {
        assert_eq!((&after["state"], &after["decision"]), (&before["state"], &before["decision"]));
    }
    assert_eq!((&after[0]["state"], &after[1]["state"]), (&json!("dropped"), &json!("kept")));

    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, late_of_dropped, "shop").await.unwrap();
    traffic::send(&mut client, late_of_kept, "shop").await.unwrap();
    let late = |sample: &Value| sample["late_spans_kept"] == 2 && sample["late_spans_dropped"] == 1;
    until(&daemon, "/status", "late", |status| late(&status["sample"])).await;
    daemon.settle(DEADLINE).await;
    let found = daemon.search("{}", 1_000).await;
    let spans: Vec<_> = found.iter().map(|(id, spans)| (id.clone(), spans.len())).collect();
    assert_eq!(spans, [(id(2), 4)]);
    assert_eq!(why(&daemon, 1).await["decision"]["rule"], "items");
    // Decided back then, although it is recorded again behind the late spans.
    assert_eq!(why(&daemon, 2).await["decision"]["timeUnixNano"], before[1]["decision"]["timeUnixNano"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_that_is_damaged_or_gone_is_written_again_from_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let start = Start::new(&data).rules(RULES);
    let daemon = start.run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, traffic::trace(1, Shape::Plain, 3), "shop").await.unwrap();
    decided(&daemon, 1).await;
    let written = |status: &Value| status["decisions"]["entries"] == 1 && status["decisions"]["waiting"] == 0;
    until(&daemon, "/status", "written", written).await;
    daemon.kill();

    let decisions = data.join("decisions");
    for file in std::fs::read_dir(&decisions).unwrap() {
        std::fs::write(file.unwrap().path(), vec![0x5a; 5_000]).unwrap();
    }
    let daemon = start.run();
    assert_eq!(why(&daemon, 1).await["decision"]["rule"], "items");
    let status = until(&daemon, "/status", "written", written).await;
    assert_eq!(status["decisions"]["damaged"], 1);
    daemon.kill();

    std::fs::remove_dir_all(&decisions).unwrap();
    let daemon = start.run();
    assert_eq!(why(&daemon, 1).await["decision"]["rule"], "items");
    let status = until(&daemon, "/status", "written", written).await;
    assert_eq!(status["decisions"]["damaged"], 0);
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains("\ntracewell_decisions 1\n"), "{metrics}");
}
