//! The agent, seen from outside: OTLP in, gateways that come and go, what they hold in the end.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::traffic::{self, Shape};
use support::{Daemon, Start};

const RULES: &str =
    "version: 1\ndecision: { wait: 1s, after_root: 300ms }\nrules: [{ name: all, keep: 100% }]\n";
const GATEWAY: &str = "store: { flush: { age: 200ms } }\nquery: { limit_max: 1000000 }\n";
const MINUTE: Duration = Duration::from_secs(60);

/// A port that was free a moment ago: a gateway that is killed comes back at the same address.
fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn gateway(folder: &Path, port: u16) -> Start {
    let data = folder.join(format!("gateway-{port}")).join("data");
    let mut start = Start::new(&data).rules(RULES).config(GATEWAY);
    start.args = vec!["--role".into(), "gateway".into()];
    start.grpc = Some(format!("127.0.0.1:{port}"));
    start
}

fn agent(folder: &Path, ports: &[u16], more: &str) -> Start {
    let names: Vec<_> = ports.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let config = format!(
        "role: agent\ngateways: {{ static: {names:?}, queue: 256KiB }}\nlog: {{ segment: 1MiB }}\n{more}"
    );
    Start::new(&folder.join("agent").join("data")).config(&config)
}

async fn send(agent: &Daemon, numbers: std::ops::Range<u64>) {
    let mut client = traffic::connect(&agent.grpc).await.unwrap();
    for chunk in numbers.collect::<Vec<_>>().chunks(20) {
        let spans = chunk.iter().flat_map(|n| traffic::trace(*n, Shape::Plain, 4)).collect();
        traffic::send(&mut client, spans, "shop").await.unwrap();
    }
}

/// What the gateways hold: trace → how many of its spans each has. Panics on a span that is there twice.
async fn held(gateways: &[&Daemon]) -> BTreeMap<String, Vec<usize>> {
    let mut all: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for gateway in gateways {
        gateway.settle(MINUTE).await;
        for (trace, spans) in gateway.search("{}", 1_000_000).await {
            let unique: BTreeSet<_> = spans.iter().collect();
            assert_eq!(unique.len(), spans.len(), "a span of {trace} twice");
            all.entry(trace).or_default().push(spans.len());
        }
    }
    all
}

async fn forwarded(agent: &Daemon, spans: u64) -> serde_json::Value {
    agent
        .status_when("everything is forwarded", MINUTE, |status| {
            status["forward"]["outstanding_spans"] == 0 && status["forward"]["forwarded_spans"] == spans
        })
        .await
}

