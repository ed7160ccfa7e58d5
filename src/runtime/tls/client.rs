//! The connecting side.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

use super::material::{Pem, TlsError};
use crate::runtime::{Clock, Disk};

/// Where systems keep the roots they trust, as one PEM file: Debian, Fedora, openSUSE, Alpine and macOS.
const SYSTEM_ROOTS: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
];

/// What a client trusts, and what it shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// The CA that signed the server's certificate, PEM; `None`: those that the system trusts.
    pub ca: Option<PathBuf>,
    /// Our certificate and those behind it, PEM, for servers that ask for one.
    pub cert: Option<PathBuf>,
    /// Its private key, PEM. Together with `cert`, or not at all.
    pub key: Option<PathBuf>,
}

impl ClientFiles {
    /// The files it names.
    pub fn paths(&self) -> Vec<PathBuf> {
        [&self.ca, &self.cert, &self.key].into_iter().flatten().cloned().collect()
    }
}

/// Reads the files of a client. The configuration has no ALPN: who connects knows what it speaks ([`super::ALPN`]).
///
/// # Errors
/// The first file that is missing, not what it should be, expired, or does not fit the others.
pub fn client_config(
    files: &ClientFiles,
    disk: &dyn Disk,
    clock: &dyn Clock,
) -> Result<ClientConfig, TlsError> {
    let roots = match &files.ca {
        Some(path) => Pem::read(disk, path)?.roots()?,
        None => system_roots(disk)?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let named = |path: &Option<PathBuf>| path.clone().unwrap_or_default();
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsError::new(&named(&files.ca), error.to_string()))?
        .with_root_certificates(roots);
    match (&files.cert, &files.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let (chain, _) = Pem::read(disk, cert)?.chain(clock)?;
            let private = Pem::read(disk, key)?.private_key()?;
            builder.with_client_auth_cert(chain, private).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => TlsError::new(
                    key,
                    format!("this key does not belong to the certificate {}", cert.display()),
                ),
                error => TlsError::new(key, format!("cannot be used: {error}")),
            })
        }
        (Some(path), None) => Err(TlsError::new(path, "a certificate needs its key")),
        (None, Some(path)) => Err(TlsError::new(path, "a key needs its certificate")),
    }
}

/// What the system trusts: the first of its files that is there. A root that rustls does not understand is left out.
fn system_roots(disk: &dyn Disk) -> Result<RootCertStore, TlsError> {
    for path in SYSTEM_ROOTS {
        if let Ok(pem) = Pem::read(disk, Path::new(path)) {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(pem.certificates()?);
            return Ok(roots);
        }
    }
    let problem = "this system has no file of the roots it trusts; name the CA of the server";
    Err(TlsError::new(Path::new(SYSTEM_ROOTS[0]), problem))
}
