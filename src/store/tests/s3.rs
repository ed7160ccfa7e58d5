//! The same on S3, from a service in this process.
//!
//! s3s-fs looks whether an object is there and then writes it, so two creations at once both succeed; its writes are taken
//! one at a time here.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::TryStreamExt;
use hyper_util::rt::{TokioExecutor, TokioIo};
use object_store::aws::AmazonS3Builder;
use opentelemetry_proto::tonic::common::v1::any_value::Value;

use super::fixtures::*;
use crate::runtime::{Random, SeededRandom, Tenant};
use crate::store::*;

/// What the service was asked to do with uploads in parts.
#[derive(Default)]
struct Parts {
    put: AtomicU64,
    aborted: AtomicU64,
    /// The part of this number is refused; 0: none.
    refused: AtomicU64,
}

impl Parts {
    /// Whether a request is refused.
    fn see(&self, request: &http::Request<hyper::body::Incoming>) -> bool {
        let query = request.uri().query().unwrap_or_default();
        let is_delete = request.method() == http::Method::DELETE && query.contains("uploadId=");
        self.aborted.fetch_add(u64::from(is_delete), Ordering::Relaxed);
        let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber=")?.parse::<u64>().ok());
        self.put.fetch_add(u64::from(number.is_some()), Ordering::Relaxed);
        number.is_some_and(|number| number == self.refused.load(Ordering::Relaxed))
    }
}

/// An S3 service over a folder. Its address.
async fn serve(folder: &std::path::Path) -> String {
    serve_and_see(folder, Arc::default()).await
}

async fn serve_and_see(folder: &std::path::Path, parts: Arc<Parts>) -> String {
    let mut builder = s3s::service::S3ServiceBuilder::new(s3s_fs::FileSystem::new(folder).unwrap());
    builder.set_auth(s3s::auth::SimpleAuth::from_single("access", "secret"));
    let (service, writes) = (builder.build(), Arc::new(tokio::sync::Mutex::new(())));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (service, writes, parts) = (service.clone(), Arc::clone(&writes), Arc::clone(&parts));
            let one_by_one =
                hyper::service::service_fn(move |request: http::Request<hyper::body::Incoming>| {
                    let (service, writes, parts) = (service.clone(), Arc::clone(&writes), Arc::clone(&parts));
                    async move {
                        if parts.see(&request) {
                            let refusal = http::Response::builder().status(503).body(s3s::Body::empty());
                            return Ok(refusal.unwrap());
                        }
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

/// A batch of spans with so much in each that no compressor makes less of it.
fn large(first: u64, count: u64, random: &SeededRandom) -> MapRecords {
    let mut request = traces(first, count, NOW);
    for span in &mut request.resource_spans[0].scope_spans[0].spans {
        let noise: Vec<u8> = (0..1024).flat_map(|_| random.bits().to_le_bytes()).collect();
        span.attributes.push(attribute("noise", Value::BytesValue(noise)));
    }
    MapRecords::of(&[request])
}

/// Merges what there is, all of it; the first error.
async fn compact(location: &Location, clock: &Arc<TestClock>, seed: u64) -> Result<Compacted, StoreError> {
    let store = Store::open(StoreConfig::new(location.clone(), "compactor"), clock.clone()).unwrap();
    let config = CompactionConfig { gather: 2, ..CompactionConfig::default() };
    let compactor = Compactor::new(Arc::new(store), config, Arc::new(SeededRandom::new(seed)));
    let mut all = Compacted::default();
    for unit in compactor.plan(&Tenant::default(), NOW + 2 * DAY).await.unwrap() {
        all.add(&compactor.compact(&unit, Box::new(Unpaced)).await?.unwrap());
    }
    Ok(all)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_merge_goes_up_in_parts_and_one_that_fails_leaves_nothing_behind() {
    const TRACES: u64 = 500;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("bucket")).unwrap();
    let parts = Arc::<Parts>::default();
    let endpoint = serve_and_see(folder.path(), Arc::clone(&parts)).await;
    let location = location(&endpoint, "bucket", "secret");
    let (clock, random) = (TestClock::new(), SeededRandom::new(1));
    let store = Store::open(StoreConfig::new(location.clone(), "a"), clock.clone()).unwrap();
    for batch in 0..2 {
        let records = large(batch * TRACES, TRACES, &random);
        store.write(&records.batch(batch + 1, &verdict("all", "default")), &records).await.unwrap();
    }
    let reader = Reader::new(location.clone(), clock.clone(), ReaderConfig::default());
    let tenant = Tenant::default();
    let before = reader.by_id(&tenant, trace_id(TRACES + 7)).await.unwrap();
    assert_eq!(parts.put.load(Ordering::Relaxed), 0, "batches go up whole");

    // The second part fails, and whoever tries again.
    parts.refused.store(2, Ordering::Relaxed);
    let failed = compact(&location, &clock, 1).await.unwrap_err();
    assert!(failed.is_transient(), "{failed}");
    assert_eq!(parts.aborted.load(Ordering::Relaxed), 1);
    let left = || {
        let names = std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().contains(".upload")).count()
    };
    assert_eq!(left(), 0, "parts stay in the store");
    let verified = store.verify(&tenant, |_, _| {}).await.unwrap();
    assert_eq!((verified.findings, verified.strays), (vec![], vec![]));

    parts.refused.store(0, Ordering::Relaxed);
    parts.put.store(0, Ordering::Relaxed);
    let done = compact(&location, &clock, 2).await.unwrap();
    assert_eq!((done.files_in, done.files_out), (4, 2), "{done:?}");
    assert!(done.bytes_out > 24 << 20, "{done:?}");
    assert!(parts.put.load(Ordering::Relaxed) >= 3, "{:?}", parts.put);
    assert_eq!((parts.aborted.load(Ordering::Relaxed), left()), (1, 0));
    let verified = store.verify(&tenant, |_, _| {}).await.unwrap();
    assert_eq!((verified.findings, verified.rows), (vec![], 2 * TRACES * 5));
    reader.forget_versions();
    assert_eq!(reader.by_id(&tenant, trace_id(TRACES + 7)).await.unwrap(), before);
}
