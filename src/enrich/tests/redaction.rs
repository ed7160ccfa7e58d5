//! Redaction inside values, by keyed hash, in URLs and in SQL.

use super::*;

fn redacting(config: RedactConfig) -> Enricher {
    Enricher::new(&EnrichConfig { redact: config, ..EnrichConfig::default() }, &[])
}

fn values(kinds: &[ValueKind]) -> RedactConfig {
    RedactConfig { values: kinds.to_vec(), ..RedactConfig::default() }
}

fn one(enricher: &Enricher, key: &str, value: &str) -> String {
    let body = body_of(&request(vec![], vec![span("s", vec![text(key, value)])]));
    let shown = span_attributes(&enricher.apply(body).unwrap()).remove(0);
    shown.strip_prefix(&format!("{key}=")).unwrap().to_owned()
}

#[test]
fn values_are_looked_into_wherever_there_are_strings() {
    let mail = || Value::StringValue("to a@b.example!".into());
    let mut s = span(
        "mail a@b.example",
        vec![attribute("k", map(vec![attribute("l", array(vec![mail(), mail()]))]))],
    );
    s.events = vec![Event {
        name: "a@b.example".into(),
        attributes: vec![attribute("k", mail())],
        ..Event::default()
    }];
    s.links = vec![Link { attributes: vec![attribute("k", mail())], ..Link::default() }];
    s.status = Some(opentelemetry_proto::tonic::trace::v1::Status { message: "a@b.example".into(), code: 2 });
    let mut sent = request(vec![attribute("k", mail())], vec![s]);
    let scope = sent.resource_spans[0].scope_spans[0].scope.get_or_insert_default();
    scope.attributes = vec![attribute("k", mail())];
    let partly = redacting(values(&[ValueKind::Email]));
    let enriched = partly.apply(body_of(&sent)).unwrap();
    let left = format!("{:?}", decode(&enriched));
    assert_eq!((enriched.redacted, left.matches("a@b.example").count()), (6, 3), "{left}");
    assert_eq!(left.matches("to [redacted]!").count(), 6);
    let all = redacting(RedactConfig { names: true, messages: true, ..values(&[ValueKind::Email]) });
    let enriched = all.apply(body_of(&sent)).unwrap();
    let left = format!("{:?}", decode(&enriched));
    assert!(!left.contains("a@b.example"), "{left}");
    assert!(left.contains("mail [redacted]"), "{left}");
    let stats = all.stats();
    let counts: Vec<_> = stats.redacted.iter().map(|r| (r.rule.as_str(), r.place.name(), r.count)).collect();
    let expected =
        [("span", 2), ("resource", 1), ("scope", 1), ("event", 1), ("link", 1), ("name", 2), ("message", 1)];
    assert_eq!(counts, expected.map(|(place, count)| ("value:email", place, count)));
    let again = all.apply(enriched.body.clone()).unwrap();
    assert_eq!((again.redacted, again.body.as_ptr()), (0, enriched.body.as_ptr()));
}

#[test]
fn keyed_hashes_keep_equal_values_equal() {
    let enricher = |key: &[u8]| redacting(values(&[ValueKind::Email])).with_hash_key(key);
    let (mine, other) = (enricher(b"0123456789abcdef"), enricher(b"fedcba9876543210"));
    let hashed = one(&mine, "m", "a@b.example");
    assert!(hashed.starts_with("[hmac:") && hashed.len() == 39, "{hashed}");
    assert_eq!(one(&mine, "n", "by a@b.example"), format!("by {hashed}"), "in another text");
    assert_eq!(one(&mine, "token", "a@b.example"), hashed, "by key");
    assert_ne!(one(&other, "m", "a@b.example"), hashed);
    assert_eq!(one(&mine, "token", &hashed), hashed, "an agent has hashed it before");
    assert_eq!(one(&redacting(RedactConfig::default()), "token", &hashed), hashed);
    assert_eq!(one(&mine, "token", "[hmac:no]"), one(&mine, "secret", "[hmac:no]"));
    // HMAC-SHA256 as RFC 4231 has it, test case 2.
    let known = redacting(RedactConfig::default()).with_hash_key(b"Jefe");
    let expected = "[hmac:5bdcc146bf60754e6a042426089575c7]";
    assert_eq!(one(&known, "token", "what do ya want for nothing?"), expected);
}

#[test]
fn urls_keep_their_keys() {
    let config =
        RedactConfig { urls: true, allowed_parameters: vec!["page".into()], ..RedactConfig::default() };
    let enricher = redacting(config);
    for (key, sent, expected) in [
        (
            "url.full",
            "https://u:p@h.example:8/a?q=x&page=2&e=&f",
            "https://[redacted]@h.example:8/a?q=[redacted]&page=2&e=&f",
        ),
        ("http.url", "http://h/cb#access_token=abc&page=1", "http://h/cb#access_token=[redacted]&page=1"),
        ("http.target", "/search?q=a=b;page=3#top", "/search?q=[redacted];page=3#top"),
        ("url.query", "q=1&page=2", "q=[redacted]&page=2"),
        ("url.query", "?q=1", "?q=[redacted]"),
        ("url.full", "http://h/p@th?x", "http://h/p@th?x"),
        ("url.full", "http://h/#a?b=c", "http://h/#a?b=[redacted]"),
        ("url.full", "", ""),
        ("url.path", "/a?q=1", "/a?q=1"),
        ("url.full", "http://u@h/?q=[redacted]", "http://[redacted]@h/?q=[redacted]"),
    ] {
        assert_eq!(one(&enricher, key, sent), expected, "{key} {sent}");
        assert_eq!(one(&enricher, key, expected), expected, "twice: {key} {sent}");
    }
}

