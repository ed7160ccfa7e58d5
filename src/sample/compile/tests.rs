#![allow(clippy::unwrap_used)]

//! Compiled rules against evaluation of the same TraceQL over the decoded trace.

mod fixture;

use proptest::prelude::*;

use crate::sample::{Facts, Limiter, Matches, Rulebook, parse_rules};
use crate::traceql;
use crate::wire::TraceId;
use fixture::{Decoded, TRACE_ID, requests_of, trace};

/// What the compiled rule says of a trace that came in several requests.
fn compiled(when: &str, trace: &Decoded, requests: usize) -> Result<bool, String> {
    let text = format!("rules: [{{ name: asked, when: {when:?}, keep: 100% }}]");
    let rules = parse_rules(&text).map_err(|error| error.message)?;
    let book = Rulebook::new(rules, false);
    let mut whole: Option<(Matches, u64, u64)> = None;
    for body in requests_of(trace, requests) {
        for note in book.scan(&body).unwrap().traces {
            let found = &note.matches[0];
            match &mut whole {
                None => whole = Some((found.clone(), note.start_unix_nano, note.end_unix_nano)),
                Some((matches, start, end)) => {
                    matches.merge(found);
                    *start = note.start_unix_nano.min(*start);
                    *end = note.end_unix_nano.max(*end);
                }
            }
        }
    }
    let (matches, start, end) = whole.unwrap();
    let facts = Facts {
        trace_id: TraceId(TRACE_ID),
        randomness: None,
        duration_nano: end.saturating_sub(start),
        has_root: true,
        spans: 1,
        matches: Some(&matches),
    };
    Ok(&*book.current().decide(&facts, &mut Limiter::new(1024), std::time::Duration::ZERO).rule == "asked")
}

fn evaluated(when: &str, trace: &Decoded) -> bool {
    traceql::eval(&traceql::parse(when).unwrap(), trace).is_some()
}

/// Conditions of every kind that rules know.
fn condition() -> impl Strategy<Value = String> {
    let field = prop::sample::select(vec![
        "span.a",
        "span.b",
        "resource.a",
        "resource.service.name",
        ".a",
        ".b",
        ".c",
    ]);
    let equal = prop::sample::select(vec!["=", "!="]);
    let order = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    let literal = prop::sample::select(vec![
        "\"x\"",
        "\"y\"",
        "\"\"",
        "\"/login\"",
        "0",
        "1",
        "-5",
        "2.5",
        "1.0",
        "1ms",
        "5ns",
    ]);
    let pattern =
        prop::sample::select(vec!["x|y", "/login|/upload", "x.*", "", "|x", "[xy]", "(?i)X", "/log"]);
    let matching = prop::sample::select(vec!["=~", "!~"]);
    let text = prop::sample::select(vec!["name", "statusMessage", "rootName", "rootServiceName"]);
    let leaf = prop_oneof![
        4 => (field.clone(), order.clone(), literal.clone()).prop_map(|(f, op, l)| format!("{f} {op} {l}")),
        1 => (literal, order.clone(), field.clone()).prop_map(|(l, op, f)| format!("{l} {op} {f}")),
        2 => (field.clone(), matching.clone(), pattern.clone()).prop_map(|(f, op, p)| format!("{f} {op} \"{p}\"")),
        1 => (text.clone(), matching, pattern).prop_map(|(f, op, p)| format!("{f} {op} \"{p}\"")),
        2 => (text, equal.clone()).prop_map(|(f, op)| format!("{f} {op} \"x\"")),
        1 => (field.clone(), equal.clone()).prop_map(|(f, op)| format!("{f} {op} nil")),
        1 => (field.clone(), equal.clone(), any::<bool>()).prop_map(|(f, op, b)| format!("{f} {op} {b}")),
        1 => field.prop_map(str::to_owned),
        1 => (equal.clone(), prop::sample::select(vec!["ok", "error", "unset"])).prop_map(|(op, s)| format!("status {op} {s}")),
        1 => (equal.clone(), prop::sample::select(vec!["server", "client"])).prop_map(|(op, k)| format!("kind {op} {k}")),
        1 => equal.prop_map(|op| format!("parent {op} nil")),
        1 => (order.clone(), 0..12u64).prop_map(|(op, n)| format!("duration {op} {n}ns")),
        1 => (order, 0..30u64).prop_map(|(op, n)| format!("traceDuration {op} {n}ns")),
        1 => any::<bool>().prop_map(|b| b.to_string()),
    ];
    leaf.prop_recursive(3, 8, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) && ({b})")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("({a}) || ({b})")),
            inner.prop_map(|a| format!("!({a})")),
        ]
    })
}

