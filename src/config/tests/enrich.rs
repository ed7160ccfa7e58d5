//! Tests of the section `enrich`.

use super::{complaint, load};
use crate::enrich::{
    Action, ActionConfig, Condition, ExtractPattern, PodsConfig, Put, RedactConfig, RouteConfig, Scope,
    Source, ValueKind, ValueType, compile_pattern,
};

#[test]
fn every_action_is_read() {
    let text = r#"
enrich:
  actions:
    - { action: extract, key: url.path, pattern: '^/(?P<tenant>\w+)' }
    - { action: convert, scope: event, key: n, to: int }
    - { action: rename, key: a, to: b }
    - { action: rename, scope: scope, keys: { http.method: http.request.method, c: d } }
    - { action: truncate, key: db.statement, bytes: 1024 }
    - { action: upsert, key: e, from: f }
    - { action: upsert, key: host, from: host.name, from_scope: resource }
    - { action: upsert, scope: event, key: e, from: f, from_scope: event }
    - { action: insert, key: tenant, from_header: X-Tenant, when: '{ span.tenant = nil }' }
    - { action: insert, scope: resource, key: client.address, from_client: true }
"#;
    let key = |key: &str| key.to_owned();
    let plain = |scope, action| ActionConfig { scope, when: None, action };
    let put = |put, name, value| Action::Put { put, key: key(name), value };
    let pattern = ExtractPattern::new(r"^/(?P<tenant>\w+)").unwrap();
    let pairs = vec![(key("c"), key("d")), (key("http.method"), key("http.request.method"))];
    let expected = [
        plain(Scope::Span, Action::Extract { key: key("url.path"), pattern }),
        plain(Scope::Event, Action::Convert { key: key("n"), to: ValueType::Int }),
        plain(Scope::Span, Action::Rename { keys: vec![(key("a"), key("b"))] }),
        plain(Scope::Scope, Action::Rename { keys: pairs }),
        plain(Scope::Span, Action::Truncate { key: key("db.statement"), bytes: 1024 }),
        plain(Scope::Span, put(Put::Upsert, "e", Source::Attribute(key("f")))),
        plain(
            Scope::Span,
            put(Put::Upsert, "host", Source::Of { scope: Scope::Resource, key: key("host.name") }),
        ),
        plain(Scope::Event, put(Put::Upsert, "e", Source::Attribute(key("f")))),
        ActionConfig {
            scope: Scope::Span,
            when: Some(Condition::parse("{ span.tenant = nil }", Scope::Span).unwrap()),
            action: put(Put::Insert, "tenant", Source::header("x-tenant").unwrap()),
        },
        plain(Scope::Resource, put(Put::Insert, "client.address", Source::Client)),
    ];
    assert_eq!(load(text).unwrap().enrich.actions, expected);
}

#[test]
fn redaction_is_read() {
    let text = r#"
enrich:
  redact:
    values: [card, email, bearer, jwt, ssn]
    patterns: [{ name: badge, pattern: 'B-\d+' }]
    urls: true
    allowed_parameters: [page]
    sql: true
    names: true
    messages: true
    hash_key: /etc/key
"#;
    let expected = RedactConfig {
        values: vec![ValueKind::Card, ValueKind::Email, ValueKind::Bearer, ValueKind::Jwt, ValueKind::Ssn],
        patterns: vec![("badge".into(), compile_pattern(r"B-\d+").unwrap())],
        urls: true,
        allowed_parameters: vec!["page".into()],
        sql: true,
        names: true,
        messages: true,
        hash_key: Some("/etc/key".into()),
        ..RedactConfig::default()
    };
    assert_eq!(load(text).unwrap().enrich.redact, expected);
}

#[test]
fn routes_are_read() {
    let text = "enrich: { http_route: { enabled: true, name: true } }";
    assert_eq!(load(text).unwrap().enrich.http_route, RouteConfig { enabled: true, name: true });
}

#[test]
fn pods_are_read() {
    let text = "enrich: { kubernetes: { enabled: true, api: 'https://k:6443', node: n, labels: [app], annotations: [team], cache: 1MiB, token_file: t, ca_file: c } }";
    let expected = PodsConfig {
        enabled: true,
        api: Some("https://k:6443".into()),
        node: Some("n".into()),
        labels: vec!["app".into()],
        annotations: vec!["team".into()],
        cache: 1 << 20,
        token_file: "t".into(),
        ca_file: "c".into(),
    };
    assert_eq!(load(text).unwrap().enrich.kubernetes, expected);
    let error = complaint("enrich: { kubernetes: { api: k:6443 } }");
    assert_eq!(error, "t.yaml:1:30: `enrich.kubernetes.api`: `k:6443` is not a URL; write https://HOST:PORT");
}

