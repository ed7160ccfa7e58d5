//! The table in a bucket: the same answers, from an S3 service in this process.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo};
use support::Start;
use support::traffic::{self, Shape};

/// An S3 service over a folder, on a port of its own. Its address.
async fn serve_s3(folder: &Path) -> String {
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("access", "secret"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    });
    format!("http://{address}")
}

fn start(folder: &Path, endpoint: &str) -> Start {
    let mut start = Start::new(&folder.join("data"))
        .config("store: { flush: { age: 500ms } }\n")
        .env("TRACE_DEBUG", "1")
        .env("AWS_ENDPOINT_URL", endpoint)
        .env("AWS_ACCESS_KEY_ID", "access")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1");
    start.store = Some("s3://traces/production".into());
    start
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
    let bucket = folder.path().join("s3").join("traces");
    std::fs::create_dir_all(&bucket).unwrap();
    let endpoint = serve_s3(&folder.path().join("s3")).await;
    let daemon = start(folder.path(), &endpoint).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..30 {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, 3), "shop").await.unwrap();
    }
    daemon.settle(Duration::from_secs(90)).await;
    assert_eq!(daemon.terminate(Duration::from_secs(30)).code(), Some(0));
    let parquet = objects(&bucket).into_iter().filter(|o| o.ends_with(".parquet")).count();
    assert!(parquet >= 2, "{:?}", objects(&bucket));

    std::fs::remove_dir_all(folder.path().join("data")).unwrap();
    let daemon = start(folder.path(), &endpoint).run();
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
    let daemon = start(folder.path(), &nobody).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, traffic::trace(1, Shape::Plain, 3), "shop").await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    daemon.kill();

    std::fs::create_dir_all(folder.path().join("s3").join("traces")).unwrap();
    let endpoint = serve_s3(&folder.path().join("s3")).await;
    let daemon = start(folder.path(), &endpoint).run();
    daemon.settle(Duration::from_secs(90)).await;
    let found = daemon.search("{}", 10).await;
    assert_eq!(found.values().map(Vec::len).collect::<Vec<_>>(), [3]);
}
