//! `--demo` where others are asked who they are, and where TLS is spoken.

use std::os::unix::fs::PermissionsExt;

use super::credentials::{file, token};
use super::support::{Daemon, Start};
use super::*;

/// Waits until spans of the demo have come in, and gives `/status`.
async fn arrived(daemon: &Daemon, client: &reqwest::Client, token: &str) -> Value {
    let base = if daemon.has_logged("\"tls\":true") { https(&daemon.api) } else { daemon.api.clone() };
    let mut status = Value::Null;
    eventually("spans of the demo come in", async || {
        status = json(&ask(client, &format!("{base}/status"), token).await.1);
        status["losses"]["default"]["received"].as_u64().is_some_and(|spans| spans > 100)
    })
    .await;
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn it_comes_in_with_a_credential_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, entry) = token(&["--name", "reader", "--scope", "read"]);
    let credentials = folder.path().join("credentials.yaml");
    write(&credentials, &file(&[&entry]));
    let mut start = Start::new(&folder.path().join("data"));
    start = start.config(&format!("auth: {{ credentials: {} }}\n", credentials.display()));
    start.args = vec!["--demo".into()];
    let daemon = start.run();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let status = arrived(&daemon, &client, &reader).await;
    assert_eq!(status["trust"]["tokens"], 1, "its own is in no file");
    assert!(!folder.path().join("data/companion.sock").exists(), "the configured door is plain");
    // It does not depend on what files say.
    let (other, entry) = token(&["--name", "other", "--scope", "read"]);
    write(&credentials, &file(&[&entry]));
    eventually("the file has changed", async || {
        ask(&client, &format!("{}/status", daemon.api), &other).await.0 == 200
    })
    .await;
    let before = arrived(&daemon, &client, &other).await["losses"]["default"]["received"].clone();
    eventually("more comes in", async || {
        arrived(&daemon, &client, &other).await["losses"]["default"]["received"].as_u64() > before.as_u64()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn beside_tls_it_has_a_door_that_only_this_user_can_open() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.issue("server");
    let (reader, entry) = token(&["--name", "reader", "--scope", "read"]);
    write(&ca.path("credentials.yaml"), &file(&[&entry]));
    let at = |name: &str| ca.path(name).display().to_string();
    let (cert, key, authority, credentials) =
        (at("server.pem"), at("server.key"), at("ca.pem"), at("credentials.yaml"));
    let mut start = Start::new(&folder.path().join("data")).config(&format!(
        "tls: {{ cert: {cert}, key: {key}, client_ca: {authority}, client_auth: required }}\nauth: {{ credentials: {credentials} }}\n"
    ));
    start.args = vec!["--demo".into()];
    let daemon = start.run();
    let client = http(&ca.pem(), Some(&ca.pair("reader")));
    arrived(&daemon, &client, &reader).await;
    let socket = folder.path().join("data/companion.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    // Behind that door too, who has no credential is nobody.
    let inside =
        reqwest::Client::builder().unix_socket(socket.clone()).http2_prior_knowledge().build().unwrap();
    let url = "http://here/opentelemetry.proto.collector.trace.v1.TraceService/Export";
    let answer =
        inside.post(url).header("content-type", "application/grpc").body(vec![0; 5]).send().await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "16");
    assert!(daemon.terminate(Duration::from_secs(30)).success());
    assert!(!socket.exists());
}
