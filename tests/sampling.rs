//! Which traces are kept, seen from outside: the real daemon, OTLP in, `/api` out.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use support::traffic::{self, Shape};
use support::{Daemon, Start};

const RULES: &str = r#"
version: 1
decision: { wait: 3s, after_root: 500ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: slow, when: '{ traceDuration > 500ms }', keep: 100%, retention: slow }
  - { name: pinned-routes, when: '{ span.http.route =~ "/login|/upload" }', keep: 100% }
  - { name: baseline, keep: 1% }
retention: { default: 3d, errors: 30d, slow: 14d }
"#;

const TRACES: u64 = 20_000;
const SPANS: usize = 3;

fn shape(number: u64) -> Shape {
    match number % 200 {
        0 | 1 => Shape::Error,
        2 | 3 => Shape::Slow,
        4 => Shape::Login,
        _ => Shape::Plain,
    }
}

/// Consistent probability sampling, written down again: keep when the low 56 bits are at least (1 − p)·2⁵⁶, at four
/// digits of precision.
fn in_one_percent(number: u64) -> bool {
    let mut low = [0; 8];
    low.copy_from_slice(&traffic::trace_id(number)[8..]);
    u64::from_be_bytes(low) & ((1 << 56) - 1) >= 0x00fd_70a0_0000_0000
}

async fn send_all(daemon: &Daemon) {
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let numbers: Vec<u64> = (0..TRACES).collect();
    for chunk in numbers.chunks(100) {
        // Half of each trace in one request, the rest in the next: traces do not arrive whole.
        let spans = chunk.iter().map(|n| traffic::trace(*n, shape(*n), SPANS));
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for mut trace in spans {
            second.extend(trace.drain(1..));
            first.extend(trace);
        }
        traffic::send(&mut client, first, "shop").await.unwrap();
        traffic::send(&mut client, second, "shop").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_20_000_traces_every_error_slow_and_pinned_one_is_whole_and_of_the_rest_one_percent() {
    let folder = tempfile::tempdir().unwrap();
    let config = "store: { flush: { age: 1s } }\n";
    let daemon = Start::new(&folder.path().join("data")).rules(RULES).config(config).run();
    send_all(&daemon).await;
    daemon.settle(Duration::from_secs(60)).await;

    let found = daemon.search("{}", 100_000).await;
    let expected: BTreeMap<String, usize> = (0..TRACES)
        .filter(|n| shape(*n) != Shape::Plain || in_one_percent(*n))
        .map(|n| (traffic::hex(&traffic::trace_id(n)), SPANS))
        .collect();
    let found_counts: BTreeMap<_, _> = found.iter().map(|(id, spans)| (id.clone(), spans.len())).collect();
    assert_eq!(found_counts, expected);

    let status = daemon.json("/status").await;
    let estimate = status["sample"]["adjusted_count_spans"].as_f64().unwrap();
    let sent = (TRACES * SPANS as u64) as f64;
    assert!((estimate - sent).abs() < 0.05 * sent, "estimated {estimate} of {sent}");
}

#[tokio::test(flavor = "multi_thread")]
async fn trace_debug_keeps_everything_whatever_the_rules() {
    let folder = tempfile::tempdir().unwrap();
    let rules =
        "version: 1\ndecision: { wait: 1s, after_root: 100ms }\nrules: [{ name: none, drop: true }]\n";
    let daemon = Start::new(&folder.path().join("data")).rules(rules).env("TRACE_DEBUG", "1").run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..50 {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, 2), "shop").await.unwrap();
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(daemon.search("{}", 1000).await.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_the_rules_takes_effect_within_a_second_and_a_bad_one_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let drop_all =
        "version: 1\ndecision: { wait: 500ms, after_root: 100ms }\nrules: [{ name: none, drop: true }]\n";
    let start = Start::new(&folder.path().join("data")).rules(drop_all);
    let daemon = start.run();
    let rules = start.rules.clone().unwrap();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, traffic::trace(1, Shape::Plain, 2), "shop").await.unwrap();

    std::fs::write(&rules, drop_all.replace("drop: true", "keep: 100%")).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    traffic::send(&mut client, traffic::trace(2, Shape::Plain, 2), "shop").await.unwrap();

    std::fs::write(&rules, "version: 1\nrules:\n  - { name: none, drp: true }\n").unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    traffic::send(&mut client, traffic::trace(3, Shape::Plain, 2), "shop").await.unwrap();
    let status = daemon.json("/status").await;
    let error = &status["rules"]["error"];
    assert_eq!((&error["line"], error["column"].is_number()), (&serde_json::json!(3), true), "{status}");
    assert!(error["message"].as_str().unwrap().contains("drop"), "names the nearest known key: {status}");
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains("tracewell_rules_valid 0"), "{metrics}");

    tokio::time::sleep(Duration::from_millis(1500)).await;
    let kept: Vec<_> = daemon.search("{}", 10).await.into_keys().collect();
    let mut expected: Vec<_> = [2, 3].map(|n| traffic::hex(&traffic::trace_id(n))).into();
    expected.sort();
    assert_eq!(kept, expected);
}
