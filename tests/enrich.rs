//! Enrich, seen from outside: what a sender sends is edited before anything touches a disk, and the daemon says what it
//! did, never to what.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::time::{Duration, Instant};

use support::traffic::{self, Shape};
use support::{Daemon, Start, tracewell};

const CONFIG: &str = r#"
enrich:
  actions:
    - { action: insert, scope: resource, key: client.address, from_client: true }
    - { action: upsert, key: tenant, from_header: x-tenant }
    - { action: upsert, key: team, value: shop, when: '{ resource.service.name = "shop" && span.user.mail != nil }' }
  redact:
    values: [email]
    urls: true
    hash_key: ${HASH_KEY}
  http_route: { enabled: true, name: true }
  kubernetes: { enabled: true, api: 'http://127.0.0.1:1' }
"#;
const DEADLINE: Duration = Duration::from_secs(60);

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(started.elapsed() < DEADLINE, "never: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn trace(daemon: &Daemon, number: u64) -> String {
    let path = format!("/api/traces/{}", traffic::hex(&traffic::trace_id(number)));
    until("the trace is found", async || {
        let (status, body) = daemon.get(&path).await;
        (status == 200 && body.contains("shop")).then_some(body)
    })
    .await
}

/// Whether the bytes stand in some file below the folder.
fn stands_on_disk(folder: &Path, wanted: &[u8]) -> bool {
    std::fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => stands_on_disk(&path, wanted),
            false => memchr::memmem::find(&std::fs::read(path).unwrap_or_default(), wanted).is_some(),
        }
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_edited_before_it_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (data, key) = (folder.path().join("data"), folder.path().join("key"));
    std::fs::write(&key, "0123456789abcdef0123456789abcdef").unwrap();
    let daemon = Start::new(&data).env("HASH_KEY", key.to_str().unwrap()).config(CONFIG).run();
    let mut spans = traffic::trace(1, Shape::Plain, 1);
    spans[0].kind = 2;
    spans[0].name = "GET /users/4711".into();
    spans[0].attributes = vec![
        traffic::text("user.mail", "mail jane.doe@secret.example"),
        traffic::text("http.request.method", "GET"),
        traffic::text("url.path", "/users/4711"),
        traffic::text("url.full", "http://h.example/users/4711?session=hunter2"),
    ];
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    let mut request = tonic::Request::new(traffic::request(spans, "shop"));
    request.metadata_mut().insert("x-tenant", "acme".parse().unwrap());
    client.export(request).await.unwrap();

    let kept = trace(&daemon, 1).await;
    for part in ["127.0.0.1", "acme", "GET /users/{id}", "[hmac:", "?session=[hmac:"] {
        assert!(kept.contains(part), "{part} is not in {kept}");
    }
    assert!(kept.contains("\"team\""), "{kept}");
    for secret in ["jane.doe", "hunter2"] {
        assert!(!kept.contains(secret), "{kept}");
        assert!(!stands_on_disk(&data, secret.as_bytes()), "{secret} is on the disk");
    }
    let status = daemon.json("/status").await;
    let redacted = status["enrich"]["redacted"].to_string();
    assert!(
        redacted.contains(r#""rule":"value:email""#) && redacted.contains(r#""rule":"url""#),
        "{redacted}"
    );
    assert_eq!(status["enrich"]["changed_attributes"]["resource"], 1);
    let (_, metrics) = daemon.get("/metrics").await;
    let line = r#"tracewell_enrich_redactions_total{rule="value:email",place="span"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    for text in [status.to_string(), metrics, daemon.logs.lock().unwrap().join("\n")] {
        assert!(!text.contains("jane.doe") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_without_its_api_server_serves_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let config = "enrich: { kubernetes: { enabled: true, api: 'http://127.0.0.1:1' } }";
    let daemon = Start::new(&folder.path().join("data")).config(config).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    traffic::send(&mut client, traffic::trace(2, Shape::Plain, 2), "shop").await.unwrap();
    trace(&daemon, 2).await;
    let error = until("it says what is wrong", async || {
        let status = daemon.json("/status").await;
        status["enrich"]["pods"]["error"].as_str().map(str::to_owned)
    })
    .await;
    assert!(error.starts_with("the API server cannot be reached"), "{error}");
    assert!(daemon.has_logged("nothing new is known of pods"));
    let (_, metrics) = daemon.get("/metrics").await;
    assert!(metrics.contains("tracewell_enrich_pods_up_to_date 0"), "{metrics}");
}

#[test]
fn the_doctor_looks_at_key_and_cluster() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.yaml");
    let config = "enrich: { redact: { hash_key: /does/not/exist }, kubernetes: { enabled: true, api: 'http://127.0.0.1:1' } }";
    std::fs::write(&path, config).unwrap();
    let data = folder.path().join("data");
    let (code, said, _) =
        tracewell(&["doctor", "--config", path.to_str().unwrap(), "--data", data.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    for part in ["hash key", "/does/not/exist", "pods", "the API server cannot be reached"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_key_that_is_missing_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let config = "enrich: { redact: { hash_key: /does/not/exist } }";
    let (code, said) = Start::new(&folder.path().join("data")).config(config).run_to_failure();
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("`enrich.redact.hash_key`: /does/not/exist"), "{said}");
}
