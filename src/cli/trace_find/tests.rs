#![allow(clippy::unwrap_used)]

use clap::Parser;

use super::*;
use crate::cli::{Cli, Command, TraceCommand};
use crate::query::FoundLine;

fn args(flags: &[&str]) -> TraceFindArgs {
    let all = ["tracewell", "trace", "find"].iter().chain(flags);
    match Cli::try_parse_from(all).unwrap_or_else(|e| panic!("{e}")).command {
        Command::Trace(TraceCommand::Find(args)) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn flags_and_a_query_must_hold_in_the_same_trace() {
    let find = args(&["--service", "cart", "--query", "{ status = error } || { kind = client }"]);
    let text = find.traceql().unwrap();
    assert_eq!(text, "({ status = error } || { kind = client }) && { resource.service.name = \"cart\" }");
    traceql::parse(&text).unwrap();
    assert_eq!(args(&[]).traceql().unwrap(), "{ }");
    assert_eq!(args(&["-q", "{ } | count() > 1"]).traceql().unwrap(), "{ } | count() > 1");
}

#[test]
fn wrong_usage_is_explained() {
    let error = args(&["--query", "{ status = }"]).traceql().unwrap_err().to_string();
    assert!(error.starts_with("invalid TraceQL query: line 1, column 12"), "{error}");
    let error = args(&["--query", "{ } | count() > 1", "--status", "error"]).traceql().unwrap_err();
    assert!(error.to_string().contains("cannot be combined"), "{error}");
    let error = args(&["--status", "bad"]).traceql().unwrap_err().to_string();
    assert!(error.contains("error, ok, unset"), "{error}");
    for flags in [&["--limit", "0"][..], &["--last", "soon"], &["--attr", "x"], &["--min-duration", "5"]] {
        let all = ["tracewell", "trace", "find"].iter().chain(flags);
        assert_eq!(Cli::try_parse_from(all).unwrap_err().exit_code(), 2, "{flags:?}");
    }
}

#[test]
fn the_table_is_aligned_and_cleaned() {
    let line = |name: Option<&str>, service: Option<&str>, errors| FoundLine {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        start_time_unix_nano: "1795248000123000000".into(),
        duration_nano: 1_234_000_000,
        root_service: service.map(Into::into),
        root_name: name.map(Into::into),
        span_count: 12,
        error_count: errors,
        ..FoundLine::default()
    };
    let document = FindDocument {
        traces: vec![
            line(Some("POST /checkout"), Some("checkout"), 2),
            line(None, None, 0),
            line(Some("evil \u{1b}[2J name"), Some("日本"), 0),
        ],
        ..FindDocument::default()
    };
    let canvas = Canvas { width: 150, color: false };
    let expected = "\
TIME (UTC)               DURATION  SERVICE   NAME                          SPANS  ERRORS  TRACE ID
2026-11-21 08:00:00.123     1.23s  checkout  POST /checkout                   12       2  4bf92f3577b34da6a3ce929d0e0e4736
2026-11-21 08:00:00.123     1.23s  -         <root span not yet received>     12       0  4bf92f3577b34da6a3ce929d0e0e4736
2026-11-21 08:00:00.123     1.23s  日本      evil \\u{1b}[2J name              12       0  4bf92f3577b34da6a3ce929d0e0e4736
";
    assert_eq!(table(&canvas, &document), expected);
    let narrow = table(&Canvas { width: 110, color: false }, &document);
    assert!(narrow.lines().all(|l| text::width(l) <= 110), "{narrow}");
}
