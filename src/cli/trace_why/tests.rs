use super::*;
use crate::query::WhySpans;

const PLAIN: Canvas = Canvas { width: 100, color: false };

fn rule(name: &str, when: Option<&str>, action: &str, result: RuleResult) -> RuleLine {
    RuleLine {
        name: name.into(),
        when: when.map(str::to_owned),
        action: action.into(),
        result,
        matches_now: None,
        matched_count: 0,
        spans: Vec::new(),
    }
}

fn span(id: &str) -> MatchedLine {
    MatchedLine {
        span_id: id.into(),
        service: "cart".into(),
        name: "GET /cart\u{1b}[2J".into(),
        is_error: true,
        start_time_unix_nano: "1".into(),
        duration_nano: 12_300_000,
    }
}

fn kept() -> WhyDocument {
    WhyDocument {
        trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
        state: WhyState::Kept,
        decision: Some(DecisionLine {
            rule: "errors".into(),
            rules_version: 3,
            retention: Some("errors".into()),
            time_unix_nano: "1700000000500000000".into(),
            early: true,
            ..DecisionLine::default()
        }),
        spans: WhySpans { found: 9, complete: true },
        rules_known: true,
        rules: vec![
            rule("health", Some("{ span.http.route = \"/health\" }"), "drop", RuleResult::NoMatch),
            RuleLine {
                matched_count: 2,
                spans: vec![span("0102030405060708")],
                ..rule("errors", Some("{ status = error }"), "keep 100%", RuleResult::Decided)
            },
        ],
        ..WhyDocument::default()
    }
}

#[test]
fn a_kept_trace_names_its_rule_and_the_span() {
    let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736
kept by rule errors

decided    2023-11-14 22:13:20.500 UTC · rules version 3
retention  errors
flags      early: memory was full
spans      9 spans

RULE    WHEN                             ACTION     RESULT
health  { span.http.route = \"/health\" }  drop       no match
errors  { status = error }               keep 100%  decided on 2 spans

SPAN              SERVICE  NAME                  DURATION
0102030405060708  cart     ✗ GET /cart\\u{1b}[2J    12.3ms
and 1 more
";
    assert_eq!(render(&PLAIN, &kept()), expected);
    let colored = render(&Canvas { color: true, ..PLAIN }, &kept());
    assert!(colored.contains("\u{1b}[1m") && !colored.contains("\u{1b}[2J"), "{colored}");
}

#[test]
fn a_dropped_trace_without_spans_says_what_the_chance_was() {
    let document = WhyDocument {
        state: WhyState::Dropped,
        decision: Some(DecisionLine {
            rule: "baseline".into(),
            rules_version: 1,
            probability: Some(0.01),
            threshold: Some("fd70a3d7".into()),
            time_unix_nano: "1700000000000000000".into(),
            ..DecisionLine::default()
        }),
        spans: WhySpans::default(),
        rules: vec![
            rule("errors", Some("{ status = error }"), "keep 100%", RuleResult::NotKnown),
            rule("baseline", None, "keep 1%", RuleResult::Decided),
        ],
        ..kept()
    };
    let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736
dropped by rule baseline

decided    2023-11-14 22:13:20.000 UTC · rules version 1
chance     1% are kept · th:fd70a3d7
spans      none left

RULE      WHEN                ACTION     RESULT
errors    { status = error }  keep 100%  did not decide
baseline  every trace         keep 1%    decided

None of its spans is left to tell which of them made the rule match.
";
    assert_eq!(render(&PLAIN, &document), expected);
}

#[test]
fn a_pending_trace_says_when_it_is_due() {
    let document = WhyDocument {
        state: WhyState::Pending,
        decision: None,
        due_time_unix_nano: Some("1700000030000000000".into()),
        rules_version: Some(4),
        rules_known: false,
        rules: Vec::new(),
        ..kept()
    };
    let expected = "\
trace 4bf92f3577b34da6a3ce929d0e0e4736
pending: not decided yet

due        2023-11-14 22:13:50.000 UTC at the latest · rules version 4
spans      9 spans

The rules of version 4 are not known any more.
";
    assert_eq!(render(&PLAIN, &document), expected);
}

#[test]
fn numbers_are_short() {
    let numbers = [1.0, 0.5, 12.34567, 0.00001, 100.0];
    assert_eq!(numbers.map(trimmed), ["1", "0.5", "12.3457", "0", "100"]);
}
