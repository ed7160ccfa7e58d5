//! Rows 5 and 6: what lies on the disk is not what was written.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::ids;
use crate::support::traffic::{self, Shape};
use crate::support::{Daemon, Start};

const UNDECIDED: &str = "version: 1\ndecision: { wait: 1h }\nrules: [{ name: all, keep: 100% }]\n";
const CONFIG: &str = "log: { segment: 64KiB }\nquery: { limit_max: 10000 }\n";

fn start(folder: &Path) -> Start {
    Start::new(&folder.join("data")).rules(UNDECIDED).config(CONFIG)
}

async fn send(daemon: &Daemon, numbers: std::ops::Range<u64>) {
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in numbers {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, 2), "shop").await.unwrap();
    }
}

async fn found(daemon: &Daemon) -> BTreeSet<String> {
    daemon.search("{}", 10_000).await.into_keys().collect()
}

/// The log's files, oldest first.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder.join("data/log")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn row_05_a_torn_tail_is_cut_off_and_nothing_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    send(&daemon, 0..50).await;
    daemon.kill();
    let last = segments(folder.path()).pop().unwrap();
    let mut content = std::fs::read(&last).unwrap();
    // A write that stopped in the middle: a record's beginning without its end.
    let (half, start_of_records) = (150, content.len() / 2);
    let torn = content[start_of_records..start_of_records + half].to_vec();
    content.extend(torn);
    std::fs::write(&last, content).unwrap();

    let daemon = start(folder.path()).run();
    let status = daemon.json("/status").await;
    assert_eq!(status["log"]["torn_bytes"], half, "{status}");
    assert_eq!(status["log"]["damaged_records"], 0, "{status}");
    assert!(daemon.has_logged("cut the torn end off the log"));
    assert_eq!(found(&daemon).await, ids(0..50));
    send(&daemon, 50..60).await;
    daemon.kill();
    assert_eq!(found(&start(folder.path()).run()).await, ids(0..60));
}

#[tokio::test(flavor = "multi_thread")]
async fn row_06_a_log_with_a_flipped_byte_in_each_kilobyte_starts_says_what_it_lost_and_takes_new_spans() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = start(folder.path()).run();
    send(&daemon, 0..600).await;
    daemon.kill();
    let mut flips = 0;
    for segment in segments(folder.path()) {
        let mut content = std::fs::read(&segment).unwrap();
        for kilobyte in 0..content.len() as u64 / 1024 {
            let at = kilobyte * 1024 + traffic::mix(kilobyte) % 1024;
            content[at as usize] ^= 1 << (at % 8);
            flips += 1;
        }
        std::fs::write(&segment, content).unwrap();
    }
    assert!(flips > 50, "{flips}");

    let daemon = start(folder.path()).run();
    let survived = found(&daemon).await;
    let status = daemon.json("/status").await;
    let damaged = status["log"]["damaged_records"].as_u64().unwrap();
    assert!((1..=flips).contains(&damaged), "{flips} flips: {status}");
    assert!(status["log"]["damaged_bytes"].as_u64().unwrap() > 0, "{status}");
    assert!(daemon.has_logged("skipped damaged records"));
    let lost = 600 - survived.len() as u64;
    assert!(survived.is_subset(&ids(0..600)) && lost >= 1 && lost <= flips, "{flips} flips lost {lost}");

    send(&daemon, 1000..1050).await;
    let expected: BTreeSet<_> = survived.union(&ids(1000..1050)).cloned().collect();
    assert_eq!(found(&daemon).await, expected);
    daemon.kill();
    assert_eq!(found(&start(folder.path()).run()).await, expected, "once more, and nothing else is lost");
}
