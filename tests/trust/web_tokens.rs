//! Web tokens of an issuer: each thing that can be wrong with one, against the real process.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::json as object;

use super::support::Start;
use super::*;

struct Issuer(Ed25519KeyPair);

impl Issuer {
    fn new() -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).unwrap())
    }

    fn keys(&self, id: &str) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        object!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": id, "x": x }] }).to_string()
    }

    fn sign(&self, header: Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes())))
    }
}

/// Claims that are good for the tenant `home`, but for this change.
fn claims(change: Value) -> Value {
    let now = traffic::now_nano() / 1_000_000_000;
    let mut claims = object!({
        "iss": "https://issuer.example", "aud": "tracewell", "sub": "ci", "exp": now + 600, "nbf": now - 5,
        "tenant": "home", "scope": "write read",
    });
    for (name, value) in change.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_signed_meant_for_us_and_good_now_or_lets_nobody_in() {
    let folder = tempfile::tempdir().unwrap();
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let keys = folder.path().join("keys.json");
    write(&keys, &issuer.keys("one"));
    let config = format!(
        "auth: {{ jwt: {{ jwks: {}, issuer: 'https://issuer.example', audience: tracewell, tenant_claim: tenant, leeway: 1s }} }}\n",
        keys.display()
    );
    let daemon = Start::new(&folder.path().join("data")).env("TRACE_DEBUG", "1").config(&config).run();
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let send = async |token: &str, more: &[(&str, &str)]| {
        let authorization = format!("Bearer {token}");
        let headers = [&[("authorization", authorization.as_str())], more].concat();
        let over_http = post(&client, &daemon.http, 1, &headers).await.status().as_u16();
        let mut grpc = traffic::connect(&daemon.grpc).await.unwrap();
        let mut request = tonic::Request::new(traffic::request(traffic::trace(1, Shape::Plain, 1), "shop"));
        for (name, value) in headers {
            let name: tonic::metadata::AsciiMetadataKey = name.parse().unwrap();
            request.metadata_mut().insert(name, value.parse().unwrap());
        }
        (over_http, grpc.export(request).await.map_or_else(|status| status.code() as i32, |_| 0))
    };
    let header = || object!({ "alg": "EdDSA", "kid": "one" });
    let good = issuer.sign(header(), &claims(object!({})));
    assert_eq!(send(&good, &[]).await, (200, 0));
    assert_eq!(send(&good, &[("x-scope-orgid", "home")]).await, (200, 0));
    // UNAUTHENTICATED is 16, PERMISSION_DENIED 7.
    assert_eq!(send(&good, &[("x-scope-orgid", "shop")]).await, (403, 7));
    let now = traffic::now_nano() / 1_000_000_000;
    let unsigned = |text: &str| text.rsplit_once('.').unwrap().0.to_owned() + ".";
    let swapped = {
        let other = issuer.sign(header(), &claims(object!({ "tenant": "shop" })));
        let mut parts: Vec<&str> = good.split('.').collect();
        parts[1] = other.split('.').nth(1).unwrap();
        parts.join(".")
    };
    for (what, token, expected) in [
        ("expired", issuer.sign(header(), &claims(object!({ "exp": now - 30 }))), (401, 16)),
        ("not yet good", issuer.sign(header(), &claims(object!({ "nbf": now + 300 }))), (401, 16)),
        ("endless", issuer.sign(header(), &claims(object!({ "exp": null }))), (401, 16)),
        ("for another audience", issuer.sign(header(), &claims(object!({ "aud": "other" }))), (401, 16)),
        ("of another issuer", issuer.sign(header(), &claims(object!({ "iss": "https://evil" }))), (401, 16)),
        ("without a tenant", issuer.sign(header(), &claims(object!({ "tenant": null }))), (401, 16)),
        (
            "of a tenant that is a path",
            issuer.sign(header(), &claims(object!({ "tenant": "../shop" }))),
            (401, 16),
        ),
        ("for reading only", issuer.sign(header(), &claims(object!({ "scope": "read" }))), (403, 7)),
        ("signed by a stranger", stranger.sign(header(), &claims(object!({}))), (401, 16)),
        (
            "of an unknown key",
            issuer.sign(object!({ "alg": "EdDSA", "kid": "two" }), &claims(object!({}))),
            (401, 16),
        ),
        ("not signed", unsigned(&good), (401, 16)),
        ("alg none", unsigned(&issuer.sign(object!({ "alg": "none" }), &claims(object!({})))), (401, 16)),
        (
            "alg of a secret",
            issuer.sign(object!({ "alg": "HS256", "kid": "one" }), &claims(object!({}))),
            (401, 16),
        ),
        ("with other claims", swapped, (401, 16)),
        ("cut off", good[..good.len() - 10].to_owned(), (401, 16)),
    ] {
        assert_eq!(send(&token, &[]).await, expected, "a token that is {what}");
    }
    assert_eq!(send(&good, &[]).await, (200, 0));

    // It runs out while it is used.
    let short = issuer.sign(header(), &claims(object!({ "exp": traffic::now_nano() / 1_000_000_000 + 2 })));
    assert_eq!(send(&short, &[]).await, (200, 0));
    eventually("it has run out", async || send(&short, &[]).await == (401, 16)).await;
    // The issuer's keys change.
    write(&keys, &stranger.keys("two"));
    let next = stranger.sign(object!({ "alg": "EdDSA", "kid": "two" }), &claims(object!({})));
    eventually("the new key is good", async || send(&next, &[]).await == (200, 0)).await;
    assert_eq!(send(&good, &[]).await, (401, 16));
}
