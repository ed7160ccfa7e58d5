//! What comes in headers, over a corpus (`tests/corpus/`) and what damage makes of it: nothing panics, nobody is let in who does
//! not belong, and no refusal repeats what was shown.

use std::sync::LazyLock;

use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use tokio::runtime::Runtime;

use super::*;
use crate::auth::gate::named_tenant;
use crate::auth::header::{Authorization, authorization};

// The tests of each room have it for themselves.
#[allow(clippy::duplicate_mod)]
#[path = "../../../tests/support/corpus.rs"]
mod corpus;

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().build().unwrap());

/// Knows the token `open`, and asks for web tokens too.
static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let _inside = RUNTIME.enter();
    let config = AuthConfig {
        credentials: Some("credentials.yaml".into()),
        jwt: Some(jwt_config()),
        ..AuthConfig::default()
    };
    let gate = Gate::new(config, clock(), Handle::current(), &[7; 32]);
    let hash = hex::encode(token_hash("open"));
    let file = format!("tokens: [{{ name: a, sha256: {hash}, tenant: home, scopes: [write] }}]");
    gate.install_credentials(Credentials::parse(&file).unwrap());
    gate.install_keys(KeySet::parse(ISSUER.jwks().to_string().as_bytes()).unwrap());
    gate
});

static ISSUER: LazyLock<IssuerKeys> = LazyLock::new(IssuerKeys::new);

fn with(name: &'static str, bytes: &[u8]) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(name, HeaderValue::from_bytes(bytes).ok()?);
    Some(headers)
}

/// What is true of an `Authorization` header, whatever it is; whether it lets somebody in.
fn check_authorization(bytes: &[u8]) -> bool {
    let Some(headers) = with("authorization", bytes) else { return false };
    let text = String::from_utf8_lossy(bytes).into_owned();
    let token = match authorization(&headers) {
        Ok(Some(Authorization::Bearer(token))) => {
            assert!(!token.is_empty() && !token.contains(char::is_whitespace) && text.contains(&token));
            Some(token)
        }
        Ok(Some(Authorization::Basic { user, password })) => {
            assert!(!user.contains(':'));
            assert!(text.contains(&STANDARD.encode(format!("{user}:{password}"))), "{text:?}");
            None
        }
        Ok(None) => panic!("there is one: {text:?}"),
        Err(denied) => {
            says_nothing_of(&denied, &text);
            None
        }
    };
    let admitted = RUNTIME.block_on(GATE.admit(Shown { headers: &headers, certificate: None }, Scope::Write));
    if let Err(denied) = &admitted {
        says_nothing_of(denied, &text);
    }
    assert_eq!(admitted.is_ok(), token.as_deref() == Some("open"), "{text:?}");
    admitted.is_ok()
}

/// The words of our own sentences are allowed to be in it.
fn says_nothing_of(denied: &Denied, shown: &str) {
    let says = denied.to_string();
    let is_secret = |word: &&str| word.len() > 12;
    for word in shown.split(' ').filter(is_secret) {
        assert!(!says.contains(word), "{says}");
    }
}

/// What is true of `X-Scope-OrgID`; whether it names a tenant.
fn check_tenant(bytes: &[u8]) -> bool {
    let Some(mut headers) = with(TENANT_HEADER, bytes) else { return false };
    let named = named_tenant(&headers);
    if let Ok(named) = &named {
        let name = named.as_ref().expect("there is one").as_str();
        assert_eq!(name.as_bytes(), bytes, "what was written, or nothing");
        assert!(!name.starts_with('.') && !name.contains(['/', '\\']) && name.len() <= Tenant::BYTES_MAX);
    }
    headers.append(TENANT_HEADER, HeaderValue::from_static("home"));
    assert!(named_tenant(&headers).is_err(), "two of them");
    named.is_ok()
}

/// What is true of the claims of a token that our issuer signed; whether it lets somebody in.
fn check_claims(claims: &[u8]) -> bool {
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!("{}.{}", part(br#"{"alg":"EdDSA","kid":"e"}"#), part(claims));
    let token = format!("{signed}.{}", part(ISSUER.ed25519.sign(signed.as_bytes()).as_ref()));
    let headers = bearer(&token);
    let admitted = RUNTIME.block_on(GATE.admit(Shown { headers: &headers, certificate: None }, Scope::Write));
    if let Ok(admitted) = &admitted {
        let claims: Value = serde_json::from_slice(claims).expect("claims are JSON");
        assert_eq!(claims["iss"], "https://issuer.example");
        let is_us = |value: &Value| value == "tracewell";
        assert!(is_us(&claims["aud"]) || claims["aud"].as_array().unwrap().iter().any(is_us));
        assert!(claims["exp"].as_f64().unwrap() > (NOW - 60) as f64);
        let tenant = &claims["org"]["tenant"];
        assert_eq!(tenant.as_str().or(tenant[0].as_str()), Some(admitted.tenant.as_str()));
        assert!(claims["scope"].to_string().contains("write"));
    }
    admitted.is_ok()
}

#[test]
fn the_corpus_is_let_in_or_not() {
    type Check = fn(&[u8]) -> bool;
    let kinds: [(&str, Check, &[&str]); 3] = [
        ("authorization", check_authorization, &["bearer", "behind", "lower_case", "two_spaces"]),
        ("tenant", check_tenant, &["all_letters", "longest", "plain"]),
        ("claims", check_claims, &["aud_text", "fraction", "good", "largest", "many_tenants", "twice"]),
    ];
    for (kind, check, expected) in kinds {
        let good = corpus::inputs(kind).into_iter().filter(|(_, bytes)| check(bytes));
        assert_eq!(good.map(|(name, _)| name).collect::<Vec<_>>(), expected, "{kind}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    #[test]
    fn damaged_credentials_let_nobody_in(bytes in corpus::damaged("authorization")) {
        check_authorization(&bytes);
    }

    #[test]
    fn damaged_names_are_no_other_tenants(bytes in corpus::damaged("tenant")) {
        check_tenant(&bytes);
    }

    #[test]
    fn damaged_claims_are_what_they_say_or_refused(bytes in corpus::damaged("claims")) {
        check_claims(&bytes);
    }
}
