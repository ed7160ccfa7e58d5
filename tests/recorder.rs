//! The flight recorder from outside: what sampling dropped is shown with its reason, pinned, and rescued by late errors.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use serde_json::{Value, json};
use support::traffic::{self, Shape};
use support::{Daemon, Start, tracewell};

const RULES: &str = r#"
version: 1
decision: { wait: 1s, after_root: 200ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: logins, when: '{ span.http.route = "/login" }', keep: 100% }
  - { name: the-rest, drop: true }
retention: { default: 3d, errors: 30d }
"#;
const CONFIG: &str = "store: { flush: { age: 200ms } }\nlog: { segment: 1MiB }\n";

fn start(folder: &Path) -> Start {
    Start::new(&folder.join("data")).rules(RULES).config(CONFIG)
}

fn id(number: u64) -> String {
    traffic::hex(&traffic::trace_id(number))
}

async fn send(daemon: &Daemon, spans: Vec<Span>) {
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, spans, "shop").await.unwrap();
}

/// Sends a trace that the rules drop, in two requests, and waits until they have.
async fn dropped(daemon: &Daemon, number: u64) {
    let mut spans = traffic::trace(number, Shape::Plain, 3);
    let rest = spans.split_off(1);
    send(daemon, rest).await;
    send(daemon, spans).await;
    daemon.settle(Duration::from_secs(30)).await;
}

/// The command's answer as JSON; `None` when it found nothing.
fn show(daemon: &Daemon, number: u64) -> Option<Value> {
    let (code, out, err) = tracewell(&["trace", "show", "--json", "--url", &daemon.api, &id(number)]);
    match code {
        Some(0) => Some(serde_json::from_str(&out).unwrap()),
        Some(1) => None,
        _ => panic!("{err}"),
    }
}

fn spans(trace: &Value) -> usize {
    let count = |of: &Value, key: &str| of[key].as_array().cloned().unwrap_or_default();
    let scopes = count(trace, "resourceSpans").into_iter().flat_map(|r| count(&r, "scopeSpans"));
    scopes.map(|scope| count(&scope, "spans").len()).sum()
}

fn pin(daemon: &Daemon, number: u64, more: &[&str]) -> (Option<i32>, String, String) {
    let id = id(number);
    let mut args = vec!["trace", "pin", "--url", &daemon.api, &id];
    args.extend(more);
    tracewell(&args)
}

