//! Tests of the section `export`.

use std::time::Duration;

use super::{EXAMPLE, complaint, load};
use crate::config::export::RawTarget;
use crate::config::{ClientTls, Config};

fn target(inner: &str) -> Result<crate::config::ExportTarget, String> {
    let text = format!("export: {{ vendor: {{ {inner} }} }}\n");
    load(&text).map(|config| config.export.targets[0].clone()).map_err(|error| error.to_string())
}

/// The commented example as it would be used.
fn example() -> String {
    let lines = EXAMPLE.lines().skip_while(|line| !line.starts_with("#  vendor:"));
    let lines = lines.take_while(|line| line.starts_with('#')).map(|line| &line[1..]);
    format!("export:\n{}\n", lines.collect::<Vec<_>>().join("\n"))
}

#[test]
fn the_documented_target_has_every_key_and_the_defaults() {
    let written: serde_json::Value = serde_saphyr::from_str(&example()).unwrap();
    let known = serde_json::to_value(RawTarget::default()).unwrap();
    let missing = super::reference::missing_of(&known, &written["export"]["vendor"]);
    assert!(missing.is_empty(), "not in config/tracewell.yaml: {missing:?}");
    let (documented, plain) = (
        load(&example()).unwrap().export.targets[0].clone(),
        target("endpoint: 'https://otlp.vendor.example:443'").unwrap(),
    );
    assert_eq!(documented, plain);
    assert_eq!((plain.queue_size, plain.queue_age), (2 << 30, Duration::from_secs(86_400)));
    assert_eq!((plain.timeout, plain.request, plain.grpc), (Duration::from_secs(30), 1 << 20, true));
    assert_eq!(plain.tls, Some(ClientTls::default()), "https");
}

#[test]
fn a_target_is_read() {
    let read = target(
        "endpoint: 'http://collector:4318/base/', protocol: http/protobuf, headers: { x-api-key: hush }, \
         header_files: { authorization: /run/key }, tenant_header: X-Scope-OrgID, compression: gzip, \
         filter: '{ status = error }', classes: [errors], tenants: [home], queue: { size: 3MiB, age: 2h }, \
         timeout: 5s, request: 2KiB",
    )
    .unwrap();
    assert_eq!(read.url.as_str(), "http://collector:4318/base/v1/traces");
    assert_eq!((read.headers[0].0.as_str(), read.headers[0].1.reveal()), ("x-api-key", "hush"));
    assert!(!format!("{read:?}").contains("hush"), "a secret is shown");
    assert_eq!((read.grpc, read.tls.is_none(), read.tenants[0].as_str()), (false, true, "home"));
    assert_eq!((read.queue_size, read.request, read.compression.as_str()), (3 << 20, 2 << 10, "gzip"));
    let path = |inner: &str| {
        target(&format!("protocol: http/protobuf, {inner}")).map(|target| target.url.path().to_owned())
    };
    assert_eq!(path("endpoint: 'https://a/otlp/v1/traces'").unwrap(), "/otlp/v1/traces");
    assert_eq!(path("endpoint: 'https://a', path: /traces/v0.9").unwrap(), "/traces/v0.9");
}

#[test]
fn what_is_wrong_is_named() {
    let endpoint = "endpoint: 'https://a:1'";
    for (inner, expected) in [
        (
            "protocol: grpc",
            "`export.vendor.endpoint`: must be set: write http://HOST:PORT or https://HOST:PORT",
        ),
        ("endpoint: a:4317", "`export.vendor.endpoint`: write http://HOST:PORT or https://HOST:PORT"),
        ("endpoint: 'https://me:pass@a'", "credentials belong into `headers`"),
        ("endpoint: 'https://a/v1'", "gRPC has no path; write http/protobuf in `protocol` for one"),
        (
            "endpoint: 'http://a', tls: { ca: ca.pem }",
            "`export.vendor.tls`: is set, but the endpoint says http://",
        ),
        (&format!("{endpoint}, protocol: udp"), "`export.vendor.protocol`: write grpc or http/protobuf"),
        (&format!("{endpoint}, compression: lz4"), "`export.vendor.compression`: write none, gzip or zstd"),
        (
            &format!("{endpoint}, headers: {{ te: x }}"),
            "`export.vendor.headers`: `te` is set by the protocol itself",
        ),
        (
            &format!("{endpoint}, headers: {{ 'a b': x }}"),
            "`export.vendor.headers`: `a b` is no header's name",
        ),
        (
            &format!("{endpoint}, headers: {{ a: \"s\\necret\" }}"),
            "the value of `a` is empty, or has characters",
        ),
        (&format!("{endpoint}, tenants: [a/b]"), "`export.vendor.tenants`: `a/b` is not a tenant's name"),
        (
            &format!("{endpoint}, queue: {{ size: 1KiB }}"),
            "`export.vendor.queue.size`: must be at least 1MiB",
        ),
        (&format!("{endpoint}, timeout: 0s"), "`export.vendor.timeout`: must be more than 0"),
        (&format!("{endpoint}, filtre: x"), "unknown key `filtre`; did you mean `filter`?"),
    ] {
        let error = target(inner).unwrap_err();
        assert!(error.contains(expected) && error.starts_with("t.yaml:1:"), "{inner}: {error}");
        assert!(!error.contains("ecret") && !error.contains("pass"), "{error}");
    }
    let name = complaint("export: { a/b: { endpoint: 'http://a' } }");
    assert!(name.contains("`a/b` cannot be a name"), "{name}");
    let agent =
        complaint("role: agent\ngateways: { static: ['a:1'] }\nexport: { a: { endpoint: 'http://a' } }");
    assert!(agent.contains("an agent keeps no traces"), "{agent}");
}

#[test]
fn exports_share_the_memory_limit() {
    let with = |text: &str| load(&format!("memory: {{ limit: 1GiB }}\n{text}")).unwrap();
    let none = with("");
    let two = with("export: { a: { endpoint: 'http://a' }, b: { endpoint: 'http://b' } }");
    assert_eq!((none.export.memory, two.export.memory >> 20), (0, 61));
    assert!(two.sample.index < none.sample.index, "the others have the rest");
    assert_eq!(Config::default().export.targets, []);
    let small = complaint("memory: { limit: 80MiB }\nexport: { a: { endpoint: 'http://a' } }");
    assert!(small.contains("memory.limit"), "{small}");
}
