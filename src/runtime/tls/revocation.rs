//! Revocation lists: the certificates that a CA has signed and takes back (RFC 5280, section 5).

use std::path::Path;

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::prelude::{CertificateRevocationList, FromDer, X509Certificate};

use super::material::{Pem, TlsError};
use crate::runtime::Disk;

/// The largest file of lists read, in bytes: some 40 bytes a certificate.
const LISTS_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// What a file of lists holds.
pub(super) struct Revocations {
    pub(super) lists: Vec<CertificateRevocationListDer<'static>>,
    /// When the first of them is to be followed by a newer one, Unix seconds, where they say. It holds on until then and after.
    pub(super) next_update: Option<i64>,
}

impl Revocations {
    /// Reads lists: PEM, one or more, or one in DER, as CAs publish them. Each of `authorities` has to have signed one: without it
    /// nobody could say of its certificates that they are still good, and all of them would be turned away.
    ///
    /// # Errors
    /// When the file cannot be read, holds something else, or lacks a list.
    pub(super) fn read(
        disk: &dyn Disk,
        path: &Path,
        authorities: &[CertificateDer<'_>],
        algorithms: &WebPkiSupportedAlgorithms,
    ) -> Result<Self, TlsError> {
        let wrong = |problem: String| TlsError::new(path, problem);
        let text = Pem::read_up_to(disk, path, LISTS_BYTES_MAX)?.text;
        let read: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&text).collect();
        let mut lists = read.map_err(|error| wrong(format!("not PEM: {error}")))?;
        if lists.is_empty() {
            lists.push(CertificateRevocationListDer::from(text.to_vec()));
        }
        let mut parsed = Vec::with_capacity(lists.len());
        for list in &lists {
            let list = CertificateRevocationList::from_der(list);
            let none = || wrong("there is no revocation list in it (`BEGIN X509 CRL`, or DER)".into());
            parsed.push(list.map_err(|_| none())?.1);
        }
        for authority in authorities {
            let (_, authority) = X509Certificate::from_der(authority)
                .map_err(|_| wrong("the CA is not an X.509 certificate".into()))?;
            if !parsed.iter().any(|list| is_signed_by(list, &authority, algorithms)) {
                let name = authority.subject();
                return Err(wrong(format!("there is no list in it that the CA `{name}` has signed")));
            }
        }
        let next_update =
            parsed.iter().filter_map(|list| list.next_update()).map(|time| time.timestamp()).min();
        drop(parsed);
        Ok(Self { lists, next_update })
    }
}

fn is_signed_by(
    list: &CertificateRevocationList<'_>,
    authority: &X509Certificate<'_>,
    algorithms: &WebPkiSupportedAlgorithms,
) -> bool {
    let key = &authority.public_key().subject_public_key.data;
    let (signed, signature) = (list.tbs_cert_list.as_ref(), &list.signature_value.data);
    let verifies = || algorithms.all.iter().any(|one| one.verify_signature(key, signed, signature).is_ok());
    list.issuer().as_raw() == authority.subject().as_raw() && verifies()
}
