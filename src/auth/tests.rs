//! Each kind of credential, good and bad.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod claims;
mod damaged;
mod gate;
mod issuer;
mod parsers;
mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::*;
use crate::runtime::{Clock, Tenant};

/// When all of this happens, Unix seconds.
const NOW: i64 = 1_800_000_000;

/// A clock that a test sets.
struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_unix_nano(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicU64::new(NOW as u64 * 1_000_000_000)))
}

fn tenant(name: &str) -> Tenant {
    Tenant::new(name).unwrap()
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn bearer(token: &str) -> HeaderMap {
    headers(&[("authorization", &format!("Bearer {token}"))])
}

/// A gate that asks for tokens and users of this file.
fn gate_of(file: &str) -> Gate {
    let config = AuthConfig { credentials: Some("credentials.yaml".into()), ..AuthConfig::default() };
    let gate = Gate::new(config, clock(), Handle::current(), &[7; 32]);
    gate.install_credentials(Credentials::parse(file).unwrap());
    gate
}

async fn admit(gate: &Gate, headers: &HeaderMap, scope: Scope) -> Result<Admitted, DeniedReason> {
    let admitted = gate.admit(Shown { headers, certificate: None }, scope).await;
    admitted.map_err(|denied| denied.reason)
}

/// An issuer with a P-256 and an Ed25519 key.
struct IssuerKeys {
    p256: EcdsaKeyPair,
    ed25519: Ed25519KeyPair,
}

impl IssuerKeys {
    fn new() -> Self {
        let random = SystemRandom::new();
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let p256 =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
        Self { p256, ed25519: Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap() }
    }

    fn jwks(&self) -> Value {
        let point = self.p256.public_key().as_ref();
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({ "keys": [
            { "kty": "EC", "crv": "P-256", "kid": "p", "x": part(&point[1..33]), "y": part(&point[33..]) },
            { "kty": "OKP", "crv": "Ed25519", "kid": "e", "x": part(self.ed25519.public_key().as_ref()) },
        ]})
    }

    /// A token with this header and these claims, signed as the header says (or not at all).
    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = match header["alg"].as_str() {
            Some("ES256") => {
                self.p256.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec()
            }
            Some("EdDSA") => self.ed25519.sign(signed.as_bytes()).as_ref().to_vec(),
            _ => Vec::new(),
        };
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": "ES256", "kid": "p", "typ": "JWT" }), claims)
    }
}

/// Claims that are good now; `change` says what is not.
fn claims(change: Value) -> Value {
    let mut claims = json!({
        "iss": "https://issuer.example", "aud": ["other", "tracewell"], "sub": "ci", "exp": NOW + 300, "nbf": NOW - 5,
        "org": { "tenant": "home" }, "scope": "openid tracewell:write read",
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

fn jwt_config() -> JwtConfig {
    JwtConfig {
        keys: KeysFrom::File("keys.json".into()),
        issuer: "https://issuer.example".into(),
        audience: "tracewell".into(),
        leeway: Duration::from_secs(60),
        tenant_claim: Some("org.tenant".into()),
        scopes_claim: "scope".into(),
        scopes: Scopes::default(),
    }
}

/// A gate that asks for web tokens of this issuer.
fn gate_for(issuer: &IssuerKeys) -> Gate {
    let config = AuthConfig { jwt: Some(jwt_config()), ..AuthConfig::default() };
    let gate = Gate::new(config, clock(), Handle::current(), &[7; 32]);
    gate.install_keys(KeySet::parse(issuer.jwks().to_string().as_bytes()).unwrap());
    gate
}
