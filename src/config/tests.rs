//! Tests of the configuration.
#![allow(clippy::unwrap_used)]

mod enrich;
mod export;
mod reference;
mod trust;

use std::collections::HashMap;
use std::time::Duration;

use super::raw::RawConfig;
use super::*;
use crate::enrich::{Action, ActionConfig, AttributeValue, DetectorKind, Put, Scope, Source};

const EXAMPLE: &str = include_str!("../../config/tracewell.yaml");

fn load(text: &str) -> Result<Config, ConfigError> {
    load_with(&Flags::default(), &[], text)
}

fn load_with(flags: &Flags, env: &[(&str, &str)], text: &str) -> Result<Config, ConfigError> {
    let env: HashMap<_, _> = env.iter().copied().collect();
    let lookup = |name: &str| env.get(name).map(|value| (*value).to_owned());
    Config::load(flags, &lookup, Some(ConfigFile { name: "t.yaml", text }), None)
}

/// The error of a file, as a person sees it.
fn complaint(text: &str) -> String {
    load(text).unwrap_err().to_string()
}

#[test]
fn the_documented_defaults_hold() {
    let config = Config::default();
    let addresses = [&config.grpc, &config.http, &config.api].map(ToString::to_string);
    assert_eq!(addresses, ["127.0.0.1:4317", "127.0.0.1:4318", "127.0.0.1:3200"]);
    assert_eq!(config.data.to_str(), Some("./tracewell-data"));
    assert_eq!((config.rules, config.store.url, config.debug), (RulesFrom::BuiltIn, None, false));
    let (memory, receive) = (config.memory, config.receive);
    assert_eq!(
        (memory.limit, receive.limit, receive.budget / 2 > receive.limit - (1 << 20)),
        (1 << 30, receive.budget / 2, true)
    );
    assert_eq!(config.log.limit, 20 << 30);
    assert_eq!(config.recorder.age, Duration::from_secs(900));
}

#[test]
fn empty_files_and_empty_sections_are_defaults() {
    for text in ["", "# nothing\n", "log:\nreceive:\n  # limit: 1MiB\n", "{}", "---\n"] {
        assert_eq!(load(text), Ok(Config::default()), "{text:?}");
    }
}

#[test]
fn a_flag_counts_before_the_environment_before_the_file() {
    let file = "grpc: file:1\nhttp: file:2\napi: file:3\ndata: file\ninsecure: true\n";
    let flags = Flags { grpc: Some("flag:1".into()), ..Flags::default() };
    let env = [("TRACEWELL_GRPC", "env:1"), ("TRACEWELL_HTTP", "env:2"), ("TRACEWELL_API", "")];
    let config = load_with(&flags, &env, file).unwrap();
    assert_eq!(config.grpc.to_string(), "flag:1");
    assert_eq!(config.http.to_string(), "env:2");
    assert_eq!(config.api.to_string(), "file:3", "an empty variable is not set");
    assert_eq!(config.data.to_str(), Some("file"));
    let env = [("TRACEWELL_STORE", "s3://b/p"), ("TRACEWELL_RULES", "r.yaml"), ("TRACEWELL_DATA", "/d")];
    let config = load_with(&Flags::default(), &env, file).unwrap();
    assert_eq!(config.store.url.unwrap().as_str(), "s3://b/p");
    assert_eq!(config.rules, RulesFrom::File("r.yaml".into()));
    assert_eq!(config.data.to_str(), Some("/d"));
}

#[test]
fn the_file_is_named_by_flag_or_environment() {
    let none = |_: &str| None;
    let env = |name: &str| (name == "TRACEWELL_CONFIG").then(|| "env.yaml".to_owned());
    let flags = Flags { config: Some("flag.yaml".into()), ..Flags::default() };
    assert_eq!(Config::file(&Flags::default(), &none), None);
    assert_eq!(Config::file(&Flags::default(), &env), Some("env.yaml".into()));
    assert_eq!(Config::file(&flags, &env), Some("flag.yaml".into()));
}

#[test]
fn trace_debug_is_a_switch() {
    let debug = |value: &str, file: &str| load_with(&Flags::default(), &[("TRACE_DEBUG", value)], file);
    assert!(debug("1", "").unwrap().debug);
    assert!(!debug("0", "debug: true").unwrap().debug);
    assert!(debug("", "debug: true").unwrap().debug);
    let error = debug("maybe", "").unwrap_err().to_string();
    assert_eq!(error, "environment variable TRACE_DEBUG: `debug`: write 1 or 0");
}

