//! An OTLP client that sends raw bytes: gRPC over one HTTP/2 connection, made when it is needed. A message is a list of pieces;
//! protobuf's repeated fields of requests put one behind the other are one request, so nothing is copied together.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{AUTHORIZATION, CONTENT_TYPE, TE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::compress::Compression;
use crate::runtime::OnRuntime;

/// The method that takes spans.
pub const EXPORT: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

/// Answers are a few bytes; a claim's is one byte a trace.
const ANSWER_BYTES_MAX: usize = 4 << 20;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(20);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tracewell/", env!("CARGO_PKG_VERSION")));

/// Gives the bearer token, read anew when it changes.
pub type Token = Arc<dyn Fn() -> Option<HeaderValue> + Send + Sync>;

/// A byte stream, with TLS or without.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// How a TCP connection to a host is made secure.
pub type Secure = Arc<
    dyn Fn(TcpStream, String) -> futures::future::BoxFuture<'static, io::Result<Box<dyn Stream>>>
        + Send
        + Sync,
>;

/// What holds for every call of a client.
#[derive(Clone)]
pub struct ClientOptions {
    /// For how long a connection may take to come about.
    pub connect_timeout: Duration,
    /// From the first byte of a call to the last of its answer.
    pub call_timeout: Duration,
    /// How messages are compressed.
    pub compression: Compression,
    /// TLS; without it connections are in the clear.
    pub secure: Option<Secure>,
    /// Who we are.
    pub token: Option<Token>,
    /// Further headers.
    pub headers: HeaderMap,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(30),
            compression: Compression::None,
            secure: None,
            token: None,
            headers: HeaderMap::new(),
        }
    }
}

/// An answer: its message, and its headers and trailers in one.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The response message; empty without one.
    pub message: Bytes,
    /// Headers and trailers.
    pub headers: HeaderMap,
}

/// A client of one server.
pub struct Client {
    /// `HOST:PORT`.
    address: String,
    options: ClientOptions,
    tasks: Handle,
    connection: Mutex<Option<SendRequest<Pieces>>>,
    connecting: tokio::sync::Mutex<()>,
}

impl Client {
    /// A client of the gRPC server at `HOST:PORT`. Its connections run as tasks of `tasks`.
    pub fn new(address: &str, options: ClientOptions, tasks: Handle) -> Self {
        let connection = Mutex::default();
        Self { address: address.to_owned(), options, tasks, connection, connecting: Default::default() }
    }

    /// Calls a method with the message that the pieces are together.
    ///
    /// # Errors
    /// Why there is no answer, in words. The server may have done what it was asked for all the same.
    pub async fn call(
        &self,
        path: &'static str,
        metadata: &[(HeaderName, HeaderValue)],
        pieces: &[Bytes],
    ) -> Result<Answer, String> {
        let request = self.request(path, metadata, pieces)?;
        let called = timeout(self.options.call_timeout, self.answered(request)).await;
        let answer = called.unwrap_or_else(|_| {
            // Nobody knows what the connection is worth: the next call makes another.
            self.disconnect();
            Err(format!("no answer within {} s", self.options.call_timeout.as_secs_f64()))
        });
        answer.map_err(|error| format!("{}: {error}", self.address))
    }

    fn request(
        &self,
        path: &'static str,
        metadata: &[(HeaderName, HeaderValue)],
        pieces: &[Bytes],
    ) -> Result<Request<Pieces>, String> {
        let scheme = if self.options.secure.is_some() { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(self.address.as_str()).path_and_query(path).build();
        let mut request = Request::new(self.message(pieces)?);
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.map_err(|error| error.to_string())?;
        let headers = request.headers_mut();
        headers.extend(self.options.headers.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(USER_AGENT, AGENT);
        if let Some(name) = self.options.compression.name() {
            headers.insert("grpc-encoding", HeaderValue::from_static(name));
        }
        if let Some(token) = self.options.token.as_ref().and_then(|token| token()) {
            headers.insert(AUTHORIZATION, token);
        }
        headers.extend(metadata.iter().cloned());
        Ok(request)
    }

    /// The pieces as one length-prefixed message ("gRPC over HTTP2", Requests).
    fn message(&self, pieces: &[Bytes]) -> Result<Pieces, String> {
        let compressed = self.options.compression.compress(pieces).map_err(|error| error.to_string())?;
        let is_compressed = compressed.is_some();
        let pieces = compressed.map_or_else(|| pieces.to_vec(), |whole| vec![whole]);
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        let mut prefix = BytesMut::with_capacity(5);
        prefix.put_u8(u8::from(is_compressed));
        prefix.put_u32(u32::try_from(bytes).map_err(|_| "the message is longer than 4 GiB")?);
        Ok(Pieces::new(std::iter::once(prefix.freeze()).chain(pieces)))
    }

    async fn answered(&self, request: Request<Pieces>) -> Result<Answer, String> {
        let mut sender = self.connected().await?;
        let response = match sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                self.disconnect();
                return Err(reason(&error));
            }
        };
        let status = response.status();
        let mut headers = response.headers().clone();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?;
        if let Some(trailers) = body.trailers() {
            headers.extend(trailers.clone());
        }
        if !headers.contains_key("grpc-status") {
            return Err(format!("this is no gRPC server: HTTP status {status}"));
        }
        let message = body.to_bytes();
        Ok(Answer { message: message.get(5..).map(|m| message.slice_ref(m)).unwrap_or_default(), headers })
    }

