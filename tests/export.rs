//! `trace export` and `trace import`: what leaves one daemon is in another as it was, whatever that one's rules drop.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::path::Path;
use std::time::Duration;

use support::traffic::{self, Shape};
use support::{Daemon, Start, tracewell};

const KEEP: &str =
    "version: 1\ndecision: { wait: 1s, after_root: 200ms }\nrules: [{ name: all, keep: 100% }]\n";
const DROP: &str =
    "version: 1\ndecision: { wait: 1s, after_root: 200ms }\nrules: [{ name: none, drop: true }]\n";
const FLUSH: &str = "store: { flush: { age: 300ms } }\n";
const TRACES: u64 = 5;

fn id(number: u64) -> String {
    traffic::hex(&traffic::trace_id(number))
}

/// The spans of a trace, as `trace show --json` has them.
fn shown(daemon: &Daemon, number: u64) -> serde_json::Value {
    let (code, text, error) = tracewell(&["trace", "show", "--json", "--url", &daemon.api, &id(number)]);
    assert_eq!(code, Some(0), "{error}");
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    document["resourceSpans"].clone()
}

async fn with_traces(data: &Path) -> Daemon {
    let daemon = Start::new(data).rules(KEEP).config(FLUSH).run();
    let mut client = traffic::connect(&daemon.grpc).await.unwrap();
    for number in 0..TRACES {
        traffic::send(&mut client, traffic::trace(number, Shape::Plain, 4), "shop").await.unwrap();
    }
    daemon.settle(Duration::from_secs(30)).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_exported_can_be_imported_where_the_rules_would_drop_it() {
    let folder = tempfile::tempdir().unwrap();
    let first = with_traces(&folder.path().join("first/data")).await;
    let file = folder.path().join("export.jsonl");
    let file = file.to_str().unwrap();
    let query = ["trace", "export", "--query", "{}", "--last", "1h", "--url", &first.api, "-o", file];
    let (code, _, error) = tracewell(&query);
    assert_eq!(code, Some(0), "{error}");
    let lines = std::fs::read_to_string(file).unwrap();
    assert_eq!(lines.lines().count() as u64, TRACES);

    let second = Start::new(&folder.path().join("second/data")).rules(DROP).config(FLUSH).run();
    let import = ["trace", "import", file, "--otlp", &second.http, "--url", &second.api];
    let (code, _, error) = tracewell(&import);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("20 spans of 5 traces"), "{error}");
    second.settle(Duration::from_secs(30)).await;
    for number in 0..TRACES {
        assert_eq!(shown(&second, number), shown(&first, number));
        let why = second.json(&format!("/api/traces/{}/why", id(number))).await;
        assert_eq!(why["state"], "kept", "{why}");
    }

    // Again: it is there already, and stays there once.
    assert_eq!(tracewell(&import).0, Some(0));
    second.settle(Duration::from_secs(30)).await;
    assert_eq!(shown(&second, 0), shown(&first, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn mistakes_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = with_traces(&folder.path().join("data")).await;
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let import =
        |file: &str| tracewell(&["trace", "import", file, "--otlp", &daemon.http, "--url", &daemon.api]);

    let (_, good, _) = tracewell(&["trace", "export", &id(0), "--url", &daemon.api]);
    let torn = file("torn.jsonl", &format!("{good}\n{}", &good[..good.len() / 2]));
    let (code, _, error) = import(&torn);
    assert_eq!(code, Some(2));
    assert!(
        error.contains("torn.jsonl, line 3 (1 line before it imported)") && error.contains("not JSON"),
        "{error}"
    );
    let logs = file("logs.jsonl", "{\"resourceLogs\":[]}\n");
    let (code, _, error) = import(&logs);
    assert!(code == Some(2) && error.contains("line 1") && error.contains("resourceSpans"), "{error}");
    let bad = file("bad.jsonl", &good.replace(&id(0), "00"));
    let (code, _, error) = import(&bad);
    assert!(code != Some(0) && (error.contains("traceId") || error.contains("rejected")), "{error}");
    let (code, _, error) = import(folder.path().join("none.jsonl").to_str().unwrap());
    assert!(code == Some(2) && error.contains("none.jsonl"), "{error}");

    let (code, out, error) = tracewell(&["trace", "export", &id(99), "--url", &daemon.api]);
    assert!(code == Some(1) && out.is_empty() && error.contains(&id(99)), "{error}");
    let (code, _, error) = tracewell(&["trace", "export", &id(0), "--url", &daemon.api, "-o", &torn]);
    assert!(code == Some(2) && error.contains("exists already"), "{error}");
    let (code, _, error) = tracewell(&["trace", "export", "--query", "{ span.", "--url", &daemon.api]);
    assert!(code == Some(2) && error.contains("invalid TraceQL"), "{error}");
}
