//! The listening side.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::ALPN;
use super::material::{Pem, TlsError, Validity};
use crate::runtime::{Clock, Disk};

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    #[default]
    None,
    /// They may; one that the CA did not sign ends the connection.
    Optional,
    /// They must.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2.
    #[default]
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => &BOTH[..1],
        }
    }
}

/// The files of a listener, and how it uses them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// The certificate, and behind it those between it and the CA, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
    /// The CA that signs clients' certificates, PEM. Needed unless `client_auth` is none.
    pub client_ca: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

impl ServerFiles {
    /// The files it names.
    pub fn paths(&self) -> Vec<PathBuf> {
        let ca = self.client_ca.iter().filter(|_| self.client_auth != ClientAuth::None);
        [&self.cert, &self.key].into_iter().chain(ca).cloned().collect()
    }
}

/// Who a listener is: what it answers handshakes with.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// For rustls; offers [`ALPN`].
    pub config: Arc<ServerConfig>,
    /// Of the listener's own certificate.
    pub validity: Validity,
}

/// Reads the files of a listener and checks that they work together, now.
///
/// # Errors
/// The first file that is missing, not what it should be, expired, or does not fit the others.
pub fn server_identity(
    files: &ServerFiles,
    disk: &dyn Disk,
    clock: &dyn Clock,
) -> Result<ServerIdentity, TlsError> {
    let cert = Pem::read(disk, &files.cert)?;
    let key = Pem::read(disk, &files.key)?;
    let (chain, validity) = cert.chain(clock)?;
    let provider: Arc<CryptoProvider> = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(files.min_version.versions())
        .map_err(|error| TlsError::new(&files.cert, error.to_string()))?;
    let builder = match (files.client_auth, &files.client_ca) {
        (ClientAuth::None, _) => builder.with_no_client_auth(),
        (_, None) => return Err(TlsError::new(&files.cert, "clients' certificates need a client_ca")),
        (wanted, Some(path)) => {
            let roots = Arc::new(Pem::read(disk, path)?.roots()?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match wanted {
                ClientAuth::Optional => verifier.allow_unauthenticated(),
                _ => verifier,
            };
            let verifier = verifier.build().map_err(|error| TlsError::new(path, error.to_string()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key.private_key()?).map_err(|error| {
        let problem = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("this key does not belong to the certificate {}", files.cert.display())
            }
            error => format!("cannot be used: {error}"),
        };
        TlsError::new(&files.key, problem)
    })?;
    config.alpn_protocols = ALPN.iter().map(|name| name.to_vec()).collect();
    // Early data can be sent again by anybody who recorded it.
    config.max_early_data_size = 0;
    Ok(ServerIdentity { config: Arc::new(config), validity })
}
