#![allow(clippy::unwrap_used)]

use super::{Lexer, Token};
use crate::traceql::ast::{Intrinsic, Scope};

fn tokens(source: &str) -> Result<Vec<Token>, (usize, usize, String)> {
    let mut lexer = Lexer::new(source);
    let mut tokens = Vec::new();
    loop {
        match lexer.next().map_err(|fault| (fault.at.start, fault.at.end, fault.message))? {
            (Token::End, _) => return Ok(tokens),
            (token, at) => {
                assert!(
                    at.start < at.end && at.end <= source.len(),
                    "{token:?} stands nowhere in {source:?}"
                );
                tokens.push(token);
            }
        }
    }
}

#[track_caller]
fn check(source: &str, expected: &[Token]) {
    assert_eq!(tokens(source).as_deref(), Ok(expected), "{source:?}");
}

#[track_caller]
fn refused(source: &str, start: usize, end: usize, part: &str) {
    let (found_start, found_end, message) = tokens(source).expect_err(source);
    assert_eq!((found_start, found_end), (start, end), "{source:?}: {message}");
    assert!(message.contains(part), "{source:?}: {message}");
}

fn attribute(parent: bool, scope: Scope, name: &str) -> Token {
    Token::Attribute { parent, scope, name: name.to_owned() }
}

#[test]
fn numbers_and_durations() {
    check("0 42 18446744073709551615", &[Token::Int(0), Token::Int(42), Token::Int(u64::MAX)]);
    check(
        "1.5 .5 1e3 2.5E-1",
        &[Token::Float(1.5), Token::Float(0.5), Token::Float(1000.0), Token::Float(0.25)],
    );
    check(
        "500ms 1.5s 1h30m",
        &[Token::Duration(500_000_000), Token::Duration(1_500_000_000), Token::Duration(5_400_000_000_000)],
    );
    check(
        "2d 3us 3µs 3μs 7ns 1m",
        &[
            Token::Duration(172_800_000_000_000),
            Token::Duration(3_000),
            Token::Duration(3_000),
            Token::Duration(3_000),
            Token::Duration(7),
            Token::Duration(60_000_000_000),
        ],
    );
    check("0.1ns 9223372036854775807ns", &[Token::Duration(0), Token::Duration(i64::MAX as u64)]);
}

#[test]
fn numbers_that_are_none() {
    refused("18446744073709551616", 0, 20, "too large");
    refused("1e999", 0, 5, "too large");
    refused("5 parsecs 5parsecs", 11, 18, "unit");
    refused("1h30", 4, 4, "unit");
    refused("1.", 1, 2, "name of an attribute");
    refused("107000d", 0, 7, "too long");
    refused("9223372036854775807ns1ns", 0, 24, "too long");
    refused("1e300d", 0, 6, "too long");
    refused("1e2e", 3, 4, "unit");
}

