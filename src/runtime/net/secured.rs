//! TLS with a client that stays somebody we believe: when what its certificate was checked by has changed, it is checked
//! again. Connections of agents live for days; who was revoked would else go on until it lets go of its own.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use rustls::pki_types::UnixTime;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::listener::ServerTls;

/// A connection over TLS.
#[derive(Debug)]
pub struct Secured {
    stream: TlsStream<TcpStream>,
    tls: ServerTls,
    /// The installation of `tls` that its client was checked by.
    checked: u64,
}

impl Secured {
    pub(super) fn new(stream: TlsStream<TcpStream>, tls: ServerTls, checked: u64) -> Self {
        Self { stream, tls, checked }
    }

    /// Whether the client may go on.
    #[inline]
    fn check(&mut self) -> io::Result<()> {
        match self.tls.installed() {
            same if same == self.checked => Ok(()),
            newer => self.check_again(newer),
        }
    }

    #[cold]
    fn check_again(&mut self, installed: u64) -> io::Result<()> {
        let clients = self.tls.clients();
        let shown = self.stream.get_ref().1.peer_certificates();
        if let (Some(clients), Some([own, others @ ..])) = (clients, shown)
            && let Err(error) = clients.verify_client_cert(own, others, UnixTime::now())
        {
            tracing::info!(%error, "a connection is cut off: its client's certificate is not good any more");
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, error));
        }
        self.checked = installed;
        Ok(())
    }
}

impl AsyncRead for Secured {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Secured {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
