//! A fleet that changes under load: two agents, gateways that are killed, drained and added. Every acknowledged span arrives
//! and no trace is decided by two gateways; what each has is read from its files afterwards. `FLEET_TRACES=100000` makes it a
//! long run, and `TRACEWELL_BINARY` runs another build of the daemon.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod found;
#[path = "../support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use found::{Found, Sent, breaches};
use support::traffic::{self, Shape, Span};
use support::{Daemon, Start};

/// An error decides for its entire trace, wherever in it it is: a trace of which two gateways have parts is kept by one and
/// dropped by the other, or dropped twice.
const RULES: &str = "version: 1\ndecision: { wait: 3s, after_root: 2s }\n\
    rules: [{ name: errors, when: '{ status = error }', keep: 100% }, { name: rest, drop: true }]\n";
const SPANS: usize = 4;
const REQUEST: u64 = 20;
const GATEWAYS: usize = 4;
/// A round of changes takes so many traces.
const ROUND: u64 = 20_000;
const MINUTE: Duration = Duration::from_secs(60);

fn traces() -> u64 {
    let wanted: Option<u64> = std::env::var("FLEET_TRACES").ok().and_then(|traces| traces.parse().ok());
    wanted.unwrap_or(6000).next_multiple_of(REQUEST)
}

fn port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A trace, and whether the rules keep it: every fourth has an error, one time in the half that comes first, one time in the
/// other.
fn trace(number: u64) -> (Vec<Span>, bool) {
    let mut spans = traffic::trace(number, Shape::Plain, SPANS);
    let is_kept = number.is_multiple_of(4);
    if is_kept {
        let at = if number.is_multiple_of(8) { SPANS - 1 } else { 0 };
        spans[at].status = traffic::failed();
    }
    (spans, is_kept)
}

/// The list of members, as a file that everybody reads again.
struct List(PathBuf);

impl List {
    fn write(&self, ports: impl Iterator<Item = u16>) {
        let text: String = ports.map(|port| format!("127.0.0.1:{port}\n")).collect();
        let temporary = self.0.with_extension("new");
        std::fs::write(&temporary, text).unwrap();
        std::fs::rename(temporary, &self.0).unwrap();
    }
}

/// Gateways, some of them running, and the list that names those.
struct Fleet {
    list: List,
    ports: Vec<u16>,
    starts: Vec<Start>,
    running: Vec<Option<Daemon>>,
}

impl Fleet {
    fn new(folder: &Path) -> Self {
        let list = List(folder.join("gateways"));
        let ports: Vec<_> = (0..GATEWAYS).map(|_| port()).collect();
        let starts: Vec<_> = ports.iter().map(|port| gateway(folder, &list, *port)).collect();
        list.write(ports[1..].iter().copied());
        let running = starts.iter().enumerate().map(|(index, start)| (index > 0).then(|| start.run()));
        Self { running: running.collect(), list, ports, starts }
    }

    fn list_running(&self) {
        let running = self.ports.iter().zip(&self.running).filter(|(_, daemon)| daemon.is_some());
        self.list.write(running.map(|(port, _)| *port));
    }

    /// kill −9, and a second later it is started again.
    async fn kill(&mut self, which: usize) {
        self.running[which].take().unwrap().kill();
        tokio::time::sleep(Duration::from_secs(1)).await;
        self.running[which] = Some(self.starts[which].run());
    }

    /// SIGTERM: it finishes what it has, and is taken off the list when it is gone.
    async fn drain(&mut self, which: usize) {
        let mut leaving = self.running[which].take().unwrap();
        leaving.signal(rustix::process::Signal::TERM);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (code, text) = leaving.get("/ready").await;
        assert_eq!((code, text.contains("draining")), (503, true), "{text}");
        let ended = tokio::task::spawn_blocking(move || leaving.wait(2 * MINUTE)).await.unwrap();
        assert!(ended.success());
        self.list_running();
    }

    fn add(&mut self, which: usize) {
        self.running[which] = Some(self.starts[which].run());
        self.list_running();
    }

