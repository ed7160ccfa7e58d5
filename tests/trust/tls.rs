//! TLS and mTLS on all listeners, and certificates that change while it runs.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Daemon, Start};
use super::*;

struct World {
    _folder: tempfile::TempDir,
    ca: Ca,
    daemon: Daemon,
}

/// A daemon with a certificate of its own, and these further keys of `tls`.
fn world(more: &str, rest: &str) -> World {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.issue("server");
    let at = |name: &str| ca.path(name).display().to_string();
    let config = format!(
        "tls: {{ cert: {}, key: {}, client_ca: {}, {more} }}\n{rest}",
        at("server.pem"),
        at("server.key"),
        at("ca.pem")
    );
    let daemon = Start::new(&folder.path().join("data")).env("TRACE_DEBUG", "1").config(&config).run();
    World { _folder: folder, ca, daemon }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_listeners_speak_tls_and_what_is_sent_is_found() {
    let world = world("min_version: '1.3'", "");
    let (daemon, ca) = (&world.daemon, world.ca.pem());
    let mut client = grpc(&daemon.grpc, &ca, None).await.unwrap();
    traffic::send(&mut client, traffic::trace(1, Shape::Plain, 2), "shop").await.unwrap();
    let client = http(&ca, None);
    assert_eq!(post(&client, &https(&daemon.http), 2, &[]).await.status(), 200);
    for number in [1, 2] {
        let id = traffic::hex(&traffic::trace_id(number));
        let url = format!("{}/api/traces/{id}", https(&daemon.api));
        assert_eq!(ask(&client, &url, "").await.0, 200);
    }
    // A client of another CA does not trust it; it does not matter to the others.
    let other = Ca::new(&world.ca.path("other"), "other");
    assert!(grpc(&daemon.grpc, &other.pem(), None).await.is_err());
    let (_, status) = ask(&client, &format!("{}/status", https(&daemon.api)), "").await;
    assert!(json(&status)["trust"]["handshakes"]["done"].as_u64().unwrap() > 3, "{status}");
    assert!(json(&status)["trust"]["files"]["tls"]["expires_at"].is_string(), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_text_on_a_tls_port_is_told_so_and_tls_on_a_plain_one_ends_at_once() {
    let world = world("", "");
    let address = |url: &str| url.trim_start_matches("http://").to_owned();
    for url in [&world.daemon.http, &world.daemon.api] {
        let mut stream = TcpStream::connect(address(url)).await.unwrap();
        stream.write_all(b"GET /v1/traces HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("this port speaks TLS"), "{answer}");
    }
    let mut stream = TcpStream::connect(address(&world.daemon.grpc)).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    // SETTINGS, and a GOAWAY with INADEQUATE_SECURITY.
    assert_eq!((answer[3], answer[9 + 3], &answer[9 + 9 + 4..9 + 9 + 8]), (4, 7, &[0, 0, 0, 0xc][..]));
    let error = traffic::connect(&world.daemon.grpc).await;
    let sent = match error {
        Ok(mut client) => traffic::send(&mut client, traffic::trace(1, Shape::Plain, 1), "x").await.is_err(),
        Err(_) => true,
    };
    assert!(sent, "nothing is taken in plain text");

    let folder = tempfile::tempdir().unwrap();
    let plain = Start::new(&folder.path().join("data")).run();
    let began = Instant::now();
    assert!(grpc(&plain.grpc, &world.ca.pem(), None).await.is_err());
    assert!(http(&world.ca.pem(), None).get(https(&plain.http)).send().await.is_err());
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn row_27_a_rotated_certificate_is_shown_and_a_wrong_one_changes_nothing() {
    let world = world("", "");
    let (daemon, ca) = (&world.daemon, &world.ca);
    let next = Ca::new(ca.path("next").as_path(), "next");
    let (status_url, api) = (format!("{}/status", https(&daemon.api)), https(&daemon.api));
    let is_shown = async |ca: &Ca| {
        http(&ca.pem(), None).get(format!("{api}/healthz")).send().await.is_ok_and(|r| r.status() == 200)
    };
    assert!(is_shown(ca).await && !is_shown(&next).await);
    // A connection from before lives on.
    let mut before = grpc(&daemon.grpc, &ca.pem(), None).await.unwrap();

    let (cert, key) = next.pair("server");
    write(&ca.path("server.pem"), &cert);
    write(&ca.path("server.key"), &key);
    eventually("the new certificate is shown", async || is_shown(&next).await).await;
    assert!(!is_shown(ca).await);
    traffic::send(&mut before, traffic::trace(1, Shape::Plain, 1), "shop").await.unwrap();

    let client = http(&next.pem(), None);
    let error =
        async || json(&ask(&client, &status_url, "").await.1)["trust"]["files"]["tls"]["error"].clone();
    let (expired, expired_key) = next.pair_with("server", |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    for (cert, key, words) in [
        (&next.pair("server").0, &key, "does not belong to the certificate"),
        (&"garbage".to_owned(), &key, "there is no certificate in it"),
        (&expired, &expired_key, "expired at 2021-01-01"),
    ] {
        write(&ca.path("server.pem"), cert);
        write(&ca.path("server.key"), key);
        eventually(words, async || error().await.as_str().is_some_and(|says| says.contains(words))).await;
        assert!(is_shown(&next).await, "the last good one stays");
        assert!(daemon.has_logged(words), "{words}");
    }
    let metrics = ask(&client, &format!("{}/metrics", https(&daemon.api)), "").await.1;
    assert!(metrics.contains("tracewell_trust_files_valid{what=\"tls\"} 0"), "{metrics}");

    let (cert, key) = ca.pair("server");
    write(&ca.path("server.pem"), &cert);
    write(&ca.path("server.key"), &key);
    eventually("good again", async || is_shown(ca).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_client_certificate_is_of_the_ca_and_says_who_it_is() {
    let rest = "auth: { certificates: [{ common_name: agent, tenant: home, scopes: [write, read] }] }\n";
    let world = world("client_auth: required", rest);
    let (daemon, ca) = (&world.daemon, world.ca.pem());
    let agent = world.ca.pair("agent");
    let mut client = grpc(&daemon.grpc, &ca, Some(&agent)).await.unwrap();
    traffic::send(&mut client, traffic::trace(1, Shape::Plain, 2), "shop").await.unwrap();
    let url = format!("{}/api/traces/{}", https(&daemon.api), traffic::hex(&traffic::trace_id(1)));
    let get = async |pair: Option<&(String, String)>| http(&ca, pair).get(&url).send().await;
    assert_eq!(get(Some(&agent)).await.unwrap().status(), 200);
    // Signed by our CA, and nobody here.
    let stranger = world.ca.pair("stranger");
    let answer = get(Some(&stranger)).await.unwrap();
    assert_eq!(answer.status(), 401);
    let sent = post(&http(&ca, Some(&stranger)), &https(&daemon.http), 2, &[]).await;
    assert_eq!(sent.status(), 401);
    // Not signed by it, or none at all: no connection.
    let forged = Ca::new(&world.ca.path("other"), "ca").pair("agent");
    assert!(get(Some(&forged)).await.is_err());
    assert!(get(None).await.is_err());
    let sent = match grpc(&daemon.grpc, &ca, Some(&forged)).await {
        Ok(mut client) => traffic::send(&mut client, traffic::trace(3, Shape::Plain, 1), "x").await.map(drop),
        Err(_) => Err(tonic::Status::unavailable("no connection")),
    };
    assert!(sent.is_err());
    assert_eq!(get(Some(&agent)).await.unwrap().status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_optional_client_certificate_may_be_left_out_but_not_forged() {
    let world = world("client_auth: optional, api: { client_auth: none }", "");
    let (daemon, ca) = (&world.daemon, world.ca.pem());
    let forged = Ca::new(&world.ca.path("other"), "ca").pair("agent");
    for pair in [None, Some(world.ca.pair("agent"))] {
        assert_eq!(post(&http(&ca, pair.as_ref()), &https(&daemon.http), 1, &[]).await.status(), 200);
    }
    let health = |base: &str| format!("{}/healthz", https(base));
    assert!(http(&ca, Some(&forged)).get(health(&daemon.http)).send().await.is_err());
    // The API does not ask.
    assert_eq!(http(&ca, Some(&forged)).get(health(&daemon.api)).send().await.unwrap().status(), 200);
}