/// Waits until the trace's `tracewell` field is as it should be.
async fn until(daemon: &Daemon, number: u64, decision: &str, sources: &Value) -> Value {
    let started = Instant::now();
    loop {
        let trace = show(daemon, number);
        if let Some(trace) = &trace
            && trace["tracewell"]["decision"] == decision
            && trace["tracewell"]["sources"] == *sources
        {
            return trace.clone();
        }
        assert!(started.elapsed() < Duration::from_secs(30), "never {decision} in {sources}: {trace:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_trace_is_shown_whole_with_the_rule_that_dropped_it() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    dropped(&daemon, 1).await;
    let trace = show(&daemon, 1).unwrap();
    let facts = json!({
        "sources": ["recorder"],
        "decision": "dropped",
        "rule": "the-rest",
        "rulesVersion": 1,
        "retention": null,
        "complete": true,
    });
    assert_eq!((&trace["tracewell"], spans(&trace)), (&facts, 3));
    let (code, picture, _) = tracewell(&["trace", "show", "--url", &daemon.api, &id(1)]);
    assert_eq!(code, Some(0));
    assert!(
        picture.contains("dropped by rule the-rest (rules version 1); from the flight recorder"),
        "{picture}"
    );
    // Tempo's clients get the same spans in Tempo's shape.
    let tempo = daemon.json(&format!("/api/traces/{}", id(1))).await;
    assert_eq!(tempo.as_object().unwrap().keys().collect::<Vec<_>>(), ["batches"]);
    assert_eq!(daemon.search("{}", 10).await.len(), 0, "search finds what is kept");
    assert!(show(&daemon, 2).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_trace_is_pinned_and_outlives_the_recorder_and_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let start = start(folder.path());
    let daemon = start.run();
    dropped(&daemon, 1).await;
    dropped(&daemon, 2).await;

    let (code, _, said) = pin(&daemon, 1, &["--for", "91d"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains(
        "pinned traces are kept for 90d, not for 91d; for longer, set `retention: { pinned: 91d }`"
    ));
    assert_eq!(show(&daemon, 1).unwrap()["tracewell"]["decision"], "dropped", "nothing was changed");

    let (code, said, error) = pin(&daemon, 1, &["--for", "90d"]);
    assert_eq!(code, Some(0), "{error}");
    let expected = "it had been dropped by rule the-rest; 3 spans came back from the flight recorder, kept under \
                    retention class `pinned` (for 90d)";
    assert!(said.contains(expected), "{said}");
    // What is answered is durable: no flush, no drain.
    daemon.kill();

    let daemon = start.run();
    let stored = until(&daemon, 1, "kept", &json!(["store"])).await;
    assert_eq!(
        (&stored["tracewell"]["rule"], &stored["tracewell"]["retention"]),
        (&json!("pin"), &json!("pinned"))
    );
    assert_eq!(spans(&stored), 3);
    let (code, said, _) = pin(&daemon, 1, &[]);
    assert_eq!(code, Some(0));
    assert!(
        said.contains("is kept already, by rule pin, kept under retention class `pinned` (for 90d)"),
        "{said}"
    );
    drop(daemon);

    // The recorder is cut to nothing: what was only there is gone, what was pinned is not.
    let cut = format!("{CONFIG}recorder: {{ age: 1s, size: 0B }}\n");
    let start = start.config(&cut);
    let daemon = start.run();
    // A segment that is being written stays: the next one must have begun.
    let started = Instant::now();
    while show(&daemon, 2).is_some() {
        assert!(started.elapsed() < Duration::from_secs(30), "the recorder still has it");
        send(&daemon, traffic::trace(100, Shape::Plain, 2)).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (code, _, said) = pin(&daemon, 2, &[]);
    assert_eq!((code, said.contains("no trace")), (Some(1), true), "{said}");
    assert_eq!(spans(&show(&daemon, 1).unwrap()), 3);
    daemon.kill();
    let daemon = start.run();
    assert_eq!(show(&daemon, 1).unwrap()["tracewell"]["sources"], json!(["store"]));
    assert_eq!(daemon.search("{}", 10).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_waits_for_its_verdict_is_pinned_before_it_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let rules = RULES.replace("wait: 1s, after_root: 200ms", "wait: 1h, after_root: 1h");
    let daemon = start(folder.path()).rules(&rules).run();
    send(&daemon, traffic::trace(1, Shape::Plain, 3)).await;
    assert_eq!(show(&daemon, 1).unwrap()["tracewell"]["decision"], "pending");
    let (code, said, error) = pin(&daemon, 1, &["--json"]);
    assert_eq!(code, Some(0), "{error}");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["outcome"], &said["retentionSeconds"]), (&json!("decided"), &json!(90 * 86_400)));
    let stored = until(&daemon, 1, "kept", &json!(["store"])).await;
    assert_eq!((&stored["tracewell"]["rule"], spans(&stored)), (&json!("pin"), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_that_is_stored_already_is_moved_where_its_class_is_not_kept_for_as_long() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    for number in [1, 2] {
        send(&daemon, traffic::trace(number, Shape::Error, 3)).await;
        until(&daemon, number, "kept", &json!(["store"])).await;
    }
    let (code, said, _) = pin(&daemon, 1, &["--for", "30d"]);
    assert_eq!(code, Some(0));
    let expected =
        "is kept already, by rule errors, kept under retention class `errors` (for 30d); nothing was changed";
    assert!(said.contains(expected), "{said}");
    let (code, _, said) = pin(&daemon, 1, &["--for", "91d"]);
    assert_eq!(code, Some(2));
    assert!(said.contains("pinned traces are kept for 90d, not for 91d"), "{said}");
    let before = show(&daemon, 1).unwrap();
    assert_eq!(before["tracewell"]["retention"], "errors");

    let (code, said, error) = pin(&daemon, 1, &["--for", "31d"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(
        said.contains("its 3 spans were moved from another class") && said.contains("(for 90d)"),
        "{said}"
    );
    let after = show(&daemon, 1).unwrap();
    assert_eq!((&after["tracewell"]["retention"], spans(&after)), (&json!("pinned"), 3));
    assert_eq!(after["resourceSpans"], before["resourceSpans"]);
    assert_eq!(show(&daemon, 2).unwrap()["tracewell"]["retention"], "errors", "the others stay");
    let again = pin(&daemon, 1, &[]);
    assert!(again.0 == Some(0) && again.1.contains("is kept already"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pins_that_cannot_be_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    let (code, _, said) = pin(&daemon, 77, &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("nothing keeps it, and the flight recorder does not have it"), "{said}");
    assert_eq!(pin(&daemon, 77, &["--for", "soon"]).0, Some(2));
    assert_eq!(pin(&daemon, 77, &["--store", "/nowhere"]).0, Some(2));
    let (code, _, said) = tracewell(&["trace", "pin", "--url", &daemon.api, "xyz"]);
    assert_eq!((code, said.contains("`xyz` is not a trace id")), (Some(2), true), "{said}");
    let (code, _, said) = tracewell(&["trace", "pin", "--url", "http://127.0.0.1:1", "1"]);
    assert_eq!((code, said.contains("cannot reach http://127.0.0.1:1")), (Some(2), true), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_error_brings_the_earlier_spans_back_also_after_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let start = start(folder.path());
    let daemon = start.run();
    dropped(&daemon, 1).await;
    dropped(&daemon, 2).await;
    dropped(&daemon, 3).await;
    let late = |number: u64| {
        let mut span = traffic::trace(number, Shape::Plain, 5).pop().unwrap();
        span.status = Some(Status { message: "late".into(), code: 2 });
        span
    };
    send(&daemon, vec![late(1)]).await;
    let stored = until(&daemon, 1, "kept", &json!(["store"])).await;
    assert_eq!((&stored["tracewell"]["rule"], spans(&stored)), (&json!("errors"), 4));

    // A late span that no rule wants changes nothing.
    let mut plain = late(2);
    plain.status = None;
    send(&daemon, vec![plain]).await;
    daemon.kill();
    let daemon = start.run();
    let trace = show(&daemon, 2).unwrap();
    assert_eq!((&trace["tracewell"]["decision"], spans(&trace)), (&json!("dropped"), 4));

    // Those that were dropped before the restart are found too, once they are indexed again.
    send(&daemon, vec![late(3)]).await;
    let stored = until(&daemon, 3, "kept", &json!(["store"])).await;
    assert_eq!((&stored["tracewell"]["retention"], spans(&stored)), (&json!("errors"), 4));
    let found: Vec<_> = daemon.search("{ name = \"GET /items/{id}\" }", 10).await.into_keys().collect();
    let mut expected = vec![id(1), id(3)];
    expected.sort();
    assert_eq!(found, expected);
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains("tracewell_sample_rescued_traces_total 1\n"), "{metrics}");
    assert!(metrics.contains("tracewell_sample_rescues_missed_total 0\n"), "{metrics}");
}