fn assert_whole(held: &BTreeMap<String, Vec<usize>>, numbers: std::ops::Range<u64>) {
    let expected: BTreeMap<_, _> = numbers.map(|n| (traffic::hex(&traffic::trace_id(n)), vec![4])).collect();
    assert_eq!(held.len(), expected.len());
    assert_eq!(held, &expected, "each trace whole at one gateway");
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_go_to_the_gateway_of_their_trace_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [port(), port(), port()];
    let gateways: Vec<_> = ports.iter().map(|port| gateway(folder.path(), *port).run()).collect();
    let agent = agent(folder.path(), &ports, "").run();
    send(&agent, 0..600).await;
    let status = forwarded(&agent, 2400).await;
    let lanes = status["forward"]["gateways"].as_array().unwrap().clone();
    assert_eq!(lanes.len(), 3);
    assert!(lanes.iter().all(|lane| lane["sent_spans"].as_u64().unwrap() > 500), "{lanes:?}");
    assert_whole(&held(&gateways.iter().collect::<Vec<_>>()).await, 0..600);

    let (code, metrics) = agent.get("/metrics").await;
    assert_eq!(code, 200);
    assert!(metrics.contains("tracewell_forward_spans_total{outcome=\"forwarded\"} 2400"), "{metrics}");
    assert_eq!(agent.get("/ready").await.0, 200);
    assert_eq!(agent.get("/api/search?q=%7B%7D").await.0, 404);
    assert!(agent.terminate(MINUTE).success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_down_holds_up_nobody_and_gets_its_share_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [port(), port()];
    let up = gateway(folder.path(), ports[0]).run();
    let agent = agent(folder.path(), &ports, "").run();
    // More than its queue of 256 KiB: the rest is read from the log again.
    send(&agent, 0..6000).await;
    let status = agent
        .status_when("the other gateway has its share", MINUTE, |status| {
            let lanes = status["forward"]["gateways"].as_array().unwrap();
            let of = |port: u16| {
                let name = format!("127.0.0.1:{port}");
                lanes.iter().find(|lane| lane["name"] == name.as_str()).unwrap()
            };
            let (up, down) = (of(ports[0]), of(ports[1]));
            up["behind_bytes"] == 0 && down["trouble"].is_string() && down["retries"].as_u64().unwrap() > 0
        })
        .await;
    let outstanding = status["forward"]["outstanding_spans"].as_u64().unwrap();
    assert!((6000..18_000).contains(&outstanding), "{status}");
    let lanes = status["memory"]["parts"]["lanes"].clone();
    assert!(lanes["used"].as_u64() <= lanes["bound"].as_u64(), "{status}");

    let back = gateway(folder.path(), ports[1]).run();
    forwarded(&agent, 24_000).await;
    assert_whole(&held(&[&up, &back]).await, 0..6000);
    // What is settled is let go of.
    agent
        .status_when("the log is let go of", MINUTE, |status| status["log"]["segments"].as_u64() < Some(4))
        .await;
}

/// A trace whose bytes do not compress: the log grows by them.
fn noisy(number: u64) -> Vec<traffic::Span> {
    let mut trace = traffic::trace(number, Shape::Plain, 4);
    let noise: String = (0..256).map(|i| format!("{:016x}", traffic::mix(number << 20 | i))).collect();
    trace[0].attributes.push(traffic::text("noise", &noise));
    trace
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_however_long_costs_space_in_the_log_and_nothing_else() {
    const TRACES: u64 = 30_000;
    let folder = tempfile::tempdir().unwrap();
    let ports = [port(), port()];
    let up = gateway(folder.path(), ports[0]).run();
    let agent = agent(folder.path(), &ports, "memory: { limit: 96MiB }\n").run();
    let mut client = traffic::connect(&agent.grpc).await.unwrap();
    let mut sizes = Vec::new();
    for begin in (0..TRACES).step_by(20) {
        let spans: Vec<_> = (begin..begin + 20).flat_map(noisy).collect();
        while traffic::send(&mut client, spans.clone(), "shop").await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        if (begin + 20).is_multiple_of(TRACES / 6) {
            // The other gateway has all that is its own by now, and every part is within its bound.
            let status = agent
                .status_when("one lane is not held up by the other", MINUTE, |status| {
                    let lanes = status["forward"]["gateways"].as_array().unwrap();
                    lanes.iter().any(|lane| lane["behind_bytes"] == 0 && lane["trouble"].is_null())
                })
                .await;
            for (part, memory) in status["memory"]["parts"].as_object().unwrap() {
                assert!(memory["used"].as_u64() <= memory["bound"].as_u64(), "{part}: {memory}");
            }
            assert_eq!(status["receive"]["refused"]["unavailable"], 0, "{status}");
            let size = |of: &serde_json::Value| of.as_u64().unwrap() >> 20;
            sizes.push((size(&status["log"]["bytes"]), size(&status["process"]["resident_bytes"])));
        }
    }
    println!("log and resident memory, MiB: {sizes:?}");
    // By half of it everything is warm; the allocator still gets pages of its own now and then.
    let (half, last) = (sizes[sizes.len() / 2 - 1], sizes[sizes.len() - 1]);
    let (log, memory) = (last.0.saturating_sub(half.0), last.1.saturating_sub(half.1));
    assert!(log > 50, "the log grows: {sizes:?}");
    assert!(memory < log / 2, "memory does not grow with it: {sizes:?}");
    assert!(last.1 < 96 + 32, "nor beyond its limit and the program itself: {sizes:?}");

    let back = gateway(folder.path(), ports[1]).run();
    forwarded(&agent, TRACES * 4).await;
    agent
        .status_when("the log is let go of", MINUTE, |status| status["log"]["segments"].as_u64() < Some(4))
        .await;
    let stored = async |gateway: &Daemon| {
        let status = gateway.json("/status").await;
        status["losses"]["default"]["stored"].as_u64().unwrap_or_default()
    };
    let begun = std::time::Instant::now();
    loop {
        let (up, back) = (stored(&up).await, stored(&back).await);
        assert!(up + back <= TRACES * 4 && begun.elapsed() < 2 * MINUTE, "stored: {up} and {back}");
        if up + back == TRACES * 4 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_acknowledged_is_forwarded_after_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [port(), port()];
    let start = agent(folder.path(), &ports, "");
    let killed = start.run();
    send(&killed, 0..500).await;
    killed.kill();
    let gateways: Vec<_> = ports.iter().map(|port| gateway(folder.path(), *port).run()).collect();
    let agent = start.run();
    send(&agent, 500..700).await;
    agent
        .status_when("everything is forwarded", MINUTE, |status| {
            let forward = &status["forward"];
            forward["outstanding_spans"] == 0 && forward["forwarded_spans"] == 2800
        })
        .await;
    assert_whole(&held(&gateways.iter().collect::<Vec<_>>()).await, 0..700);
    // Nothing is sent again after an orderly end.
    assert!(agent.terminate(MINUTE).success());
    let agent = start.run();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let status = agent.json("/status").await;
    assert_eq!(status["forward"]["resumed_spans"], 0, "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn head_sampling_passes_on_its_share_of_the_traces_whole_and_with_their_threshold() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [port()];
    let gateway = gateway(folder.path(), ports[0]).run();
    let agent = agent(folder.path(), &ports, "forward: { sample: 25% }\n").run();
    let kept = |number: u64| traffic::trace_id(number)[9] >= 0xc0;
    let expected: BTreeMap<_, _> =
        (0..400).filter(|n| kept(*n)).map(|n| (traffic::hex(&traffic::trace_id(n)), vec![4])).collect();
    let spans = expected.len() as u64 * 4;
    assert!((380..420).contains(&spans), "a quarter of 1600: {spans}");
    send(&agent, 0..400).await;
    let status = forwarded(&agent, spans).await;
    assert_eq!(status["forward"]["sampled_out_spans"], 1600 - spans, "{status}");
    assert_eq!(held(&[&gateway]).await, expected);
    // A quarter is the threshold `c`: what is kept stands for four, to whoever counts.
    for id in expected.keys().take(5) {
        let trace = gateway.json(&format!("/api/traces/{id}")).await.to_string();
        assert_eq!(trace.matches("\"traceState\":\"ot=th:c\"").count(), 4, "{trace}");
    }
}

/// Sends until told to stop, each request until it is acknowledged, to whichever agent is there by then.
async fn load(endpoint: Arc<Mutex<String>>, next: Arc<AtomicU64>, stop: Arc<AtomicBool>, acked: Acked) {
    let mut client = None;
    while !stop.load(Ordering::Relaxed) {
        let begin = next.fetch_add(5, Ordering::Relaxed);
        let spans: Vec<_> = (begin..begin + 5).flat_map(|n| traffic::trace(n, Shape::Plain, 4)).collect();
        loop {
            if client.is_none() {
                let address = endpoint.lock().unwrap().clone();
                client = traffic::connect(&address).await.ok();
            }
            if let Some(connected) = client.as_mut()
                && traffic::send(connected, spans.clone(), "shop").await.is_ok()
            {
                break;
            }
            client = None;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        acked.lock().unwrap().extend(begin..begin + 5);
    }
}

type Acked = Arc<Mutex<BTreeSet<u64>>>;

#[tokio::test(flavor = "multi_thread")]
async fn agent_and_gateway_killed_again_and_again_under_load_lose_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let ports = [port(), port()];
    let starts = ports.map(|port| gateway(folder.path(), port));
    let mut gateways: Vec<_> = starts.iter().map(Start::run).collect();
    let start = agent(folder.path(), &ports, "");
    let mut agent = start.run();
    let endpoint = Arc::new(Mutex::new(agent.grpc.clone()));
    let (next, stop, acked) = (Arc::default(), Arc::<AtomicBool>::default(), Acked::default());
    let senders: Vec<_> = (0..3)
        .map(|_| tokio::spawn(load(endpoint.clone(), Arc::clone(&next), stop.clone(), acked.clone())))
        .collect();
    let seed = traffic::now_nano();
    for round in 0..15u64 {
        let dice = traffic::mix(seed ^ round);
        tokio::time::sleep(Duration::from_millis(dice % 400)).await;
        if round % 4 == 3 {
            let which = (dice >> 32) as usize % 2;
            gateways.remove(which).kill();
            gateways.insert(which, starts[which].run());
        } else {
            agent.kill();
            agent = start.run();
            *endpoint.lock().unwrap() = agent.grpc.clone();
        }
    }
    stop.store(true, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    agent
        .status_when("everything is forwarded", MINUTE, |status| {
            let forward = &status["forward"];
            let lanes = forward["gateways"].as_array().unwrap();
            forward["outstanding_spans"] == 0 && lanes.iter().all(|lane| lane["behind_bytes"] == 0)
        })
        .await;
    let acked = acked.lock().unwrap().clone();
    assert!(acked.len() > 200, "too little load to mean anything: {}", acked.len());
    println!("seed {seed}: {} traces acknowledged", acked.len());
    let expected: BTreeMap<_, _> =
        acked.iter().map(|n| (traffic::hex(&traffic::trace_id(*n)), vec![4])).collect();
    assert_eq!(held(&gateways.iter().collect::<Vec<_>>()).await, expected, "seed {seed}");
}
