//! Tokens, scopes, tenants, certificates.

use super::*;

fn file(entries: &str) -> String {
    format!("tokens:\n{entries}")
}

fn entry(token: &str, rest: &str) -> String {
    format!("  - {{ name: {token}, sha256: {}, {rest} }}\n", hex::encode(token_hash(token)))
}

#[tokio::test]
async fn a_token_is_its_tenant_and_no_more_than_its_scopes() {
    let writer = entry("writer", "tenant: home, scopes: [write]");
    let gate = gate_of(&file(&writer));
    let admitted = admit(&gate, &bearer("writer"), Scope::Write).await.unwrap();
    assert_eq!((admitted.tenant, &*admitted.name, admitted.sees_all), (tenant("home"), "writer", false));
    for scope in [Scope::Read, Scope::Admin] {
        assert_eq!(admit(&gate, &bearer("writer"), scope).await, Err(DeniedReason::Scope));
    }
    assert_eq!(gate.stats().admitted(), 1);
    assert_eq!(gate.stats().denied(DeniedReason::Scope), 2);
}

#[tokio::test]
async fn what_is_no_token_of_ours_is_not_let_in() {
    let gate = gate_of(&file(&entry("writer", "scopes: [write]")));
    for (headers, reason) in [
        (HeaderMap::new(), DeniedReason::Missing),
        (bearer("other"), DeniedReason::Unknown),
        (bearer("a.b.c"), DeniedReason::Unknown),
        (headers(&[("authorization", "writer")]), DeniedReason::Malformed),
        (headers(&[("authorization", "Bearer ")]), DeniedReason::Malformed),
        (headers(&[("authorization", "Bearer writer x")]), DeniedReason::Malformed),
        (headers(&[("authorization", "Digest writer")]), DeniedReason::Malformed),
        (
            headers(&[("authorization", "Bearer writer"), ("authorization", "Bearer writer")]),
            DeniedReason::Malformed,
        ),
        // A hash is not its token.
        (bearer(&hex::encode(token_hash("writer"))), DeniedReason::Unknown),
    ] {
        assert_eq!(admit(&gate, &headers, Scope::Write).await, Err(reason), "{headers:?}");
    }
    assert!(admit(&gate, &headers(&[("authorization", "bEARER   writer")]), Scope::Write).await.is_ok());
}

#[tokio::test]
async fn only_who_is_trusted_with_a_tenant_may_name_it() {
    let own = entry("own", "tenant: home, scopes: [write]");
    let some = entry("some", "tenant: home, scopes: [write], tenants: [shop]");
    let all = entry("all", "scopes: [write], tenants: ['*']");
    let gate = gate_of(&file(&(own + &some + &all)));
    let naming = |token: &str, tenant: &str| {
        headers(&[("authorization", &format!("Bearer {token}")), (TENANT_HEADER, tenant)])
    };
    for (token, named, allowed) in [
        ("own", "home", true),
        ("own", "shop", false),
        ("own", "default", false),
        ("some", "shop", true),
        ("some", "home", true),
        ("some", "default", false),
        ("all", "anything", true),
        ("all", "a|b", false),
        ("all", "../home", false),
        ("all", "", false),
    ] {
        let admitted = admit(&gate, &naming(token, named), Scope::Write).await;
        match allowed {
            true => assert_eq!(admitted.unwrap().tenant, tenant(named), "{token} {named}"),
            false => assert_eq!(admitted, Err(DeniedReason::Tenant), "{token} {named}"),
        }
    }
    let mut twice = naming("all", "home");
    twice.append(TENANT_HEADER, HeaderValue::from_static("shop"));
    assert_eq!(admit(&gate, &twice, Scope::Write).await, Err(DeniedReason::Tenant));
    assert!(admit(&gate, &bearer("all"), Scope::Write).await.unwrap().sees_all);
}

#[tokio::test]
async fn a_token_ends_when_it_says() {
    let file = file(&entry("short", "scopes: [write], expires: '2027-01-15T08:00:00Z'"));
    let config = AuthConfig { credentials: Some("c".into()), ..AuthConfig::default() };
    let clock = clock();
    let gate = Gate::new(config, clock.clone(), Handle::current(), &[7; 32]);
    gate.install_credentials(Credentials::parse(&file).unwrap());
    // 2027-01-15T08:00:00Z is NOW.
    assert!(admit(&gate, &bearer("short"), Scope::Write).await.is_ok());
    clock.0.fetch_add(1_000_000_000, Ordering::Relaxed);
    assert_eq!(admit(&gate, &bearer("short"), Scope::Write).await, Err(DeniedReason::Expired));
}

