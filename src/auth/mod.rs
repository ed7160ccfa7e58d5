//! Who may do what, as whom: credentials of a request → its tenant and scopes, before a byte of its body is read.
//!
//! A credential belongs to one tenant. Kinds: bearer tokens and users from a file, JSON web tokens, client certificates; one
//! file each. Nothing here logs or shows a credential.

mod certificate;
mod config;
mod counts;
mod denied;
mod file;
mod gate;
mod header;
mod identity;
mod jwks;
mod jwt;
mod keys;
mod password;
mod token;

#[cfg(test)]
mod tests;

pub use certificate::ClientCertificate;
pub use config::{AuthConfig, CertificateRule, JwtConfig, KeysFrom, ScopeOfStatus};
pub use counts::AuthStats;
pub use denied::{Denied, DeniedReason};
pub use file::{CREDENTIALS_BYTES_MAX, Credentials};
pub use gate::{Admitted, Gate, Shown};
pub use identity::{Identity, Scope, Scopes, Tenants};
pub use keys::KeySet;
pub use password::{ITERATIONS, PasswordHash};
pub use token::{TOKEN_BYTES, TOKEN_PREFIX, new_token, token_hash};

/// The header that names a tenant.
pub const TENANT_HEADER: &str = "x-scope-orgid";
