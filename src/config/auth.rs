//! The section `auth`, and who may listen where without it.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Config;
use super::address::ListenAddress;
use super::error::{ConfigError, Origin};
use super::raw::{Key, section};
use super::units::Period;
use super::validate::{Loader, invalid};
use crate::auth::{AuthConfig, CertificateRule, Identity, JwtConfig, KeysFrom, ScopeOfStatus, Scopes};
use crate::runtime::tls::{ClientAuth, ServerFiles};

const LEEWAY: Duration = Duration::from_secs(60);
const REFRESH: Duration = Duration::from_secs(300);
const SCOPES_CLAIM: &str = "scope";

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAuth {
    credentials: Key<String>,
    #[serde(deserialize_with = "section")]
    jwt: RawJwt,
    certificates: Option<Vec<RawCertificate>>,
    status: Option<RawStatus>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawJwt {
    jwks: Key<String>,
    refresh: Key<Period>,
    issuer: Key<String>,
    audience: Key<String>,
    leeway: Key<Period>,
    tenant_claim: Key<String>,
    scopes_claim: Key<String>,
    scopes: Option<Vec<String>>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawCertificate {
    common_name: Key<String>,
    alternative_name: Key<String>,
    tenant: Option<String>,
    scopes: Option<Vec<String>>,
    tenants: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum RawStatus {
    Read,
    Admin,
    Open,
}

impl Loader<'_> {
    pub(super) fn auth(&self, raw: RawAuth) -> Result<AuthConfig, ConfigError> {
        let credentials = match raw.credentials {
            Some(path) if path.value.is_empty() => {
                return Err(invalid(self.origin(&path), "auth.credentials", "name a file".into()));
            }
            path => path.map(|path| PathBuf::from(path.value)),
        };
        let certificates = raw.certificates.unwrap_or_default().into_iter();
        let certificates = certificates.map(|rule| self.certificate(rule)).collect::<Result<_, _>>()?;
        let status = match raw.status {
            None | Some(RawStatus::Read) => ScopeOfStatus::Read,
            Some(RawStatus::Admin) => ScopeOfStatus::Admin,
            Some(RawStatus::Open) => ScopeOfStatus::Open,
        };
        Ok(AuthConfig { credentials, jwt: self.jwt(raw.jwt)?, certificates, status })
    }

    fn jwt(&self, raw: RawJwt) -> Result<Option<JwtConfig>, ConfigError> {
        let Some(jwks) = raw.jwks else {
            let written = raw.issuer.or(raw.audience);
            let message = "web tokens are checked with the issuer's keys: set `jwks`, a file or a URL".into();
            return written.map_or(Ok(None), |one| Err(invalid(self.origin(&one), "auth.jwt", message)));
        };
        let needed = |value: Option<String>, key: &str, why: &str| {
            let value = value.filter(|value| !value.is_empty());
            value.ok_or_else(|| invalid(self.origin(&jwks), key, format!("must be set: {why}")))
        };
        let issuer = needed(raw.issuer.map(|v| v.value), "auth.jwt.issuer", "the `iss` of tokens")?;
        let audience =
            needed(raw.audience.map(|v| v.value), "auth.jwt.audience", "the `aud` of tokens meant for us")?;
        let refresh = self.positive("auth.jwt.refresh", raw.refresh, Period(REFRESH))?.0;
        let keys = keys_from(&jwks.value, refresh);
        let keys = keys.map_err(|message| invalid(self.origin(&jwks), "auth.jwt.jwks", message))?;
        let names = raw.scopes.unwrap_or_default();
        let scopes = match names.is_empty() {
            true => Scopes::default(),
            false => {
                Identity::written("jwt", None, &names, &[])
                    .map_err(|message| invalid(self.origin(&jwks), "auth.jwt.scopes", message))?
                    .scopes
            }
        };
        Ok(Some(JwtConfig {
            keys,
            issuer,
            audience,
            leeway: raw.leeway.map_or(LEEWAY, |leeway| leeway.value.0),
            tenant_claim: raw.tenant_claim.map(|claim| claim.value).filter(|claim| !claim.is_empty()),
            scopes_claim: raw.scopes_claim.map_or_else(|| SCOPES_CLAIM.to_owned(), |claim| claim.value),
            scopes,
        }))
    }

    fn certificate(&self, raw: RawCertificate) -> Result<CertificateRule, ConfigError> {
        const KEY: &str = "auth.certificates";
        let name = raw.common_name.as_ref().or(raw.alternative_name.as_ref());
        let Some(name) = name.filter(|name| !name.value.is_empty()) else {
            let message = "a certificate is known by its `common_name` or its `alternative_name`".into();
            return Err(invalid(Origin::Default, KEY, message));
        };
        let (scopes, tenants) = (raw.scopes.unwrap_or_default(), raw.tenants.unwrap_or_default());
        let identity = Identity::written(&name.value, raw.tenant, &scopes, &tenants);
        let identity = identity.map_err(|message| invalid(self.origin(name), KEY, message))?;
        Ok(CertificateRule {
            common_name: raw.common_name.map(|name| name.value),
            alternative_name: raw.alternative_name.map(|name| name.value),
            identity,
        })
    }

    pub(super) fn insecure(&self, in_file: Key<bool>) -> Result<bool, ConfigError> {
        const NAME: &str = "TRACEWELL_INSECURE";
        if self.flags.insecure {
            return Ok(true);
        }
        match (self.env)(NAME).as_deref().map(str::trim) {
            None | Some("") => Ok(in_file.is_some_and(|spanned| spanned.value)),
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some("0" | "false" | "no" | "off") => Ok(false),
            Some(_) => Err(invalid(Origin::Env(NAME), "insecure", "write 1 or 0".into())),
        }
    }
}

fn keys_from(text: &str, refresh: Duration) -> Result<KeysFrom, String> {
    if !text.contains("://") {
        return Ok(KeysFrom::File(text.into()));
    }
    let url = Url::parse(text).map_err(|_| "this is not a URL".to_owned())?;
    let is_here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(KeysFrom::Url { url, refresh }),
        "http" if is_here => Ok(KeysFrom::Url { url, refresh }),
        "http" => Err("keys that came in plain text could be anybody's: use https".into()),
        "file" => url.to_file_path().map(KeysFrom::File).map_err(|()| "this is not a path".into()),
        scheme => Err(format!("keys cannot come from `{scheme}://`; name a file or an https URL")),
    }
}

/// Where others can reach a listener, somebody must ask them who they are, or somebody must have said that it shall be so.
pub(super) fn nobody_unasked(config: &Config, origins: [Origin; 3]) -> Result<(), ConfigError> {
    if config.insecure || config.auth.is_on() {
        return Ok(());
    }
    let listeners: [(&str, &ListenAddress, &Option<ServerFiles>); 3] = [
        ("grpc", &config.grpc, &config.tls.otlp),
        ("http", &config.http, &config.tls.otlp),
        ("api", &config.api, &config.tls.api),
    ];
    for ((key, address, tls), origin) in listeners.into_iter().zip(origins) {
        let asks = tls.as_ref().is_some_and(|tls| tls.client_auth == ClientAuth::Required);
        if !asks && !address.is_loopback() {
            let port = address.port();
            let message = format!(
                "{address} can be reached from other machines, and nobody is asked who they are. Say whom to let in \
                 (`auth:`, or `tls:` with `client_auth: required`), or listen on this machine only (127.0.0.1:{port}), \
                 or let everybody in with --insecure (TRACEWELL_INSECURE=1, `insecure: true`)"
            );
            return Err(invalid(origin, key, message));
        }
    }
    Ok(())
}