    /// Ends all of them, and reads what they have.
    async fn found(self) -> Vec<Found> {
        let mut found = Vec::new();
        for ((port, start), daemon) in self.ports.iter().zip(&self.starts).zip(self.running) {
            if let Some(daemon) = daemon {
                daemon.settle(2 * MINUTE).await;
                println!("{port}: {}", daemon.json("/status").await["fleet"]);
                daemon.kill();
            }
            // Alone: there is nobody to leave. What is in its files is what a restart makes of them.
            let mut alone = Start::new(&start.data).rules(RULES);
            alone.config = Some(start.data.with_file_name("alone.yaml"));
            std::fs::write(alone.config.as_ref().unwrap(), KEEPS_ITS_LOG).unwrap();
            let alone = alone.run();
            alone.settle(2 * MINUTE).await;
            tokio::time::sleep(2 * Duration::from_secs(1)).await;
            let losses = alone.json("/status").await["losses"]["default"].clone();
            assert!(alone.terminate(MINUTE).success());
            found.push(Found::read(*port, &start.data, losses).await);
        }
        found
    }
}

/// All of the log stays, so that it can be read in the end.
const KEEPS_ITS_LOG: &str = "recorder: { age: 7d, size: 15GiB }\nstore: { flush: { age: 500ms } }\n";

fn gateway(folder: &Path, list: &List, port: u16) -> Start {
    let config = format!(
        "role: gateway\ngateways: {{ file: {:?}, self: '127.0.0.1:{port}', refresh: 300ms, settle: 5s }}\n{KEEPS_ITS_LOG}",
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
async fn acknowledged(client: &mut traffic::Client, spans: Vec<Span>) {
    while traffic::send(client, spans.clone(), "shop").await.is_err() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Each trace in two halves, by two agents, the second up to a second later.
async fn load(agents: [String; 2], next: Arc<AtomicU64>, pace: Duration) {
    let mut first = traffic::connect(&agents[0]).await.unwrap();
    let mut second = traffic::connect(&agents[1]).await.unwrap();
    let mut later = VecDeque::new();
    loop {
        let begin = next.fetch_add(REQUEST, Ordering::Relaxed);
        let is_over = begin >= traces();
        if !is_over {
            let (mut now, mut then) = (Vec::new(), Vec::new());
            for number in begin..begin + REQUEST {
                let (mut spans, _) = trace(number);
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

#[tokio::test(flavor = "multi_thread")]
async fn while_gateways_are_killed_drained_and_added_nothing_is_lost_and_no_verdict_is_split() {
    let folder = tempfile::tempdir().unwrap();
    let mut fleet = Fleet::new(folder.path());
    let agents = ["agent-a", "agent-b"].map(|name| agent(folder.path(), &fleet.list, name).run());

    let next = Arc::new(AtomicU64::new(0));
    let pace = Duration::from_millis(100);
    let [a, b] = [agents[0].grpc.clone(), agents[1].grpc.clone()];
    let senders = [[a.clone(), b.clone()], [b, a]];
    let senders = senders.map(|agents| tokio::spawn(load(agents, next.clone(), pace)));

    let (rounds, begun) = ((traces() / ROUND).max(1), Instant::now());
    for round in 0..rounds {
        let reached = async |part: u64| {
            let number = traces() * (round * 10 + part) / (rounds * 10);
            while next.load(Ordering::Relaxed) < number {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        // One is not there at first; it is the one that is added, and next time it is the one that is drained.
        let slot = |offset: u64| ((round + offset) % GATEWAYS as u64) as usize;
        let (added, drained, killed) = (slot(0), slot(1), slot(2));
        reached(1).await;
        fleet.kill(killed).await;
        reached(3).await;
        fleet.drain(drained).await;
        reached(6).await;
        fleet.add(added);
        // Killed while the others learn that somebody has joined.
        tokio::time::sleep(Duration::from_millis(100 + 400 * round)).await;
        fleet.kill(killed).await;
    }
    for sender in senders {
        sender.await.unwrap();
    }
    for agent in &agents {
        let status = agent
            .status_when("everything is forwarded", 2 * MINUTE, |status| {
                status["forward"]["outstanding_spans"] == 0
            })
            .await;
        assert_eq!(status["forward"]["refused_spans"], 0, "{status}");
    }
    println!("{} traces sent in {:?}, {rounds} rounds of changes", traces(), begun.elapsed());

    let found = fleet.found().await;
    found.iter().for_each(|gateway| println!("{gateway}"));
    assert!(found.iter().all(|gateway| gateway.traces() > 0), "each has had its share");
    let sent: Sent = (0..traces())
        .map(|number| {
            let (spans, is_kept) = trace(number);
            (spans[0].trace_id.clone(), found::Fate { spans: found::ids(&spans), is_kept })
        })
        .collect();
    let breaches = breaches(&sent, &found);
    assert!(
        breaches.is_empty(),
        "{} breaches:\n{}",
        breaches.len(),
        breaches[..breaches.len().min(20)].join("\n")
    );
}
