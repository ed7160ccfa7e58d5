//! Client certificates: who the CA says the client is.

use rustls::pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The names in a client's certificate, which the handshake has checked against the CA.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The subject's common name.
    pub common_name: Option<String>,
    /// Its alternative names: DNS names, URIs (`spiffe://…`), mail addresses.
    pub alternative_names: Vec<String>,
}

impl ClientCertificate {
    /// Of a certificate; without names when it cannot be read, which then is nobody's.
    pub fn of(certificate: &CertificateDer<'_>) -> Self {
        let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Self::default() };
        let common_name = parsed.subject().iter_common_name().next();
        let alternative = parsed.subject_alternative_name().ok().flatten();
        let name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) | GeneralName::URI(name) | GeneralName::RFC822Name(name) => {
                Some((*name).to_owned())
            }
            _ => None,
        };
        Self {
            common_name: common_name.and_then(|name| name.as_str().ok()).map(str::to_owned),
            alternative_names: alternative
                .map(|names| names.value.general_names.iter().filter_map(name).collect())
                .unwrap_or_default(),
        }
    }
}