fn query() -> impl Strategy<Value = String> {
    let filter =
        prop_oneof![8 => condition().prop_map(|c| format!("{{ {c} }}")), 1 => Just("{ }".to_owned())];
    let chain = |op: &'static str| move |filters: Vec<String>| filters.join(&format!(" {op} "));
    let filters = prop_oneof![
        filter.clone(),
        prop::collection::vec(filter.clone(), 2..4).prop_map(chain("&&")),
        prop::collection::vec(filter.clone(), 2..4).prop_map(chain("||")),
    ];
    let op = prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]);
    prop_oneof![
        3 => filters.clone(),
        1 => (filters.clone(), op, 0..4u8).prop_map(|(f, op, n)| format!("{f} | count() {op} {n}")),
        1 => (filters.clone(), filters).prop_map(|(a, b)| format!("({a}) && ({b})")),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn compiled_atoms_agree_with_evaluation(when in query(), trace in trace(), requests in 1usize..4) {
        let expected = evaluated(&when, &trace);
        match compiled(&when, &trace, requests) {
            Ok(found) => prop_assert_eq!(found, expected, "{}", when),
            Err(message) => prop_assert!(
                message.contains("alternatives") || message.contains("under different conditions"),
                "{} {}", when, message
            ),
        }
    }
}

#[test]
fn what_cannot_be_expressed_is_refused() {
    let cases = [
        ("{ event.a = 1 }", "an attribute of `event`"),
        ("{ parent.span.a = 1 }", "an attribute of the parent"),
        ("{ span.a = span.b }", "comparing two fields"),
        ("{ span.a + 1 = 2 }", "computing"),
        ("{ span.a = 1 } >> { span.b = 1 }", "the relation `>>`"),
        ("{ span.a = 1 } | by(span.b)", "`by`"),
        ("{ span.a = 1 } | avg(duration) > 1s", "an aggregate other than `count()`"),
        ("{ span:id = \"0011223344556677\" }", "`span:id`"),
        ("{ nestedSetParent = -1 }", "`nestedSetParent`"),
    ];
    for (when, words) in cases {
        let text = format!("rules: [{{ name: r, when: {when:?}, drop: true }}]");
        let error = parse_rules(&text).unwrap_err();
        assert!(error.message.contains(words), "{when}: {error}");
        assert!(error.message.contains("not possible in a rule yet"), "{when}: {error}");
    }
}

#[test]
fn alternatives_are_bounded() {
    let pair = |n: usize| format!("(span.a{n} = 1 || span.b{n} = 1)");
    let when = |pairs: usize| format!("{{ {} }}", (0..pairs).map(pair).collect::<Vec<_>>().join(" && "));
    let text = |pairs| format!("rules: [{{ name: r, when: '{}', drop: true }}]", when(pairs));
    assert!(parse_rules(&text(6)).is_ok());
    for pairs in [7, 40] {
        assert!(parse_rules(&text(pairs)).unwrap_err().message.contains("more than 64 alternatives"));
    }
}

#[test]
fn hundreds_of_texts_are_found_by_table() {
    let routes: Vec<String> = (0..300).map(|n| format!("/route-{n}")).collect();
    let when = format!("{{ span.a =~ \"{}\" }}", routes.join("|"));
    for (value, expected) in
        [("/route-0", true), ("/route-299", true), ("/route-300", false), ("/route-", false)]
    {
        let trace = fixture::one_span(&[("a", value)]);
        assert_eq!(compiled(&when, &trace, 1), Ok(expected), "{value}");
    }
}
