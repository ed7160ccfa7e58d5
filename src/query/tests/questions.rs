//! What is asked, before anything is read: filters, probes, ids, durations.

use std::time::Duration;

use crate::query::{Filter, TraceIdError, parse_duration, parse_trace_id, probes};
use crate::store::ScanHint;
use crate::store::read::{AttributeScope, HintValue};
use crate::traceql::parse;

#[test]
fn filters_become_traceql_that_parses() {
    let filter = Filter {
        service: Some("ca\"rt".into()),
        name: Some("a\\b".into()),
        route: Some("/login".into()),
        status: Some("error".into()),
        trace_duration_min: Some(Duration::from_millis(500)),
        trace_duration_max: Some(Duration::from_secs(2)),
        attributes: vec![("user id".into(), "42".into()), ("span.retry".into(), "true".into())],
    };
    let query = filter.to_traceql().unwrap();
    assert_eq!(
        query,
        "{ resource.service.name = \"ca\\\"rt\" && name = \"a\\\\b\" && span.http.route = \"/login\" && status = error \
         && (span.\"user id\" = \"42\" || span.\"user id\" = 42 || resource.\"user id\" = \"42\" || resource.\"user id\" = 42) \
         && (span.retry = \"true\" || span.retry = true) \
         && traceDuration >= 500000000ns && traceDuration <= 2000000000ns }"
    );
    parse(&query).unwrap();
    assert_eq!(Filter::default().to_traceql().unwrap(), "{ }");
    assert!(Filter { status: Some("bad".into()), ..Filter::default() }.to_traceql().is_err());
    for value in ["-1", "1.5", "+3", "1e9", "nan", ".5", "", "é\u{1}"] {
        let filter = Filter { attributes: vec![("k".into(), value.into())], ..Filter::default() };
        parse(&filter.to_traceql().unwrap()).unwrap_or_else(|e| panic!("{value}: {e}"));
    }
}

fn hints(query: &str) -> Vec<Vec<ScanHint>> {
    probes(&parse(query).unwrap()).into_iter().map(|p| p.hints).collect()
}

fn equals(scope: AttributeScope, key: &str, value: &str) -> ScanHint {
    ScanHint::AttributeEquals { scope, key: key.into(), value: HintValue::Str(value.into()) }
}

#[test]
fn conditions_on_one_span_are_asked_together() {
    assert_eq!(
        hints("{ span.a = \"x\" && status = error && 10ms < duration }"),
        [[
            equals(AttributeScope::Span, "a", "x"),
            ScanHint::StatusEquals(2),
            ScanHint::MinDurationNano(10_000_000)
        ]]
    );
    assert_eq!(
        hints("{ span.a = \"x\" || resource.b = \"y\" }"),
        [[equals(AttributeScope::Span, "a", "x")], [equals(AttributeScope::Resource, "b", "y")]]
    );
    assert_eq!(hints("{ kind = server } >> { name = \"n\" }"), [[ScanHint::NameEquals("n".into())]]);
    assert_eq!(hints("{ name = \"n\" } !>> { status = ok }"), [[ScanHint::StatusEquals(1)]]);
    assert_eq!(probes(&parse("{ traceDuration > 1s }").unwrap())[0].trace_duration_min_nano, 1_000_000_000);
}

#[test]
fn what_a_probe_cannot_say_is_asked_of_everything() {
    let everything = [
        "{ }",
        "{ span.a != \"x\" }",
        "{ span.a = nil }",
        "{ .a = \"x\" || span.b > 3 }",
        "{ parent.span.a = \"x\" }",
        "{ event.a = \"x\" }",
        "{ status = unset }",
        "{ status != error }",
        "{ !(status = error) }",
        "{ span.a = span.b }",
        "{ name = \"a\" } || { }",
    ];
    for query in everything {
        assert_eq!(hints(query), [[]], "{query}");
    }
}

#[test]
fn small_questions_are_put_to_the_table_of_traces() {
    let of = |query: &str| probes(&parse(query).unwrap())[0].for_traces();
    let probe = of("{ resource.service.name = \"s\" && status = error && duration > 5ns }").unwrap();
    assert_eq!((probe.service.as_deref(), probe.with_errors), (Some("s"), true));
    assert_eq!(probe.span_duration_min_nano, Some(5));
    assert!(of("{ span.a = \"x\" }").is_none());
    assert!(of("{ }").is_some());
}

#[test]
fn trace_ids_are_read_in_any_case_and_padded() {
    let id = parse_trace_id(" 4BF92f3577b34da6 ").unwrap();
    assert_eq!(id.to_string(), "00000000000000004bf92f3577b34da6");
    assert_eq!(parse_trace_id(""), Err(TraceIdError::Length(0)));
    assert_eq!(parse_trace_id(&"a".repeat(33)), Err(TraceIdError::Length(33)));
    assert_eq!(parse_trace_id("xyz"), Err(TraceIdError::Digit('x')));
    assert_eq!(parse_trace_id("0000"), Err(TraceIdError::Zero));
}

#[test]
fn durations_are_read_as_people_write_them() {
    assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
    assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
    assert_eq!(parse_duration("250us"), Ok(Duration::from_micros(250)));
    for wrong in ["", "5", "s", "5 minutes", "-5s", "1..5s", "99999999999w"] {
        assert!(parse_duration(wrong).is_err(), "{wrong}");
    }
}
