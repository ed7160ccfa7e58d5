//! The listening side.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::ALPN;
use super::material::{Pem, TlsError, Validity};
use super::revocation::Revocations;
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
    /// The lists of certificates that it has taken back, PEM or DER.
    pub crl: Option<PathBuf>,
    /// Whether clients show certificates.
    pub client_auth: ClientAuth,
    /// The oldest version spoken.
    pub min_version: MinVersion,
}

impl ServerFiles {
    /// The files it names.
    pub fn paths(&self) -> Vec<PathBuf> {
        let of_clients = self.client_ca.iter().chain(&self.crl);
        let of_clients = of_clients.filter(|_| self.client_auth != ClientAuth::None);
        [&self.cert, &self.key].into_iter().chain(of_clients).cloned().collect()
    }
}

/// Who a listener is: what it answers handshakes with.
#[derive(Clone, Debug)]
pub struct ServerIdentity {
    /// For rustls; offers [`ALPN`].
    pub config: Arc<ServerConfig>,
    /// Of the listener's own certificate.
    pub validity: Validity,
    /// What clients' certificates are checked by, where they are asked for.
    pub clients: Option<Arc<dyn ClientCertVerifier>>,
    /// When the first list of revoked certificates is to be followed by a newer one, Unix seconds, where there is one that
    /// says so.
    pub crl_next_update: Option<i64>,
}

/// What clients' certificates are checked by.
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    crl_next_update: Option<i64>,
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
    let clients = clients(files, disk, provider)?;
    let builder = match &clients {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(clients.verifier.clone()),
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
    let crl_next_update = clients.as_ref().and_then(|clients| clients.crl_next_update);
    let clients = clients.map(|clients| clients.verifier);
    Ok(ServerIdentity { config: Arc::new(config), validity, clients, crl_next_update })
}

/// `None` where clients are not asked for certificates.
fn clients(
    files: &ServerFiles,
    disk: &dyn Disk,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Clients>, TlsError> {
    if files.client_auth == ClientAuth::None {
        return Ok(None);
    }
    let Some(path) = &files.client_ca else {
        return Err(TlsError::new(&files.cert, "clients' certificates need a client_ca"));
    };
    let ca = Pem::read(disk, path)?;
    let algorithms = provider.signature_verification_algorithms;
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(ca.roots()?), provider);
    if files.client_auth == ClientAuth::Optional {
        builder = builder.allow_unauthenticated();
    }
    let (mut crl_next_update, mut named) = (None, path);
    if let Some(crl) = &files.crl {
        // A list that has not been followed by a newer one holds on: what it says is still true, and nobody else is shut out
        // because a CA is late.
        let revocations = Revocations::read(disk, crl, &ca.certificates()?, &algorithms)?;
        crl_next_update = revocations.next_update;
        builder = builder.with_crls(revocations.lists);
        named = crl;
    }
    let verifier = builder.build().map_err(|error| TlsError::new(named, error.to_string()))?;
    Ok(Some(Clients { verifier, crl_next_update }))
}
