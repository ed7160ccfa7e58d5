//! Listening, accepting, handshakes.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::secured::Secured;
use super::stream::Stream;
use super::wrong_port::{HANDSHAKE, turn_away};
use crate::runtime::tls::ServerIdentity;

/// TLS as a listener speaks it now. Clones are the same; what is installed holds for the next handshake.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    identity: RwLock<ServerIdentity>,
    /// How often an identity was installed.
    installed: AtomicU64,
    handshake_timeout: Duration,
    handshakes: AtomicU64,
    failed: AtomicU64,
    plain_text: AtomicU64,
}

/// Handshakes since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TlsCounts {
    /// That succeeded.
    pub done: u64,
    /// That failed: no certificate or a wrong one, no common version, too slow.
    pub failed: u64,
    /// Connections on which the client spoke plain text.
    pub plain_text: u64,
}

impl ServerTls {
    /// Speaks as `identity`; a handshake may take so long.
    pub fn new(identity: ServerIdentity, handshake_timeout: Duration) -> Self {
        let [installed, handshakes, failed, plain_text] = Default::default();
        let identity = RwLock::new(identity);
        Self(Arc::new(Shared { identity, installed, handshake_timeout, handshakes, failed, plain_text }))
    }

    /// Whether both are the same one.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// From the next handshake on. Clients that are connected are checked again before anything else is read from them.
    pub fn install(&self, identity: ServerIdentity) {
        *self.0.identity.write() = identity;
        self.0.installed.fetch_add(1, Ordering::Release);
    }

    /// How often an identity was installed.
    #[inline]
    pub(super) fn installed(&self) -> u64 {
        self.0.installed.load(Ordering::Acquire)
    }

    /// What clients' certificates are checked by now.
    pub(super) fn clients(&self) -> Option<Arc<dyn ClientCertVerifier>> {
        self.0.identity.read().clients.clone()
    }

    /// What became of handshakes.
    pub fn counts(&self) -> TlsCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let shared = &self.0;
        TlsCounts {
            done: read(&shared.handshakes),
            failed: read(&shared.failed),
            plain_text: read(&shared.plain_text),
        }
    }

    async fn accept(&self, stream: TcpStream) -> io::Result<Connection> {
        let count = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let shared = &self.0;
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if first[0] != HANDSHAKE {
                return Ok(Err(stream));
            }
            // Counted first: what is installed in between is checked again rather than never.
            let installed = self.installed();
            let config = shared.identity.read().config.clone();
            let stream = TlsAcceptor::from(config).accept(stream).await?;
            Ok(Ok((stream, installed)))
        };
        let done = timeout(shared.handshake_timeout, handshake).await;
        let done = done
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "the handshake is too slow")));
        match done {
            Ok(Ok((stream, installed))) => {
                count(&shared.handshakes);
                let certificates = stream.get_ref().1.peer_certificates();
                let certificate =
                    certificates.and_then(<[_]>::first).cloned().map(CertificateDer::into_owned);
                let stream = Secured::new(stream, self.clone(), installed);
                Ok(Connection { stream: Stream::Tls(Box::new(stream)), certificate })
            }
            Ok(Err(plain)) => {
                count(&shared.plain_text);
                turn_away(plain).await;
                Err(io::Error::new(io::ErrorKind::InvalidData, "plain text on a port that speaks TLS"))
            }
            Err(error) => {
                count(&shared.failed);
                Err(error)
            }
        }
    }
}

/// A socket that is listened on.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    tls: Option<ServerTls>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixSocket),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self { socket: Socket::Tcp(listener), tls: None }
    }
}

impl Listener {
    /// Listens on TCP, on `HOST:PORT`.
    ///
    /// # Errors
    /// What the system says.
    pub async fn tcp(address: &str) -> io::Result<Self> {
        Ok(TcpListener::bind(address).await?.into())
    }

    /// Listens on a Unix socket with these permissions. A file that an earlier run left behind is replaced; it is removed
    /// when the listener is dropped.
    ///
    /// # Errors
    /// [`io::ErrorKind::AddrInUse`] when somebody answers there, [`io::ErrorKind::AlreadyExists`] when it is no socket;
    /// otherwise what the system says.
    pub async fn unix(path: &Path, mode: u32) -> io::Result<Self> {
        Ok(Self { socket: Socket::Unix(UnixSocket::bind(path, mode).await?), tls: None })
    }

    /// Speaks TLS from now on. Unix sockets do not: who may open the file is who is trusted.
    #[must_use]
    pub fn with_tls(self, tls: Option<ServerTls>) -> Self {
        let tls = tls.filter(|_| matches!(self.socket, Socket::Tcp(_)));
        Self { tls, ..self }
    }

    /// Whether TLS is spoken.
    pub fn speaks_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where it listens: `HOST:PORT`, or `unix://PATH`.
    pub fn address(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(|a| a.to_string()).unwrap_or_default(),
            Socket::Unix(socket) => format!("unix://{}", socket.path.display()),
        }
    }

    /// The next connection; nothing was read from it yet.
    ///
    /// # Errors
    /// What the system says.
    pub async fn accept(&self) -> io::Result<Incoming> {
        let tls = self.tls.clone();
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, client) = listener.accept().await?;
                // Answers are small and awaited: they must not wait for more to send.
                let _ = stream.set_nodelay(true);
                Ok(Incoming { stream: Raw::Tcp(stream), client: Some(client), tls })
            }
            Socket::Unix(socket) => {
                let (stream, _) = socket.listener.accept().await?;
                Ok(Incoming { stream: Raw::Unix(stream), client: None, tls: None })
            }
        }
    }
}

#[derive(Debug)]
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

#[allow(clippy::disallowed_methods)]
impl UnixSocket {
    async fn bind(path: &Path, mode: u32) -> io::Result<Self> {
        if let Ok(metadata) = std::fs::symlink_metadata(path) {
            if !metadata.file_type().is_socket() {
                let message = "there is a file of this name that is no socket";
                return Err(io::Error::new(io::ErrorKind::AlreadyExists, message));
            }
            match UnixStream::connect(path).await {
                Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
                Err(error) => return Err(error),
            }
        }
        let listener = UnixListener::bind(path)?;
        let socket = Self { listener, path: path.to_path_buf() };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
        Ok(socket)
    }
}

impl Drop for UnixSocket {
    #[allow(clippy::disallowed_methods)]
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A connection that was accepted.
#[derive(Debug)]
pub struct Incoming {
    stream: Raw,
    /// The other side's address; `None` on a Unix socket.
    pub client: Option<SocketAddr>,
    tls: Option<ServerTls>,
}

#[derive(Debug)]
enum Raw {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// A connection that can be read from.
#[derive(Debug)]
pub struct Connection {
    /// What is said on it.
    pub stream: Stream,
    /// The certificate that the client showed, checked against the CA.
    pub certificate: Option<CertificateDer<'static>>,
}

impl Incoming {
    /// With the TLS handshake done, where there is one.
    ///
    /// # Errors
    /// When it fails or takes too long; the client was told as well as it can be.
    pub async fn ready(self) -> io::Result<Connection> {
        let stream = match (self.stream, self.tls) {
            (Raw::Tcp(stream), Some(tls)) => return tls.accept(stream).await,
            (Raw::Tcp(stream), None) => Stream::Tcp(stream),
            (Raw::Unix(stream), _) => Stream::Unix(stream),
        };
        Ok(Connection { stream, certificate: None })
    }
}
