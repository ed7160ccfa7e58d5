//! Connections that flood, dawdle, or never get to say anything.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;

use super::*;

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
async fn flood(mut stream: impl AsyncWrite + Unpin, mut next: impl FnMut(u32) -> Vec<u8>) -> bool {
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(4, 0, 0, b"")).await.unwrap();
    for number in 0..200_000 {
        if stream.write_all(&next(number)).await.is_err() {
            return true;
        }
    }
    false
}

/// A connection, through TLS where that is spoken.
trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

async fn connected(world: &World, url: &str, alpn: &[u8]) -> Box<dyn Duplex> {
    let stream = world.connect(url).await;
    let Some(ca) = &world.ca else { return Box::new(stream) };
    let name = "localhost".try_into().unwrap();
    Box::new(TlsConnector::from(client_config(ca, alpn)).connect(name, stream).await.unwrap())
}

fn client_config(ca: &Ca, alpn: &[u8]) -> std::sync::Arc<rustls::ClientConfig> {
    use rustls::pki_types::{CertificateDer, pem::PemObject};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    std::sync::Arc::new(config)
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_end_their_connection_only() {
    floods_end_their_connection(World::new("")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_frames_over_tls_end_their_connection_only() {
    floods_end_their_connection(World::secured("")).await;
}

async fn floods_end_their_connection(mut world: World) {
    for url in [world.daemon.grpc.clone(), world.daemon.http.clone(), world.daemon.api.clone()] {
        for _ in 0..4 {
            let stream = connected(&world, &url, b"h2").await;
            let reset = flood(stream, |n| {
                [frame(1, 4, 2 * n + 1, &HEADERS), frame(3, 0, 2 * n + 1, &8u32.to_be_bytes())].concat()
            });
            assert!(reset.await, "rapid reset at {url}");
            let stream = connected(&world, &url, b"h2").await;
            let header = [0x00, 1, b'x', 1, b'y'].repeat(100);
            let continuation = flood(stream, |n| match n {
                0 => frame(1, 0, 1, &HEADERS),
                _ => frame(9, 0, 1, &header),
            });
            assert!(continuation.await, "CONTINUATION at {url}");
        }
        // Pings and settings, which want an answer that nobody reads.
        let stream = connected(&world, &url, b"h2").await;
        let pings = flood(stream, |_| [frame(6, 0, 0, &[0; 8]), frame(4, 0, 0, b"")].concat());
        let _ended_or_waits = tokio::time::timeout(Duration::from_secs(3), pings).await;
    }
    world.others_are_served(1).await;
    world.stays_within_its_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_half_open_connections_are_cut_off_while_others_are_served() {
    dawdlers_are_cut_off(World::new("connections: 300")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_and_half_open_connections_over_tls_are_cut_off_while_others_are_served() {
    dawdlers_are_cut_off(World::secured("connections: 300")).await;
}

async fn dawdlers_are_cut_off(mut world: World) {
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
                let is_h2 = first.starts_with(b"PRI");
                let mut stream = connected(&world, &url, if is_h2 { b"h2" } else { b"http/1.1" }).await;
                stream.write_all(first).await.unwrap();
                stream.flush().await.unwrap();
                held.push((stream, is_h2));
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
                let _ = stream.flush().await;
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

/// What a client says first, as rustls writes it.
fn client_hello(ca: &Ca) -> Vec<u8> {
    let mut client =
        rustls::ClientConnection::new(client_config(ca, b"h2"), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    hello
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_stall_are_cut_off_while_others_are_served() {
    let mut world = World::secured("connections: 350");
    let hello = client_hello(world.ca.as_ref().unwrap());
    assert!(hello.len() > 100 && hello[0] == 22);
    let starts: [&[u8]; 6] = [
        b"",
        b"\x16",
        // A record that promises 16 KiB, and a handshake message that promises 16 MiB.
        b"\x16\x03\x01\x40\x00",
        b"\x16\x03\x01\x40\x00\x01\xff\xff\xff",
        &hello[..hello.len() / 2],
        // All of it: the server has answered, and hears no more.
        &hello,
    ];
    let began = Instant::now();
    let mut held = Vec::new();
    for url in [world.daemon.grpc.clone(), world.daemon.http.clone(), world.daemon.api.clone()] {
        for first in starts {
            for _ in 0..50 {
                let mut stream = world.connect(&url).await;
                stream.write_all(first).await.unwrap();
                held.push(stream);
            }
        }
    }
    world.others_are_served(1).await;
    // One byte now and then does not buy time: the handshake as a whole has two seconds.
    while !held.is_empty() && began.elapsed() < Duration::from_secs(20) {
        let mut still = Vec::new();
        for mut stream in held {
            let mut answer = [0; 4096];
            let read = tokio::time::timeout(Duration::from_millis(1), stream.read(&mut answer)).await;
            if !matches!(read, Ok(Ok(0) | Err(_))) {
                let _ = stream.write_all(b"\x00").await;
                still.push(stream);
            }
        }
        held = still;
    }
    assert_eq!(held.len(), 0, "still open after {:?}", began.elapsed());
    world.others_are_served(2).await;
    let status = world.client.get(format!("{}/status", world.daemon.api)).send().await.unwrap();
    let status: serde_json::Value = status.json().await.unwrap();
    let hands = &status["trust"]["handshakes"];
    let refused = hands["failed"].as_u64().unwrap() + hands["plain_text"].as_u64().unwrap();
    assert_eq!(refused, 3 * 6 * 50, "{hands}");
    assert!(status["receive"]["connections_open"].as_u64().unwrap() <= 2, "{}", status["receive"]);
    world.stays_within_its_memory();
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_no_tls_any_more_end_their_connection() {
    let mut world = World::secured("");
    for url in [world.daemon.grpc.clone(), world.daemon.http.clone(), world.daemon.api.clone()] {
        let stream = world.connect(&url).await;
        let name = "localhost".try_into().unwrap();
        let config = client_config(world.ca.as_ref().unwrap(), b"h2");
        let tls = TlsConnector::from(config).connect(name, stream).await.unwrap();
        // Behind the handshake, past the encryption.
        let (mut stream, _) = tls.into_inner();
        for junk in [&b"\x17\x03\x03\x40\x00"[..], &[0xff; 16_384][..]] {
            let _ = stream.write_all(junk).await;
        }
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut rest)).await;
        assert!(ended.is_ok(), "{url}: not closed");
    }
    world.others_are_served(1).await;
    world.stays_within_its_memory();
}