#[test]
fn every_section_is_read() {
    let text = "
        memory: { limit: 512MiB }
        receive: { limit: 1MiB, budget: 2MiB, header_timeout: 1s, body_timeout: 2s, connections: 7 }
        log: { segment: 1MiB, limit: 2GB }
        recorder: { age: 1h30m, size: 0B }
        sample: { index: 5MiB, decisions: 6MiB }
        decisions: { keep: 2h, size: 7MiB }
        store: { url: 'az://c/p', flush: { bytes: 1KiB, age: 500ms }, lifecycle: false }
        query: { timeout: 3d, concurrency: 1, limit: 2, limit_max: 3, cache: 0B, index: 9MiB }
        observe: { logs: json, level: warn }
        shutdown: { deadline: 1.5s }
        rules: consul://localhost:8500/tracewell/rules
        debug: yes
    ";
    let config = load(text).unwrap();
    assert_eq!(config.memory.limit, 512 << 20);
    assert_eq!((config.receive.limit, config.receive.connections), (1 << 20, 7));
    assert_eq!(config.receive.body_timeout, Duration::from_secs(2));
    assert_eq!(config.log, LogSection { segment: 1 << 20, limit: 2_000_000_000 });
    assert_eq!(config.recorder, RecorderSection { age: Duration::from_secs(5400), size: 0 });
    assert_eq!(config.sample, SampleSection { index: 5 << 20, decisions: 6 << 20 });
    assert_eq!(config.decisions, DecisionsSection { keep: Duration::from_secs(7200), size: 7 << 20 });
    assert_eq!((config.store.flush_bytes, config.store.flush_age), (1024, Duration::from_millis(500)));
    assert!(!config.store.lifecycle && config.debug);
    assert_eq!(config.query.index, 9 << 20);
    assert_eq!((config.query.timeout, config.query.limit_max), (Duration::from_secs(259_200), 3));
    assert_eq!(config.observe, ObserveSection { logs: LogFormat::Json, level: LogLevel::Warn });
    assert_eq!(config.shutdown.deadline, Duration::from_millis(1500));
    assert!(matches!(config.rules, RulesFrom::Consul(_)));
}

#[test]
fn enrich_is_read() {
    let text = r#"
enrich:
  detectors: [os, host]
  override: true
  redact: { enabled: false, keys: [ssn] }
  actions:
    - { action: insert, scope: resource, key: a, value: 1 }
    - { action: upsert, key: b, value: { c: [1.5, true, "1"] } }
    - { action: delete, key: d }
    - { action: hash, scope: span, key: user.id }
"#;
    let enrich = load(text).unwrap().enrich;
    assert_eq!(enrich.detectors, [DetectorKind::Os, DetectorKind::Host]);
    assert!(enrich.override_sent && !enrich.redact.enabled);
    assert_eq!(enrich.redact.keys, ["ssn"]);
    let list = vec![AttributeValue::Double(1.5), AttributeValue::Bool(true), AttributeValue::Str("1".into())];
    let map = AttributeValue::Map(vec![("c".into(), AttributeValue::Array(list))]);
    let action = |scope, action| ActionConfig { scope, when: None, action };
    let put = |put, key: &str, value| Action::Put { put, key: key.into(), value: Source::Fixed(value) };
    let expected = [
        action(Scope::Resource, put(Put::Insert, "a", AttributeValue::Int(1))),
        action(Scope::Span, put(Put::Upsert, "b", map)),
        action(Scope::Span, Action::Delete { key: "d".into() }),
        action(Scope::Span, Action::Hash { key: "user.id".into() }),
    ];
    assert_eq!(enrich.actions, expected);
}

#[test]
fn unknown_keys_name_line_column_and_the_nearest() {
    assert_eq!(complaint("grpcc: x"), "t.yaml:1:1: unknown key `grpcc`; did you mean `grpc`?");
    let nested = "log:\n  segment: 1MiB\n  limitt: 2GiB\n";
    assert_eq!(complaint(nested), "t.yaml:3:3: unknown key `limitt`; did you mean `limit`?");
    let far = complaint("shutdown:\n  zzzzzz: 1\n");
    assert_eq!(far, "t.yaml:2:3: unknown key `zzzzzz`; the keys here are: deadline");
    let action = complaint("enrich:\n  actions:\n    - { action: delete, kye: a }\n");
    assert_eq!(action, "t.yaml:3:25: unknown key `kye`; did you mean `key`?");
}

#[test]
fn wrong_values_name_line_and_column() {
    for (text, expected) in [
        ("receive:\n  limit: 64\n", "t.yaml:2:10: `64` has no unit; write for example `64B` or `64MiB`"),
        ("receive:\n  limit: 64MB2\n", "t.yaml:2:10: `2` is not a unit; the units are B, KiB, MiB, GiB, TiB"),
        ("recorder: { age: 3 weeks }", "t.yaml:1:18: `weeks` is not a unit; the units are ms, s, m, h, d"),
        (
            "recorder: { age: soon }",
            "t.yaml:1:18: `soon` does not begin with a number; write for example `500ms`",
        ),
        ("recorder: { size: 99999999TiB }", "t.yaml:1:19: `99999999TiB` is too large"),
    ] {
        assert_eq!(complaint(text), expected, "{text}");
    }
}

