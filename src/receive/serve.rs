//! Listeners and connections: how many, how long, and how they end.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::Budget;
use super::config::{ReceiveConfig, ReceiveConfigError};
use super::reply::Reply;
use super::room::{Peer, Room};
use super::stats::ReceiveStats;
use super::{Ingest, otlp_grpc, otlp_http};
use crate::auth::{ClientCertificate, Gate};
use crate::runtime::net::{Connection, Http, Incoming, Listener, sniff};
use crate::runtime::{Clock, OnRuntime};

/// A message in one frame is never copied; more than this in a frame is not worth the buffer.
const H2_FRAME_BYTES: u32 = 1024 * 1024;
/// What HTTP/2 begins with (RFC 9113, 6.9.2).
const H2_WINDOW_BYTES_MIN: u32 = 65_535;
const H2_STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
const H2_CONNECTION_WINDOW_BYTES: u32 = 8 * 1024 * 1024;
/// How long accepting rests when there are no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/gRPC, over HTTP/2.
    Grpc,
    /// OTLP/HTTP, over HTTP/1.1 and HTTP/2.
    Http,
}

/// The OTLP receivers. All listeners share one byte budget and one set of counters. Cheap to clone.
pub struct Receiver<I> {
    room: Arc<Room<I>>,
}

impl<I> Clone for Receiver<I> {
    fn clone(&self) -> Self {
        Self { room: self.room.clone() }
    }
}

impl<I: Ingest> Receiver<I> {
    /// Receivers that hand over to `ingest` whatever anybody sends. Connections run as tasks of `tasks`.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn new(
        config: ReceiveConfig,
        ingest: Arc<I>,
        clock: Arc<dyn Clock>,
        tasks: Handle,
    ) -> Result<Self, ReceiveConfigError> {
        let gate = Arc::new(Gate::open(clock.clone(), tasks.clone()));
        Self::guarded(config, ingest, clock, tasks, gate)
    }

    /// The same, where `gate` says who is let in.
    ///
    /// # Errors
    /// When the configuration cannot work.
    pub fn guarded(
        config: ReceiveConfig,
        ingest: Arc<I>,
        clock: Arc<dyn Clock>,
        tasks: Handle,
        gate: Arc<Gate>,
    ) -> Result<Self, ReceiveConfigError> {
        config.validate()?;
        Ok(Self { room: Arc::new(Room::new(config, ingest, clock, tasks, gate)) })
    }

    /// The counters.
    pub fn stats(&self) -> Arc<ReceiveStats> {
        self.room.stats.clone()
    }

    /// The byte budget, to see how much of it is used.
    pub fn budget(&self) -> Budget {
        self.room.limits.budget.clone()
    }

    /// Serves until `shutdown` is cancelled; then stops accepting, lets requests in flight finish, and returns.
    /// A caller with a deadline drops the future: connections still open are then cut.
    pub async fn serve(self, protocol: Protocol, listener: impl Into<Listener>, shutdown: CancellationToken) {
        let listener = listener.into();
        let mut connections = JoinSet::new();
        while let Some(incoming) = self.accept(&listener, &mut connections, &shutdown).await {
            let (room, shutdown) = (self.room.clone(), shutdown.clone());
            let connection = async move {
                let _open = Open::new(room.stats.clone());
                serve_incoming(&room, protocol, incoming, shutdown).await;
            };
            connections.spawn_on(connection, &self.room.tasks);
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// The next connection, once there is a place for it; `None` when it is time to stop.
    async fn accept(
        &self,
        listener: &Listener,
        connections: &mut JoinSet<()>,
        shutdown: &CancellationToken,
    ) -> Option<Incoming> {
        loop {
            let full = connections.len() >= self.room.config.connections_max;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if !full => match accepted {
                    Ok(accepted) => return Some(accepted),
                    Err(error) => rest_after(&error).await,
                },
            }
        }
    }
}

/// Some errors are the next connection's own (it was gone before we took it); others say that we are out of something.
async fn rest_after(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::warn!(%error, "cannot accept connections for a moment");
        sleep(ACCEPT_PAUSE).await;
    }
}