    /// The connection there is, or a new one. One caller makes it, the others wait.
    async fn connected(&self) -> Result<SendRequest<Pieces>, String> {
        if let Some(sender) = self.open() {
            return Ok(sender);
        }
        let _one_at_a_time = self.connecting.lock().await;
        if let Some(sender) = self.open() {
            return Ok(sender);
        }
        let sender = timeout(self.options.connect_timeout, self.connect()).await;
        let sender = sender.unwrap_or_else(|_| Err("no connection in time".into()))?;
        *self.connection.lock() = Some(sender.clone());
        Ok(sender)
    }

    fn open(&self) -> Option<SendRequest<Pieces>> {
        let mut connection = self.connection.lock();
        if connection.as_ref().is_some_and(SendRequest::is_closed) {
            *connection = None;
        }
        connection.clone()
    }

    fn disconnect(&self) {
        *self.connection.lock() = None;
    }

    async fn connect(&self) -> Result<SendRequest<Pieces>, String> {
        let stream = TcpStream::connect(&self.address).await.map_err(|error| error.to_string())?;
        // Requests are written whole: their ends must not wait for more to send.
        let _ = stream.set_nodelay(true);
        let stream: Box<dyn Stream> = match &self.options.secure {
            Some(secure) => {
                secure(stream, host_of(&self.address)).await.map_err(|error| told(error.to_string()))?
            }
            None => Box::new(stream),
        };
        let mut builder = http2::Builder::new(OnRuntime(self.tasks.clone()));
        builder.timer(TokioTimer::new());
        builder.initial_stream_window_size(STREAM_WINDOW_BYTES);
        builder.keep_alive_interval(KEEPALIVE_INTERVAL);
        builder.keep_alive_timeout(KEEPALIVE_TIMEOUT);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|e| reason(&e))?;
        let address = self.address.clone();
        self.tasks.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(address, reason = reason(&error), "connection ended");
            }
        });
        Ok(sender)
    }
}

/// `HOST` of `HOST:PORT`, without the brackets of IPv6.
fn host_of(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// hyper tells the cause only when asked.
fn reason(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error);
    told(cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
}

/// What TLS servers say when a client's certificate is missing, or none that they want (RFC 8446, 6.2). In TLS 1.3 that comes
/// after the handshake, as the first words of a connection.
const OF_OUR_CERTIFICATE: [&str; 8] = [
    "BadCertificate",
    "UnsupportedCertificate",
    "CertificateRevoked",
    "CertificateExpired",
    "CertificateUnknown",
    "CertificateRequired",
    "UnknownCA",
    "AccessDenied",
];

/// The same error, saying what an alert of TLS is about.
fn told(error: String) -> String {
    match error.split_once("received fatal alert: ") {
        Some((_, alert)) if OF_OUR_CERTIFICATE.contains(&alert) => {
            format!("it does not accept our certificate (TLS alert {alert})")
        }
        _ => error,
    }
}

/// A body in pieces.
pub(super) struct Pieces {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Pieces {
    pub(super) fn new(pieces: impl IntoIterator<Item = Bytes>) -> Self {
        let pieces: VecDeque<_> = pieces.into_iter().filter(|piece| !piece.is_empty()).collect();
        Self { left: pieces.iter().map(|piece| piece.len() as u64).sum(), pieces }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
