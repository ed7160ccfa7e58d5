//! What can be set about authentication.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::identity::{Identity, Scopes};

/// Which credentials are taken. Without any, everybody who can connect is the default tenant and may do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuthConfig {
    /// The file of tokens and users.
    pub credentials: Option<PathBuf>,
    /// JSON web tokens.
    pub jwt: Option<JwtConfig>,
    /// Client certificates.
    pub certificates: Vec<CertificateRule>,
    /// Who may see `/status` and `/metrics`.
    pub status: ScopeOfStatus,
}

impl AuthConfig {
    /// Whether any credential is asked for.
    pub fn is_on(&self) -> bool {
        self.credentials.is_some() || self.jwt.is_some() || !self.certificates.is_empty()
    }
}

/// Who may see `/status` and `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ScopeOfStatus {
    /// Who may read; of the losses they see their own tenant's.
    #[default]
    Read,
    /// Who may change things.
    Admin,
    /// Everybody who can connect.
    Open,
}

/// A client certificate that is let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRule {
    /// The subject's common name, or
    pub common_name: Option<String>,
    /// one of its alternative names. At least one of the two; where both are given, both must be right.
    pub alternative_name: Option<String>,
    /// Whose it is.
    pub identity: Identity,
}

/// Which JSON web tokens are let in (RFC 7519).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Where the issuer's keys are.
    pub keys: KeysFrom,
    /// What `iss` must be.
    pub issuer: String,
    /// What `aud` must be or hold.
    pub audience: String,
    /// How far clocks may be apart at `exp` and `nbf`.
    pub leeway: Duration,
    /// The claim that names the tenant; with dots, inside objects. Several tenants in it: the first, and the others may
    /// be named. `None`: all are the default tenant.
    pub tenant_claim: Option<String>,
    /// The claim that names scopes, as words of a string or a list; each may begin with `tracewell:`.
    pub scopes_claim: String,
    /// The scopes of a token that has no such claim.
    pub scopes: Scopes,
}

/// Where an issuer's keys are, as a JWK set (RFC 7517).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// A file, watched.
    File(PathBuf),
    /// A URL: asked once in `refresh`, and sooner for a key that is not known.
    Url {
        /// Where. `https`, or plain on this machine.
        url: Url,
        /// How old the keys may get.
        refresh: Duration,
    },
}