#[tokio::test]
async fn an_open_gate_knows_one_tenant() {
    let gate = Gate::open(clock(), Handle::current());
    assert!(!gate.asks());
    let admitted = admit(&gate, &HeaderMap::new(), Scope::Admin).await.unwrap();
    assert_eq!((admitted.tenant, admitted.sees_all), (Tenant::default(), true));
    assert!(admit(&gate, &headers(&[(TENANT_HEADER, "default")]), Scope::Write).await.is_ok());
    let named = admit(&gate, &headers(&[(TENANT_HEADER, "home")]), Scope::Write).await;
    assert_eq!(named, Err(DeniedReason::Tenant));
}

#[tokio::test]
async fn a_certificate_is_known_by_the_names_that_the_ca_signed() {
    let rule = |common_name: Option<&str>, alternative_name: Option<&str>, tenant: &str| CertificateRule {
        common_name: common_name.map(str::to_owned),
        alternative_name: alternative_name.map(str::to_owned),
        identity: Identity::written("x", Some(tenant.into()), &["write".into()], &[]).unwrap(),
    };
    let certificates =
        vec![rule(Some("agent"), Some("spiffe://home/agent"), "both"), rule(Some("agent"), None, "home")];
    let config = AuthConfig { certificates, ..AuthConfig::default() };
    let gate = Gate::new(config, clock(), Handle::current(), &[7; 32]);
    let issue = |name: &str, alternative: &[&str]| {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.subject_alt_names =
            alternative.iter().map(|uri| rcgen::SanType::URI((*uri).try_into().unwrap())).collect();
        let signed = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        ClientCertificate::of(signed.der())
    };
    let ask = async |certificate: Option<&ClientCertificate>, headers: &HeaderMap| {
        let admitted = gate.admit(Shown { headers, certificate }, Scope::Write).await;
        admitted.map(|admitted| admitted.tenant.to_string()).map_err(|denied| denied.reason)
    };
    let nothing = HeaderMap::new();
    assert_eq!(ask(Some(&issue("agent", &["spiffe://home/agent"])), &nothing).await.unwrap(), "both");
    assert_eq!(ask(Some(&issue("agent", &["spiffe://other/agent"])), &nothing).await.unwrap(), "home");
    assert_eq!(ask(Some(&issue("agents", &[])), &nothing).await, Err(DeniedReason::Unknown));
    assert_eq!(ask(None, &nothing).await, Err(DeniedReason::Missing));
    // Who sends a wrong token is not let in for its certificate.
    assert_eq!(ask(Some(&issue("agent", &[])), &bearer("x")).await, Err(DeniedReason::Unknown));
    assert_eq!(ClientCertificate::of(&vec![1, 2, 3].into()), ClientCertificate::default());
}

#[test]
fn a_wrong_file_is_refused_by_the_entrys_name_and_without_its_secret() {
    let hash = hex::encode(token_hash("secret"));
    for (text, words) in [
        (format!("tokens: [{{ name: a, sha256: {hash}, scopes: [] }}]"), "token `a`: it has no scope"),
        (format!("tokens: [{{ name: a, sha256: {hash}, scopes: [all] }}]"), "there is no scope `all`"),
        (format!("tokens: [{{ name: a, sha256: {}, scopes: [read] }}]", &hash[1..]), "64 hexadecimal digits"),
        (
            format!("tokens: [{{ name: a, sha256: {hash}, scopes: [read], tenant: a/b }}]"),
            "`a/b` is not a tenant",
        ),
        (
            format!("tokens: [{{ name: a, sha256: {hash}, scopes: [read], expires: soon }}]"),
            "`expires` is not a time",
        ),
        (format!("tokens: [{{ name: a, scopes: [read], sha265: {hash} }}]"), "unknown key `sha265`"),
        (format!("tokens: [{{ name: a, sha256: {hash} }}]"), "`scopes` is missing"),
        (
            format!(
                "tokens: [{{ name: a, sha256: {hash}, scopes: [read] }}, {{ name: b, sha256: {hash}, scopes: [read] }}]"
            ),
            "token `b`: it is there twice",
        ),
        ("users: [{ name: a, password: hunter2, scopes: [read] }]".into(), "user `a`: not a password's hash"),
        ("hello".into(), "not a file of credentials"),
    ] {
        let error = Credentials::parse(&text).unwrap_err();
        assert!(error.contains(words), "{words}: {error}");
        assert!(!error.contains(&hash[1..]) && !error.contains("hunter2"), "{error}");
    }
    assert_eq!(Credentials::parse("# nobody yet\n").unwrap().counts(), (0, 0));
}
