//! A fleet that changes under load: two agents, gateways that are killed, drained and added. Every acknowledged span arrives,
//! and no trace is decided by two gateways. `FLEET_TRACES=100000` makes it a long run.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use support::traffic::{self, Shape};
use support::{Daemon, Start};

const RULES: &str =
    "version: 1\ndecision: { wait: 3s, after_root: 2s }\nrules: [{ name: all, keep: 100% }]\n";
const SPANS: usize = 4;
const MINUTE: Duration = Duration::from_secs(60);

fn traces() -> u64 {
    std::env::var("FLEET_TRACES").ok().and_then(|traces| traces.parse().ok()).unwrap_or(6000)
}

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The list of members, as a file that everybody reads again.
struct List(PathBuf);

impl List {
    fn write(&self, ports: &[u16]) {
        let text: String = ports.iter().map(|port| format!("127.0.0.1:{port}\n")).collect();
        let temporary = self.0.with_extension("new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, &self.0).unwrap();
    }
}

fn gateway(folder: &Path, list: &List, port: u16) -> Start {
    let config = format!(
        "role: gateway\ngateways: {{ file: {:?}, self: '127.0.0.1:{port}', refresh: 300ms, settle: 5s }}\n\
         store: {{ flush: {{ age: 500ms }} }}\nquery: {{ limit_max: 1000000 }}\n",
        list.0
    );
    let mut start = Start::new(&folder.join(format!("gateway-{port}")).join("data"));
    start = start.rules(RULES).config(&config);
    start.grpc = Some(format!("127.0.0.1:{port}"));
    start
}

fn agent(folder: &Path, list: &List, name: &str) -> Start {
    let config = format!("role: agent\ngateways: {{ file: {:?}, refresh: 300ms }}\n", list.0);
    Start::new(&folder.join(name).join("data")).config(&config)
}

/// Sends spans until they are acknowledged.
async fn acknowledged(client: &mut traffic::Client, spans: Vec<traffic::Span>) {
    while traffic::send(client, spans.clone(), "shop").await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each trace in two halves, by two agents, the second up to a second later. Twenty traces a request.
async fn load(agents: [String; 2], next: Arc<AtomicU64>, pace: Duration) {
    let mut first = traffic::connect(&agents[0]).await.unwrap();
    let mut second = traffic::connect(&agents[1]).await.unwrap();
    let mut later = std::collections::VecDeque::new();
    loop {
        let begin = next.fetch_add(20, Ordering::Relaxed);
        let is_over = begin >= traces();
        if !is_over {
            let (mut now, mut then) = (Vec::new(), Vec::new());
            for number in begin..begin + 20 {
                let mut spans = traffic::trace(number, Shape::Plain, SPANS);
                then.extend(spans.split_off(SPANS / 2));
                now.extend(spans);
            }
            acknowledged(&mut first, now).await;
            let wait = Duration::from_millis(traffic::mix(begin) % 1000);
            later.push_back((Instant::now() + wait, then));
        }
        while let Some((at, _)) = later.front()
            && (is_over || *at <= Instant::now())
        {
            let (_, spans) = later.pop_front().unwrap();
            acknowledged(&mut second, spans).await;
        }
        if is_over {
            return;
        }
        tokio::time::sleep(pace).await;
    }
}

/// trace → the gateways that have some of it, and how many spans each.
type Held = BTreeMap<String, Vec<(u16, usize)>>;

async fn look(held: &mut Held, port: u16, gateway: &Daemon) {
    gateway.settle(MINUTE).await;
    for (trace, spans) in gateway.search("{}", 1_000_000).await {
        let unique: BTreeSet<_> = spans.iter().collect();
        assert_eq!(unique.len(), spans.len(), "a span of {trace} twice");
        held.entry(trace).or_default().push((port, spans.len()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_gateways_are_killed_drained_and_added_nothing_is_lost_and_no_verdict_is_split() {
    let folder = tempfile::tempdir().unwrap();
    let list = List(folder.path().join("gateways"));
    let ports: Vec<u16> = (0..4).map(|_| port()).collect();
    let starts: Vec<_> = ports.iter().map(|port| gateway(folder.path(), &list, *port)).collect();
    list.write(&ports[..3]);
    let (first, killed, drained) = (starts[0].run(), starts[1].run(), starts[2].run());
    let agents = ["agent-a", "agent-b"].map(|name| agent(folder.path(), &list, name).run());

    let next = Arc::new(AtomicU64::new(0));
    let pace = Duration::from_millis(100);
    let [a, b] = [agents[0].grpc.clone(), agents[1].grpc.clone()];
    let senders = [[a.clone(), b.clone()], [b, a]];
    let senders = senders.map(|agents| tokio::spawn(load(agents, next.clone(), pace)));
    let reached = async |part: u64| {
        while next.load(Ordering::Relaxed) < traces() * part / 10 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };

    reached(2).await;
    killed.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let killed = starts[1].run();

    reached(4).await;
    drained.signal(rustix::process::Signal::TERM);
    let (code, text) = {
        tokio::time::sleep(Duration::from_millis(200)).await;
        drained.get("/ready").await
    };
    assert_eq!((code, text.contains("draining")), (503, true), "{text}");
    let mut drained = drained;
    let status = tokio::task::spawn_blocking(move || drained.wait(MINUTE)).await.unwrap();
    assert!(status.success());
    list.write(&ports[..2]);

    reached(7).await;
    let added = starts[3].run();
    list.write(&[ports[0], ports[1], ports[3]]);

    for sender in senders {
        sender.await.unwrap();
    }
    for agent in &agents {
        let status = agent
            .status_when("everything is forwarded", MINUTE, |status| {
                status["forward"]["outstanding_spans"] == 0
            })
            .await;
        assert_eq!(status["forward"]["refused_spans"], 0, "{status}");
    }

    let mut held = Held::new();
    for (port, gateway) in [(ports[0], &first), (ports[1], &killed), (ports[3], &added)] {
        look(&mut held, port, gateway).await;
        println!("{port}: {}", gateway.json("/status").await["fleet"]);
    }
    // What the drained one has is in its table; nobody is left to ask it, so it is started alone.
    let mut alone = Start::new(&starts[2].data).rules(RULES);
    alone.config = Some(folder.path().join("alone.yaml"));
    std::fs::write(alone.config.as_ref().unwrap(), "query: { limit_max: 1000000 }\n").unwrap();
    let alone = alone.run();
    let status = alone.json("/status").await;
    assert_eq!(status["sample"]["pending_traces"], 0, "it left nothing undecided: {status}");
    look(&mut held, ports[2], &alone).await;

    let count = |port: u16| held.values().flatten().filter(|(at, _)| *at == port).count();
    println!("traces by gateway: {:?}", ports.iter().map(|port| count(*port)).collect::<Vec<_>>());
    assert!(ports.iter().all(|port| count(*port) > 0), "each has had its share");
    let sent: BTreeSet<_> = (0..next.load(Ordering::Relaxed).min(traces().next_multiple_of(20)))
        .map(|number| traffic::hex(&traffic::trace_id(number)))
        .collect();
    let missing: Vec<_> = sent.iter().filter(|id| !held.contains_key(*id)).take(5).collect();
    assert!(missing.is_empty(), "lost: {missing:?}");
    let split: Vec<_> = held.iter().filter(|(_, at)| at.len() != 1).collect();
    assert!(split.is_empty(), "{} split verdicts, such as {:?}", split.len(), &split[..split.len().min(5)]);
    let torn: Vec<_> = held.iter().filter(|(_, at)| at[0].1 != SPANS).take(5).collect();
    assert!(torn.is_empty(), "not whole: {torn:?}");
}
