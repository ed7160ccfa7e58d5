//! The memory limit holds whatever comes in, and nothing that was acknowledged is lost for it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use support::traffic::{self, Client};
use support::{Daemon, Start};

/// What the parts share, in MiB.
const LIMIT_MIB: u64 = 96;
/// What comes on top at most: the program (not optimised here), its threads, connections, the table's engine. Measured are 20
/// and 55 MiB; a part without a bound would take gigabytes in these tests.
const BASE_MIB: u64 = 112;

const RULES: &str = r#"
version: 1
decision: { wait: 10m }
rules:
  - { name: errors, when: '{ status = error }', keep: 100% }
  - { name: rare, when: '{ name = "rare" }', keep: { per_second: 1, by: [resource.service.name] } }
  - { name: rest, drop: true }
"#;

fn start(folder: &std::path::Path) -> Start {
    let config = "memory: { limit: 96MiB }\nstore: { flush: { age: 1s } }\nquery: { limit_max: 1000000 }\n";
    // Of memory that was given back the allocator keeps a good deal in arenas of its own, up to twice of what is used. Here
    // is measured what is used.
    Start::new(&folder.join("data")).rules(RULES).config(config).env("MIMALLOC_ARENA_RESERVE", "0")
}

/// Sends until it is taken: a sender that is told to come back does. How often it was told so.
async fn send(client: &mut Client, request: ExportTraceServiceRequest) -> u64 {
    let mut told_to_come_back = 0;
    loop {
        match client.export(request.clone()).await {
            Ok(_) => return told_to_come_back,
            Err(status) if status.code() == tonic::Code::Unavailable => {
                assert!(!status.details().is_empty(), "a retry hint: {status:?}");
                told_to_come_back += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(status) => panic!("{status:?}"),
        }
    }
}

fn span(trace: u64, number: u64, name: &str, is_error: bool) -> Span {
    let now = traffic::now_nano();
    Span {
        trace_id: traffic::trace_id(trace).to_vec(),
        span_id: (number + 1).to_be_bytes().to_vec(),
        parent_span_id: u64::MAX.to_be_bytes().to_vec(),
        name: name.into(),
        start_time_unix_nano: now,
        end_time_unix_nano: now + 1000,
        status: is_error.then(|| Status { message: String::new(), code: 2 }),
        ..Default::default()
    }
}

fn of_service(name: &str, spans: Vec<Span>) -> ResourceSpans {
    let attributes = vec![traffic::text("service.name", name)];
    ResourceSpans {
        resource: Some(Resource { attributes, ..Default::default() }),
        scope_spans: vec![ScopeSpans { spans, ..Default::default() }],
        ..Default::default()
    }
}

async fn bounds_hold(daemon: &Daemon) -> serde_json::Value {
    let status = daemon.json("/status").await;
    let memory = &status["memory"];
    assert_eq!(memory["limit"].as_u64(), Some(LIMIT_MIB << 20), "{status}");
    let parts = memory["parts"].as_object().unwrap();
    let bounds: u64 = parts.values().map(|part| part["bound"].as_u64().unwrap()).sum();
    assert!(parts.len() > 6 && bounds <= LIMIT_MIB << 20, "{status}");
    let peak = daemon.resident_mib_max();
    println!("at most {peak} MiB resident: {memory}");
    assert!(peak <= LIMIT_MIB + BASE_MIB, "{peak} MiB resident: {status}");
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_a_trace_with_a_million_spans_is_kept_whole_within_the_limit() {
    const SPANS: u64 = 1_000_000;
    const A_REQUEST: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for first in (0..SPANS).step_by(A_REQUEST as usize) {
        let spans = (first..first + A_REQUEST).map(|number| span(1, number, "step", number == 0)).collect();
        send(&mut client, traffic::request(spans, "batch-job")).await;
    }
    let stored = |status: &serde_json::Value| status["store"]["spans"] == SPANS;
    daemon.status_when("all of it is in the table", Duration::from_secs(120), stored).await;

    // The answer is as much of it as one question may hold, and says so.
    let id = traffic::hex(&traffic::trace_id(1));
    let (code, body) = daemon.get(&format!("/api/v2/traces/{id}")).await;
    assert_eq!(code, 200);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["status"], "PARTIAL");
    assert!(body.matches("\"spanId\"").count() > 1000);
    bounds_hold(&daemon).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn row_20_of_a_million_pending_traces_and_services_the_oldest_are_decided_early_and_counted() {
    const TRACES: u64 = 1_000_000;
    const A_REQUEST: u64 = 10_000;
    let is_error = |trace: u64| trace.is_multiple_of(1000);
    let is_rare = |trace: u64| trace % 100 == 7;
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for first in (0..TRACES).step_by(A_REQUEST as usize) {
        let one = |trace: u64| {
            let name = if is_rare(trace) { "rare" } else { "step" };
            of_service(&format!("service-{trace}"), vec![span(trace, 0, name, is_error(trace))])
        };
        let resource_spans = (first..first + A_REQUEST).map(one).collect();
        send(&mut client, ExportTraceServiceRequest { resource_spans }).await;
    }
    let sample = |status: &serde_json::Value, key: &str| status["sample"][key].as_u64().unwrap();
    let index_bound =
        |status: &serde_json::Value| status["memory"]["parts"]["index"]["bound"].as_u64().unwrap();
    let status = daemon
        .status_when("the index is within its bound", Duration::from_secs(60), |status| {
            sample(status, "index_bytes") <= index_bound(status) && sample(status, "spans_received") == TRACES
        })
        .await;
    let (pending, early) = (sample(&status, "pending_traces"), sample(&status, "decided_early"));
    assert!(pending > 1000 && early > TRACES / 2, "{status}");
    assert_eq!(pending + early, TRACES, "none decided on time, none gone: {status}");

    // Decided early is decided rightly: those that came first are gone or in the table, as the rules say.
    let kept = |status: &serde_json::Value| -> u64 {
        let rules = status["sample"]["by_rule"].as_array().unwrap();
        rules.iter().map(|rule| rule["kept_traces"].as_u64().unwrap()).sum()
    };
    let all_stored = |status: &serde_json::Value| sample(status, "kept_traces_not_stored") == 0;
    let status = daemon.status_when("what is kept is stored", Duration::from_secs(60), all_stored).await;
    let rare = (0..TRACES).filter(|trace| is_rare(*trace) || is_error(*trace)).count() as u64;
    assert!(kept(&status) <= rare && kept(&status) + pending >= rare, "{rare}: {status}");
    let stored = support::table::read_log(&folder.path().join("data/store/default/spans"));
    assert_eq!(stored.rows, kept(&status));
    // What was dropped is in the log still; who dropped it, a memory this small has forgotten.
    let (kept, dropped, pending): (&[_], &[_], &[_]) = (&["kept"], &["dropped", "unknown"], &["pending"]);
    for (trace, wanted) in
        [(0, kept), (7, kept), (1000, kept), (500_007, kept), (1, dropped), (TRACES - 1, pending)]
    {
        let id = traffic::hex(&traffic::trace_id(trace));
        let answer = daemon.json(&format!("/api/traces/{id}?format=otlp")).await;
        let decision = answer["tracewell"]["decision"].as_str().unwrap();
        assert!(wanted.contains(&decision), "trace {trace}: {answer}");
    }
    bounds_hold(&daemon).await;
}