#[test]
fn values_that_cannot_be_used_name_key_and_origin() {
    for (text, expected) in [
        (
            "grpc: 4317",
            "t.yaml:1:7: `grpc`: `4317` has no port; write HOST:PORT, for example `127.0.0.1:4317`",
        ),
        ("\n\ngrpc: a:b", "t.yaml:3:7: `grpc`: `b` is not a port: a number up to 65535"),
        ("api: '::1:3200'", "t.yaml:1:6: `api`: an IPv6 address stands in brackets: `[::1]:3200`"),
        ("receive: { limit: 0B }", "t.yaml:1:19: `receive.limit`: must be more than 0"),
        (
            "receive: { limit: 512MiB }",
            "t.yaml:1:19: `receive.budget`: 92MiB, its share of memory.limit, is less than twice receive.limit (512MiB): the largest request would never fit",
        ),
        (
            "memory: { limit: 1MiB }",
            "t.yaml:1:18: `memory.limit`: 1MiB is less than the least that works, 89MiB",
        ),
        (
            "memory: { limit: 256MiB }\nsample: { index: 1GiB }",
            "t.yaml:1:18: `memory.limit`: 256MiB is too little for sample.index (1GiB, 2GiB at peak): with the least for the rest that is 2121MiB",
        ),
        ("sample: { index: 0B }", "t.yaml:1:18: `sample.index`: must be more than 0"),
        ("receive: { limit: 2GiB }", "t.yaml:1:19: `receive.limit`: must be from 1KiB to 1GiB"),
        ("receive: { connections: 0 }", "t.yaml:1:25: `receive.connections`: must be more than 0"),
        ("shutdown: { deadline: 0s }", "t.yaml:1:23: `shutdown.deadline`: must be more than 0"),
        ("log: { limit: 100MiB }", "t.yaml:1:15: `log.limit`: 100MiB is less than two segments (64MiB each)"),
        ("query: { limit: 2000 }", "t.yaml:1:17: `query.limit`: 2000 is more than query.limit_max (1000)"),
        ("store: { url: /data }", "t.yaml:1:15: `store.url`: `/data` is a path; write `file:///data`"),
        (
            "receive: { budget: 1MiB, limit: 1MiB }",
            "t.yaml:1:20: `receive.budget`: 1MiB is less than twice receive.limit (1MiB): the largest request would never fit",
        ),
        (
            "compaction: { memory: 8MiB }",
            "t.yaml:1:23: `compaction.memory`: is too little to merge two files: at least 16MiB",
        ),
    ] {
        assert_eq!(complaint(text), expected, "{text}");
    }
    let flags = Flags { api: Some("127.0.0.1".into()), ..Flags::default() };
    let error = load_with(&flags, &[], "").unwrap_err().to_string();
    assert!(error.starts_with("flag --api: `api`: `127.0.0.1` has no port"), "{error}");
    let error = load_with(&Flags::default(), &[("TRACEWELL_STORE", "ftp://x")], "").unwrap_err().to_string();
    assert!(
        error.starts_with("environment variable TRACEWELL_STORE: `store.url`: there is no store"),
        "{error}"
    );
    let same = complaint("grpc: h:1\napi: h:1");
    assert!(same.contains("`api`") && same.contains("h:1 is already that of `grpc`"), "{same}");
}

#[test]
fn broken_yaml_is_an_error_with_a_place() {
    for text in
        ["grpc: [", "a: b: c", "grpc: x\ngrpc: y", "- 1", "grpc: {a: 1}", "log: 5", "observe: {logs: xml}"]
    {
        let error = complaint(text);
        assert!(error.starts_with("t.yaml:"), "{text}: {error}");
        println!("{error}");
    }
}

#[test]
fn variables_are_filled_in() {
    let env = [("PORT", "1234"), ("EMPTY", ""), ("DIR", "/x"), ("BYTES", "5MiB")];
    let text = "grpc: 127.0.0.1:${PORT}\nhttp: ${HOST:-localhost}:${EMPTY:-9}\ndata: '${DIR}/$${PORT}${EMPTY}$'\n\
                # ${UNSET} in a comment\nsample: { index: ${BYTES} } # ${UNSET}\n";
    let config = load_with(&Flags::default(), &env, text).unwrap();
    assert_eq!(config.grpc.to_string(), "127.0.0.1:1234");
    assert_eq!(config.http.to_string(), "localhost:9");
    assert_eq!(config.data.to_str(), Some("/x/${PORT}$"));
    assert_eq!(config.sample.index, 5 << 20);
}

