//! Which HTTP a connection speaks, told from its first bytes.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 client with prior knowledge sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The versions we tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http {
    /// HTTP/1.1 and before, or nothing that is known.
    One,
    /// HTTP/2.
    Two,
}

/// Reads until it is clear what the client speaks. The bytes read are read again from what is returned.
///
/// # Errors
/// Those of the connection, and unexpected end when it closes before that is clear.
pub async fn sniff<T: AsyncRead + Unpin>(mut inner: T) -> io::Result<(Http, Rewound<T>)> {
    let mut read = [0; PREFACE.len()];
    let mut length = 0;
    let http = loop {
        match inner.read(&mut read[length..]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            more => length += more,
        }
        if !PREFACE.starts_with(&read[..length]) {
            break Http::One;
        }
        if length == PREFACE.len() {
            break Http::Two;
        }
    };
    Ok((http, Rewound { read, next: 0, length, inner }))
}

/// A connection whose first bytes can be read again.
#[derive(Debug)]
pub struct Rewound<T> {
    read: [u8; PREFACE.len()],
    next: usize,
    length: usize,
    inner: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.next == self.length {
            return Pin::new(&mut self.inner).poll_read(cx, buf);
        }
        let fits = buf.remaining().min(self.length - self.next);
        buf.put_slice(&self.read[self.next..self.next + fits]);
        self.next += fits;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
