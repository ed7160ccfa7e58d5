//! Peers that do exactly what a test says: raw HTTP/1.1 over TCP, raw HTTP/2 requests, compression.

use std::io::Write;
use std::net::SocketAddr;

use ::http::{HeaderMap, Request};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Channel;
use tower::{Service, ServiceExt};

/// An answer over HTTP/1.1.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// Sends a request over a connection of its own and reads the answer until the server closes it.
pub(super) async fn send(to: SocketAddr, head: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = format!("{head}host: test\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    read_answer(&mut stream).await
}

/// Posts to `/v1/traces`; `headers` are lines ended with CRLF.
pub(super) async fn post(to: SocketAddr, headers: &str, body: &[u8]) -> Answer {
    send(to, &format!("POST /v1/traces HTTP/1.1\r\n{headers}"), body).await
}

/// Reads until the server closes.
pub(super) async fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
    Answer { status, headers: lines.filter_map(header).collect(), body: answer[end + 4..].to_vec() }
}

/// An answer over HTTP/2; of a gRPC answer, headers and trailers are one map.
#[derive(Debug)]
pub(super) struct H2Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Whether there were trailers behind the body.
    pub(super) trailers: bool,
}

impl H2Answer {
    pub(super) fn grpc_status(&self) -> i32 {
        self.headers["grpc-status"].to_str().unwrap().parse().unwrap()
    }
}

pub(super) async fn channel(to: SocketAddr) -> Channel {
    Channel::from_shared(format!("http://{to}")).unwrap().connect().await.unwrap()
}

/// Sends one HTTP/2 request, gRPC or not.
pub(super) async fn send_h2(to: SocketAddr, request: ::http::request::Builder, body: Vec<u8>) -> H2Answer {
    let path = request.uri_ref().unwrap().path().to_owned();
    let request = request.uri(format!("http://{to}{path}"));
    let request: Request<tonic::body::Body> =
        request.body(tonic::body::Body::new(Full::new(Bytes::from(body)))).unwrap();
    let mut channel = channel(to).await;
    let response = channel.ready().await.unwrap().call(request).await.unwrap();
    let (head, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let mut headers = head.headers;
    let trailers = collected.trailers().cloned();
    let has_trailers = trailers.is_some();
    headers.extend(trailers.unwrap_or_default());
    H2Answer { status: head.status.as_u16(), headers, body: collected.to_bytes(), trailers: has_trailers }
}

/// A gRPC frame.
pub(super) fn frame(compressed: u8, message: &[u8]) -> Vec<u8> {
    let mut frame = vec![compressed];
    frame.extend((message.len() as u32).to_be_bytes());
    frame.extend(message);
    frame
}

pub(super) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The format of blocks.
/// A frame of blocks of up to 4 MiB that stand for themselves.
pub(super) fn lz4(bytes: &[u8]) -> Vec<u8> {
    lz4_frame(bytes, |builder| {
        builder.block_size(lz4::BlockSize::Max4MB).block_mode(lz4::BlockMode::Independent);
    })
}

/// A frame of small blocks that refer to those before them, with each checksum there is.
pub(super) fn lz4_linked(bytes: &[u8]) -> Vec<u8> {
    lz4_frame(bytes, |builder| {
        builder.block_size(lz4::BlockSize::Max64KB).block_mode(lz4::BlockMode::Linked);
        builder.block_checksum(lz4::liblz4::BlockChecksum::BlockChecksumEnabled);
        builder.checksum(lz4::ContentChecksum::ChecksumEnabled);
    })
}

fn lz4_frame(bytes: &[u8], change: impl FnOnce(&mut lz4::EncoderBuilder)) -> Vec<u8> {
    let mut builder = lz4::EncoderBuilder::new();
    builder.checksum(lz4::ContentChecksum::NoChecksum);
    change(&mut builder);
    let mut encoder = builder.build(Vec::new()).unwrap();
    encoder.write_all(bytes).unwrap();
    let (frame, ended) = encoder.finish();
    ended.unwrap();
    frame
}

pub(super) fn snappy_block(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

/// The framing format.
pub(super) fn snappy_stream(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = snap::write::FrameEncoder::new(Vec::new());
    encoder.write_all(bytes).unwrap();
    encoder.into_inner().unwrap()
}

pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    ::zstd::encode_all(bytes, 3).unwrap()
}
