#![allow(clippy::unwrap_used)]

use crate::traceql::error::ParseErrorKind;
use crate::traceql::parse;

#[test]
fn what_fits() {
    for source in [
        "{ duration > 1 && duration > 1.5 && duration > 1s }",
        "{ .a > 1s && .a = \"x\" && .a = error && .a = server && .a = true && .a = nil }",
        "{ name > \"a\" && name <= \"b\" }",
        "{ status = error && status != nil && kind = client }",
        "{ true = .a && false != .b }",
        "{ .a && !.b }",
        "{ .a + 1 > duration * 2 }",
        "{ duration / 1s > 2 }",
        "{ span:childCount % 2 = 0 }",
        "{ .a / 0 = 1 || duration / 0.0 > 1 || .b + 1 = nil }",
        "{ event:name =~ \"x\" && link:traceID != nil && event:timeSinceStart > 2ms }",
        "{ parent = nil && name = nil && nil != .a }",
        "{} | sum(.a + 1) > 2",
        "{} | max(-duration) < 1",
        "{} | by(.a > 1)",
        "{} | by(kind)",
        "{} | count() > 1.5",
        "{} | avg(span:childCount) > 1s",
    ] {
        parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    }
}

#[test]
fn what_does_not_fit() {
    for (source, offset, part) in [
        ("{ 1 }", 2, "a filter must be a condition, this is an integer"),
        ("{ duration }", 2, "this is a duration"),
        ("{ nil }", 2, "this is nil"),
        ("{ .a + 1 }", 2, "a filter must be a condition, this is a number"),
        ("{ -.a }", 2, "must be a condition"),
        ("{ .a + 1 = \"x\" }", 2, "`=` does not fit between a number and a string"),
        ("{} | { name }", 7, "this is a string"),
        ("{ name = 5 }", 2, "`=` does not fit between a string and an integer"),
        ("{ duration = \"5s\" }", 2, "a duration and a string"),
        ("{ status = 2 }", 2, "a status and an integer"),
        ("{ status = server }", 2, "a status and a kind"),
        ("{ status > ok }", 2, "`>` does not fit between a status and a status"),
        ("{ kind <= .a }", 2, "`<=`"),
        ("{ .a > error }", 2, "an attribute and a status"),
        ("{ .a > nil }", 2, "an attribute and nil"),
        ("{ .a < true }", 2, "an attribute and a boolean"),
        ("{ duration = true }", 2, "a duration and a boolean"),
        ("{ .x = 1 && duration }", 2, "`&&` does not fit between a boolean and a duration"),
        ("{ .x || \"a\" }", 2, "`||`"),
        ("{ name + 1 = 2 }", 2, "`+` does not fit between a string and an integer"),
        ("{ .a + \"x\" = 2 }", 2, "`+`"),
        ("{ !duration }", 2, "`!` needs a condition"),
        ("{ -name = 1 }", 2, "`-` needs a number"),
        ("{ duration =~ \"x\" }", 2, "matches strings, this is a duration"),
        ("{ status !~ \"err.*\" }", 2, "this is a status"),
        ("{ .b && duration / 0 > 1 }", 8, "division by zero"),
        ("{ span:childCount % 0 = 1 }", 2, "division by zero"),
        ("{} | avg(name) > 1", 9, "`avg` needs a number, this is a string"),
        ("{} | sum(status = ok) > 1", 9, "this is a boolean"),
        ("{} | max(1) > 1", 9, "an aggregate needs a field"),
        ("{} | by(1)", 8, "`by` needs a field"),
        ("{} | by(name + 1)", 8, "`+`"),
        ("{} | 1 < 2", 5, "needs an aggregate"),
        ("{} | count() > 1 | 3 = 3", 19, "needs an aggregate"),
        ("({ 1 } | count() > 1) && {}", 3, "must be a condition"),
        ("({ 1 } | count()) > 1", 3, "must be a condition"),
        ("{} > { 1 }", 7, "must be a condition"),
    ] {
        let error = parse(source).expect_err(source);
        assert_eq!((error.kind, error.offset), (ParseErrorKind::Type, offset), "{source}: {error}");
        assert!(error.to_string().contains(part), "{source}: {error}");
    }
    let error = parse("{} | count() > \"x\"").unwrap_err();
    assert_eq!((error.kind, error.offset), (ParseErrorKind::Type, 15));
}
