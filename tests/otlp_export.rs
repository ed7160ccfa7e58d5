//! Kept spans on their way to other backends, seen from outside: what arrives, what does not, and what happens when a backend
//! is down, refuses, or the daemon dies.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use support::backend::{Backend, Mood};
use support::certs::Ca;
use support::traffic::{self, Shape};
use support::{Daemon, Start};

const RULES: &str = r#"
version: 1
decision: { wait: 500ms, after_root: 200ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: logins, when: '{ span.http.route = "/login" }', keep: 100% }
  - { name: rest, drop: true }
retention: { default: 3d, errors: 30d }
"#;
const STORE: &str = "store: { flush: { age: 200ms } }\nquery: { limit_max: 1000000 }\n";
const MINUTE: Duration = Duration::from_secs(60);

fn start(folder: &Path, targets: &str) -> Start {
    let config = format!("{STORE}export:\n{targets}");
    Start::new(&folder.join("own").join("data")).rules(RULES).config(&config)
}

/// Every third trace is one of an error, every third of a login, the rest is dropped.
fn shape(number: u64) -> Shape {
    [Shape::Error, Shape::Login, Shape::Plain][(number % 3) as usize]
}

async fn send(daemon: &Daemon, numbers: std::ops::Range<u64>) {
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for chunk in numbers.collect::<Vec<_>>().chunks(20) {
        let spans = chunk.iter().flat_map(|n| traffic::trace(*n, shape(*n), 4)).collect();
        traffic::send(&mut client, spans, "shop").await.unwrap();
    }
}

/// The traces of these numbers and shapes, with four spans each.
fn expected(numbers: std::ops::Range<u64>, shapes: &[Shape]) -> BTreeMap<String, usize> {
    let wanted = numbers.filter(|number| shapes.contains(&shape(*number)));
    wanted.map(|number| (traffic::hex(&traffic::trace_id(number)), 4)).collect()
}

fn of<'s>(status: &'s Value, name: &str) -> &'s Value {
    status["export"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap()
}

