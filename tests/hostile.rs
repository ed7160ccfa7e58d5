//! Clients that mean harm, against the real binary: it stays up, serves others meanwhile, and stays within its memory.
//! What one connection can do to a receiver stands in `receive::tests::hostile`; here it is many, with credentials and TLS.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::io::Write;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use prost::Message;
use support::traffic::{self, Shape};
use support::{Daemon, Start, binary};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const MIB: usize = 1 << 20;
/// The daemon's limit,
const MEMORY_MIB: u64 = 192;
/// and what its code, threads, connections and allocator may take beside it.
const BESIDE_MIB: u64 = 200;

struct World {
    folder: tempfile::TempDir,
    daemon: Daemon,
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
    fn new(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (good, good_entry) =
            token(&["--name", "good", "--tenant", "good", "--scope", "write", "--scope", "read"]);
        let (bad, bad_entry) = token(&["--name", "bad", "--tenant", "bad", "--scope", "write"]);
        let path = folder.path().join("credentials.yaml");
        std::fs::write(&path, format!("tokens:\n  - {good_entry}\n  - {bad_entry}\n")).unwrap();
        let config = format!(
            "auth: {{ credentials: {}, status: open }}\nmemory: {{ limit: {MEMORY_MIB}MiB }}\n\
             receive: {{ header_timeout: 2s, body_timeout: 3s, {more} }}\n",
            path.display()
        );
        let start = Start::new(&folder.path().join("data")).env("MIMALLOC_ARENA_RESERVE", "0");
        let daemon = start.env("TRACE_DEBUG", "1").config(&config).run();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { folder, daemon, good, bad, client }
    }

