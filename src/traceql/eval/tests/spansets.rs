use super::fixture::{TestTrace, check, found, span};
use crate::traceql::access::{Value, Values};
use crate::traceql::ast::{Literal, Scope};
use crate::traceql::{eval, parse};

/// ```text
/// 0 a
/// ├── 1 b
/// │   ├── 2 c
/// │   └── 3 d
/// │       └── 4 c
/// └── 5 b
/// 6 c (a second root)
/// ```
fn tree() -> TestTrace {
    TestTrace(vec![
        span(None, "a", 100),
        span(Some(0), "b", 50),
        span(Some(1), "c", 10),
        span(Some(1), "d", 20),
        span(Some(3), "c", 5),
        span(Some(0), "b", 40),
        span(None, "c", 1),
    ])
}

/// `a > b` as short for `{ name = "a" } > { name = "b" }`.
fn expand(short: &str) -> String {
    let expanded = |word: &str| match word {
        "a" | "b" | "c" | "d" | "z" => format!("{{ name = \"{word}\" }}"),
        other => other.to_owned(),
    };
    short.split(' ').map(expanded).collect::<Vec<_>>().join(" ")
}

#[test]
fn operators() {
    for (query, spans) in [
        ("a", &[0][..]),
        ("{}", &[0, 1, 2, 3, 4, 5, 6]),
        ("z", &[]),
        ("a && c", &[0, 2, 4, 6]),
        ("a && z", &[]),
        ("z && a", &[]),
        ("a || d", &[0, 3]),
        ("z || d", &[3]),
        ("b > c", &[2]),
        ("a > b", &[1, 5]),
        ("a >> c", &[2, 4]),
        ("b >> c", &[2, 4]),
        ("c > b", &[]),
        ("c < b", &[1]),
        ("c < d", &[3]),
        ("c << b", &[1]),
        ("c << {}", &[0, 1, 3]),
        ("c ~ d", &[3]),
        ("d ~ c", &[2]),
        ("b ~ b", &[1, 5]),
        ("c ~ c", &[]),
        ("b !> c", &[4, 6]),
        ("b !>> c", &[6]),
        ("z !> c", &[2, 4, 6]),
        ("c !< b", &[5]),
        ("c !<< {}", &[2, 4, 5, 6]),
        ("d !~ c", &[4, 6]),
        ("b &> c", &[1, 2]),
        ("b &>> c", &[1, 2, 4]),
        ("c &< b", &[1, 2]),
        ("c &<< a", &[0, 2, 4]),
        ("d &~ c", &[2, 3]),
        ("z &> c", &[]),
        ("a > b > d", &[3]),
        ("a > ( b > d )", &[]),
        ("a >> ( b > d )", &[3]),
        ("a > b && d", &[1, 3, 5]),
        ("{} > {}", &[1, 2, 3, 4, 5]),
        ("{} < {}", &[0, 1, 3]),
        ("( a | count() > 0 ) && d", &[0, 3]),
        ("( c | count() > 5 ) && d", &[]),
        ("( c | count() > 5 ) || d", &[3]),
    ] {
        check(&tree(), &expand(query), spans);
    }
}

#[test]
fn cycles_and_strange_parents_are_tolerated() {
    let mut trace = TestTrace(vec![
        span(Some(1), "a", 1),
        span(Some(2), "b", 1),
        span(Some(0), "c", 1),
        span(Some(3), "d", 1),
        span(Some(99), "d", 1),
        span(Some(0), "d", 1),
    ]);
    // The cycle is cut somewhere: everything in it is still found once, and every walk ends.
    check(&trace, "{} >> {}", &[1, 2, 5]);
    check(&trace, "{} << {} || {}", &[0, 1, 2, 3, 4, 5]);
    check(&trace, "{ nestedSetLeft > 0 && nestedSetRight > nestedSetLeft }", &[0, 1, 2, 3, 4, 5]);
    // A chain as long as a trace may be needs no stack.
    trace.0 = (0..100_000usize).map(|i| span(i.checked_sub(1), "x", 1)).collect();
    assert_eq!(found("{ span:childCount = 0 } << { nestedSetParent < 0 }", &trace), [[0]]);
}

#[test]
fn aggregates() {
    for (query, spans) in [
        ("{} | count() = 7", &[0, 1, 2, 3, 4, 5, 6][..]),
        ("{} | count() > 7", &[]),
        ("c | count() >= 3", &[2, 4, 6]),
        ("c | 3 <= count()", &[2, 4, 6]),
        ("c | count() = 0", &[]),
        ("c | sum(duration) = 16ms", &[2, 4, 6]),
        ("c | max(duration) = 10ms", &[2, 4, 6]),
        ("c | min(duration) = 1ms", &[2, 4, 6]),
        ("c | avg(duration) = 5333333ns", &[2, 4, 6]),
        ("c | max(duration) - min(duration) = 9ms", &[2, 4, 6]),
        ("c | max(duration) / min(duration) = 10", &[2, 4, 6]),
        ("c | avg(duration * 2) > 10ms", &[2, 4, 6]),
        ("c | avg(.missing) > 0", &[]),
        ("c | avg(.missing) != 0", &[]),
        ("c | count() / 0 > 1", &[]),
        ("c | count() > 2 | { duration > 2ms } | count() = 2", &[2, 4]),
        ("({ name = \"c\" } | count()) > ({ name = \"b\" } | count())", &[0, 1, 2, 3, 4, 5, 6]),
        ("({ name = \"z\" } | count()) = 0", &[0, 1, 2, 3, 4, 5, 6]),
        ("({ name = \"z\" } | max(duration)) > 0", &[]),
        ("count() = 7", &[0, 1, 2, 3, 4, 5, 6]),
    ] {
        check(&tree(), &expand(query), spans);
    }
}

