//! The agent, seen from outside: OTLP in, gateways that come and go, what they hold in the end.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
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
