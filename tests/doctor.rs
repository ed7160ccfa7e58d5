//! `tracewell doctor`: what is right, what is wrong, and where.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use serde_json::Value;
use support::{Start, tracewell};

/// The state of each thing that was looked at, and what was said.
fn states(args: &[&str]) -> (Option<i32>, Vec<(String, String, String)>) {
    let (code, out, error) = tracewell(&[&["doctor", "--json"], args].concat());
    let document: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("no JSON: {out}{error}"));
    let text = |check: &Value, key: &str| check[key].as_str().unwrap().to_owned();
    let checks = document["checks"].as_array().unwrap().iter();
    (code, checks.map(|check| (text(check, "what"), text(check, "state"), text(check, "message"))).collect())
}

fn one<'a>(checks: &'a [(String, String, String)], what: &str) -> (&'a str, &'a str) {
    let (_, state, message) = checks.iter().find(|(of, ..)| of == what).unwrap();
    (state, message)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_daemon_is_found_well() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let daemon = Start::new(&data).run();
    let config = folder.path().join("doctor.yaml");
    let api = daemon.api.trim_start_matches("http://");
    std::fs::write(&config, format!("api: {api}\n")).unwrap();
    let arguments = ["--config", config.to_str().unwrap(), "--data", data.to_str().unwrap()];
    let (code, checks) = states(&arguments);
    assert_eq!(code, Some(0), "{checks:?}");
    for what in ["configuration", "rules", "store", "lifecycle", "daemon"] {
        assert_eq!(one(&checks, what).0, "good", "{checks:?}");
    }
    let (code, page, _) = tracewell(&[&["doctor"], &arguments[..]].concat());
    assert!(code == Some(0) && page.contains("✓ daemon") && page.contains("ready"), "{page}");
}

#[test]
fn each_thing_that_is_wrong_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let rules = folder.path().join("rules.yaml");
    std::fs::write(&rules, "version: 1\nrules: [{ name: a, whan: '{ }' }]\n").unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "").unwrap();
    let base = ["--data", data.to_str().unwrap()];
    let (code, checks) = states(&[&base[..], &["--rules", rules.to_str().unwrap()]].concat());
    let (state, says) = one(&checks, "rules");
    assert!(code == Some(1) && state == "wrong" && says.contains("whan"), "{checks:?}");

    let (code, checks) = states(&["--data", file.to_str().unwrap()]);
    let (state, says) = one(&checks, "data");
    assert!(code == Some(1) && state == "wrong" && says.contains("a-file"), "{checks:?}");

    let (code, checks) = states(&[&base[..], &["--store", "ftp://nowhere/x"]].concat());
    assert!(
        code == Some(1) && checks.iter().any(|(_, state, says)| state == "wrong" && says.contains("ftp")),
        "{checks:?}"
    );

    let config = folder.path().join("export.yaml");
    let targets =
        "  near: { endpoint: 'http://127.0.0.1:1' }\n  far: { endpoint: 'http://a:1', filter: '{ . }' }\n";
    std::fs::write(&config, format!("export:\n{targets}")).unwrap();
    let (code, checks) = states(&[&base[..], &["--config", config.to_str().unwrap()]].concat());
    let says: Vec<_> = checks.iter().filter(|(of, ..)| of == "export").map(|(_, _, says)| says).collect();
    assert!(code == Some(1) && says.len() == 2, "{checks:?}");
    assert!(
        says[0].starts_with("export.far.filter: ") && says[1].contains("near: cannot reach 127.0.0.1:1"),
        "{says:?}"
    );

    let missing = folder.path().join("none.yaml");
    let (code, checks) = states(&["--config", missing.to_str().unwrap()]);
    assert!(code == Some(1) && one(&checks, "configuration").1.contains("none.yaml"), "{checks:?}");
}
