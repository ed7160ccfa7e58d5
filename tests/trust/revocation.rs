//! Client certificates that their CA takes back.

use super::support::{Daemon, Start};
use super::*;

struct World {
    _folder: tempfile::TempDir,
    ca: Ca,
    daemon: Daemon,
}

const AGENT: u64 = 7;
const OTHER: u64 = 8;

fn config(ca: &Ca) -> String {
    let at = |name: &str| ca.path(name).display().to_string();
    format!(
        "tls: {{ cert: {}, key: {}, client_ca: {}, crl: {}, client_auth: required }}\n\
         auth: {{ certificates: [{{ common_name: agent, scopes: [write, read] }}, {{ common_name: other, scopes: [write, read] }}] }}\n",
        at("server.pem"),
        at("server.key"),
        at("ca.pem"),
        at("crl.pem"),
    )
}

fn world(serials: &[u64]) -> World {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.issue("server");
    write(&ca.path("crl.pem"), &ca.revocations(serials, 2100).pem().unwrap());
    let start = Start::new(&folder.path().join("data")).env("TRACE_DEBUG", "1").config(&config(&ca));
    World { daemon: start.run(), ca, _folder: folder }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_certificate_opens_no_connection_and_ends_those_it_has() {
    let world = world(&[99]);
    let (daemon, ca) = (&world.daemon, world.ca.pem());
    let (agent, other) = (world.ca.pair_numbered("agent", AGENT), world.ca.pair_numbered("other", OTHER));
    let mut connected = grpc(&daemon.grpc, &ca, Some(&agent)).await.unwrap();
    let mut beside = grpc(&daemon.grpc, &ca, Some(&other)).await.unwrap();
    for (number, client) in [(1, &mut connected), (2, &mut beside)] {
        traffic::send(client, traffic::trace(number, Shape::Plain, 2), "shop").await.unwrap();
    }
    // One that stays open, so that a changed list is what ends it.
    let kept = reqwest::Client::builder()
        .no_proxy()
        .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()])
        .identity(reqwest::Identity::from_pem(format!("{}{}", agent.0, agent.1).as_bytes()).unwrap())
        .build()
        .unwrap();
    assert_eq!(post(&kept, &https(&daemon.http), 3, &[]).await.status(), 200);

    write(&world.ca.path("crl.pem"), &world.ca.revocations(&[99, AGENT], 2100).pem().unwrap());
    let get = async |pair: &(String, String)| {
        http(&ca, Some(pair)).get(format!("{}/healthz", https(&daemon.api))).send().await
    };
    eventually("it opens no connection", async || get(&agent).await.is_err()).await;
    // The channel connects again by itself, and is turned away again.
    for number in 10..13 {
        assert!(
            traffic::send(&mut connected, traffic::trace(number, Shape::Plain, 1), "shop").await.is_err()
        );
    }
    assert!(kept.post(format!("{}/v1/traces", https(&daemon.http))).send().await.is_err());
    assert!(daemon.has_logged("its client's certificate is not good any more"));
    let client = http(&ca, Some(&other));
    for (number, expected) in [(1, 200), (10, 404), (12, 404)] {
        let url = format!("{}/api/traces/{}", https(&daemon.api), traffic::hex(&traffic::trace_id(number)));
        assert_eq!(client.get(url).send().await.unwrap().status(), expected, "trace {number}");
    }
    // The other one has noticed nothing, on the connection it had and on a new one.
    traffic::send(&mut beside, traffic::trace(4, Shape::Plain, 1), "shop").await.unwrap();
    assert_eq!(get(&other).await.unwrap().status(), 200);

    let status = async || {
        let client = http(&ca, Some(&other));
        json(&ask_nobody(&client, &format!("{}/status", https(&daemon.api))).await)["trust"]["files"].clone()
    };
    let files = status().await;
    assert!(files["tls_crl"]["expires_at"].as_str().unwrap().starts_with("2100-01-01"), "{files}");
    assert!(!files["tls"]["expires_at"].as_str().unwrap().starts_with("2100-01-01"), "{files}");
    let metrics = ask_nobody(&http(&ca, Some(&other)), &format!("{}/metrics", https(&daemon.api))).await;
    assert!(metrics.contains("tracewell_tls_crl_next_update_timestamp_seconds 4102444800"), "{metrics}");

    // What is no list of this CA changes nothing.
    let stranger = Ca::new(&world.ca.path("stranger"), "ca");
    for (text, words) in [
        ("", "there is no revocation list in it"),
        (&*stranger.revocations(&[], 2100).pem().unwrap(), "there is no list in it that the CA `CN=ca"),
        (&*world.ca.pem(), "there is no revocation list in it"),
    ] {
        write(&world.ca.path("crl.pem"), text);
        eventually(words, async || {
            status().await["tls_crl"]["error"].as_str().is_some_and(|e| e.contains(words))
        })
        .await;
        assert!(get(&agent).await.is_err(), "the last good list holds");
        assert_eq!(get(&other).await.unwrap().status(), 200);
    }
    // In DER, as CAs publish them; with nobody on it.
    std::fs::write(world.ca.path("crl.pem"), world.ca.revocations(&[], 2100).der()).unwrap();
    eventually("it is let in again", async || get(&agent).await.is_ok()).await;
}

async fn ask_nobody(client: &reqwest::Client, url: &str) -> String {
    client.get(url).send().await.unwrap().text().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_late_holds_on_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.issue("server");
    write(&ca.path("crl.pem"), &ca.revocations(&[AGENT], 2025).pem().unwrap());
    let daemon = Start::new(&folder.path().join("data")).config(&config(&ca)).run();
    let get = async |serial: u64, name: &str| {
        let client = http(&ca.pem(), Some(&ca.pair_numbered(name, serial)));
        client.get(format!("{}/healthz", https(&daemon.api))).send().await
    };
    assert!(get(AGENT, "agent").await.is_err());
    assert_eq!(get(OTHER, "other").await.unwrap().status(), 200);
    assert!(daemon.has_logged("should have published a newer revocation list"));
}

#[test]
fn a_list_that_cannot_be_used_is_an_error_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new(folder.path(), "ca");
    ca.issue("server");
    let stranger = Ca::new(&ca.path("stranger"), "stranger").revocations(&[], 2100).pem().unwrap();
    for (list, words) in [
        (None, "crl.pem: cannot be read"),
        (Some("hello"), "there is no revocation list in it"),
        (Some(&*stranger), "there is no list in it that the CA `CN=ca` has signed"),
    ] {
        if let Some(list) = list {
            write(&ca.path("crl.pem"), list);
        }
        let (code, says) = Start::new(&folder.path().join("data")).config(&config(&ca)).run_to_failure();
        assert_eq!(code, Some(2), "{says}");
        assert!(says.contains(words), "{words}: {says}");
    }
}
