//! How gateways and other backends are reached: TLS, a bearer token, compression. Files are read for each connection and the
//! token now and then, so that what is rotated holds without a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::HeaderValue;
use parking_lot::Mutex;
use reqwest::redirect::Policy;
use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::ClientTls;
use crate::forward::client::{ClientOptions, Secure, Stream, Token};
use crate::forward::compress::Compression;
use crate::forward::post::MakeClient;
use crate::runtime::disk::read_text;
use crate::runtime::tls::{ALPN, ClientFiles, client_config};
use crate::runtime::{Clock, Disk};

/// How long a token is believed before its file is read again.
const TOKEN_FRESH: Duration = Duration::from_secs(5);
const TOKEN_BYTES_MAX: u64 = 64 * 1024;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const AGENT: &str = concat!("tracewell/", env!("CARGO_PKG_VERSION"));

/// What a client section of the configuration amounts to.
///
/// # Errors
/// In words: a file that cannot be used.
pub fn client_options(
    tls: Option<&ClientTls>,
    token_file: Option<&PathBuf>,
    compression: &str,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
) -> Result<ClientOptions, String> {
    let named = Compression::ALL.into_iter().find(|(name, _)| *name == compression);
    let mut options = ClientOptions { compression: named.unwrap_or_default().1, ..ClientOptions::default() };
    if let Some(tls) = tls {
        options.secure = Some(secure(tls, disk, clock)?);
    }
    if let Some(path) = token_file {
        options.token = Some(value_in(path, "Bearer ", disk, clock)?);
    }
    Ok(options)
}

/// What makes clients of HTTP/1.1 and HTTP/2, with the certificates that the files hold then.
///
/// # Errors
/// In words: a file that cannot be used.
pub fn http_clients(
    tls: Option<&ClientTls>,
    timeout: Duration,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
) -> Result<MakeClient, String> {
    let (tls, disk, clock) = (tls.cloned(), disk.clone(), clock.clone());
    let make = move || -> Result<reqwest::Client, String> {
        let mut client = reqwest::Client::builder().redirect(Policy::none()).user_agent(AGENT);
        client = client.connect_timeout(CONNECT_TIME_MAX.min(timeout)).timeout(timeout);
        if let Some(tls) = &tls {
            let config = client_config(&files_of(tls), &*disk, &*clock);
            let mut config = config.map_err(|error| error.to_string())?;
            config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
            client = client.tls_backend_preconfigured(config);
        }
        client.build().map_err(|error| error.to_string())
    };
    // What cannot work is told now, not with the first span.
    make()?;
    Ok(Arc::new(make))
}

fn files_of(tls: &ClientTls) -> ClientFiles {
    let (cert, key) = tls.identity.clone().unzip();
    ClientFiles { ca: tls.ca.clone(), cert, key }
}

fn secure(tls: &ClientTls, disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> Result<Secure, String> {
    let files = files_of(tls);
    // What cannot work is told now, not with the first span.
    let first = client_config(&files, &**disk, &**clock).map_err(|error| error.to_string())?;
    let last_good = Mutex::new(with_http2(first));
    let system = || "the system's CAs".to_owned();
    let trusted = files.ca.as_ref().map_or_else(system, |path| format!("the CAs in {}", path.display()));
    let (disk, clock, server_name) = (disk.clone(), clock.clone(), tls.server_name.clone());
    Ok(Arc::new(move |stream: TcpStream, host: String| {
        let config = match client_config(&files, &*disk, &*clock) {
            Ok(config) => {
                let config = with_http2(config);
                *last_good.lock() = config.clone();
                config
            }
            Err(error) => {
                tracing::warn!(%error, "cannot use a file for connections to gateways; the last good ones are used");
                last_good.lock().clone()
            }
        };
        let (name, trusted) = (server_name.clone().unwrap_or(host), trusted.clone());
        async move {
            let server = ServerName::try_from(name.clone()).map_err(io::Error::other)?;
            let stream = TlsConnector::from(config).connect(server, stream).await;
            let stream = stream.map_err(|error| told(error, &name, &trusted))?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok(stream)
        }
        .boxed()
    }))
}

/// Why there is no TLS, in words that say what to look at; `trusted` are the CAs that were looked at.
fn told(error: io::Error, name: &str, trusted: &str) -> io::Error {
    let words = match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(why)) => match why {
            CertificateError::UnknownIssuer => format!("its certificate is signed by none of {trusted}"),
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!("its certificate is for another name than {name}")
            }
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                "its certificate has expired".to_owned()
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                "its certificate is not valid yet: is the clock right?".to_owned()
            }
            _ => return error,
        },
        Some(rustls::Error::InvalidMessage(_)) => "it does not speak TLS".to_owned(),
        _ => return error,
    };
    io::Error::other(words)
}

fn with_http2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// The value of a header that a file holds, behind `prefix`. The file is read again now and then; while it cannot be, the last
/// value holds.
///
/// # Errors
/// In words, if the file cannot be used.
pub fn value_in(
    path: &Path,
    prefix: &'static str,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
) -> Result<Token, String> {
    let read = {
        let (disk, path) = (disk.clone(), path.to_path_buf());
        move || {
            let text = read_text(&*disk, &path, TOKEN_BYTES_MAX).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(&format!("{prefix}{}", text.trim()))
                .map_err(|_| "it has characters that no header has".to_owned())?;
            value.set_sensitive(true);
            if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(value) }
        }
    };
    let first = read().map_err(|error| format!("cannot use the secret in {}: {error}", path.display()))?;
    let (clock, path) = (clock.clone(), path.to_path_buf());
    let known = Mutex::new((clock.monotonic(), first));
    Ok(Arc::new(move || {
        let mut known = known.lock();
        let now = clock.monotonic();
        if now.saturating_sub(known.0) >= TOKEN_FRESH {
            match read() {
                Ok(value) => known.1 = value,
                Err(error) => {
                    tracing::warn!(path = %path.display(), error, "cannot read a secret; the last one is used");
                }
            }
            known.0 = now;
        }
        Some(known.1.clone())
    }))
}
