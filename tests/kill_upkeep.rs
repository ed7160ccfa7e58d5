//! kill −9 in each step of compaction and of expiry: everything is there once, and what stays behind is swept.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use support::steps::{End, age, copy, killed_at};
use support::table::read_log;
use support::traffic::{self, Shape};
use support::{Daemon, Start, binary, tracewell};

const RULES: &str = "
version: 1
decision: { wait: 200ms, after_root: 20ms }
rules:
  - { name: errors, when: '{ status = error }', keep: 100%, retention: errors }
  - { name: rest, keep: 100% }
retention: { default: 3d, errors: 30d }
";
const CONFIG: &str = "
store: { flush: { age: 20ms } }
compaction: { enabled: false }
query: { limit_max: 1000000 }
";
const DEADLINE: Duration = Duration::from_secs(60);
const SPANS: usize = 3;

fn start(folder: &Path) -> Start {
    Start::new(&folder.join("data")).rules(RULES).config(CONFIG)
}

/// A store of so many small files of each table, with a trace of three spans each; the daemon that wrote it is gone.
async fn stored(folder: &Path, files: u64, shape: Shape) -> PathBuf {
    let daemon = start(folder).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..files {
        traffic::send(&mut client, traffic::trace(number, shape, SPANS), "shop").await.unwrap();
        daemon.status_when("stored", DEADLINE, |s| s["store"]["spans"] == (number + 1) * SPANS as u64).await;
    }
    assert!(daemon.terminate(DEADLINE).success());
    folder.join("data/store")
}

fn quiet(args: &[&str]) -> Command {
    let mut command = binary();
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// What `table verify` says of a store of which it finds everything right.
fn verified(store: &Path, when: &str) -> Value {
    let (code, out, error) = tracewell(&["table", "verify", "--json", "--store", path(store)]);
    assert_eq!(code, Some(0), "{when}: {out}{error}");
    serde_json::from_str(&out).unwrap()
}

/// Objects that no table names and none named before.
fn orphans(verified: &Value) -> usize {
    verified["strays"].as_array().unwrap().iter().filter(|stray| stray["removedUnixMs"].is_null()).count()
}

fn rows(store: &Path) -> u64 {
    read_log(&store.join("default/spans")).rows
}

/// The traces that a daemon without a log finds in a store, each of which has all of its spans once.
async fn traces(folder: &Path, store: &Path) -> BTreeSet<String> {
    let mut start = Start::new(&folder.join("other")).rules(RULES).config(CONFIG);
    start.store = Some(format!("file://{}", path(store)));
    let daemon = start.run();
    found(&daemon, SPANS).await
}

async fn found(daemon: &Daemon, spans: usize) -> BTreeSet<String> {
    let found = daemon.search("{}", 1_000_000).await;
    for (id, ids) in &found {
        let unique: BTreeSet<_> = ids.iter().collect();
        assert_eq!((ids.len(), unique.len()), (spans, spans), "spans of {id}");
    }
    found.into_keys().collect()
}

fn expected(numbers: std::ops::Range<u64>) -> BTreeSet<String> {
    numbers.map(|number| traffic::hex(&traffic::trace_id(number))).collect()
}

/// Sweeps what is older than a day, as everything is by then.
fn sweep(folder: &Path, store: &Path, when: &str) {
    age(store, Duration::from_secs(3 * 86_400));
    let rules = folder.join("rules.yaml");
    tracewell(&["table", "expire", "--rules", path(&rules), "--store", path(store)]);
    assert_eq!(orphans(&verified(store, when)), 0, "{when}: orphans stay");
}

#[tokio::test(flavor = "multi_thread")]
async fn row_14_compaction_killed_at_each_of_its_steps_leaves_everything_once_and_is_done_by_the_next() {
    const FILES: u64 = 20;
    let folder = tempfile::tempdir().unwrap();
    let original = stored(folder.path(), FILES, Shape::Plain).await;
    let all = FILES * SPANS as u64;
    assert_eq!(rows(&original), all);
    let (mut step, mut left_behind) = (0, 0);
    loop {
        step += 1;
        let store = folder.path().join(format!("killed-{step}"));
        copy(&original, &store);
        let end = killed_at(step, &store, quiet(&["table", "compact", "--store", path(&store)]));
        let when = format!("killed at step {step}");
        left_behind += orphans(&verified(&store, &when));
        assert_eq!(rows(&store), all, "{when}");
        let again = tracewell(&["table", "compact", "--json", "--store", path(&store)]);
        assert_eq!(again.0, Some(0), "{when}: {again:?}");
        verified(&store, &when);
        assert_eq!(rows(&store), all, "{when}, and done again");
        if step % 8 == 0 || end != End::Killed {
            sweep(folder.path(), &store, &when);
            assert_eq!(traces(folder.path(), &store).await, expected(0..FILES), "{when}");
        }
        std::fs::remove_dir_all(&store).unwrap();
        if end != End::Killed {
            assert_eq!(end, End::Ended(Some(0)));
            break;
        }
    }
    println!("{step} steps, {left_behind} orphans");
    assert!(step > 10, "{step} steps are too few to be all");
    assert!(left_behind > 0, "it was never killed between an upload and its commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn expiry_killed_at_each_of_its_steps_takes_what_is_due_and_nothing_else() {
    const FILES: u64 = 6;
    let folder = tempfile::tempdir().unwrap();
    let original = stored(folder.path(), FILES, Shape::Error).await;
    // More files, of the class that is due.
    let daemon = start(folder.path()).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in FILES..2 * FILES {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, SPANS), "shop").await.unwrap();
    }
    daemon.settle(DEADLINE).await;
    assert!(daemon.terminate(DEADLINE).success());
    let rules = folder.path().join("short.yaml");
    std::fs::write(&rules, RULES.replace("default: 3d", "default: 1s")).unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let (before, after) = (2 * FILES * SPANS as u64, FILES * SPANS as u64);
    let mut step = 0;
    loop {
        step += 1;
        let store = folder.path().join(format!("killed-{step}"));
        copy(&original, &store);
        let args = ["table", "expire", "--rules", path(&rules), "--store", path(&store)];
        let end = killed_at(step, &store, quiet(&args));
        let when = format!("killed at step {step}");
        verified(&store, &when);
        assert!([before, after].contains(&rows(&store)), "{when}: {}", rows(&store));
        tracewell(&args);
        verified(&store, &when);
        assert_eq!(rows(&store), after, "{when}, and done again");
        if end != End::Killed {
            assert_eq!(traces(folder.path(), &store).await, expected(0..FILES), "{when}");
            assert_eq!(end, End::Ended(Some(0)));
            break;
        }
        std::fs::remove_dir_all(&store).unwrap();
    }
    assert!(step > 3, "{step} steps are too few to be all");
}

