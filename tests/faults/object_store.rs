//! Rows 12, 13 and 25: an object store that refuses, that loses answers, that is slow when it is time to go.

use std::path::Path;
use std::time::Duration;

use crate::support::bucket::{Bucket, Mood, Refusal};
use crate::support::table::read_log;
use crate::support::traffic::{self, Shape};
use crate::support::{Daemon, Start};
use crate::{ids, noisy, send_until_refused, send_until_taken};

fn start(bucket: &Bucket, folder: &Path, config: &str) -> Start {
    let config = format!("store: {{ flush: {{ age: 300ms }} }}\nquery: {{ limit_max: 100000 }}\n{config}");
    bucket.start(&folder.join("data")).config(&config).env("TRACE_DEBUG", "1")
}

/// Whether the table has these rows, and no batch twice.
fn table_has(bucket: &Bucket, spans: usize) {
    let log = read_log(&bucket.folder.join("production/default/spans"));
    assert!(log.batches.values().all(|times| *times == 1), "{log:?}");
    assert_eq!(log.rows, spans as u64, "{log:?}");
}

async fn found(daemon: &Daemon) -> std::collections::BTreeSet<String> {
    daemon.search("{}", 100_000).await.into_keys().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn row_12_while_the_bucket_says_500_or_slow_down_the_log_fills_then_senders_wait_and_nothing_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    bucket.be(Mood::Refuses(503));
    let config = "log: { segment: 512KiB, limit: 3MiB }\nrecorder: { size: 0B }\n";
    let daemon = start(&bucket, folder.path(), config).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    send_until_taken(&mut client, noisy(0)).await;
    bucket.troubled(2).await;
    bucket.be(Mood::Refuses(500));
    let (mut taken, refusal) = send_until_refused(&mut client, 1..5000).await;
    assert_eq!(refusal.code(), tonic::Code::Unavailable, "{refusal:?}");
    assert!(!refusal.details().is_empty(), "a retry hint: {refusal:?}");
    let status = daemon.json("/status").await;
    let log_bytes = status["log"]["bytes"].as_u64().unwrap();
    // What the log needs to shrink again may go an eighth beyond the limit.
    let full = 2 << 20..=(3 << 20) + (3 << 17);
    assert!(full.contains(&log_bytes), "it is the log that is full: {status}");
    assert_eq!(status["store"]["batches"], 0, "{status}");

    bucket.be(Mood::Well);
    let more = taken.len() as u64 + 1..taken.len() as u64 + 100;
    for number in more.clone() {
        send_until_taken(&mut client, noisy(number)).await;
    }
    taken.extend(more);
    taken.push(0);
    daemon.settle(Duration::from_secs(90)).await;
    assert_eq!(found(&daemon).await, ids(taken.iter().copied()));
    table_has(&bucket, taken.len() * 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn row_13_answers_lost_after_the_write_was_done_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    bucket.be(Mood::LosesAnswers);
    let daemon = start(&bucket, folder.path(), "").run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for batch in 0..4 {
        for number in batch * 10..batch * 10 + 10 {
            send_until_taken(&mut client, traffic::trace(number, Shape::Plain, 3)).await;
        }
        daemon.settle(Duration::from_secs(90)).await;
    }
    bucket.troubled(4).await;
    assert_eq!(found(&daemon).await, ids(0..40));
    table_has(&bucket, 40 * 3);
}

/// Refusals, and what is to be said of them.
const REFUSALS: [(Refusal, &str); 5] = [
    (Refusal { status: 400, code: "ExpiredToken", region: None }, "the credentials have expired"),
    (Refusal { status: 403, code: "AccessDenied", region: None }, "s3:ListBucket, GetObject, PutObject"),
    (Refusal { status: 403, code: "RequestTimeTooSkewed", region: None }, "this machine's clock"),
    (
        Refusal { status: 400, code: "AuthorizationHeaderMalformed", region: Some("eu-central-1") },
        "set AWS_REGION=eu-central-1",
    ),
    (Refusal { status: 301, code: "PermanentRedirect", region: Some("eu-west-1") }, "in another region"),
];

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bucket_refuses_nothing_is_lost_nothing_is_doubled_and_it_is_said_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    let daemon = start(&bucket, folder.path(), "").run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let mut sent = 0;
    for (refusal, says) in &REFUSALS {
        // In the middle of work: some are stored, some are on their way.
        for number in sent..sent + 10 {
            send_until_taken(&mut client, traffic::trace(number, Shape::Plain, 3)).await;
            if number == sent + 5 {
                bucket.be(Mood::Says(refusal));
            }
        }
        sent += 10;
        let started = std::time::Instant::now();
        while !daemon.has_logged(says) {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "{refusal:?}: {:?}",
                daemon.logs.lock().unwrap().last()
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        bucket.be(Mood::Well);
        daemon.settle(Duration::from_secs(90)).await;
    }
    assert_eq!(found(&daemon).await, ids(0..sent));
    table_has(&bucket, sent as usize * 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_names_the_region_of_a_bucket_that_is_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    for (refusal, _) in &REFUSALS[3..] {
        bucket.be(Mood::Says(refusal));
        let data = folder.path().join("none");
        let args = ["doctor", "--store", "s3://traces/production", "--data", data.to_str().unwrap()];
        let mut command = bucket.command(&args);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let page = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
        let set = format!("AWS_REGION={}", refusal.region.unwrap());
        assert!(output.status.code() == Some(1) && page.contains(&set), "{page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn row_25_sigterm_during_an_upload_ends_in_time_and_the_rest_comes_into_the_table_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    let start = start(&bucket, folder.path(), "shutdown: { deadline: 2s }\n");
    let daemon = start.run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..10 {
        send_until_taken(&mut client, traffic::trace(number, Shape::Plain, 3)).await;
    }
    daemon.settle(Duration::from_secs(90)).await;
    bucket.be(Mood::Stalls);
    for number in 10..30 {
        send_until_taken(&mut client, traffic::trace(number, Shape::Plain, 3)).await;
    }
    bucket.troubled(1).await;
    assert_eq!(daemon.terminate(Duration::from_secs(30)).code(), Some(0));
    table_has(&bucket, 10 * 3);

    // The write that was under way is done all the same, after its client has gone.
    bucket.be(Mood::Well);
    let daemon = start.run();
    daemon.settle(Duration::from_secs(90)).await;
    let spans = daemon.search("{}", 100).await;
    assert_eq!(spans.keys().cloned().collect::<std::collections::BTreeSet<_>>(), ids(0..30));
    assert!(spans.values().all(|spans| spans.len() == 3), "{spans:?}");
    table_has(&bucket, 30 * 3);
}
