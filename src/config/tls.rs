//! The section `tls`.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::ConfigError;
use super::raw::{Key, section};
use super::units::Period;
use super::validate::{Loader, invalid};
use crate::runtime::tls::{ClientAuth, MinVersion, ServerFiles};

const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Which listeners speak TLS, and as whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsSection {
    /// OTLP over gRPC and HTTP.
    pub otlp: Option<ServerFiles>,
    /// Questions.
    pub api: Option<ServerFiles>,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTls {
    cert: Key<String>,
    key: Key<String>,
    client_ca: Key<String>,
    crl: Key<String>,
    client_auth: Key<RawClientAuth>,
    min_version: Key<String>,
    handshake_timeout: Key<Period>,
    #[serde(deserialize_with = "section")]
    api: RawApiTls,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawApiTls {
    enabled: Key<bool>,
    cert: Key<String>,
    key: Key<String>,
    client_ca: Key<String>,
    crl: Key<String>,
    client_auth: Key<RawClientAuth>,
    min_version: Key<String>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum RawClientAuth {
    None,
    Optional,
    Required,
}

impl RawTls {
    fn is_on(&self) -> bool {
        self.cert.is_some() || self.key.is_some()
    }

    /// What `api` says, and where it says nothing what the section says.
    fn for_api(&self) -> Option<Self> {
        let RawApiTls { enabled, cert, key, client_ca, crl, client_auth, min_version } = &self.api;
        let is_on = self.is_on() || cert.is_some();
        if !enabled.as_ref().map_or(is_on, |enabled| enabled.value) {
            return None;
        }
        let own_pair = cert.is_some();
        let client_auth = client_auth.clone().or_else(|| self.client_auth.clone());
        let asks = client_auth.as_ref().is_some_and(|auth| !matches!(auth.value, RawClientAuth::None));
        Some(Self {
            cert: cert.clone().or_else(|| self.cert.clone()),
            // A certificate of its own has a key of its own.
            key: key.clone().or_else(|| self.key.clone().filter(|_| !own_pair)),
            client_ca: client_ca.clone().or_else(|| self.client_ca.clone()),
            crl: crl.clone().or_else(|| self.crl.clone().filter(|_| asks)),
            client_auth,
            min_version: min_version.clone().or_else(|| self.min_version.clone()),
            handshake_timeout: None,
            api: RawApiTls::default(),
        })
    }
}

impl Loader<'_> {
    pub(super) fn tls(&self, raw: RawTls) -> Result<TlsSection, ConfigError> {
        let otlp = raw.is_on().then(|| self.server_files(&raw, "tls")).transpose()?;
        let api = raw.for_api().map(|api| self.server_files(&api, "tls.api")).transpose()?;
        let timeout =
            self.positive("tls.handshake_timeout", raw.handshake_timeout, Period(HANDSHAKE_TIMEOUT))?;
        Ok(TlsSection { otlp, api, handshake_timeout: timeout.0 })
    }

    fn server_files(&self, raw: &RawTls, key: &str) -> Result<ServerFiles, ConfigError> {
        let (cert, private) = match (&raw.cert, &raw.key) {
            (Some(cert), Some(key)) => (cert, key),
            (Some(one), None) | (None, Some(one)) => {
                let message =
                    "a certificate needs its key, and a key its certificate: set `cert` and `key`".into();
                return Err(invalid(self.origin(one), key, message));
            }
            (None, None) => {
                let message = "TLS needs a certificate and its key: set `cert` and `key`".into();
                return Err(invalid(super::Origin::Default, key, message));
            }
        };
        let client_auth = match raw.client_auth.as_ref().map(|auth| auth.value) {
            None | Some(RawClientAuth::None) => ClientAuth::None,
            Some(RawClientAuth::Optional) => ClientAuth::Optional,
            Some(RawClientAuth::Required) => ClientAuth::Required,
        };
        if let Some(written) = &raw.client_auth
            && client_auth != ClientAuth::None
            && raw.client_ca.is_none()
        {
            let message = "name the CA that signs clients' certificates: `client_ca`".into();
            return Err(invalid(self.origin(written), &format!("{key}.client_auth"), message));
        }
        if let Some(crl) = &raw.crl
            && client_auth == ClientAuth::None
        {
            let message =
                "clients are asked for no certificate: set `client_auth` to optional or required".into();
            return Err(invalid(self.origin(crl), &format!("{key}.crl"), message));
        }
        let min_version = match &raw.min_version {
            None => MinVersion::default(),
            Some(version) => match version.value.as_str() {
                "1.2" => MinVersion::Tls12,
                "1.3" => MinVersion::Tls13,
                _ => {
                    let message = "write \"1.2\" or \"1.3\"".into();
                    return Err(invalid(self.origin(version), &format!("{key}.min_version"), message));
                }
            },
        };
        Ok(ServerFiles {
            cert: PathBuf::from(&cert.value),
            key: PathBuf::from(&private.value),
            client_ca: raw.client_ca.as_ref().map(|path| PathBuf::from(&path.value)),
            crl: raw.crl.as_ref().map(|path| PathBuf::from(&path.value)),
            client_auth,
            min_version,
        })
    }
}