/// Counts a connection while it lives.
struct Open(Arc<ReceiveStats>);

impl Open {
    fn new(stats: Arc<ReceiveStats>) -> Self {
        stats.connection_opened();
        Self(stats)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connection_closed();
    }
}

async fn serve_incoming<I: Ingest>(
    room: &Arc<Room<I>>,
    protocol: Protocol,
    incoming: Incoming,
    shutdown: CancellationToken,
) {
    let address = incoming.client;
    let ready = tokio::select! {
        () = shutdown.cancelled() => return,
        ready = incoming.ready() => ready,
    };
    match ready {
        Ok(Connection { stream, certificate }) => {
            let certificate = certificate.map(|certificate| Arc::new(ClientCertificate::of(&certificate)));
            let peer = Peer { address, certificate };
            serve_connection(room, protocol, stream, peer, shutdown).await;
        }
        Err(error) => tracing::debug!(%error, "no handshake"),
    }
}

async fn serve_connection<I, T>(
    room: &Arc<Room<I>>,
    protocol: Protocol,
    stream: T,
    peer: Peer,
    shutdown: CancellationToken,
) where
    I: Ingest,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let first_bytes = timeout(room.config.header_timeout, sniff(stream));
    let (http, stream) = tokio::select! {
        () = shutdown.cancelled() => return,
        sniffed = first_bytes => match sniffed {
            Ok(Ok(sniffed)) => sniffed,
            Ok(Err(_)) | Err(_) => return,
        },
    };
    let service = {
        let (room, peer) = (room.clone(), Arc::new(peer));
        service_fn(move |request| answer(room.clone(), protocol, peer.clone(), request))
    };
    let stream = TokioIo::new(stream);
    let result = match http {
        Http::One => {
            let connection = http1_builder(&room.config).serve_connection(stream, service);
            until_done(connection, http1::Connection::graceful_shutdown, shutdown).await
        }
        Http::Two => {
            let connection =
                http2_builder(&room.config, room.tasks.clone()).serve_connection(stream, service);
            until_done(connection, http2::Connection::graceful_shutdown, shutdown).await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}

/// Drives a connection to its end, which it is asked for upon `shutdown`.
async fn until_done<C>(
    connection: C,
    shut_down: impl FnOnce(Pin<&mut C>),
    shutdown: CancellationToken,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    let mut connection = pin!(connection);
    tokio::select! {
        result = connection.as_mut() => return result,
        () = shutdown.cancelled() => {}
    }
    shut_down(connection.as_mut());
    connection.await
}

async fn answer<I: Ingest>(
    room: Arc<Room<I>>,
    protocol: Protocol,
    peer: Arc<Peer>,
    request: Request<hyper::body::Incoming>,
) -> Result<Response<Reply>, Infallible> {
    Ok(match protocol {
        Protocol::Grpc => otlp_grpc::answer(&room, &peer, request).await,
        Protocol::Http => otlp_http::answer(&room, &peer, request).await,
    })
}

fn http1_builder(config: &ReceiveConfig) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    builder.header_read_timeout(config.header_timeout);
    builder.max_header_size(config.header_bytes_max as usize);
    builder
}

fn http2_builder(config: &ReceiveConfig, tasks: Handle) -> http2::Builder<OnRuntime> {
    let mut builder = http2::Builder::new(OnRuntime(tasks));
    builder.timer(TokioTimer::new());
    builder.max_frame_size(H2_FRAME_BYTES);
    // What a sender may send before somebody reads it is in nobody's budget: with little memory it is less.
    let window_max =
        u32::try_from(config.in_flight_bytes_max / 8).unwrap_or(u32::MAX).max(H2_WINDOW_BYTES_MIN);
    builder.initial_stream_window_size(H2_STREAM_WINDOW_BYTES.min(window_max));
    builder.initial_connection_window_size(H2_CONNECTION_WINDOW_BYTES.min(window_max));
    builder.max_concurrent_streams(config.streams_max);
    builder.max_header_list_size(config.header_bytes_max);
    builder.keep_alive_interval(config.keepalive_interval);
    builder.keep_alive_timeout(config.keepalive_timeout);
    builder
}
