//! JSON web tokens (RFC 7519), signed (RFC 7515): read, checked, and what their claims say. Pure.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::config::JwtConfig;
use super::denied::{Denied, DeniedReason};
use super::identity::{Identity, Scope, Scopes, Tenants};
use super::keys::{Algorithm, KeySet};
use crate::runtime::Tenant;

/// Other tenants that one token names at most.
const TENANTS_MAX: usize = 100;
const SCOPE_PREFIX: &str = "tracewell:";

/// A token that has been taken apart. Nothing of it is to be believed before [`Token::check`].
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// Header and claims as they were signed.
    signed: &'a str,
    signature: Vec<u8>,
}

/// Whether a text looks like a web token: three parts with dots between them.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.bytes().filter(|byte| *byte == b'.').count() == 2
}

fn malformed(message: &str) -> Denied {
    Denied::new(DeniedReason::Malformed, message)
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    pub(super) fn parse(text: &'a str) -> Result<Self, Denied> {
        let not_one = || malformed("the web token is not one");
        let (signed, signature) = text.rsplit_once('.').ok_or_else(not_one)?;
        let (header, _) = signed.split_once('.').ok_or_else(not_one)?;
        let header = object(header).ok_or_else(not_one)?;
        if header.contains_key("crit") {
            return Err(malformed("the web token asks for extensions that are not known here"));
        }
        let algorithm = header.get("alg").and_then(Value::as_str).and_then(Algorithm::named);
        let algorithm =
            algorithm.ok_or_else(|| malformed("the web token is not signed with RS256, ES256 or EdDSA"))?;
        let key_id = header.get("kid").and_then(Value::as_str).map(str::to_owned);
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| not_one())?;
        Ok(Self { algorithm, key_id, signed, signature })
    }

    /// Who it is about, if it is signed by one of the keys and good now (Unix seconds).
    pub(super) fn check(&self, keys: &KeySet, config: &JwtConfig, now: i64) -> Result<Identity, Denied> {
        let key_id = self.key_id.as_deref();
        if !keys.verify(key_id, self.algorithm, self.signed.as_bytes(), &self.signature) {
            return Err(Denied::new(
                DeniedReason::Signature,
                "the web token is not signed by a key that is trusted",
            ));
        }
        let claims = self.signed.split_once('.').and_then(|(_, claims)| object(claims));
        let claims = claims.ok_or_else(|| malformed("the web token has no claims"))?;
        let expires_at = in_time(&claims, config, now)?;
        meant_for_us(&claims, config)?;
        identity(&claims, config, expires_at)
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// When it ends, Unix seconds, if it is good now.
fn in_time(claims: &Map<String, Value>, config: &JwtConfig, now: i64) -> Result<i64, Denied> {
    let leeway = i64::try_from(config.leeway.as_secs()).unwrap_or(i64::MAX);
    // NumericDate may have a fraction (RFC 7519, section 2).
    let time = |name: &str| claims.get(name).map(|value| value.as_f64().map(|seconds| seconds as i64));
    let Some(Some(expires_at)) = time("exp") else {
        return Err(Denied::new(DeniedReason::Claims, "the web token does not say when it ends (`exp`)"));
    };
    if expires_at.saturating_add(leeway) <= now {
        return Err(Denied::new(DeniedReason::Expired, "the web token has expired"));
    }
    match time("nbf") {
        Some(None) => Err(malformed("`nbf` of the web token is not a time")),
        Some(Some(not_before)) if not_before.saturating_sub(leeway) > now => {
            Err(Denied::new(DeniedReason::NotYet, "the web token is not valid yet"))
        }
        _ => Ok(expires_at.saturating_add(leeway)),
    }
}

fn meant_for_us(claims: &Map<String, Value>, config: &JwtConfig) -> Result<(), Denied> {
    let wrong = |message: &str| Err(Denied::new(DeniedReason::Claims, message));
    if claims.get("iss").and_then(Value::as_str) != Some(&config.issuer) {
        return wrong("the web token is from another issuer");
    }
    let is_audience = |value: &Value| value.as_str() == Some(&config.audience);
    match claims.get("aud") {
        Some(Value::Array(audiences)) if audiences.iter().any(is_audience) => Ok(()),
        Some(one) if is_audience(one) => Ok(()),
        _ => wrong("the web token is for another audience"),
    }
}

fn identity(claims: &Map<String, Value>, config: &JwtConfig, expires_at: i64) -> Result<Identity, Denied> {
    let wrong = |message: &str| Denied::new(DeniedReason::Claims, message);
    let (tenant, others) = match &config.tenant_claim {
        None => (Tenant::default(), Vec::new()),
        Some(name) => {
            let mut tenants = words(claim(claims, name)).into_iter().take(TENANTS_MAX).map(Tenant::new);
            let first = tenants.next().flatten();
            let first = first
                .ok_or_else(|| wrong("the web token names no tenant in the claim that is configured"))?;
            let others = tenants.collect::<Option<Vec<_>>>();
            (first, others.ok_or_else(|| wrong("the web token names something that cannot be a tenant"))?)
        }
    };
    let scopes = match claim(claims, &config.scopes_claim) {
        None => config.scopes,
        named => words(named)
            .into_iter()
            .filter_map(|word| Scope::named(word.strip_prefix(SCOPE_PREFIX).unwrap_or(word)))
            .collect::<Scopes>(),
    };
    let subject = claims.get("sub").and_then(Value::as_str).unwrap_or("-");
    let name: String = subject.chars().filter(|c| !c.is_control()).take(100).collect();
    let tenants = if others.is_empty() { Tenants::Own } else { Tenants::These(others) };
    Ok(Identity { name: Arc::from(name), tenant, scopes, tenants, expires_at: Some(expires_at) })
}

/// A claim by its name, or by the way to it with dots.
fn claim<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let mut way = name.split('.');
    let first = claims.get(way.next()?)?;
    way.try_fold(first, |value, part| value.get(part)).filter(|_| name.contains('.'))
}

fn words(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}