#[test]
fn sql_keeps_its_shape() {
    let enricher = redacting(RedactConfig { sql: true, ..RedactConfig::default() });
    for (sent, expected) in [
        ("SELECT * FROM t1 WHERE a = 'it''s' AND b > -1.5e-3", "SELECT * FROM t1 WHERE a = ? AND b > -?"),
        (
            r"INSERT INTO t VALUES ('a\'b', 0xFF, NULL, TRUE, .5)",
            "INSERT INTO t VALUES (?, ?, NULL, TRUE, ?)",
        ),
        (
            r#"select "col1" from x where y=$1 and z=:2 and w=@p3"#,
            r#"select "col1" from x where y=$1 and z=:2 and w=@p3"#,
        ),
        ("select $$it's$$, $t$ a $$ $t$, 1", "select ?, ?, ?"),
        ("select 1 -- don't 2\n, 3 /* it's 4 */, 5", "select ? -- don't 2\n, ? /* it's 4 */, ?"),
        (r#"select `a1` from t where b = "x\"y" limit 10"#, "select `a1` from t where b = ? limit ?"),
        (
            r#"{"find": "users", "filter": {"mail": "a@b.example", "n": 5}}"#,
            r#"{"find": ?, "filter": {"mail": ?, "n": ?}}"#,
        ),
        ("select 'never closed", "select ?"),
        ("select N'x', 1_000, 5-3, 1e+5+2", "select N?, ?, ?-?, ?+?"),
        ("SET key1 42", "SET key1 ?"),
        ("wörter = 'ö' and 1=1", "wörter = ? and ?=?"),
        ("", ""),
        ("$", "$"),
    ] {
        assert_eq!(one(&enricher, "db.statement", sent), expected, "{sent}");
        assert_eq!(one(&enricher, "db.query.text", expected), expected, "twice: {sent}");
    }
    assert_eq!(one(&enricher, "other", "select 1"), "select 1");
}

#[test]
fn own_patterns_have_names() {
    let patterns = vec![("badge".to_owned(), compile_pattern("B-[0-9]{4}").unwrap())];
    let enricher = redacting(RedactConfig { patterns, ..RedactConfig::default() });
    assert_eq!(one(&enricher, "k", "badges B-1234 and B-99999"), "badges [redacted] and [redacted]9");
    assert_eq!(enricher.stats().redacted[0].rule, "value:badge");
    let wide = redacting(RedactConfig {
        patterns: vec![("any".to_owned(), compile_pattern("é*").unwrap())],
        ..RedactConfig::default()
    });
    assert_eq!(one(&wide, "k", "aébééc"), "a[redacted]b[redacted]c", "matches of nothing change nothing");
}

#[test]
fn rules_of_one_name_are_counted_together() {
    let pattern = |regex| ("badge".to_owned(), compile_pattern(regex).unwrap());
    let enricher = redacting(RedactConfig {
        patterns: vec![pattern("A-[0-9]+"), pattern("B-[0-9]+")],
        ..RedactConfig::default()
    });
    one(&enricher, "k", "A-1 B-2");
    let redacted = enricher.stats().redacted;
    assert_eq!(redacted, [Redacted { rule: "value:badge".into(), place: Place::Span, count: 2 }]);
}

#[test]
fn a_refused_spans_name_is_redacted_too() {
    let config = RedactConfig { names: true, ..values(&[ValueKind::Email]) };
    let bad = Span { trace_id: vec![], ..span("mail a@b.example", vec![]) };
    let enriched = redacting(config).apply(body_of(&request(vec![], vec![bad]))).unwrap();
    let reason = enriched.reject_reason.unwrap();
    assert!(reason.contains("mail [redacted]") && !reason.contains("a@b"), "{reason}");
}

#[test]
fn long_texts_take_no_longer_than_their_length() {
    use ValueKind::{Bearer, Card, Email, Jwt, Ssn};
    let kinds = values(&[Card, Email, Bearer, Jwt, Ssn]);
    let enricher = redacting(RedactConfig { urls: true, sql: true, ..kinds });
    for part in [
        "eyJ",
        "a@",
        "%40",
        "4 ",
        "41-",
        "bearer ",
        "1-",
        "$a$ ",
        "?a=1&",
        "'",
        "--",
        "/*",
        "eyJabcdefghij.",
        "\"\" ",
    ] {
        for key in ["url.full", "url.query", "db.statement", "k"] {
            // What is quadratic takes minutes.
            one(&enricher, key, &part.repeat((1 << 16) / part.len()));
        }
    }
}

proptest::proptest! {
    #[test]
    fn no_text_is_too_strange(
        text in r#"[ -~é日]{0,60}|['"`$/*a0.;\-\\ ]{0,40}|([a-z:/?#&=@é]|%4?0?){0,40}|[{\[]["a1:, \\}]{0,30}"#,
        key in proptest::sample::select(vec!["url.full", "url.query", "db.statement", "k", "token"]),
    ) {
        use ValueKind::{Bearer, Card, Email, Jwt, Ssn};
        let kinds = values(&[Card, Email, Bearer, Jwt, Ssn]);
        let enricher = redacting(RedactConfig { urls: true, sql: true, ..kinds });
        let once = one(&enricher, key, &text);
        proptest::prop_assert_eq!(&one(&enricher, key, &once), &once, "twice is not once");
    }
}