#[test]
fn missing_variables_and_places_behind_variables_are_exact() {
    let unset = complaint("\ndata: a/${NOT_SET}");
    assert!(unset.starts_with("t.yaml:2:9: the environment variable NOT_SET is not set"), "{unset}");
    assert!(unset.contains("${NOT_SET:-…}"), "{unset}");
    assert_eq!(complaint("data: ${A"), "t.yaml:1:7: `${` is never closed by `}`");
    assert_eq!(complaint("data: ${A-b}"), "t.yaml:1:7: `A-b` is not the name of an environment variable");
    let env = [("LONG", "1000000000MiB"), ("LINES", "a\nb: c")];
    let behind = load_with(&Flags::default(), &env, "log: { segment: ${LONG}, limitt: 1MiB }").unwrap_err();
    assert!(behind.to_string().starts_with("t.yaml:1:26: unknown key `limitt`"), "{behind}");
    let at = load_with(&Flags::default(), &env, "log: { segment: ${UNIT:-64} }").unwrap_err();
    assert!(at.to_string().starts_with("t.yaml:1:17: `64` has no unit"), "{at}");
    let lines = load_with(&Flags::default(), &env, "data: ${LINES}").unwrap_err().to_string();
    assert_eq!(lines, "t.yaml:1:7: the environment variable LINES holds a line break");
}

#[test]
fn sizes_and_periods_show_as_they_are_written() {
    for text in ["0B", "1B", "1023B", "64MiB", "20GiB", "3TiB", "1KB", "5GB"] {
        assert_eq!(text.parse::<ByteSize>().unwrap().to_string(), text);
    }
    for text in ["0s", "500ms", "30s", "15m", "3d", "5h", "7us", "1ns"] {
        assert_eq!(text.parse::<Period>().unwrap().to_string(), text);
    }
    assert_eq!("1.5GiB".parse::<ByteSize>().unwrap().0, 3 << 29);
    assert_eq!("1d2h".parse::<Period>().unwrap().0, Duration::from_secs(93_600));
    for wrong in ["", "1h 30m", "-1s", "1..5s", "1e3s", "s", "5 s s", "18446744073709551616ns"] {
        assert!(wrong.parse::<Period>().is_err(), "{wrong}");
    }
}

#[test]
fn a_fleet_is_named_by_one_source_and_each_mistake_is_explained() {
    let config = load("role: agent\ngateways: { static: ['a:4317', 'b:4317'], queue: 1MiB }\n").unwrap();
    let members = Some(Members::Static(vec!["a:4317".into(), "b:4317".into()]));
    assert_eq!(
        (config.role, config.gateways.members, config.gateways.queue),
        (Role::Agent, members, 1 << 20)
    );
    let config =
        load("role: agent\ngateways: { consul: 'consul://c/gw' }\nforward: { sample: 2.5% }").unwrap();
    let consul = Members::Consul("http://c:8500".parse().unwrap(), "gw".into());
    assert_eq!((config.gateways.members, config.forward.sample), (Some(consul), Some(0.025)));

    for (text, said) in [
        ("role: sidecar", "t.yaml:1:7: `role`: there is no role `sidecar`; write all, agent or gateway"),
        ("role: agent", "an agent needs to know them"),
        ("gateways: { static: ['a:1'] }", "which of them it is"),
        ("role: agent\ngateways: { static: ['a:1'], dns: 'b:1' }", "name one of"),
        ("role: agent\ngateways: { static: ['a'] }", "t.yaml:2:22: `gateways.static`: `a` is no address"),
        ("role: agent\ngateways: { dns: 'http://b:1' }", "write HOST:PORT"),
        ("role: agent\ngateways: { consul: 'consul://c' }", "names no service"),
        ("role: agent\ngateways: { dns: 'b:1', compression: lz4 }", "write none, gzip or zstd"),
        ("role: agent\ngateways: { dns: 'b:1', tls: { cert: x } }", "come together"),
        ("forward: { sample: 0% }", "above 0% and up to 100%"),
        ("forward: { sample: 10 }", "above 0% and up to 100%"),
    ] {
        let error = complaint(text);
        assert!(error.contains(said), "{text}: {error}");
    }
}

#[test]
fn the_role_has_a_flag_and_a_variable() {
    let file = "gateways: { static: ['a:1'], self: 'a:1' }";
    let role = |flag: Option<&str>, env: &[(&str, &str)]| {
        let flags = Flags { role: flag.map(str::to_owned), ..Flags::default() };
        load_with(&flags, env, file).unwrap().role
    };
    assert_eq!(role(None, &[]), Role::All);
    assert_eq!(role(None, &[("TRACEWELL_ROLE", "gateway")]), Role::Gateway);
    assert_eq!(role(Some("agent"), &[("TRACEWELL_ROLE", "gateway")]), Role::Agent);
}
