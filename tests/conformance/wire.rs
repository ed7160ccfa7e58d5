//! Encodings, compressions, success and partial success.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::peer::{ALL, BINARY, Sent, Way};
use super::{Server, encoded, sample, traffic};

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

fn snappy_framed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = lz4::EncoderBuilder::new().build(Vec::new()).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_response_has_the_requests_type() {
    let server = Server::start("{}");
    for (way, content_type) in
        ALL.into_iter().zip(["application/grpc", "application/x-protobuf", "application/json"])
    {
        for body in [encoded(way, &sample(1)), b"\xff\xff".to_vec()] {
            let got = server.send(way, &Sent::body(body)).await;
            assert_eq!(got.content_type, content_type, "{way:?}");
        }
    }
    // A parameter of the type changes nothing.
    let sent = Sent { content_type: Some("application/json; charset=utf-8"), ..Sent::body("{}") };
    assert_eq!(server.send(Way::Json, &sent).await.http, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn none_and_gzip_are_accepted_and_what_the_collector_accepts_beside_them() {
    let server = Server::start("{}");
    type Compress = fn(&[u8]) -> Vec<u8>;
    let none: Compress = <[u8]>::to_vec;
    let compressions: [(Option<&str>, Compress); 9] = [
        (None, none),
        (Some("gzip"), gzip),
        (Some("zstd"), |bytes| zstd::encode_all(bytes, 3).unwrap()),
        (Some("deflate"), deflate),
        (Some("snappy"), snappy),
        (Some("snappy"), snappy_framed),
        (Some("x-snappy-framed"), snappy_framed),
        (Some("zlib"), deflate),
        (Some("lz4"), lz4),
    ];
    for (at, (encoding, compress)) in compressions.into_iter().enumerate() {
        for (of, way) in ALL.into_iter().enumerate() {
            let number = 100 + (at * 10 + of) as u64;
            let body = compress(&encoded(way, &sample(number)));
            let got = server.send(way, &Sent { encoding, ..Sent::body(body) }).await;
            assert_eq!((got.http, got.code, got.partial), (200, 0, None), "{way:?} {encoding:?}");
            assert_eq!(server.spans(&traffic::trace_id(number)).await.len(), 3, "{way:?} {encoding:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_has_no_partial_success_and_an_empty_request_succeeds() {
    let server = Server::start("{}");
    for way in ALL {
        let nothing = ExportTraceServiceRequest::default();
        for body in [encoded(way, &sample(2)), encoded(way, &nothing)] {
            let got = server.send(way, &Sent::body(body)).await;
            assert_eq!((got.http, got.code, got.partial), (200, 0, None), "{way:?}");
        }
    }
    // Of JSON `{}` is the empty request; no bytes at all are one of protobuf.
    for way in BINARY {
        assert_eq!(server.send(way, &Sent::body("")).await.code, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_with_an_invalid_id_are_rejected_by_partial_success_and_their_batch_is_not() {
    let server = Server::start("{}");
    type Damage = fn(&mut opentelemetry_proto::tonic::trace::v1::Span);
    let damages: [(&str, Damage); 4] = [
        ("trace_id is all zeros", |span| span.trace_id = vec![0; 16]),
        ("trace_id has 5 bytes", |span| span.trace_id = vec![1; 5]),
        ("span_id is all zeros", |span| span.span_id = vec![0; 8]),
        ("span_id has 0 bytes", |span| span.span_id.clear()),
    ];
    for (at, (why, damage)) in damages.into_iter().enumerate() {
        for (of, way) in ALL.into_iter().enumerate() {
            let number = 300 + (at * 10 + of) as u64;
            let mut request = sample(number);
            damage(&mut request.resource_spans[0].scope_spans[0].spans[1]);
            let got = server.send(way, &Sent::body(encoded(way, &request))).await;
            let (rejected, message) = got.partial.expect("a partial success");
            assert_eq!((got.http, got.code, rejected), (200, 0, 1), "{way:?} {why}");
            assert!(message.contains(why), "{way:?}: {message}");
            assert_eq!(server.spans(&traffic::trace_id(number)).await.len(), 2, "{way:?} {why}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mere_warning_has_no_rejected_span_and_a_message() {
    let server = Server::start("{}");
    let got = server.send(Way::Json, &Sent::body(r#"{"resource_spans":[]}"#)).await;
    let (rejected, message) = got.partial.expect("a warning");
    assert_eq!((got.http, rejected), (200, 0));
    assert!(message.contains("lowerCamelCase"), "{message}");
    let metrics = server.daemon.get("/metrics").await.1;
    let counted = metrics.lines().find(|line| line.contains("snake_case") && !line.starts_with('#'));
    assert!(counted.is_some_and(|line| line.ends_with(" 1")), "{counted:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_over_four_mebibytes_is_taken() {
    let server = Server::start("{}");
    let mut request = sample(3);
    request.resource_spans[0].scope_spans[0].spans[0]
        .attributes
        .push(traffic::text("k", &"x".repeat(5 << 20)));
    for way in ALL {
        let got = server.send(way, &Sent::body(encoded(way, &request))).await;
        assert_eq!((got.http, got.code), (200, 0), "{way:?}");
    }
}

/// HTTP/2's settings by number (RFC 9113, 6.5.2), as the listener sends them first of all.
fn settings(address: &str) -> Vec<(u16, u32)> {
    let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut head = [0; 9];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(head[3], 4, "the first frame is of settings");
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    stream.read_exact(&mut body).unwrap();
    let setting =
        |of: &[u8; 6]| (u16::from_be_bytes([of[0], of[1]]), u32::from_be_bytes([of[2], of[3], of[4], of[5]]));
    body.as_chunks::<6>().0.iter().map(setting).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_header_lists_are_limited() {
    let server = Server::start("{}");
    for address in [&server.daemon.grpc, &server.daemon.http] {
        let settings = settings(address);
        let of = |number| settings.iter().find(|(of, _)| *of == number).map(|(_, value)| *value);
        assert!(
            of(3).is_some_and(|streams| streams <= 1000),
            "SETTINGS_MAX_CONCURRENT_STREAMS: {settings:?}"
        );
        assert!(of(6).is_some_and(|bytes| bytes <= 64 << 10), "SETTINGS_MAX_HEADER_LIST_SIZE: {settings:?}");
    }
}

#[test]
fn a_quiet_connection_is_pinged() {
    let server = Server::start("receive: { keepalive: { interval: 1s, timeout: 1s } }");
    for address in [&server.daemon.grpc, &server.daemon.http] {
        let mut stream = TcpStream::connect(address.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
        let mut kinds = Vec::new();
        let mut head = [0; 9];
        // Nobody answers the ping: the connection ends.
        while stream.read_exact(&mut head).is_ok() {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            stream.read_exact(&mut payload).unwrap();
            kinds.push(head[3]);
        }
        assert!(kinds.contains(&6), "a PING: {kinds:?}");
    }
}

#[test]
fn the_samples_json_means_the_same() {
    let back: ExportTraceServiceRequest = serde_json::from_slice(&encoded(Way::Json, &sample(1))).unwrap();
    assert_eq!(back.encoded_len(), sample(1).encoded_len());
}
