//! The table in a bucket: the same answers, from an S3 service in this process.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::time::Duration;

use support::Start;
use support::bucket::Bucket;
use support::traffic::{self, Shape};

fn start(folder: &Path, bucket: &Bucket) -> Start {
    bucket.start(&folder.join("data")).config("store: { flush: { age: 500ms } }\n").env("TRACE_DEBUG", "1")
}

fn objects(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn kept_traces_go_into_the_bucket_and_are_found_there_by_a_daemon_without_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    let daemon = start(folder.path(), &bucket).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..30 {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, 3), "shop").await.unwrap();
    }
    daemon.settle(Duration::from_secs(90)).await;
    assert_eq!(daemon.terminate(Duration::from_secs(30)).code(), Some(0));
    let parquet = objects(&bucket.folder).into_iter().filter(|o| o.ends_with(".parquet")).count();
    assert!(parquet >= 2, "{:?}", objects(&bucket.folder));

    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    let daemon = start(folder.path(), &bucket).run();
    let found = daemon.search("{}", 100).await;
    assert_eq!(found.len(), 30);
    assert!(found.values().all(|spans| spans.len() == 3), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_bucket_is_away_spans_are_taken_and_found_and_later_they_are_stored() {
    let folder = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    let daemon = start(folder.path(), &bucket).env("AWS_ENDPOINT_URL", &nobody).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, traffic::trace(1, Shape::Plain, 3), "shop").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    daemon.kill();

    let daemon = start(folder.path(), &bucket).run();
    daemon.settle(Duration::from_secs(90)).await;
    let found = daemon.search("{}", 10).await;
    assert_eq!(found.values().map(Vec::len).collect::<Vec<_>>(), [3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_come_from_a_profile_where_the_environment_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let bucket = Bucket::serve(&folder.path().join("s3")).await;
    let profile = folder.path().join("credentials");
    let keys =
        |secret: &str| format!("[tracing]\naws_access_key_id = access\naws_secret_access_key = {secret}\n");
    std::fs::write(&profile, keys("secret")).unwrap();
    let with_profile = || {
        let profile = profile.to_str().unwrap();
        let start =
            start(folder.path(), &bucket).env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
        start.env("AWS_SHARED_CREDENTIALS_FILE", profile).env("AWS_PROFILE", "tracing")
    };
    let daemon = with_profile().run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, traffic::trace(1, Shape::Plain, 3), "shop").await.unwrap();
    daemon.settle(Duration::from_secs(90)).await;
    assert!(objects(&bucket.folder).iter().any(|object| object.ends_with(".parquet")));
    drop(daemon);

    // And they are used: others are refused, and the spans wait.
    std::fs::write(&profile, keys("another")).unwrap();
    let daemon = with_profile().run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, traffic::trace(2, Shape::Plain, 3), "shop").await.unwrap();
    let refused =
        |status: &serde_json::Value| status["store"]["retries"].as_u64().is_some_and(|retries| retries > 0);
    daemon.status_when("the store refuses", Duration::from_secs(60), refused).await;
}
