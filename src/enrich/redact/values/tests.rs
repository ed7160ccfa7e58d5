//! What must be caught, and what must not.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::ValueKind::{Bearer, Card, Email, Jwt, Ssn};
use super::*;

/// Everything the pattern finds in a text.
fn found(kind: ValueKind, text: &str) -> Vec<&str> {
    let pattern = Pattern::Known(kind);
    let (mut from, mut all) = (0, Vec::new());
    while let Some(range) = pattern.find(text, from) {
        from = range.end;
        all.push(&text[range]);
    }
    all
}

fn check(kind: ValueKind, table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        assert_eq!(found(kind, text), *expected, "{kind:?} in {text:?}");
    }
}

#[test]
fn cards() {
    check(
        Card,
        &[
            ("4111111111111111", &["4111111111111111"]),
            ("paid with 4111-1111-1111-1111.", &["4111-1111-1111-1111"]),
            ("5555 5555 5555 4444, 378282246310005", &["5555 5555 5555 4444", "378282246310005"]),
            ("card=6011111111111117&x=1", &["6011111111111117"]),
            ("2223003122003222 30569309025904", &["2223003122003222", "30569309025904"]),
            ("qty 7 4111 1111 1111 1111 12", &["4111 1111 1111 1111"]),
            ("2223003122003222, 30569309025904", &["2223003122003222", "30569309025904"]),
            ("4222222222222", &["4222222222222"]),
            // An order number of 16 digits that fails Luhn.
            ("order 4111111111111112", &[]),
            // Passes Luhn, but no issuer has that prefix, or not at that length.
            ("1111111111111117", &[]),
            ("41111111111116", &[]),
            ("0000000000000000", &[]),
            // A time in nanoseconds, a trace id, a part of a longer number, a decimal.
            ("1790000000012000000", &[]),
            ("4bf92f3577b34da6a3ce929d0e0e4736", &[]),
            ("a4111111111111111", &[]),
            ("41111111111111110000000", &[]),
            ("0.4111111111111111", &[]),
            ("4111111111111111_x", &[]),
            ("550e8400-e29b-4111-1111-111111111111", &[]),
            ("4111  1111  1111  1111", &[]),
            ("", &[]),
            ("12345", &[]),
        ],
    );
}

#[test]
fn emails() {
    check(
        Email,
        &[
            ("jane.doe@example.com", &["jane.doe@example.com"]),
            ("From: <Jane_Doe+tag@mail.example.co.uk>.", &["Jane_Doe+tag@mail.example.co.uk"]),
            // Inside URLs.
            ("https://h.example/u/jane@example.com/edit", &["jane@example.com"]),
            ("/invite?email=jane%40example.com&x=1", &["jane%40example.com"]),
            ("/invite?m=a%20jane%2Btag%40example.com", &["jane%2Btag%40example.com"]),
            ("mailto:jane@example.com?subject=hi", &["jane@example.com"]),
            ("https://user:secret@example.com/", &["secret@example.com"]),
            ("jane@example.com,joe@example.org", &["jane@example.com", "joe@example.org"]),
            ("mail jané@exämple.de now", &["jané@exämple.de"]),
            ("end of sentence: jane@example.com...", &["jane@example.com"]),
            // Not addresses.
            ("ssh://git@github.com/a/b", &[]),
            ("user@localhost", &[]),
            ("lodash@4.17.21", &[]),
            ("image@sha256:abcdef", &[]),
            ("@home", &[]),
            ("a@b.c", &[]),
            ("a @ example.com", &[]),
            ("x@y..example", &[]),
            ("50%40", &[]),
            ("", &[]),
        ],
    );
}

#[test]
fn bearer_tokens() {
    check(
        Bearer,
        &[
            ("Bearer abcdef0123456789", &["abcdef0123456789"]),
            ("authorization: bearer mF_9.B5f-4.1JqM", &["mF_9.B5f-4.1JqM"]),
            ("BEARER abcdefghijklmnopqrstuvwx", &["abcdefghijklmnopqrstuvwx"]),
            ("Authorization=Bearer%20abc123def456", &["abc123def456"]),
            (r#"{"bearer":"abc123def456"}"#, &["abc123def456"]),
            ("Bearer authentication failed", &[]),
            ("the bearer of bad news", &[]),
            ("Bearer ", &[]),
            ("forbearer12345678", &[]),
            ("bearer", &[]),
        ],
    );
}

#[test]
fn json_web_tokens() {
    let signed = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.";
    let encrypted = "eyJhbGciOiJkaXIifQ..aXY0YWJj.Y2lwaGVy.dGFn";
    check(
        Jwt,
        &[
            (&format!("token={signed}&x"), &[signed]),
            (unsigned, &[unsigned]),
            (encrypted, &[]),
            ("eyJhbGciOiJIUzI1NiJ9", &[]),
            ("eyJ.eyJ.x", &[]),
            ("eyJabcdefghij.kl", &[]),
            ("heyJude", &[]),
        ],
    );
}

#[test]
fn social_security_numbers() {
    check(
        Ssn,
        &[
            ("ssn 536-90-4399.", &["536-90-4399"]),
            ("536-90-4399,123-45-6789", &["536-90-4399", "123-45-6789"]),
            ("000-12-3456 666-12-3456 900-12-3456", &[]),
            ("536-00-4399 536-90-0000", &[]),
            ("1536-90-4399", &[]),
            ("536-90-43990", &[]),
            ("2024-10-1234", &[]),
            ("x-536-90-4399", &[]),
            ("536 90 4399", &[]),
        ],
    );
}

proptest! {
    #[test]
    fn whatever_is_found_is_a_part_of_the_text(
        text in r"[ -~]{0,40}|[0-9 -]{10,40}|([a-z.%@é日-]|%40){0,30}|(bearer |eyJ)?[A-Za-z0-9._-]{0,40}",
    ) {
        for kind in [Card, Email, Bearer, Jwt, Ssn] {
            let pattern = Pattern::Known(kind);
            let mut from = 0;
            while let Some(range) = pattern.find(&text, from) {
                prop_assert!(range.start >= from && range.end > range.start, "{kind:?} {text:?} {range:?}");
                prop_assert!(text.get(range.clone()).is_some(), "{kind:?} cuts a character of {text:?}");
                from = range.end;
            }
        }
    }
}
