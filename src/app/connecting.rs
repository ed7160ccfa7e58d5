//! How gateways and other backends are reached: TLS, a bearer token, compression. Files are read for each connection and the
//! token now and then, so that what is rotated holds without a restart.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::HeaderValue;
use parking_lot::Mutex;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::ClientTls;
use crate::forward::client::{ClientOptions, Secure, Stream, Token};
use crate::forward::compress::Compression;
use crate::runtime::disk::read_text;
use crate::runtime::tls::{ClientFiles, client_config};
use crate::runtime::{Clock, Disk};

/// How long a token is believed before its file is read again.
const TOKEN_FRESH: Duration = Duration::from_secs(5);
const TOKEN_BYTES_MAX: u64 = 64 * 1024;

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
        options.token = Some(token(path, disk, clock)?);
    }
    Ok(options)
}

fn secure(tls: &ClientTls, disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> Result<Secure, String> {
    let (cert, key) = tls.identity.clone().unzip();
    let files = ClientFiles { ca: tls.ca.clone(), cert, key };
    // What cannot work is told now, not with the first span.
    client_config(&files, &**disk, &**clock).map_err(|error| error.to_string())?;
    let (disk, clock, server_name) = (disk.clone(), clock.clone(), tls.server_name.clone());
    Ok(Arc::new(move |stream: TcpStream, host: String| {
        let config = client_config(&files, &*disk, &*clock);
        let name = server_name.clone().unwrap_or(host);
        async move {
            let mut config = config.map_err(io::Error::other)?;
            config.alpn_protocols = vec![b"h2".to_vec()];
            let name = ServerName::try_from(name).map_err(io::Error::other)?;
            let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            let stream: Box<dyn Stream> = Box::new(stream);
            Ok(stream)
        }
        .boxed()
    }))
}

fn token(path: &Path, disk: &Arc<dyn Disk>, clock: &Arc<dyn Clock>) -> Result<Token, String> {
    let read = {
        let (disk, path) = (disk.clone(), path.to_path_buf());
        move || {
            let text = read_text(&*disk, &path, TOKEN_BYTES_MAX).map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim()))
                .map_err(|_| "it has characters that no token has".to_owned())?;
            value.set_sensitive(true);
            if text.trim().is_empty() { Err("it is empty".to_owned()) } else { Ok(value) }
        }
    };
    let first = read().map_err(|error| format!("cannot use the token in {}: {error}", path.display()))?;
    let (clock, path) = (clock.clone(), path.to_path_buf());
    let known = Mutex::new((clock.monotonic(), first));
    Ok(Arc::new(move || {
        let mut known = known.lock();
        let now = clock.monotonic();
        if now.saturating_sub(known.0) >= TOKEN_FRESH {
            match read() {
                Ok(token) => known.1 = token,
                Err(error) => {
                    tracing::warn!(path = %path.display(), error, "cannot read the token; the last one is used");
                }
            }
            known.0 = now;
        }
        Some(known.1.clone())
    }))
}