#[test]
fn strings() {
    check(r#""plain" "a\"b\\c" "#, &[Token::Str("plain".into()), Token::Str("a\"b\\c".into())]);
    check(r#""\a\b\f\n\r\t\v""#, &[Token::Str("\u{7}\u{8}\u{c}\n\r\t\u{b}".into())]);
    check(r#""\x41\101\u00e9\U0001F600\xc3\xa9""#, &[Token::Str("AAé😀é".into())]);
    check("`raw \\n \"x\"\nline`", &[Token::Str("raw \\n \"x\"\nline".into())]);
    check("``\"\"", &[Token::Str(String::new()), Token::Str(String::new())]);
}

#[test]
fn strings_that_are_none() {
    refused("\"open", 0, 5, "not closed");
    refused("\"open\nline\"", 0, 5, "not closed");
    refused("`open", 0, 5, "not closed");
    refused("\"open\\", 5, 6, "escape");
    refused(r#""\q""#, 1, 3, "escape");
    refused(r#""\'""#, 1, 3, "escape");
    refused(r#""\xzz""#, 1, 3, "no character");
    refused(r#""\ud800""#, 1, 7, "no character");
    refused(r#""\400""#, 1, 5, "no character");
    refused(r#""\u12é4""#, 1, 3, "no character");
    refused(r#""\xff""#, 0, 6, "UTF-8");
}

#[test]
fn attributes() {
    check(".a.b-c:d/e", &[attribute(false, Scope::Unscoped, "a.b-c:d/e")]);
    check("span.http.route=", &[attribute(false, Scope::Span, "http.route"), Token::Symbol("=")]);
    check(
        "resource.x event.x link.x instrumentation.x",
        &[
            attribute(false, Scope::Resource, "x"),
            attribute(false, Scope::Event, "x"),
            attribute(false, Scope::Link, "x"),
            attribute(false, Scope::Instrumentation, "x"),
        ],
    );
    check(
        "parent.x parent.span.x parent.resource.x parent.spanner",
        &[
            attribute(true, Scope::Unscoped, "x"),
            attribute(true, Scope::Span, "x"),
            attribute(true, Scope::Resource, "x"),
            attribute(true, Scope::Unscoped, "spanner"),
        ],
    );
    check(
        r#"span."a b"."c\"d".e ."{}""#,
        &[attribute(false, Scope::Span, "a b.c\"d.e"), attribute(false, Scope::Unscoped, "{}")],
    );
    check(
        ".a+1 .a + 1",
        &[
            attribute(false, Scope::Unscoped, "a+1"),
            attribute(false, Scope::Unscoped, "a"),
            Token::Symbol("+"),
            Token::Int(1),
        ],
    );
    refused("{ . }", 2, 3, "name of an attribute");
    refused("span.=1", 0, 5, "name of an attribute");
    refused("spam.x", 0, 4, "scope");
    refused("span.\"a", 5, 7, "not closed");
}

#[test]
fn intrinsics_and_words() {
    check(
        "duration span:duration trace:duration traceDuration",
        &[
            Token::Intrinsic(Intrinsic::Duration),
            Token::Intrinsic(Intrinsic::Duration),
            Token::Intrinsic(Intrinsic::TraceDuration),
            Token::Intrinsic(Intrinsic::TraceDuration),
        ],
    );
    check(
        "parent trace:rootService link:traceID",
        &[
            Token::Intrinsic(Intrinsic::Parent),
            Token::Intrinsic(Intrinsic::RootServiceName),
            Token::Intrinsic(Intrinsic::LinkTraceId),
        ],
    );
    check(
        "count durations nil",
        &[Token::Word("count".into()), Token::Word("durations".into()), Token::Word("nil".into())],
    );
    refused("span:colour", 0, 11, "intrinsic");
    refused("trace:", 0, 6, "intrinsic");
    for intrinsic in Intrinsic::all() {
        check(&intrinsic.word(), &[Token::Intrinsic(intrinsic)]);
    }
}

#[test]
fn the_longest_symbol_wins() {
    let symbols =
        "!>> !<< &>> &<< && || =~ !~ != <= >= !> !< &> &< &~ >> << { } ( ) = < > + - * / % ^ ! | , ~";
    let expected: Vec<&str> = symbols.split(' ').collect();
    let texts = |found: Vec<Token>| -> Vec<String> {
        let text =
            |token| if let Token::Symbol(symbol) = token { symbol.to_owned() } else { format!("{token:?}") };
        found.into_iter().map(text).collect()
    };
    assert_eq!(texts(tokens(symbols).unwrap()), expected);
    assert_eq!(texts(tokens("{}&>>{}!>={}").unwrap()), ["{", "}", "&>>", "{", "}", "!>", "=", "{", "}"]);
    refused("{ # }", 2, 3, "means nothing");
    refused("é", 0, 2, "means nothing");
    refused("{} & {}", 3, 4, "means nothing");
}
