//! What PEM files hold: certificates, a private key, and until when they are good.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::runtime::disk::read_bounded;
use crate::runtime::{Clock, Disk};

/// The largest PEM file read, in bytes: all roots of an operating system are a quarter of it.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// Why TLS cannot be served or spoken with these files. Shown to people: names the file, never its contents.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct TlsError {
    /// The file that is wrong.
    pub path: PathBuf,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl TlsError {
    pub(super) fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self { path: path.to_path_buf(), problem: problem.into() }
    }
}

/// A PEM file that has been read. Its text may be a secret: `Debug` shows the path only.
#[derive(Clone, PartialEq, Eq)]
pub struct Pem {
    /// Where it was read from.
    pub path: PathBuf,
    /// What is in it.
    pub text: Arc<[u8]>,
}

impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pem({})", self.path.display())
    }
}

impl Pem {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or is larger than any such file is.
    pub fn read(disk: &dyn Disk, path: &Path) -> Result<Self, TlsError> {
        Self::read_up_to(disk, path, PEM_BYTES_MAX)
    }

    pub(super) fn read_up_to(disk: &dyn Disk, path: &Path, bytes_max: u64) -> Result<Self, TlsError> {
        let text = read_bounded(disk, path, bytes_max);
        let text = text.map_err(|error| match error.kind() {
            std::io::ErrorKind::FileTooLarge => {
                TlsError::new(path, format!("larger than {} KiB", bytes_max / 1024))
            }
            _ => TlsError::new(path, format!("cannot be read: {error}")),
        })?;
        Ok(Self { path: path.to_path_buf(), text: text.into() })
    }

    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.text).collect();
        let certificates = read.map_err(|error| TlsError::new(&self.path, format!("not PEM: {error}")))?;
        if certificates.is_empty() {
            return Err(TlsError::new(&self.path, "there is no certificate in it (`BEGIN CERTIFICATE`)"));
        }
        Ok(certificates)
    }

    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.text).map_err(|_| {
            let problem =
                "there is no private key in it that can be read (`BEGIN PRIVATE KEY`, without a passphrase)";
            TlsError::new(&self.path, problem)
        })
    }

    pub(super) fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            let added = roots.add(certificate);
            added.map_err(|error| TlsError::new(&self.path, format!("not a CA's certificate: {error}")))?;
        }
        Ok(roots)
    }

    /// The certificates, which must be good now.
    pub(super) fn chain(
        &self,
        clock: &dyn Clock,
    ) -> Result<(Vec<CertificateDer<'static>>, Validity), TlsError> {
        let chain = self.certificates()?;
        let validity = validity(&chain[0]).map_err(|problem| TlsError::new(&self.path, problem))?;
        validity.check(clock).map_err(|problem| TlsError::new(&self.path, problem))?;
        Ok((chain, validity))
    }
}

/// From when until when a certificate is good, Unix seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its first second.
    pub not_before: i64,
    /// Its last second.
    pub not_after: i64,
}

impl Validity {
    fn check(self, clock: &dyn Clock) -> Result<(), String> {
        let now = i64::try_from(clock.now_unix_nano() / 1_000_000_000).unwrap_or(i64::MAX);
        let says = |seconds: i64| Timestamp::from_second(seconds).map_or("?".into(), |time| time.to_string());
        if now > self.not_after {
            return Err(format!("the certificate expired at {}", says(self.not_after)));
        }
        if now < self.not_before {
            return Err(format!("the certificate is not valid before {}", says(self.not_before)));
        }
        Ok(())
    }
}

/// Reads a certificate's validity.
///
/// # Errors
/// In words, when it is not an X.509 certificate.
pub fn validity(certificate: &CertificateDer<'_>) -> Result<Validity, String> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| "not an X.509 certificate")?;
    let validity = parsed.validity();
    Ok(Validity { not_before: validity.not_before.timestamp(), not_after: validity.not_after.timestamp() })
}
