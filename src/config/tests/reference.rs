//! `config/tracewell.yaml` is the reference: it has every key that is accepted, and no other.

use serde_json::{Map, Value};

use super::*;

/// Whose keys people choose: tenants, columns, backends.
const FREE: [&str; 3] = [".limits.tenants", ".store.columns", ".export"];

fn written() -> Value {
    serde_saphyr::from_str(EXAMPLE).unwrap()
}

/// The keys that the code knows and what is written lacks.
pub(super) fn missing_of(known: &Value, written: &Value) -> Vec<String> {
    fn compare(path: &str, known: &Value, written: &Value, missing: &mut Vec<String>) {
        for (key, inner) in known.as_object().into_iter().flatten() {
            let path = format!("{path}.{key}");
            match written.get(key) {
                Some(written) => compare(&path, inner, written, missing),
                None => missing.push(path),
            }
        }
    }
    let mut found = Vec::new();
    compare("", known, written, &mut found);
    found
}

fn missing(written: &Value) -> Vec<String> {
    missing_of(&serde_json::to_value(RawConfig::default()).unwrap(), written)
}

/// Every section of the file and every key in it, dotted.
fn paths(value: &Value, path: &str, sections: &mut Vec<String>, keys: &mut Vec<String>) {
    let Some(object) = value.as_object() else { return };
    sections.push(path.to_owned());
    for (key, inner) in object {
        let path = format!("{path}.{key}");
        keys.push(path.clone());
        paths(inner, &path, sections, keys);
    }
}

/// The object at a dotted path.
fn at<'v>(value: &'v mut Value, path: &str) -> &'v mut Map<String, Value> {
    let names = path.split('.').filter(|name| !name.is_empty());
    names.fold(value, |value, name| &mut value[name]).as_object_mut().unwrap()
}

#[test]
fn the_file_holds_the_defaults() {
    assert_eq!(load(EXAMPLE).unwrap(), Config::default());
}

#[test]
fn every_key_that_is_accepted_is_in_the_file() {
    assert_eq!(missing(&written()), Vec::<String>::new(), "not in config/tracewell.yaml");
    let comments = EXAMPLE.lines().filter(|line| line.contains('#')).count();
    assert!(comments > 35, "one line why for each key; there are {comments}");
}

#[test]
fn taking_any_key_out_of_the_file_is_noticed() {
    let (mut sections, mut keys) = Default::default();
    paths(&written(), "", &mut sections, &mut keys);
    assert!(keys.len() > 140, "{}", keys.len());
    for path in keys {
        let mut without = written();
        let (section, key) = path.rsplit_once('.').unwrap();
        at(&mut without, section).remove(key);
        assert_eq!(missing(&without), [path]);
    }
}

#[test]
fn a_key_in_the_file_that_is_not_accepted_is_refused_in_every_section() {
    let (mut sections, mut keys) = Default::default();
    paths(&written(), "", &mut sections, &mut keys);
    assert!(sections.len() > 25, "{}", sections.len());
    for section in sections.into_iter().filter(|section| !FREE.contains(&section.as_str())) {
        let mut with = written();
        at(&mut with, &section).insert("of_no_use".into(), Value::Bool(true));
        match load(&with.to_string()) {
            Err(ConfigError::UnknownKey { key, .. }) => assert_eq!(key, "of_no_use"),
            other => panic!("{section}: {other:?}"),
        }
    }
}

/// The keys of what stands in a list, which the file shows in comments: from the parser itself.
fn keys_of(item: &str) -> Vec<String> {
    match load(&item.replace("HERE", "{ of_no_use: 1 }")) {
        Err(ConfigError::UnknownKey { known, .. }) => known,
        other => panic!("{item}: {other:?}"),
    }
}

/// The lines from one key to another.
fn part<'t>(from: &str, to: &str) -> &'t str {
    let begin = EXAMPLE.find(&format!("\n  {from}:")).or(EXAMPLE.find(&format!("\n    {from}:"))).unwrap();
    let rest = &EXAMPLE[begin..];
    &rest[..rest.find(&format!(" {to}:")).unwrap()]
}

#[test]
fn the_keys_of_what_stands_in_lists_are_told_in_comments_and_accepted() {
    for (item, from, to) in [
        ("enrich: { actions: [HERE] }", "actions", "detectors"),
        ("enrich: { redact: { patterns: [HERE] } }", "patterns", "urls"),
        ("auth: { certificates: [HERE] }", "certificates", "status"),
        ("limits: { tenants: { home: HERE } }", "default", "tenants"),
    ] {
        let text = part(from, to);
        for key in keys_of(item) {
            let is_told = |before: &str| text.contains(&format!("{before}{key}:"));
            assert!(
                [" ", "(", "{", "`"].into_iter().any(is_told) || text.contains(&format!(" {key} ")),
                "{item}: {key}"
            );
        }
    }
    // What the comments show is what can be written.
    let examples = regex::Regex::new(r"\{ (?:action|name|common_name):[^{}]*(?:'[^']*'[^{}]*)*\}").unwrap();
    let shown: Vec<&str> = examples.find_iter(EXAMPLE).map(|found| found.as_str()).collect();
    assert!(shown.len() >= 4, "{shown:?}");
    for example in shown {
        let text = match example {
            action if action.starts_with("{ action") => format!("enrich: {{ actions: [{action}] }}"),
            name if name.starts_with("{ name") => format!("enrich: {{ redact: {{ patterns: [{name}] }} }}"),
            rule => format!("auth: {{ certificates: [{rule}] }}"),
        };
        load(&text).unwrap_or_else(|error| panic!("{example}: {error}"));
    }
}
