use super::fixture::{TestSpan, TestTrace, check, span};
use crate::traceql::access::{Value, Values};
use crate::traceql::ast::Scope;

/// One span with an attribute of each type; conditions hold for it or not.
fn one() -> TestTrace {
    let strings = Values::Many(vec![Value::str("x"), Value::str("y")]);
    let numbers = Values::Many(vec![Value::Int(1), Value::Float(2.5)]);
    let span =
        TestSpan { status: 2, kind: 2, events: vec!["start", "exception"], ..span(None, "GET /", 500) };
    TestTrace(vec![
        span.with(Scope::Span, "s", Value::str("text"))
            .with(Scope::Span, "i", Value::Int(7))
            .with(Scope::Span, "big", Value::Int(i64::MAX))
            .with(Scope::Span, "zero", Value::Int(0))
            .with(Scope::Span, "f", Value::Float(1.5))
            .with(Scope::Span, "nan", Value::Float(f64::NAN))
            .with(Scope::Span, "yes", Value::Bool(true))
            .with(Scope::Span, "no", Value::Bool(false))
            .with(Scope::Span, "strings", strings)
            .with(Scope::Span, "numbers", numbers)
            .with(Scope::Span, "empty", Values::Many(vec![]))
            .with(Scope::Span, "both", Value::str("span"))
            .with(Scope::Resource, "both", Value::str("resource"))
            .with(Scope::Resource, "r", Value::str("resource"))
            .with(Scope::Event, "e", Value::str("event"))
            .with(Scope::Instrumentation, "n", Value::str("scope")),
    ])
}

#[test]
fn conditions_that_hold() {
    let trace = one();
    for condition in [
        "true",
        "span.s = \"text\"",
        ".s != \"other\"",
        ".s > \"tex\"",
        ".s =~ \"t.*t\"",
        ".s =~ \"x|text\"",
        ".s !~ \"tex\"",
        ".i = 7 && .i = 7.0 && .i = 7ns",
        ".i > 6.5 && .i < 7.5 && .i >= 7 && .i <= 7",
        ".f = 1.5 && .f > 1 && .f < 2",
        ".big = 9223372036854775807 && .big != 9223372036854775807.0 && .big < 9223372036854775807.0",
        ".yes && .yes = true && !.no && .no != true",
        "duration = 500ms && duration = 500000000 && duration < 0.6 * 1s",
        "duration * 2 = traceDuration && duration + 1s = 1500ms && traceDuration / duration = 2.0",
        "status = error && status != ok && kind = server",
        "name = \"GET /\" && name =~ \"GET.*\"",
        "statusMessage = \"\"",
        "rootName = \"root\" && trace:id = \"0102\" && span:id = \"00\"",
        ".missing = nil && rootServiceName = nil && nil = .missing && parent = nil && span:parentID = nil",
        ".s != nil && .empty != nil && nil != name",
        ".both = \"span\" && resource.both = \"resource\" && .r = \"resource\" && .e = \"event\" && .n = \"scope\"",
        ".strings = \"x\" && .strings = \"y\" && .strings != \"z\" && .strings =~ \"x\" && .strings !~ \"z\"",
        ".numbers = 2.5 && .numbers > 2 && .numbers < 2 && .numbers != 3",
        ".empty != \"a\" && .empty !~ \"a\"",
        "event:name = \"exception\" && event:name !~ \"stop\"",
        ".i + .f * 2 = 10 && .i % 4 = 3 && .i / 2 = 3 && .i ^ 2 = 49 && -.i < 0 && .i - -.i = 14",
        ".i / 2.0 = 3.5",
        "!(.missing = 1)",
        ".missing = 1 || .i = 7",
        "(.i = 7) = true && (.i = 8) = .no",
        "nil = nil",
        "span:childCount = 0 && nestedSetParent < 0 && nestedSetLeft = 1 && nestedSetRight = 2",
    ] {
        check(&trace, &format!("{{ {condition} }}"), &[0]);
    }
}

#[test]
fn conditions_that_do_not_hold() {
    let trace = one();
    for condition in [
        "false",
        ".missing = 1",
        ".missing != 1",
        ".missing !~ \"x\"",
        ".missing =~ \".*\"",
        ".missing = .absent",
        ".missing",
        "!.missing",
        ".missing && true",
        ".missing != nil",
        ".s = nil",
        "nil != nil",
        // Another type is not unequal: it does not compare.
        ".s = 7",
        ".s != 7",
        ".i = \"7\"",
        ".i != \"7\"",
        ".i =~ \"7\"",
        ".i !~ \"8\"",
        ".s && true",
        ".i",
        "!.i",
        ".s = error",
        ".s + 1 > 0",
        "-.s < 0",
        ".yes > 0",
        ".nan = .nan",
        ".nan != .nan",
        ".nan < 1",
        // A pattern is for the whole value.
        ".s =~ \"tex\"",
        ".s =~ \"ext\"",
        ".strings != \"x\"",
        ".strings !~ \"x\"",
        ".strings = \"z\"",
        ".numbers + 1 > 0",
        ".empty = \"a\"",
        ".empty =~ \".*\"",
        "resource.s = \"text\"",
        "span.r = \"resource\"",
        "event.s = nil && event.e = nil",
        "link.x = 1",
        "parent.s = \"text\"",
        // What cannot be computed is not there.
        ".i / .zero = 0",
        ".i % .zero >= 0",
        ".big + 1 > 0",
        ".big * .big > 0",
        ".f / .zero > 0",
    ] {
        check(&trace, &format!("{{ {condition} }}"), &[]);
    }
}

#[test]
fn an_attribute_of_the_parent() {
    let trace = TestTrace(vec![
        span(None, "a", 1).with(Scope::Span, "x", Value::Int(1)).with(Scope::Resource, "r", Value::Int(2)),
        span(Some(0), "b", 1).with(Scope::Span, "x", Value::Int(3)),
        span(Some(1), "c", 1),
        TestSpan { orphan: true, ..span(None, "d", 1) },
    ]);
    check(&trace, "{ parent.span.x = 1 }", &[1]);
    check(&trace, "{ parent.x = 3 }", &[2]);
    check(&trace, "{ parent.r = 2 && parent.resource.r = 2 }", &[1]);
    check(&trace, "{ parent.span.r = 2 }", &[]);
    check(&trace, "{ parent.x = nil }", &[0, 3]);
    check(&trace, "{ parent = nil }", &[0]);
    check(&trace, "{ nestedSetParent = -1 }", &[0]);
    check(&trace, "{ nestedSetParent = 0 }", &[3]);
    check(&trace, "{ nestedSetParent = 1 }", &[1]);
    check(&trace, "{ span:childCount > 0 }", &[0, 1]);
}

#[test]
fn patterns_with_flags_stay_anchored() {
    let trace = one();
    check(&trace, "{ .s =~ \"(?i)TEXT\" }", &[0]);
    check(&trace, "{ .s =~ \"(?i)TEX\" }", &[]);
    check(&trace, "{ .s =~ \"(?x) te xt # comment\" }", &[0]);
    check(&trace, "{ .s =~ \"(?m)tex$|ext\" }", &[]);
}
