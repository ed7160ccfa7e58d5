//! Clients that mean harm, against the real binary: it stays up, serves others meanwhile, and stays within its memory.
//! What one connection can do to a receiver stands in `receive::tests::hostile`; here it is many, with credentials, in plain
//! text and over TLS.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod bodies;
mod connections;
mod strangers;
#[path = "../support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use prost::Message;
use support::certs::Ca;
use support::traffic::{self, Shape};
use support::{Daemon, Start, binary};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;
/// The daemon's limit,
const MEMORY_MIB: u64 = 192;
/// and what its code, threads, connections and allocator may take beside it.
const BESIDE_MIB: u64 = 200;

struct World {
    folder: tempfile::TempDir,
    daemon: Daemon,
    /// Who signed its certificate, where it speaks TLS.
    ca: Option<Ca>,
    /// Of the tenant `good`: write and read.
    good: String,
    /// Of the tenant `bad`: write.
    bad: String,
    client: reqwest::Client,
}

fn token(args: &[&str]) -> (String, String) {
    let output = binary().args(["token", "new", "--json"]).args(args).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    (made["token"].as_str().unwrap().to_owned(), made["entry"].to_string())
}

impl World {
    /// In plain text, with these further keys of `receive`.
    fn new(more: &str) -> Self {
        Self::with(more, false)
    }

    /// All three listeners speak TLS.
    fn secured(more: &str) -> Self {
        Self::with(more, true)
    }

    fn with(more: &str, tls: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (good, good_entry) =
            token(&["--name", "good", "--tenant", "good", "--scope", "write", "--scope", "read"]);
        let (bad, bad_entry) = token(&["--name", "bad", "--tenant", "bad", "--scope", "write"]);
        let path = folder.path().join("credentials.yaml");
        std::fs::write(&path, format!("tokens:\n  - {good_entry}\n  - {bad_entry}\n")).unwrap();
        let ca = tls.then(|| Ca::new(folder.path(), "ca"));
        let mut config = format!(
            "auth: {{ credentials: {}, status: open }}\nmemory: {{ limit: {MEMORY_MIB}MiB }}\n\
             receive: {{ header_timeout: 2s, body_timeout: 3s, {more} }}\n",
            path.display()
        );
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = reqwest::Client::builder().no_proxy();
        if let Some(ca) = &ca {
            ca.issue("server");
            let at = |name: &str| ca.path(name).display().to_string();
            let (cert, key) = (at("server.pem"), at("server.key"));
            config += &format!("tls: {{ cert: {cert}, key: {key}, handshake_timeout: 2s }}\n");
            client = client.tls_certs_only([reqwest::Certificate::from_pem(ca.pem().as_bytes()).unwrap()]);
        }
        let start = Start::new(&folder.path().join("data")).env("MIMALLOC_ARENA_RESERVE", "0");
        let mut daemon = start.env("TRACE_DEBUG", "1").config(&config).run();
        if tls {
            for url in [&mut daemon.grpc, &mut daemon.http, &mut daemon.api] {
                *url = url.replace("http://", "https://");
            }
        }
        Self { folder, daemon, ca, good, bad, client: client.build().unwrap() }
    }

    fn address(&self, url: &str) -> String {
        url.split_once("://").unwrap().1.to_owned()
    }

    /// A connection without a handshake.
    async fn connect(&self, url: &str) -> TcpStream {
        TcpStream::connect(self.address(url)).await.unwrap()
    }

    async fn post(&self, token: &str, encoding: Option<&str>, body: Vec<u8>) -> u16 {
        let request = self.client.post(format!("{}/v1/traces", self.daemon.http)).bearer_auth(token);
        let mut request = request.header("content-type", "application/x-protobuf");
        if let Some(encoding) = encoding {
            request = request.header("content-encoding", encoding);
        }
        // Who is cut off in the middle has no answer.
        request.body(body).send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// Somebody else sends, and finds what was sent, in good time.
    async fn others_are_served(&self, number: u64) {
        let began = Instant::now();
        let body = traffic::request(traffic::trace(number, Shape::Plain, 3), "shop").encode_to_vec();
        while self.post(&self.good, None, body.clone()).await != 200 {
            assert!(began.elapsed() < Duration::from_secs(10), "others are not served");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let url = format!("{}/api/traces/{}", self.daemon.api, traffic::hex(&traffic::trace_id(number)));
        let found = self.client.get(url).bearer_auth(&self.good).send().await.unwrap();
        assert_eq!(found.status(), 200);
    }

    fn stays_within_its_memory(&mut self) {
        let most = self.daemon.resident_mib_max();
        assert!(most < MEMORY_MIB + BESIDE_MIB, "{most} MiB resident");
        assert!(self.daemon.is_running());
    }
}
