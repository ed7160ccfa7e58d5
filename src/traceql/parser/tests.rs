#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::{DEPTH_MAX, NESTING_MAX, PATTERNS_MAX, QUERY_BYTES_MAX, parse};
use crate::traceql::error::ParseErrorKind;

/// What is parsed, and how it is written back.
#[track_caller]
fn check(source: &str, canonical: &str) {
    let query = parse(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    assert_eq!(query.to_string(), canonical, "{source}");
    assert_eq!(parse(canonical).unwrap(), query, "{canonical}");
}

#[track_caller]
fn refused(source: &str, kind: ParseErrorKind, offset: usize, part: &str) {
    let error = parse(source).expect_err(source);
    assert_eq!((error.kind, error.offset), (kind, offset), "{source}: {error}");
    assert!(error.to_string().contains(part), "{source}: {error}");
}

#[track_caller]
fn syntax(source: &str, offset: usize, part: &str) {
    refused(source, ParseErrorKind::Syntax, offset, part);
}

#[test]
fn filters() {
    for (source, canonical) in [
        ("{}", "{ }"),
        ("{ true }", "{ true }"),
        (" {\n\t.a=1 } ", "{ .a = 1 }"),
        ("{ span.http.route = `/x` }", "{ span.http.route = \"/x\" }"),
        ("{ span:duration > 1500ms }", "{ duration > 1500ms }"),
        ("{ trace:rootService = \"a\" }", "{ rootServiceName = \"a\" }"),
        ("{ status = error && kind != server }", "{ status = error && kind != server }"),
        ("{ .a = nil || .b != nil }", "{ .a = nil || .b != nil }"),
        ("{ resource.x =~ \"a.*\" }", "{ resource.x =~ \"a.*\" }"),
        ("{ name !~ `\\d+` }", "{ name !~ \"\\\\d+\" }"),
        ("{ 500ms < duration }", "{ 500ms < duration }"),
        ("// all\n{ .a//b = 1 // of them\n } // and nothing else", "{ .a//b = 1 }"),
        ("{ parent.span.x = 1 && parent.y = -2.5 }", "{ parent.span.x = 1 && parent.y = -2.5 }"),
        ("{ .\"a b\" = 1 && .\"1x\" = 2 && .\"ok\" = 3 }", "{ .\"a b\" = 1 && .\"1x\" = 2 && .ok = 3 }"),
        ("{ parent.\"span.x\" = 1 }", "{ parent.\"span.x\" = 1 }"),
        ("{ nestedSetParent < 0 }", "{ nestedSetParent < 0 }"),
        ("{ .a = -9223372036854775808 }", "{ .a = -9223372036854775808 }"),
        ("{ !(.a = 1) && !.b }", "{ !(.a = 1) && !.b }"),
    ] {
        check(source, canonical);
    }
}

#[test]
fn precedences() {
    for (source, canonical) in [
        // `&&` and `||` are equal and group from the left.
        ("{ .a || .b && .c }", "{ .a || .b && .c }"),
        ("{ (.a || .b) && .c }", "{ .a || .b && .c }"),
        ("{ .a || (.b && .c) }", "{ .a || (.b && .c) }"),
        ("{ .a + .b * .c = .d - .e - .f }", "{ .a + .b * .c = .d - .e - .f }"),
        ("{ .a - (.b - .c) = 1 }", "{ .a - (.b - .c) = 1 }"),
        ("{ (.a + .b) * .c = 1 }", "{ (.a + .b) * .c = 1 }"),
        // `^` groups from the right.
        ("{ .a ^ .b ^ .c = 1 }", "{ .a ^ .b ^ .c = 1 }"),
        ("{ (.a ^ .b) ^ .c = 1 }", "{ (.a ^ .b) ^ .c = 1 }"),
        // Prefix operators take products and powers.
        ("{ -.a * .b = 1 }", "{ -(.a * .b) = 1 }"),
        ("{ -.a + .b = 1 }", "{ (-.a) + .b = 1 }"),
        ("{ .a ^ -1 = 1 }", "{ .a ^ (-1) = 1 }"),
        ("{ !.a = .b }", "{ !.a = .b }"),
        ("{ .a = 1 = true }", "{ .a = 1 = true }"),
        ("{ .a = (.b = .c) }", "{ .a = (.b = .c) }"),
        // Spansets: structural operators bind tighter than `&&` and `||`, and `|` binds least.
        ("{} && {.a} > {.b} || {.c}", "{ } && { .a } > { .b } || { .c }"),
        ("{} && ({.a} || {.b})", "{ } && ({ .a } || { .b })"),
        ("{.a} >> ({.b} > {.c})", "{ .a } >> ({ .b } > { .c })"),
        ("({.a} && {.b}) > {.c}", "({ .a } && { .b }) > { .c }"),
        ("(({.a}))", "{ .a }"),
    ] {
        check(source, canonical);
    }
}

#[test]
fn every_spanset_operator() {
    for op in [
        "&&", "||", ">", ">>", "<", "<<", "~", "!>", "!>>", "!<", "!<<", "!~", "&>", "&>>", "&<", "&<<", "&~",
    ] {
        check(&format!("{{.a}}{op}{{.b}}"), &format!("{{ .a }} {op} {{ .b }}"));
    }
}

#[test]
fn pipelines() {
    for (source, canonical) in [
        ("{} | count() > 2", "{ } | count() > 2"),
        ("{} | 2<count()", "{ } | 2 < count()"),
        ("count() >= 2", "count() >= 2"),
        (
            "{}|avg(duration)>1s|max(span.x)<3|min(.y)=1.5|sum(.z)!=0",
            "{ } | avg(duration) > 1s | max(span.x) < 3 | min(.y) = 1.5 | sum(.z) != 0",
        ),
        (
            "{} | max(duration) - min(duration) > 2 * avg(duration)",
            "{ } | max(duration) - min(duration) > 2 * avg(duration)",
        ),
        ("{} | (count() + 1) * 2 > 3", "{ } | (count() + 1) * 2 > 3"),
        ("{} | -count() < -1", "{ } | (-1) * count() < -1"),
        (
            "{} | by(resource.service.name) | count() > 1 | coalesce()",
            "{ } | by(resource.service.name) | count() > 1 | coalesce()",
        ),
        ("by(name)", "by(name)"),
        ("{} | by(span.a = 1)", "{ } | by(span.a = 1)"),
        ("{} | select(span.a, status, parent.b)", "{ } | select(span.a, status, parent.b)"),
        ("{} | {.a} | {.b} > {.c}", "{ } | { .a } | { .b } > { .c }"),
        ("({} | count() > 1) && ({.a} | by(.b))", "({ } | count() > 1) && ({ .a } | by(.b))"),
        ("({.a} | count()) > ({.b} | count())", "({ .a } | count()) > ({ .b } | count())"),
        ("({.a} | {.b} | count()) + 1 > 1", "({ .a } | { .b } | count()) + 1 > 1"),
        ("(count() > 1) || {}", "(count() > 1) || { }"),
        ("{} with(most_recent=true)", "{ } with(most_recent=true)"),
        (
            "{} | count() > 1 with(sample=0.5, exemplars=-3, x=\"y\")",
            "{ } | count() > 1 with(sample=0.5, exemplars=-3, x=\"y\")",
        ),
    ] {
        check(source, canonical);
    }
}

#[test]
fn constants_are_folded() {
    for (source, canonical) in [
        ("{ duration > 500ms * 2 }", "{ duration > 1s }"),
        ("{ duration > (1h + 30m) / 3 }", "{ duration > 30m }"),
        ("{ duration > 1s + 1 }", "{ duration > 1000000001ns }"),
        ("{ duration > 1.5 * 1s }", "{ duration > 1500ms }"),
        ("{ .a = 1s / 250ms }", "{ .a = 4.0 }"),
        ("{ .a = 2 ^ 3 ^ 2 }", "{ .a = 512 }"),
        ("{ .a = 2 ^ -1 }", "{ .a = 0.5 }"),
        ("{ .a = 7 / 2 && .b = 7 % 4 && .c = 7 / 2.0 }", "{ .a = 3 && .b = 3 && .c = 3.5 }"),
        ("{ .a = -(-5) }", "{ .a = 5 }"),
        ("{ .a = -2 ^ 2 }", "{ .a = -4 }"),
        ("{ .a = - 5 * 2 + 1 }", "{ .a = -9 }"),
        ("{ !true || !false }", "{ false || true }"),
        ("{ .a = -0s }", "{ .a = 0s }"),
        ("{} | count() > 1 + 1", "{ } | count() > 2"),
        ("{} | avg(duration) > -(1s * 2)", "{ } | avg(duration) > -2s"),
        ("{} | count() > -9223372036854775807 - 1", "{ } | count() > -9223372036854775808"),
    ] {
        check(source, canonical);
    }
    refused("{ .a = 1 / 0 }", ParseErrorKind::Type, 7, "division by zero");
    refused("{ .a = 1 % (2 - 2) }", ParseErrorKind::Type, 7, "division by zero");
    refused("{ .a = 1.5 / 0 }", ParseErrorKind::Type, 7, "division by zero");
    refused("{ .a = 9223372036854775807 + 1 }", ParseErrorKind::Type, 7, "too large");
    refused("{} | count() > 1s * 9e300", ParseErrorKind::Type, 15, "too large");
}

#[test]
fn what_is_not_traceql() {
    for (source, offset, part) in [
        ("", 0, "at the end of the query"),
        ("   ", 3, "expected `{`"),
        ("{", 1, "expected an attribute"),
        ("{ .a", 4, "expected an operator or `}`, at the end"),
        ("{ .a = }", 7, "expected an attribute, an intrinsic or a constant, at `}`"),
        ("{ .a == 1 }", 6, "at `=`"),
        ("{ .a = 1 .b }", 9, "expected an operator or `}`, at `.b`"),
        ("{ .a = 1 } }", 11, "expected `|`"),
        ("{ .a = 1 } {}", 11, "expected `|`"),
        ("{ (.a = 1 }", 10, "expected `)`"),
        ("{ a = 1 }", 2, "`.a`"),
        ("{ .a = 'x' }", 7, "means nothing here"),
        ("{ .a = \"x }", 7, "not closed"),
        ("{ .a && }", 8, "expected an attribute"),
        ("{} &&", 5, "expected `{`"),
        ("{} | count()", 12, "expected a comparison"),
        ("{} | count() | {}", 13, "expected a comparison"),
        ("{} | count(.a) > 1", 11, "expected `)`"),
        ("{} | avg() > 1", 9, "expected an attribute"),
        ("{} | count() > {}", 13, "between a spanset and a number"),
        ("{} | count() > 1 && {}", 17, "between a spanset and a number"),
        ("{} + {}", 3, "does not combine spansets"),
        ("{} | count() >> 1", 13, "does not combine numbers"),
        ("{} | count() && 1", 13, "does not combine numbers"),
        ("{} | coalesce(1)", 14, "expected `)`"),
        ("coalesce()", 0, "first stage"),
        ("select(.a)", 0, "first stage"),
        ("{} | select(.a + 1)", 12, "takes attributes"),
        ("{} | select()", 12, "expected an attribute"),
        ("{} && by(.a)", 6, "stage of its own"),
        ("{} | by .a", 8, "expected `(`"),
        ("{} | frobnicate()", 5, "expected `{`"),
        ("{} |", 4, "expected `{`"),
        ("| {}", 0, "expected `{`"),
        ("()", 1, "expected `{`"),
        ("({}", 3, "expected an operator, `|` or `)`"),
        ("{} with", 7, "expected `(`"),
        ("{} with(a)", 9, "expected `=`"),
        ("{} with(a=.b)", 10, "must be a constant"),
        ("{} with(a=1", 11, "expected `)`"),
        ("{} with(1=1)", 8, "name of a hint"),
        ("-{}", 0, "only a number"),
    ] {
        syntax(source, offset, part);
    }
}

#[test]
fn positions_count_lines_and_characters() {
    let error = parse("{ .é = 1 &&\n  .ü ? 2 }").unwrap_err();
    assert_eq!((error.line, error.column, error.offset), (2, 6, 19));
    assert_eq!(error.found, "?");
    assert_eq!(error.to_string(), "line 2, column 6: this character means nothing here, at `?`");
    let error = parse("{ .a = \"").unwrap_err();
    assert_eq!((error.line, error.column), (1, 8));
    let long = format!("{{ .a = \"{}", "x".repeat(1000));
    assert_eq!(parse(&long).unwrap_err().found.chars().count(), 41);
}

#[test]
fn regular_expressions_are_checked() {
    for (source, offset, part) in [
        ("{ .a =~ \"(\" }", 8, "unclosed group"),
        ("{ .a =~ \"a)|(b\" }", 8, "unopened group"),
        ("{ .a !~ `x{9999999}` }", 8, "does not compile"),
        ("{ .a =~ \"(?=x)\" }", 8, "look-around"),
    ] {
        refused(source, ParseErrorKind::Regex, offset, part);
    }
    refused("{ .a =~ .b }", ParseErrorKind::Type, 8, "string constant");
    refused("{ .a =~ 5 }", ParseErrorKind::Type, 8, "string constant");
    let many = |n: usize| format!("{{ {} }}", vec![".a =~ `x`"; n].join(" && "));
    assert!(parse(&many(PATTERNS_MAX)).is_ok());
    refused(&many(PATTERNS_MAX + 1), ParseErrorKind::Regex, 8 + 13 * PATTERNS_MAX, "more than 64");
    check("{ .a =~ \"(?x) a # comment\" }", "{ .a =~ \"(?x) a # comment\" }");
}

#[test]
fn metrics_are_known_but_not_supported() {
    for (source, offset) in [
        ("{} | rate()", 5),
        ("{ .a = 1 } | quantile_over_time(duration, .9) by (name)", 13),
        ("{} | compare({ status = error }, 10)", 5),
        ("({} | rate()) / ({} | rate())", 6),
    ] {
        refused(source, ParseErrorKind::Unsupported, offset, "not supported yet");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let parentheses = |n: usize| format!("{{ {}.a{} }}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&parentheses(NESTING_MAX)).is_ok());
    refused(&parentheses(NESTING_MAX + 1), ParseErrorKind::TooDeep, 2 + NESTING_MAX, "nested deeper");
    let spansets = |n: usize| format!("{}{{}}{}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&spansets(NESTING_MAX)).is_ok());
    refused(&spansets(NESTING_MAX + 1), ParseErrorKind::TooDeep, NESTING_MAX, "nested deeper");

    for open in ["{ (", "{ !", "{ -", "(", "{ .a ^ (", "({} && ", "{} | -", "({} | by((", "{ .a ="] {
        let _ = parse(&open.repeat(20_000 / open.len()));
    }
    for (open, part) in [("(", "{ "), ("!", "{ "), ("-", "{ "), ("(", ""), ("-", "{} | "), (".a ^ ", "{ ")] {
        let error = parse(&format!("{part}{}", open.repeat(10_000))).unwrap_err();
        assert_eq!(error.kind, ParseErrorKind::TooDeep, "{part}{open}…: {error}");
    }

    let chain = |n: usize| format!("{{ .a{} }}", " || .a".repeat(n));
    let query = parse(&chain(DEPTH_MAX - 1)).unwrap();
    assert_eq!(parse(&query.to_string()).unwrap(), query);
    refused(&chain(DEPTH_MAX), ParseErrorKind::TooDeep, 2, "in a chain");
    refused(&format!("{{}}{}", " > {}".repeat(20_000)), ParseErrorKind::TooDeep, 0, "in a chain");
    refused(&format!("1{} > 0", " + count()".repeat(9_000)), ParseErrorKind::TooDeep, 0, "in a chain");
    assert!(parse(&format!("{{}}{}", " | {}".repeat(10_000))).is_ok(), "stages do not nest");

    let padded = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    assert!(parse(&padded(QUERY_BYTES_MAX)).is_ok());
    refused(&padded(QUERY_BYTES_MAX + 1), ParseErrorKind::TooLong, 0, "at most 131072 bytes");
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>()) {
        if let Err(error) = parse(&text) {
            prop_assert!(text.is_char_boundary(error.offset));
            let _ = error.to_string();
        }
    }

    #[test]
    fn arbitrary_tokens_never_panic(
        parts in prop::collection::vec(prop::sample::select(vec![
            "{", "}", "(", ")", "|", "&&", "||", "=", "!=", "=~", "!~", "<", ">", ">>", "!>", "&>", "~", "+", "-",
            "*", "/", "%", "^", "!", ",", ".a", "span.b", "parent.c", "duration", "name", "status", "parent",
            "error", "nil", "true", "1", "-1", "2.5", "1s", "\"x\"", "\"(\"", "`y`", "count()", "count", "avg(",
            "by(", "select(", "coalesce()", "with(", "rate()", "\"", "\n", "é",
        ]), 0..40),
    ) {
        let text = parts.join(" ");
        if let Ok(query) = parse(&text) {
            prop_assert_eq!(parse(&query.to_string()).unwrap(), query);
        }
    }
}
