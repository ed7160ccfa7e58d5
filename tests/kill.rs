//! kill −9 loses no acknowledged span, brings none back that the rules drop, and doubles none.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::Start;
use support::traffic::{self, Shape};

const KILLS: u64 = 150;
const RULES: &str = r#"
version: 1
decision: { wait: 500ms, after_root: 200ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: pinned-routes, when: '{ span.http.route = "/login" }', keep: 100% }
  - { name: rest, drop: true }
retention: { default: 3d, errors: 30d }
"#;
const CONFIG: &str = "store: { flush: { age: 100ms } }\nlog: { segment: 256KiB }\nrecorder: { size: 2MiB }\nquery: { limit_max: 1000000 }\n";

/// When it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// While it starts, this long after the process was.
    Starting(Duration),
    /// As soon as its ports are open: while the log is read again.
    Replaying,
    /// Once it serves, after this long of load: in the middle of a sync, a verdict, a flush, an upload.
    Loaded(Duration),
    /// Right after a batch came into the table: before the log knows, or just after.
    Committed,
}

impl Moment {
    fn of(round: u64, dice: u64) -> Self {
        match round % 10 {
            0..=2 => Self::Starting(Duration::from_millis(dice % 60)),
            3 => Self::Replaying,
            4 | 5 => Self::Committed,
            9 => Self::Loaded(Duration::from_millis(300 + dice % 500)),
            _ => Self::Loaded(Duration::from_millis(dice % 250)),
        }
    }

    /// Starts one and kills it.
    async fn strike(self, start: &Start, endpoint: &Mutex<String>) {
        if let Self::Starting(after) = self {
            let (daemon, _) = start.launch();
            tokio::time::sleep(after).await;
            return daemon.kill();
        }
        let daemon = start.run();
        *endpoint.lock().unwrap() = daemon.grpc.clone();
        match self {
            Self::Starting(_) | Self::Replaying => {}
            Self::Loaded(after) => tokio::time::sleep(after).await,
            Self::Committed => {
                let started = std::time::Instant::now();
                while !daemon.has_logged("\"committed\"") && started.elapsed() < Duration::from_secs(3) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        daemon.kill();
    }
}

/// What was acknowledged, kept in this process, outside the one that dies: trace number → spans.
type Ledger = Arc<Mutex<BTreeMap<u64, (Shape, usize)>>>;

/// Sends traces until told to stop, each in two requests; a request that was not acknowledged is sent again, as an
/// SDK would, to whichever daemon is there by then.
async fn load(endpoint: Arc<Mutex<String>>, next: Arc<AtomicU64>, stop: Arc<AtomicU64>, ledger: Ledger) {
    let mut client = None;
    while stop.load(Ordering::Relaxed) == 0 {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let shape = [Shape::Error, Shape::Plain, Shape::Login, Shape::Plain][(number % 4) as usize];
        let mut first = traffic::trace(number, shape, 4);
        let second = first.split_off(2);
        for part in [first, second] {
            let spans = part.len();
            loop {
                if client.is_none() {
                    let address = endpoint.lock().unwrap().clone();
                    client = traffic::connect(&address).await.ok();
                }
                if let Some(connected) = client.as_mut()
                    && traffic::send(connected, part.clone(), "shop").await.is_ok()
                {
                    break;
                }
                client = None;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            ledger.lock().unwrap().entry(number).or_insert((shape, 0)).1 += spans;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_01_to_04_after_150_kills_at_any_moment_every_acknowledged_span_that_the_rules_keep_is_found_once_and_no_other()
 {
    let folder = tempfile::tempdir().unwrap();
    let start = Start::new(&folder.path().join("data")).rules(RULES).config(CONFIG);
    let endpoint = Arc::new(Mutex::new(String::new()));
    let (next, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let ledger = Ledger::default();
    let senders: Vec<_> = (0..4)
        .map(|_| tokio::spawn(load(endpoint.clone(), next.clone(), stop.clone(), ledger.clone())))
        .collect();

    let seed = traffic::now_nano();
    println!("seed {seed}");
    for round in 0..KILLS {
        Moment::of(round, traffic::mix(seed ^ round)).strike(&start, &endpoint).await;
    }
    let daemon = start.run();
    *endpoint.lock().unwrap() = daemon.grpc.clone();
    stop.store(1, Ordering::Relaxed);
    for sender in senders {
        sender.await.unwrap();
    }
    daemon.settle(Duration::from_secs(60)).await;

    let ledger = ledger.lock().unwrap().clone();
    assert!(ledger.len() > 500, "too little load to mean anything: {} traces", ledger.len());
    let expected: BTreeMap<_, _> = ledger
        .iter()
        .filter(|(_, (shape, _))| *shape != Shape::Plain)
        .map(|(number, (_, spans))| (traffic::hex(&traffic::trace_id(*number)), *spans))
        .collect();
    let found = daemon.search("{}", 1_000_000).await;
    for (id, spans) in &found {
        let unique: std::collections::BTreeSet<_> = spans.iter().collect();
        assert_eq!(unique.len(), spans.len(), "a span of {id} twice");
    }
    let counts: BTreeMap<_, _> = found.iter().map(|(id, spans)| (id.clone(), spans.len())).collect();
    let missing: Vec<_> = expected.iter().filter(|(id, n)| counts.get(*id) != Some(n)).take(5).collect();
    let invented: Vec<_> = counts.keys().filter(|id| !expected.contains_key(*id)).take(5).collect();
    println!("{} traces acknowledged, {} kept", ledger.len(), counts.len());
    assert!(missing.is_empty(), "seed {seed}, lost or not whole: {missing:?}");
    assert!(invented.is_empty(), "seed {seed}, kept against the rules: {invented:?}");
}
