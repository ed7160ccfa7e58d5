//! TLS, authentication, limits, and who may listen where.

use super::*;
use crate::auth::{KeysFrom, Scope, ScopeOfStatus, Tenants};
use crate::runtime::Tenant;
use crate::runtime::tls::{ClientAuth, MinVersion};

const PAIR: &str = "tls: { cert: c.pem, key: k.pem }\n";

#[test]
fn a_listener_that_others_reach_asks_them_who_they_are_or_does_not_start() {
    for address in ["0.0.0.0:4317", "10.0.0.7:4317", "'[::]:4317'", "collector:4317", "'[fe80::1]:4317'"] {
        let text = format!("grpc: {address}\n");
        let error = complaint(&text);
        let ways = ["t.yaml:1:7: `grpc`", "auth:", "127.0.0.1:4317", "--insecure", "TRACEWELL_INSECURE=1"];
        assert!(ways.iter().all(|way| error.contains(way)), "{error}");
        assert!(complaint(&format!("{text}{PAIR}")).contains("nobody is asked"), "TLS alone asks nobody");
        for asks in [
            "insecure: true",
            "auth: { credentials: file.yaml }",
            "auth: { certificates: [{ common_name: a, scopes: [write] }] }",
            "tls: { cert: c, key: k, client_ca: ca, client_auth: required }",
        ] {
            load(&format!("{text}{asks}\n")).unwrap();
        }
    }
    for address in ["127.0.0.1:1", "127.8.8.8:1", "localhost:1", "'[::1]:1'", "unix:///run/x.sock"] {
        load(&format!("grpc: {address}\n")).unwrap();
    }
    let flags = Flags { api: Some("0.0.0.0:1".into()), ..Flags::default() };
    assert!(load_with(&flags, &[], "").unwrap_err().to_string().starts_with("flag --api: `api`"));
    assert!(load_with(&flags, &[("TRACEWELL_INSECURE", "1")], "").unwrap().insecure);
    assert!(load_with(&Flags { insecure: true, ..flags.clone() }, &[], "").unwrap().insecure);
    assert!(load_with(&flags, &[("TRACEWELL_INSECURE", "0")], "").is_err());
    assert!(load_with(&flags, &[("TRACEWELL_INSECURE", "maybe")], "").is_err());
    // A certificate for OTLP says nothing about who asks questions.
    let api = "api: 0.0.0.0:1\ntls: { cert: c, key: k, client_ca: ca, client_auth: required, api: { client_auth: none } }";
    assert!(complaint(api).contains("`api`"));
}

#[test]
fn the_api_speaks_tls_as_the_others_do_but_for_what_it_says() {
    let tls = load(PAIR).unwrap().tls;
    assert_eq!(tls.otlp, tls.api);
    assert_eq!(tls.otlp.unwrap().min_version, MinVersion::Tls12);
    assert_eq!(load("tls: { cert: c, key: k, api: { enabled: false } }").unwrap().tls.api, None);
    let text = "tls: { cert: c, key: k, client_ca: ca, client_auth: required, min_version: '1.3', api: { client_auth: none, cert: d, key: e } }";
    let tls = load(text).unwrap().tls;
    let (otlp, api) = (tls.otlp.unwrap(), tls.api.unwrap());
    assert_eq!((otlp.client_auth, api.client_auth), (ClientAuth::Required, ClientAuth::None));
    assert_eq!((api.cert.to_str(), api.key.to_str()), (Some("d"), Some("e")));
    assert_eq!(api.min_version, MinVersion::Tls13);
    let text = "tls: { cert: c, key: k, client_ca: ca, crl: l, client_auth: optional }";
    let tls = load(text).unwrap().tls;
    assert!(tls.otlp == tls.api && tls.api.unwrap().crl.unwrap().to_str() == Some("l"));
    let text =
        "tls: { cert: c, key: k, client_ca: ca, crl: l, client_auth: optional, api: { client_auth: none } }";
    assert_eq!(load(text).unwrap().tls.api.unwrap().crl, None, "nobody is asked there");
    for (text, words) in [
        ("tls: { cert: c }", "a certificate needs its key"),
        ("tls: { cert: c, key: k, api: { cert: d } }", "`tls.api`: a certificate needs its key"),
        ("tls: { cert: c, key: k, client_auth: required }", "`tls.client_auth`: name the CA"),
        ("tls: { cert: c, key: k, crl: l }", "t.yaml:1:30: `tls.crl`: clients are asked for no certificate"),
        ("tls: { cert: c, key: k, api: { crl: l } }", "`tls.api.crl`: clients are asked for no certificate"),
        ("tls: { cert: c, key: k, min_version: '1.1' }", "`tls.min_version`"),
        ("tls: { api: { enabled: true } }", "`tls.api`: TLS needs a certificate"),
    ] {
        assert!(complaint(text).contains(words), "{text}: {}", complaint(text));
    }
}

#[test]
fn credentials_of_every_kind_are_configured() {
    let text = "
auth:
  credentials: c.yaml
  status: admin
  jwt: { jwks: 'https://issuer.example/keys', issuer: i, audience: a, scopes: [read] }
  certificates: [{ alternative_name: 'spiffe://home/agent', tenant: home, scopes: [write, read], tenants: ['*'] }]
";
    let auth = load(text).unwrap().auth;
    assert!(auth.is_on() && auth.status == ScopeOfStatus::Admin);
    let jwt = auth.jwt.unwrap();
    assert!(matches!(jwt.keys, KeysFrom::Url { refresh, .. } if refresh == Duration::from_secs(300)));
    assert!(jwt.scopes.has(Scope::Read) && !jwt.scopes.has(Scope::Write));
    let rule = &auth.certificates[0].identity;
    assert_eq!((rule.tenant.as_str(), &rule.tenants), ("home", &Tenants::All));
    for (text, words) in [
        ("auth: { jwt: { issuer: i } }", "set `jwks`"),
        ("auth: { jwt: { jwks: k.json, issuer: i } }", "`auth.jwt.audience`: must be set"),
        ("auth: { jwt: { jwks: 'http://issuer.example/', issuer: i, audience: a } }", "use https"),
        ("auth: { certificates: [{ scopes: [write] }] }", "known by its `common_name`"),
        ("auth: { certificates: [{ common_name: a, scopes: [all] }] }", "there is no scope `all`"),
        ("auth: { credentials: '' }", "name a file"),
        ("socket_mode: '999'", "as for chmod"),
        ("grpc: unix://x", "is not the path of a socket"),
    ] {
        assert!(complaint(text).contains(words), "{text}: {}", complaint(text));
    }
    assert_eq!(load("socket_mode: '0600'").unwrap().socket_mode, 0o600);
}

#[test]
fn a_tenant_has_its_own_rates_or_everybodys() {
    let text = "limits: { default: { bytes_per_second: 1MiB, burst: 5s }, tenants: { home: { spans_per_second: 10 } } }";
    let limits = load(text).unwrap().limits;
    assert_eq!(limits.default.spans_per_second, None);
    let home = limits.tenants[&Tenant::new("home").unwrap()];
    assert_eq!((home.spans_per_second, home.bytes_per_second), (Some(10), Some(1 << 20)));
    assert_eq!(home.burst, Duration::from_secs(5));
    assert!(complaint("limits: { tenants: { a/b: {} } }").contains("cannot be a tenant's name"));
    assert!(complaint("limits: { default: { burst: 0s } }").contains("must be more than 0"));
}
