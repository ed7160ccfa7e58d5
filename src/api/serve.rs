//! The listener and its connections.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::door::Peer;
use super::{Api, ApiConfig};
use crate::auth::ClientCertificate;
use crate::runtime::net::{self, Connection, Listener, sniff};

/// The longest URL that HTTP libraries take (64 KiB) fits, with room for other headers.
const HEAD_BYTES_MAX: usize = 256 * 1024;
/// HTTP/2 streams of one connection at a time.
const STREAMS_MAX: u32 = 64;
/// How long accepting rests when the system is out of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Api {
    /// Serves until `shutdown` is cancelled; then stops accepting, lets requests in flight finish, and returns. A caller with
    /// a deadline drops the future: connections still open are then cut.
    pub async fn serve(&self, listener: impl Into<Listener>, shutdown: CancellationToken) {
        let listener = listener.into();
        let router = self.router();
        let mut connections = JoinSet::new();
        while let Some(incoming) = self.accept(&listener, &mut connections, &shutdown).await {
            connections.spawn(serve_connection(
                incoming,
                router.clone(),
                self.config.clone(),
                shutdown.clone(),
            ));
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
    ) -> Option<net::Incoming> {
        loop {
            let full = connections.len() >= self.config.connections_max;
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return None,
                Some(_) = connections.join_next() => {}
                accepted = listener.accept(), if !full => match accepted {
                    Ok(incoming) => return Some(incoming),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept connections for a moment");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
    }
}

async fn serve_connection(
    incoming: net::Incoming,
    router: Router,
    config: Arc<ApiConfig>,
    shutdown: CancellationToken,
) {
    let ready = tokio::select! {
        () = shutdown.cancelled() => return,
        ready = incoming.ready() => ready,
    };
    let Connection { stream, certificate } = match ready {
        Ok(connection) => connection,
        Err(error) => return tracing::debug!(%error, "no handshake"),
    };
    // Who connects and says nothing would take a place for ever.
    let sniffed = tokio::select! {
        () = shutdown.cancelled() => return,
        sniffed = timeout(config.header_timeout, sniff(stream)) => sniffed,
    };
    let Ok(Ok((_, stream))) = sniffed else { return };
    let certificate = certificate.map(|certificate| Arc::new(ClientCertificate::of(&certificate)));
    let peer = Peer { certificate };
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer.clone());
        let router = router.clone();
        async move { Ok::<_, Infallible>(router.oneshot(request.map(Body::new)).await.unwrap_or_default()) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        .http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(STREAMS_MAX)
        .keep_alive_interval(Duration::from_secs(30));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let result = tokio::select! {
        result = connection.as_mut() => result,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!(%error, "connection ended");
    }
}
