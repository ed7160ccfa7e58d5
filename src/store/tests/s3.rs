//! The same on S3, from a service in this process.
//!
//! s3s-fs looks whether an object is there and then writes it, so two creations at once both succeed; its writes are taken
//! one at a time here.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use object_store::aws::AmazonS3Builder;

use super::fixtures::*;
use crate::runtime::Tenant;
use crate::store::*;

/// An S3 service over a folder. Its address.
async fn serve(folder: &std::path::Path) -> String {
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("access", "secret"));
    let (service, writes) = (builder.build(), Arc::new(tokio::sync::Mutex::new(())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, writes) = (service.clone(), Arc::clone(&writes));
            let one_by_one =
                hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (service, writes) = (service.clone(), Arc::clone(&writes));
                    async move {
                        let is_write = request.method() != http::Method::GET;
                        let _turn = if is_write { Some(writes.lock().await) } else { None };
                        hyper::service::Service::call(&service, request).await
                    }
                });
            tokio::spawn(async move {
                let server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                let _ = server.serve_connection(TokioIo::new(stream), one_by_one).await;
            });
        }
    });
    format!("http://{address}")
}

fn location(endpoint: &str, bucket: &str, secret: &str) -> Location {
    let objects = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_allow_http(true)
        .with_bucket_name(bucket)
        .with_region("us-east-1")
        .with_access_key_id("access")
        .with_secret_access_key(secret)
        .with_retry(object_store::RetryConfig { max_retries: 1, ..Default::default() })
        .build()
        .unwrap();
    Location::custom(Arc::new(objects), &format!("s3://{bucket}/team/traces")).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_from_two_writers_are_read_back_and_expire() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let endpoint = serve(folder.path()).await;
    let location = location(&endpoint, "bucket", "secret");
    location.check().await.unwrap();
    let clock = TestClock::new();
    let store = |app: &str| {
        let mut config = StoreConfig::new(location.clone(), app);
        config.checkpoint_every = 4;
        Store::open(config, clock.clone()).unwrap()
    };
    let writers = ["a", "b"].map(|app| {
        let store = store(app);
        let first = if app == "a" { 0 } else { 1_000 };
        tokio::spawn(async move {
            for batch in 0..5u64 {
                let day = batch * DAY;
                let records = MapRecords::of(&[traces(first + batch * 10, 10, NOW - day)]);
                let batch = records.batch(batch + 1, &verdict("all", "default"));
                store.write(&batch, &records).await.unwrap();
                assert_eq!(store.write(&batch, &records).await.unwrap().already, 2);
            }
        })
    });
    for writer in writers {
        writer.await.unwrap();
    }
    let config = ReaderConfig { refresh_after: Duration::ZERO, ..ReaderConfig::default() };
    let reader = Reader::new(location.clone(), clock.clone(), config);
    let count = async || {
        let projection = Projection::Columns(vec![]);
        let request = ScanRequest { start_unix_nano: 0..u64::MAX, projection, hints: vec![] };
        let rows = reader.scan(&Tenant::default(), request).await.unwrap();
        rows.try_collect::<Vec<_>>().await.unwrap().iter().map(SpanRows::len).sum::<usize>()
    };
    assert_eq!(count().await, 400);
    assert_eq!(reader.by_id(&Tenant::default(), trace_id(1_012)).await.unwrap().len(), 4);
    let ages = [("default".to_owned(), Duration::from_secs(2 * 86_400).into())].into();
    let expired = store("a").expire(&ages, NOW + DAY / 2).await.unwrap();
    assert_eq!((expired.files, expired.rows), (12, 300));
    assert_eq!(count().await, 160);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_the_bucket_is_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let endpoint = serve(folder.path()).await;
    let records = MapRecords::of(&[traces(0, 1, NOW)]);
    let batch = records.batch(1, &verdict("all", "default"));
    for (bucket, secret, kind) in
        [("missing", "secret", ErrorKind::BucketMissing), ("bucket", "wrong", ErrorKind::Unauthenticated)]
    {
        let location = location(&endpoint, bucket, secret);
        assert_eq!(location.check().await.unwrap_err().kind(), kind);
        let store = Store::open(StoreConfig::new(location, "a"), TestClock::new()).unwrap();
        let error = store.write(&batch, &records).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let nobody = location("http://127.0.0.1:9", "bucket", "secret");
    assert!(nobody.check().await.unwrap_err().is_transient());
}