#[test]
fn aggregates_over_attributes_of_several_types() {
    let with = |value| span(None, "a", 1).with(Scope::Span, "x", value);
    let trace = TestTrace(vec![
        with(Value::Int(i64::MAX)),
        with(Value::Int(1)),
        with(Value::Float(0.5)),
        with(Value::Float(f64::NAN)),
        with(Value::str("no number")),
        span(None, "a", 1).with(Scope::Span, "x", Values::Many(vec![Value::Int(-3), Value::str("y")])),
    ]);
    for filter in ["sum(.x) > 9e18", "min(.x) = -3", "max(.x) = 9223372036854775807", "avg(.x) > 2e18"] {
        assert_eq!(found(&format!("{{}} | {filter}"), &trace).len(), 1, "{filter}");
    }
}

#[test]
fn groups() {
    let query = "{} | by(name)";
    assert_eq!(found(query, &tree()), [vec![0], vec![1, 5], vec![2, 4, 6], vec![3]]);
    assert_eq!(found("{} | by(name) | count() > 1", &tree()), [vec![1, 5], vec![2, 4, 6]]);
    assert_eq!(found("{} | by(name) | count() > 1 | coalesce()", &tree()), [vec![1, 2, 4, 5, 6]]);
    assert_eq!(found("{} | by(name) | { duration < 45ms }", &tree()), [vec![5], vec![2, 4, 6], vec![3]]);
    assert_eq!(found("{} | by(duration > 30ms)", &tree()), [vec![0, 1, 5], vec![2, 3, 4, 6]]);
    assert_eq!(found("{} | by(span.x)", &tree()), [vec![0, 1, 2, 3, 4, 5, 6]]);
    assert_eq!(found("{} | by(name) | count() > 5", &tree()), Vec::<Vec<usize>>::new());
}

#[test]
fn groups_and_aggregates_are_noted() {
    let query =
        parse("{} | by(name) | by(status) | count() > 1 | max(duration) > 45ms | select(.x)").unwrap();
    let matched = eval(&query, &tree()).unwrap();
    assert_eq!(matched.spans(), [1, 5]);
    let noted: Vec<String> =
        matched.spansets[0].attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(noted, ["by(name)=\"b\"", "by(status)=unset", "count()=2", "max(duration)=50ms"]);

    let ungrouped = eval(&parse("{} | by(.x)").unwrap(), &tree()).unwrap();
    assert_eq!(ungrouped.spansets[0].attributes, [("by(.x)".to_owned(), Literal::Nil)]);
    let merged = eval(&parse("{} | by(name) | coalesce()").unwrap(), &tree()).unwrap();
    assert!(merged.spansets[0].attributes.is_empty());
}

#[test]
fn a_span_with_several_values_is_in_several_groups() {
    let many = |values: &[i64]| Values::Many(values.iter().copied().map(Value::Int).collect());
    let trace = TestTrace(vec![
        span(None, "a", 1).with(Scope::Span, "x", many(&[1, 2, 1])),
        span(None, "b", 1).with(Scope::Span, "x", many(&[2])),
        span(None, "c", 1).with(Scope::Span, "x", many(&[])),
    ]);
    assert_eq!(found("{} | by(.x)", &trace), [vec![0], vec![0, 1], vec![2]]);
    let matched = eval(&parse("{} | by(.x)").unwrap(), &trace).unwrap();
    assert_eq!(matched.spans(), [0, 1, 2]);
}

#[test]
fn an_empty_trace_matches_nothing() {
    check(&TestTrace::default(), "{}", &[]);
    check(&TestTrace::default(), "{} !> {}", &[]);
}

#[test]
fn the_deepest_query_is_evaluated_within_a_small_stack() {
    use crate::traceql::{DEPTH_MAX, NESTING_MAX, Query};
    fn shared<T: Send + Sync + 'static>(value: T) -> T {
        value
    }
    let chain = format!("{{ name = \"z\"{} }}", " || name = \"c\"".repeat(DEPTH_MAX - 2));
    let nested = format!("{}{{}} | count() > 0{}", "(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX));
    let relations = format!("{{}}{}", " >> {}".repeat(DEPTH_MAX - 1));
    for (text, spans) in [(chain, vec![2, 4, 6]), (nested, (0..7).collect()), (relations, vec![])] {
        let query: Query = shared(parse(&text).unwrap());
        let run = move || {
            let found = eval(&query.clone(), &tree());
            assert!(query.fields().len() <= 1, "walking needs no more stack");
            found.map(|matched| matched.spans()).unwrap_or_default()
        };
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(run).unwrap();
        assert_eq!(thread.join().unwrap(), spans, "{text}");
    }
}