#[test]
fn mistakes_have_their_place() {
    let action = |text: &str| complaint(&format!("enrich:\n  actions:\n    - {{ {text} }}\n"));
    for (text, expected) in [
        ("action: hash, key: a, value: 1", "t.yaml:3:38: `enrich.actions`: `hash` takes no `value`"),
        ("action: delete, key: a, to: b", "t.yaml:3:37: `enrich.actions`: `delete` takes no `to`"),
        ("action: delete, key: ''", "t.yaml:3:30: `enrich.actions`: an attribute's key is not empty"),
        ("action: delete", "t.yaml:3:17: `enrich.actions`: `delete` needs `key`, an attribute's key"),
        (
            "action: insert, key: a",
            "t.yaml:3:17: `enrich.actions`: `insert` needs a value: one of `value`, `from`, `from_header` and `from_client`",
        ),
        (
            "action: insert, key: a, value: 1, from: b",
            "t.yaml:3:17: `enrich.actions`: `insert` needs a value: one of `value`, `from`, `from_header` and `from_client`",
        ),
        (
            "action: insert, key: a, from_header: Cookie",
            "t.yaml:3:46: `enrich.actions`: the header `cookie` holds credentials: they are never put on spans",
        ),
        (
            "action: insert, key: a, from_header: 'a b'",
            "t.yaml:3:46: `enrich.actions`: `a b` is not the name of a header",
        ),
        (
            "action: insert, key: a, from_client: false",
            "t.yaml:3:46: `enrich.actions`: leave `from_client` out, or write true",
        ),
        (
            "action: extract, key: a, pattern: '('",
            "t.yaml:3:43: `enrich.actions`: `(` is not a regular expression: unclosed group",
        ),
        (
            "action: extract, key: a",
            "t.yaml:3:17: `enrich.actions`: `extract` needs `pattern`, a regular expression",
        ),
        (
            "action: convert, key: a, to: number",
            "t.yaml:3:38: `enrich.actions`: `number` is no type; the types are string, int, double, bool",
        ),
        ("action: rename, key: a", "t.yaml:3:17: `enrich.actions`: `rename` needs `to`, the new key"),
        (
            "action: rename, to: a",
            "t.yaml:3:17: `enrich.actions`: `rename` needs `key` and `to`, or `keys` with the new key of each",
        ),
        (
            "action: truncate, key: a",
            "t.yaml:3:17: `enrich.actions`: `truncate` needs `bytes`, the most that remain",
        ),
        (
            "action: delete, key: a, when: '{ traceDuration > 1s }'",
            "t.yaml:3:39: `enrich.actions`: `when` sees one span only, not its trace, its parent or its children",
        ),
    ] {
        assert_eq!(action(text), expected, "{text}");
    }
    let syntax = action("action: delete, key: a, when: '{ span.a = }'");
    assert!(syntax.starts_with("t.yaml:3:39: `enrich.actions`: "), "{syntax}");
    for (text, expected) in [
        ("keys: [a, '']", "t.yaml:1:31: `enrich.redact.keys`: an empty key would redact everything"),
        (
            "patterns: [{ name: a b, pattern: x }]",
            "t.yaml:1:40: `enrich.redact.patterns`: a pattern's name is of letters, digits, `_`, `-` and `.`: metrics show it",
        ),
        (
            "patterns: [{ name: a, pattern: 'x*' }]",
            "t.yaml:1:52: `enrich.redact.patterns`: the pattern matches nothing at all, and so stands everywhere",
        ),
        (
            "patterns: [{ name: a, pattern: '[' }]",
            "t.yaml:1:52: `enrich.redact.patterns`: `[` is not a regular expression: unclosed character class",
        ),
    ] {
        assert_eq!(complaint(&format!("enrich: {{ redact: {{ {text} }} }}")), expected, "{text}");
    }
}

#[test]
fn no_action_brings_to_light_what_redaction_covers() {
    let actions = |action: &str, rest: &str| format!("enrich:\n  actions:\n    - {{ {action} }}\n{rest}");
    for action in [
        "action: upsert, key: note, from: db.password",
        "action: insert, key: note, from: session_token, from_scope: resource",
        "action: rename, key: http.request.header.authorization, to: caller",
        "action: rename, keys: { a: b, accessToken: shown }",
    ] {
        let error = complaint(&actions(action, ""));
        assert!(error.starts_with("t.yaml:3:17: `enrich.actions`: `"), "{error}");
        assert!(error.contains("is redacted by its key") && error.contains("enrich.redact.keys"), "{error}");
        // Who redacts nothing hides nothing.
        load(&actions(action, "  redact: { enabled: false }\n")).unwrap();
    }
    for action in [
        "action: rename, key: password, to: old.password",
        "action: upsert, key: token, from: note",
        "action: rename, key: passwords, to: note",
    ] {
        load(&actions(action, "")).unwrap();
    }
    let listed = "  redact: { keys: [badge, shown] }\n";
    load(&actions("action: rename, key: badge, to: shown", listed)).unwrap();
    load(&actions("action: rename, key: password, to: note", listed)).unwrap();
    assert!(complaint(&actions("action: rename, key: badge, to: note", listed)).contains("`badge`"));
}