#[tokio::test(flavor = "multi_thread")]
async fn compactors_and_expiry_that_die_beside_a_daemon_that_writes_lose_nothing() {
    const ROUNDS: u64 = 16;
    let folder = tempfile::tempdir().unwrap();
    let mut start = start(folder.path());
    start = start.config(&CONFIG.replace("enabled: false", "gather: 4"));
    let daemon = start.run();
    let store = folder.path().join("data/store");
    let stop = Arc::new(AtomicBool::new(false));
    let sender = {
        let (stop, endpoint) = (stop.clone(), daemon.grpc.clone());
        tokio::spawn(async move {
            let mut client = traffic::connect(&endpoint).await.unwrap();
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                let shape = if number % 3 == 0 { Shape::Error } else { Shape::Plain };
                traffic::send(&mut client, traffic::trace(number, shape, SPANS), "shop").await.unwrap();
                number += 1;
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            number
        })
    };
    daemon.status_when("a table", DEADLINE, |status| status["store"]["batches"].as_u64() > Some(20)).await;
    let rules = folder.path().join("rules.yaml");
    let seed = traffic::now_nano();
    println!("seed {seed}");
    for round in 0..ROUNDS {
        let dice = traffic::mix(seed ^ round);
        let mut args = vec!["table", "compact", "--store", path(&store)];
        if round % 4 == 3 {
            args = vec!["table", "expire", "--rules", path(&rules), "--store", path(&store)];
        }
        // Two at once, on the same files.
        let mut other = quiet(&["table", "compact", "--store", path(&store)]).spawn().unwrap();
        killed_at(1 + (dice % 60) as usize, &store, quiet(&args));
        tokio::time::sleep(Duration::from_millis(dice % 200)).await;
        other.kill().unwrap();
        other.wait().unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let sent = sender.await.unwrap();
    daemon.settle(DEADLINE).await;
    assert_eq!(found(&daemon, SPANS).await, expected(0..sent), "seed {seed}");
    assert!(daemon.terminate(DEADLINE).success());
    verified(&store, "at the end");
    assert_eq!(rows(&store), sent * SPANS as u64, "seed {seed}");
    // Two that live, on what is left.
    let ends = [0, 1].map(|_| quiet(&["table", "compact", "--store", path(&store)]).spawn().unwrap());
    for mut end in ends {
        assert_eq!(end.wait().unwrap().code(), Some(0));
    }
    assert_eq!(rows(&store), sent * SPANS as u64, "seed {seed}");
    sweep(folder.path(), &store, "at the end");
    assert_eq!(traces(folder.path(), &store).await, expected(0..sent), "seed {seed}");
}