    fn address(&self, url: &str) -> String {
        url.trim_start_matches("http://").to_owned()
    }

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

/// An HTTP/2 frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `:method: POST`, `:scheme: http`, `:path: /`, from HPACK's static table.
const HEADERS: [u8; 3] = [0x83, 0x86, 0x84];

/// Writes until the other side has enough; whether it had.
async fn flood(stream: &mut TcpStream, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, b"")).await.unwrap();
    for number in 0..200_000 {
        if stream.write_all(&next(number)).await.is_err() {
            return true;
        }
    }
    false
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_end_their_connection_only() {
    let mut world = World::new("");
    for url in [world.daemon.grpc.clone(), world.daemon.http.clone(), world.daemon.api.clone()] {
        for _ in 0..4 {
            let mut stream = world.connect(&url).await;
            let reset = flood(&mut stream, |n| {
                [frame(1, 4, 2 * n + 1, &HEADERS), frame(3, 0, 2 * n + 1, &8u32.to_be_bytes())].concat()
            });
            assert!(reset.await, "rapid reset at {url}");
            let mut stream = world.connect(&url).await;
            let header = [0x00, 1, b'x', 1, b'y'].repeat(100);
            let continuation = flood(&mut stream, |n| match n {
                0 => frame(1, 0, 1, &HEADERS),
                _ => frame(9, 0, 1, &header),
            });
            assert!(continuation.await, "CONTINUATION at {url}");
        }
        // Pings and settings, which want an answer that nobody reads.
        let mut stream = world.connect(&url).await;
        let pings = flood(&mut stream, |_| [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, b"")].concat());
        let _ended_or_waits = tokio::time::timeout(Duration::from_secs(3), pings).await;
    }
    world.others_are_served(1).await;
    world.stays_within_its_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_half_open_connections_are_cut_off_while_others_are_served() {
    let mut world = World::new("connections: 300");
    let mut held = Vec::new();
    let slow_body = format!(
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/x-protobuf\r\ncontent-length: 100000\r\n\r\nabc",
        world.bad
    );
    let starts: [&[u8]; 5] = [
        b"",
        b"P",
        b"POST /v1/traces HTTP/1.1\r\nx: ",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        slow_body.as_bytes(),
    ];
    for url in [world.daemon.grpc.clone(), world.daemon.http.clone(), world.daemon.api.clone()] {
        for first in starts {
            for _ in 0..50 {
                let mut stream = world.connect(&url).await;
                stream.write_all(first).await.unwrap();
                held.push((stream, first.starts_with(b"PRI")));
            }
        }
    }
    world.others_are_served(1).await;
    // A little now and then does not buy time.
    let began = Instant::now();
    let mut open = held.len();
    while open > 0 && began.elapsed() < Duration::from_secs(20) {
        let mut still = Vec::new();
        for (mut stream, is_h2) in held {
            let mut rest = [0; 1024];
            let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut rest)).await;
            // Over HTTP/2 who is there and quiet may stay, until it does not answer a ping.
            if !is_h2 && !matches!(read, Ok(Ok(0) | Err(_))) {
                let _ = stream.write_all(b"a").await;
                still.push((stream, is_h2));
            }
        }
        held = still;
        open = held.len();
    }
    assert_eq!(open, 0, "still open after {:?}", began.elapsed());
    world.others_are_served(2).await;
    world.stays_within_its_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_and_giants_of_one_tenant_do_not_starve_another() {
    let mut world = World::new("");
    let zeros = vec![0; 256 * MIB];
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&zeros).unwrap();
        encoder.finish().unwrap()
    };
    let deflate = {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&zeros).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(&zeros[..], 1).unwrap();
    drop(zeros);
    for (encoding, bomb) in [("gzip", gzip), ("deflate", deflate), ("zstd", zstd)] {
        let sends = (0..6).map(|_| world.post(&world.bad, Some(encoding), bomb.clone()));
        let (statuses, ()) = tokio::join!(futures::future::join_all(sends), world.others_are_served(1));
        // Too large, no room for it now, or cut off while it was still sending.
        assert!(statuses.iter().all(|status| [413, 503, 0].contains(status)), "{encoding}: {statuses:?}");
        let alone = world.post(&world.bad, Some(encoding), bomb.clone()).await;
        assert!([413, 0].contains(&alone), "{encoding}: {alone}");
    }
    world.stays_within_its_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_span_with_a_million_attributes_and_a_trace_with_a_million_spans_are_taken_or_refused() {
    let mut world = World::new("");
    let mut span = traffic::trace(7, Shape::Plain, 1).remove(0);
    span.attributes = (0..1_000_000).map(|n| traffic::attribute("a", Any::IntValue(n))).collect();
    let tiny: ExportTraceServiceRequest = traffic::request(vec![span], "tiny");
    let status =
        world.post(&world.bad, Some("zstd"), zstd::encode_all(&tiny.encode_to_vec()[..], 1).unwrap()).await;
    assert!([200, 413, 503].contains(&status), "{status}");
    drop(tiny);
    world.others_are_served(1).await;
    let began = Instant::now();
    for part in 0..200u64 {
        let mut spans = vec![traffic::trace(9, Shape::Plain, 1).remove(0); 5_000];
        for (n, span) in spans.iter_mut().enumerate() {
            span.span_id = traffic::mix(part * 5_000 + n as u64).to_be_bytes().to_vec();
        }
        let body = traffic::request(spans, "giant").encode_to_vec();
        while world.post(&world.bad, None, body.clone()).await == 503 {
            assert!(began.elapsed() < Duration::from_secs(120));
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    world.others_are_served(2).await;
    world.stays_within_its_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_belong_costs_little_and_injects_nothing() {
    let mut world = World::new("");
    // Wrong tokens with bodies of the largest size: not read, not decompressed, not reserved.
    let body = vec![0; 8 * MIB];
    let sends = (0..20)
        .map(|n| world.post(if n % 2 == 0 { "tw_wrong" } else { "a.b.c" }, Some("gzip"), body.clone()));
    let (statuses, ()) = tokio::join!(futures::future::join_all(sends), world.others_are_served(1));
    assert!(statuses.iter().all(|status| [401, 0].contains(status)), "{statuses:?}");
    drop(body);
    // Another tenant's ids, and its name.
    let id = traffic::hex(&traffic::trace_id(1));
    for (header, expected) in [("", 403), ("good", 403), ("bad\u{e9}", 403), ("good,bad", 403)] {
        let mut request =
            world.client.get(format!("{}/api/traces/{id}", world.daemon.api)).bearer_auth(&world.bad);
        if !header.is_empty() {
            request = request.header("x-scope-orgid", header);
        }
        assert_eq!(request.send().await.unwrap().status().as_u16(), expected, "{header}");
    }
    let spans = traffic::request(traffic::trace(1, Shape::Plain, 1), "evil").encode_to_vec();
    let stolen = world.client.post(format!("{}/v1/traces", world.daemon.http)).bearer_auth(&world.bad);
    let stolen = stolen.header("content-type", "application/x-protobuf").header("x-scope-orgid", "good");
    assert_eq!(stolen.body(spans.clone()).send().await.unwrap().status(), 403);
    // The same id under its own tenant is another trace.
    assert_eq!(world.post(&world.bad, None, spans).await, 200);
    let found = world.client.get(format!("{}/api/traces/{id}", world.daemon.api)).bearer_auth(&world.good);
    assert!(!found.send().await.unwrap().text().await.unwrap().contains("evil"));

    // Lines in headers and paths end the request or are data; none becomes a header of an answer or a line of the log.
    for line in [
        "GET /nowhere%0d%0ax-injected:%201 HTTP/1.1\r\nhost: x\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nx-scope-orgid: a\rx-injected: 1\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nauthorization: Bearer a\nx-injected: 1\r\n",
        "GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        "POST /v1/traces HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "GET /healthz\x1b[31m HTTP/1.1\r\nhost: x\r\n",
    ] {
        for url in [&world.daemon.http, &world.daemon.api] {
            let mut stream = world.connect(url).await;
            stream.write_all(format!("{line}connection: close\r\n\r\n").as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
            assert!(read.is_ok(), "{line}: not closed");
            let head =
                String::from_utf8_lossy(&answer).split("\r\n\r\n").next().unwrap_or_default().to_owned();
            assert!(!head.to_lowercase().contains("\nx-injected"), "{line}: {head}");
        }
    }
    let logs = world.daemon.logs.lock().unwrap().join("\n");
    for secret in ["tw_wrong", &world.good, &world.bad, "\u{1b}"] {
        assert!(!logs.contains(secret), "{logs}");
    }
    let denied = logs.lines().filter(|line| line.contains("not let in")).count();
    assert!(denied <= 8, "{denied} lines about who was not let in");
    assert!(world.folder.path().join("credentials.yaml").exists());
    world.stays_within_its_memory();
}