/// Waits until nothing waits for the backend, and `spans` were put into its log since the start or were there.
async fn exported(daemon: &Daemon, name: &str, spans: u64) -> Value {
    let status = daemon.status_when("everything is exported", MINUTE, |status| {
        let one = of(status, name);
        let number = |key: &str| one[key].as_u64().unwrap();
        number("put_spans") + number("resumed_spans") >= spans && number("pending_spans") == 0
    });
    of(&status.await, name).clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_traces_arrive_at_another_daemon_and_dropped_ones_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "version: 1\ndecision: { wait: 1s, after_root: 200ms }\nrules: [{ name: all, keep: 100% }]\n";
    let other = Start::new(&folder.path().join("other").join("data")).rules(rules).config(STORE).run();
    let target = format!("  other: {{ endpoint: '{}', compression: zstd }}\n", other.grpc);
    let daemon = start(folder.path(), &target).run();
    send(&daemon, 0..300).await;
    daemon.settle(MINUTE).await;
    let one = exported(&daemon, "other", 800).await;
    assert_eq!((&one["sent_spans"], &one["refused_spans"]), (&800.into(), &0.into()), "{one}");
    other.status_when("they came", MINUTE, |status| status["sample"]["spans_received"] == 800).await;
    other.settle(MINUTE).await;
    let sorted = |found: BTreeMap<String, Vec<String>>| -> BTreeMap<String, BTreeSet<String>> {
        found.into_iter().map(|(trace, spans)| (trace, spans.into_iter().collect())).collect()
    };
    let (here, there) = (daemon.search("{}", 10_000).await, other.search("{}", 10_000).await);
    assert_eq!(here.len(), 200);
    assert_eq!(sorted(here), sorted(there));

    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains("tracewell_export_sent_spans_total{target=\"other\"} 800"), "{metrics}");
    assert!(metrics.contains("tracewell_export_pending_spans{target=\"other\"} 0"), "{metrics}");
    let memory = daemon.json("/status").await["memory"].clone();
    assert!(memory["parts"]["export"]["bound"].as_u64().unwrap() >= 4 << 20, "{memory}");
    assert!(daemon.terminate(MINUTE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn each_backend_gets_what_its_filter_and_classes_say_with_its_headers() {
    let folder = tempfile::tempdir().unwrap();
    let (by_http, by_grpc) = (Backend::serve().await, Backend::serve().await);
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "Basic hush\n").unwrap();
    let targets = format!(
        "  web:\n    endpoint: '{}'\n    protocol: http/protobuf\n    compression: gzip\n    classes: [errors]\n    \
         headers: {{ x-api-key: '${{KEY}}' }}\n    header_files: {{ x-secret: {} }}\n    \
         tenant_header: x-vendor-tenant\n  logins:\n    endpoint: '{}'\n    \
         filter: '{{ span.http.route = \"/login\" && resource.service.name = \"shop\" }}'\n",
        by_http.http,
        secret.display(),
        by_grpc.grpc
    );
    let daemon = start(folder.path(), &targets).env("KEY", "k-e-y").run();
    send(&daemon, 0..300).await;
    exported(&daemon, "web", 400).await;
    exported(&daemon, "logins", 400).await;
    assert_eq!(by_http.traces(), expected(0..300, &[Shape::Error]));
    assert_eq!(by_grpc.traces(), expected(0..300, &[Shape::Login]));
    let heads = by_http.keeper.heads.lock().unwrap().clone();
    for (_, head) in &heads {
        let header = |name: &str| head.get(name).unwrap().to_str().unwrap();
        assert_eq!(header("x-api-key"), "k-e-y");
        assert_eq!((header("x-secret"), header("x-vendor-tenant")), ("Basic hush", "default"));
        assert_eq!((header("content-encoding"), header("content-type")), ("gzip", "application/x-protobuf"));
    }
    assert!(by_grpc.keeper.heads.lock().unwrap().iter().all(|(_, head)| !head.contains_key("x-api-key")));
    let status = daemon.get("/status").await.1;
    let told = daemon.logs.lock().unwrap().join("\n") + &status;
    assert!(!told.contains("hush") && !told.contains("k-e-y"), "a secret is shown");

    // What comes late goes with its trace, though nothing in it matches the filter.
    let mut late = traffic::trace(1, Shape::Plain, 5).pop().unwrap();
    late.name = "late".into();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, vec![late], "shop").await.unwrap();
    exported(&daemon, "logins", 401).await;
    assert_eq!(by_grpc.traces()[&traffic::hex(&traffic::trace_id(1))], 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn resources_scopes_and_thresholds_are_those_of_the_table() {
    use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::serve().await;
    let target = format!("  vendor: {{ endpoint: '{}' }}\n", backend.grpc);
    let rules =
        "version: 1\ndecision: { wait: 500ms, after_root: 200ms }\nrules: [{ name: half, keep: 50% }]\n";
    let daemon = start(folder.path(), &target).rules(rules).run();
    let mut request =
        traffic::request((0..200).flat_map(|n| traffic::trace(n, Shape::Plain, 2)).collect(), "shop");
    let of_resource = &mut request.resource_spans[0];
    of_resource.schema_url = "https://opentelemetry.io/schemas/1.36.0".into();
    let scope = &mut of_resource.scope_spans[0];
    scope.schema_url = "https://opentelemetry.io/schemas/1.30.0".into();
    scope.scope =
        Some(InstrumentationScope { name: "web".into(), version: "2".into(), ..Default::default() });
    scope.spans[0].trace_state = "rojo=1".into();
    traffic::connect(&daemon.grpc).await.unwrap().export(request.clone()).await.unwrap();
    daemon.settle(MINUTE).await;
    let kept = daemon.search("{}", 10_000).await;
    assert!((60..140).contains(&kept.len()), "{}", kept.len());
    exported(&daemon, "vendor", 2 * kept.len() as u64).await;
    assert_eq!(backend.traces(), kept.iter().map(|(trace, spans)| (trace.clone(), spans.len())).collect());
    for came in &*backend.keeper.requests.lock().unwrap() {
        for of_resource in &came.resource_spans {
            let sent = &request.resource_spans[0];
            assert_eq!((&of_resource.resource, &of_resource.schema_url), (&sent.resource, &sent.schema_url));
            for scope in &of_resource.scope_spans {
                let sent = &sent.scope_spans[0];
                assert_eq!((&scope.scope, &scope.schema_url), (&sent.scope, &sent.schema_url));
                for span in &scope.spans {
                    let before = sent.spans.iter().find(|one| one.span_id == span.span_id).unwrap();
                    let state = if before.trace_state.is_empty() { "ot=th:8" } else { "ot=th:8,rojo=1" };
                    assert_eq!(span.trace_state, state, "half of the traces stand for all");
                    assert_eq!(&before.attributes, &span.attributes);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_down_holds_up_nobody_and_gets_everything_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let up = Backend::serve().await;
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let targets =
        format!("  down: {{ endpoint: 'http://127.0.0.1:{port}' }}\n  up: {{ endpoint: '{}' }}\n", up.grpc);
    let start_up = start(folder.path(), &targets);
    let daemon = start_up.run();
    send(&daemon, 0..1500).await;
    daemon.settle(MINUTE).await;
    exported(&daemon, "up", 4000).await;
    assert_eq!(up.traces(), expected(0..1500, &[Shape::Error, Shape::Login]));
    let status = daemon.status_when("it is known to be down", MINUTE, |status| {
        of(status, "down")["trouble"].is_string() && of(status, "down")["put_spans"] == 4000
    });
    let down = of(&status.await, "down").clone();
    assert_eq!(down["pending_spans"], 4000, "{down}");
    assert!(down["oldest_pending_seconds"].as_f64().unwrap() > 0.0, "{down}");
    assert_eq!(daemon.get("/ready").await.0, 200);

    // What waits survives a restart that is in order, and one that is not; neither takes long.
    let begun = Instant::now();
    assert!(daemon.terminate(MINUTE).success());
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    let daemon = start_up.run();
    let status =
        daemon.status_when("it is read again", MINUTE, |status| of(status, "down")["pending_spans"] == 4000);
    assert_eq!(of(&status.await, "up")["pending_spans"], 0);
    daemon.kill();
    let daemon = start_up.run();

    let mut other = Start::new(&folder.path().join("other").join("data")).config(STORE);
    other.grpc = Some(format!("127.0.0.1:{port}"));
    let other = other.rules("version: 1\nrules: [{ name: all, keep: 100% }]\ndecision: { wait: 1s }\n").run();
    let down = exported(&daemon, "down", 4000).await;
    assert_eq!((&down["sent_spans"], &down["trouble"]), (&4000.into(), &Value::Null), "{down}");
    other.settle(MINUTE).await;
    let found = other.search("{}", 10_000).await;
    let found: BTreeMap<_, _> = found.into_iter().map(|(trace, spans)| (trace, spans.len())).collect();
    assert_eq!(found, expected(0..1500, &[Shape::Error, Shape::Login]));
    assert_eq!(up.spans().values().flat_map(BTreeMap::values).max(), Some(&1), "nothing went twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_good_is_counted_and_blocks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (strict, easy) = (Backend::serve().await, Backend::serve().await);
    let targets = format!(
        "  strict: {{ endpoint: '{}' }}\n  strict-too: {{ endpoint: '{}', protocol: http/protobuf }}\n  \
         easy: {{ endpoint: '{}' }}\n",
        strict.grpc, strict.http, easy.grpc
    );
    let daemon = start(folder.path(), &targets).run();
    strict.be(Mood::Refuses);
    send(&daemon, 0..150).await;
    exported(&daemon, "easy", 400).await;
    for name in ["strict", "strict-too"] {
        let one = exported(&daemon, name, 400).await;
        assert_eq!((&one["refused_spans"], &one["sent_spans"]), (&400.into(), &0.into()), "{one}");
        assert!(one["last_refusal"].is_string(), "{one}");
    }
    assert!(daemon.has_logged("spans will never be taken"));
    let told = daemon.logs.lock().unwrap().iter().filter(|line| line.contains("never be taken")).count();
    assert!(told <= 4, "our own log is told now and then, not {told} times");

    strict.be(Mood::RejectsRoots);
    send(&daemon, 150..300).await;
    let one = exported(&daemon, "strict", 800).await;
    assert_eq!((&one["refused_spans"], &one["sent_spans"]), (&500.into(), &300.into()), "{one}");
    assert_eq!(one["last_refusal"], "no roots, please");
    assert_eq!(easy.traces().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_asks_for_time_is_given_it() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::serve().await;
    let targets = format!(
        "  grpc: {{ endpoint: '{}' }}\n  http: {{ endpoint: '{}', protocol: http/protobuf }}\n",
        backend.grpc, backend.http
    );
    let daemon = start(folder.path(), &targets).run();
    backend.be(Mood::Later(Duration::from_secs(2)));
    send(&daemon, 0..60).await;
    daemon
        .status_when("both were asked to wait", MINUTE, |status| {
            ["grpc", "http"].iter().all(|name| of(status, name)["trouble"].is_string())
        })
        .await;
    let asked = backend.keeper.heads.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert!(backend.keeper.heads.lock().unwrap().len() <= asked + 2, "it is left alone");
    backend.be(Mood::Takes);
    exported(&daemon, "grpc", 160).await;
    exported(&daemon, "http", 160).await;
    let spans = backend.spans();
    assert_eq!(spans.len(), 40);
    assert!(spans.values().flat_map(BTreeMap::values).all(|times| *times == 2), "once from each");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_queue_drops_the_oldest_and_counts_them_and_an_old_one_what_is_too_old() {
    let folder = tempfile::tempdir().unwrap();
    let (slow, stale) = (Backend::serve().await, Backend::serve().await);
    slow.be(Mood::Later(Duration::from_millis(100)));
    stale.be(Mood::Hangs);
    let targets = format!(
        "  slow: {{ endpoint: '{}', queue: {{ size: 1MiB }}, request: 16KiB }}\n  \
         stale: {{ endpoint: '{}', queue: {{ age: 3s }}, timeout: 500ms }}\n",
        slow.grpc, stale.grpc
    );
    let start = start(folder.path(), &targets);
    let daemon = start.config(&format!("memory: {{ limit: 160MiB }}\n{STORE}export:\n{targets}")).run();
    // More than the queue and what is in memory.
    send_noise(&daemon, 3000).await;
    daemon.settle(MINUTE).await;
    let number = |one: &Value, key: &str| one[key].as_u64().unwrap();
    let full = |one: &Value| one["dropped_spans"]["queue_size"].as_u64().unwrap();
    let status = daemon.status_when("the oldest is dropped", MINUTE, |status| {
        number(of(status, "slow"), "put_spans") == 12_000 && full(of(status, "slow")) > 0
    });
    let one = of(&status.await, "slow").clone();
    assert!(number(&one, "log_bytes") <= (1 << 20) + (200 << 10), "{one}");
    assert!(daemon.has_logged("export.slow.queue.size"), "it is told which key");
    slow.be(Mood::Takes);
    let one = exported(&daemon, "slow", 12_000).await;
    assert_eq!(number(&one, "sent_spans") + full(&one), 12_000, "{one}");
    let arrived: usize = slow.traces().values().sum();
    assert_eq!(arrived as u64, number(&one, "sent_spans"));
    let newest = traffic::hex(&traffic::trace_id(3 * 2999));
    assert_eq!(slow.traces().get(&newest), Some(&4), "what came last is there");

    let one = exported(&daemon, "stale", 12_000).await;
    assert_eq!(one["dropped_spans"]["queue_age"], 12_000, "{one}");
}

#[tokio::test(flavor = "multi_thread")]
async fn backends_are_reached_by_tls_with_a_certificate_of_our_own() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(&folder.path().join("ca"), "ca");
    ca.issue("server");
    ca.issue("client");
    let at = |name: &str| ca.path(name).display().to_string();
    let config = format!(
        "{STORE}tls: {{ cert: {}, key: {}, client_ca: {}, client_auth: required, api: {{ enabled: false }} }}\n",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    );
    let other =
        Start::new(&folder.path().join("other").join("data")).env("TRACE_DEBUG", "1").config(&config).run();
    let (pair, https) = (format!("cert: {}, key: {}", at("client.pem"), at("client.key")), |url: &str| {
        url.replace("http:", "https:")
    });
    let tls = format!("tls: {{ ca: {}, {pair} }}", at("ca.pem"));
    let targets = format!(
        "  grpc: {{ endpoint: '{grpc}', {tls} }}\n  http: {{ endpoint: '{http}', protocol: http/protobuf, {tls} }}\n  \
         nobody: {{ endpoint: '{http}', protocol: http/protobuf, tls: {{ ca: {ca} }} }}\n",
        grpc = https(&other.grpc),
        http = https(&other.http),
        ca = at("ca.pem")
    );
    let daemon = start(folder.path(), &targets).run();
    send(&daemon, 0..30).await;
    exported(&daemon, "grpc", 80).await;
    exported(&daemon, "http", 80).await;
    let status =
        daemon.status_when("one has no certificate", MINUTE, |s| of(s, "nobody")["trouble"].is_string());
    assert_eq!(of(&status.await, "nobody")["pending_spans"], 80);
    other.status_when("they came", MINUTE, |status| status["sample"]["spans_received"] == 160).await;
    other.settle(MINUTE).await;
    assert_eq!(other.search("{}", 1000).await.len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_of_an_export_costs_its_oldest_spans_and_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Backend::serve().await;
    let disk = folder.path().join("own/data/export/vendor");
    let Some(_disk) = support::disk::Mounted::small(&disk, "4m") else {
        return println!("SKIPPED: this user may not mount");
    };
    backend.be(Mood::Later(Duration::from_millis(300)));
    let target = format!("  vendor: {{ endpoint: '{}', queue: {{ size: 8MiB }} }}\n", backend.grpc);
    let start = start(folder.path(), "");
    let daemon = start.config(&format!("memory: {{ limit: 128MiB }}\n{STORE}export:\n{target}")).run();
    send_noise(&daemon, 3000).await;
    daemon.settle(MINUTE).await;
    let status = daemon.status_when("everything was put", MINUTE, |s| of(s, "vendor")["put_spans"] == 12_000);
    let one = of(&status.await, "vendor").clone();
    let dropped = one["dropped_spans"]["queue_size"].as_u64().unwrap();
    assert!(dropped > 0 && one["dropped_spans"]["disk"] == 0, "{one}");
    assert_eq!(daemon.search("{}", 10_000).await.len(), 3000, "the store has everything");
    backend.be(Mood::Takes);
    let one = exported(&daemon, "vendor", 12_000).await;
    assert_eq!(one["sent_spans"].as_u64().unwrap() + dropped, 12_000, "{one}");
}

/// Traces full of random bytes, which nothing compresses: some 3 KB each.
async fn send_noise(daemon: &Daemon, traces: u64) {
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for chunk in (0..traces).collect::<Vec<_>>().chunks(30) {
        let mut spans: Vec<_> = chunk.iter().flat_map(|n| traffic::trace(3 * n, Shape::Error, 4)).collect();
        for (index, span) in spans.iter_mut().enumerate() {
            let noise = |at| format!("{:016x}", traffic::mix(chunk[0] << 20 | (index as u64) << 8 | at));
            span.attributes.push(traffic::text("noise", &(0..48).map(noise).collect::<String>()));
        }
        traffic::send(&mut client, spans, "shop").await.unwrap();
    }
}

/// Sends traces until told to stop; a request that was not acknowledged is sent again, to whichever daemon is there by then.
async fn load(endpoint: Arc<Mutex<String>>, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let first = next.fetch_add(10, Ordering::Relaxed);
        let spans: Vec<_> = (first..first + 10).flat_map(|n| traffic::trace(n, shape(n), 4)).collect();
        loop {
            if client.is_none() {
                let address = endpoint.lock().unwrap().clone();
                client = traffic::connect(&address).await.ok();
            }
            match &mut client {
                Some(there) => match traffic::send(there, spans.clone(), "shop").await {
                    Ok(_) => break,
                    Err(_) => client = None,
                },
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_kills_at_any_moment_every_stored_span_has_arrived() {
    let folder = tempfile::tempdir().unwrap();
    let (flaky, steady) = (Backend::serve().await, Backend::serve().await);
    let targets = format!(
        "  flaky: {{ endpoint: '{}', request: 8KiB }}\n  steady: {{ endpoint: '{}', protocol: http/protobuf }}\n",
        flaky.grpc, steady.http
    );
    let start = start(folder.path(), &targets);
    let endpoint = Arc::new(Mutex::new(String::new()));
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let senders: Vec<_> =
        (0..3).map(|_| tokio::spawn(load(endpoint.clone(), next.clone(), stop.clone()))).collect();
    let seed = traffic::now_nano();
    println!("seed {seed}");
    for round in 0..25 {
        let dice = traffic::mix(seed ^ round);
        flaky.be(match dice % 3 {
            0 => Mood::Takes,
            1 => Mood::Later(Duration::from_millis(300)),
            _ => Mood::Hangs,
        });
        let daemon = start.run();
        *endpoint.lock().unwrap() = daemon.grpc.clone();
        tokio::time::sleep(Duration::from_millis(100 + (dice >> 8) % 900)).await;
        daemon.kill();
    }
    flaky.be(Mood::Takes);
    let daemon = start.run();
    *endpoint.lock().unwrap() = daemon.grpc.clone();
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    daemon.settle(MINUTE).await;
    let stored = daemon.search("{}", 1_000_000).await;
    assert!(stored.len() > 300, "too little load to mean anything: {} traces", stored.len());
    for (name, backend) in [("flaky", &flaky), ("steady", &steady)] {
        exported(&daemon, name, 0).await;
        let arrived = backend.spans();
        for (trace, spans) in &stored {
            let there = arrived.get(trace).unwrap_or_else(|| panic!("seed {seed}: {trace} not at {name}"));
            assert!(spans.iter().all(|span| there.contains_key(span)), "seed {seed}: a part of {trace}");
        }
        let invented: Vec<_> = arrived.keys().filter(|trace| !stored.contains_key(*trace)).collect();
        assert!(invented.is_empty(), "seed {seed}: at {name} and not stored: {invented:?}");
        let twice = arrived.values().flat_map(BTreeMap::values).filter(|times| **times > 1).count();
        println!("{name}: {} traces, {twice} spans more than once", arrived.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_that_is_named_no_more_is_told_of_and_what_cannot_work_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path(), "  gone: { endpoint: 'http://127.0.0.1:1' }\n").run();
    send(&daemon, 0..30).await;
    daemon.settle(MINUTE).await;
    assert!(daemon.terminate(MINUTE).success());
    let left = folder.path().join("own/data/export/gone");
    assert!(left.join("log").is_dir());
    let daemon = start(folder.path(), "  other: { endpoint: 'http://127.0.0.1:1', classes: [gold] }\n").run();
    // The API answers when everything else has begun.
    daemon.json("/status").await;
    assert!(daemon.has_logged("not configured any more"));
    assert!(daemon.has_logged("export.other.classes"), "a class that no rule has");
    assert!(left.join("log").is_dir(), "it stays");
    daemon.kill();

    let (code, said) =
        start(folder.path(), "  a: { endpoint: 'http://b:1', filter: '{ span. }' }\n").run_to_failure();
    assert!(code != Some(0) && said.contains("export.a.filter"), "{said}");
    let secret = "  a: { endpoint: 'http://b:1', header_files: { x: /nowhere/at/all } }\n";
    let (code, said) = start(folder.path(), secret).run_to_failure();
    assert!(code != Some(0) && said.contains("export.a.header_files"), "{said}");
}
