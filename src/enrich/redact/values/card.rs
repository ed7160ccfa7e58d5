//! Numbers of payment cards (ISO/IEC 7812): 12 to 19 digits, in groups divided by single spaces or dashes or in one,
//! that begin with an issuer's prefix, have a length that this issuer gives out, and end with the right check digit
//! (Luhn). A trace id, an order number or a time in nanoseconds passes all three only by rare chance.

use std::ops::Range;

use smallvec::SmallVec;

use super::{has_digits, run_end};

const DIGITS_MIN: usize = 12;
const DIGITS_MAX: usize = 19;

/// From the first six digits to the lengths that exist. Ranges of the issuers' own public tables.
const ISSUERS: &[(Range<u32>, &[usize])] = &[
    (222_100..272_100, &[16]),                             // Mastercard
    (300_000..306_000, &[14, 15, 16, 17, 18, 19]),         // Diners Club
    (340_000..350_000, &[15]),                             // American Express
    (352_800..359_000, &[16, 17, 18, 19]),                 // JCB
    (360_000..370_000, &[14, 15, 16, 17, 18, 19]),         // Diners Club
    (370_000..380_000, &[15]),                             // American Express
    (380_000..400_000, &[14, 15, 16, 17, 18, 19]),         // Diners Club
    (400_000..500_000, &[13, 16, 19]),                     // Visa
    (500_000..510_000, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (510_000..560_000, &[16]),                             // Mastercard
    (560_000..590_000, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (601_100..601_200, &[16, 17, 18, 19]),                 // Discover
    (620_000..630_000, &[16, 17, 18, 19]),                 // UnionPay
    (630_000..640_000, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
    (644_000..660_000, &[16, 17, 18, 19]),                 // Discover
    (670_000..680_000, &[12, 13, 14, 15, 16, 17, 18, 19]), // Maestro
];

pub(super) fn find(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut from = from;
    if !has_digits(text, from, DIGITS_MIN) {
        return None;
    }
    while let Some(offset) = text[from..].iter().position(u8::is_ascii_digit) {
        let start = from + offset;
        let ends = group_ends(text, start);
        let is_found = |end: &&usize| stands_alone(text, start, **end) && is_card(&text[start..**end]);
        if let Some(end) = ends.iter().rev().find(is_found) {
            return Some(start..*end);
        }
        from = run_end(text, start, |byte| byte.is_ascii_digit());
    }
    None
}

/// Where each group of digits ends that may belong to a number which begins here: groups with single separators
/// between them, not more digits than a card has.
fn group_ends(text: &[u8], start: usize) -> SmallVec<[usize; 8]> {
    let mut ends = SmallVec::new();
    let (mut group, mut digits) = (start, 0);
    loop {
        let end = run_end(text, group, |byte| byte.is_ascii_digit());
        digits += end - group;
        if digits > DIGITS_MAX {
            return ends;
        }
        ends.push(end);
        match &text[end..] {
            [b' ' | b'-', next, ..] if next.is_ascii_digit() => group = end + 1,
            _ => return ends,
        }
    }
}

/// Whether it is no part of a longer word, of a decimal or of an id with dashes.
fn stands_alone(text: &[u8], start: usize, end: usize) -> bool {
    let is_joined = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    let is_decimal =
        before == Some(&b'.') && start.checked_sub(2).is_some_and(|at| text[at].is_ascii_digit());
    !before.is_some_and(|byte| is_joined(*byte))
        && !is_decimal
        && !text.get(end).is_some_and(|byte| is_joined(*byte))
}

fn is_card(number: &[u8]) -> bool {
    let mut digits = [0u8; DIGITS_MAX];
    let mut count = 0;
    for byte in number.iter().filter(|byte| byte.is_ascii_digit()) {
        let Some(digit) = digits.get_mut(count) else { return false };
        *digit = byte - b'0';
        count += 1;
    }
    let digits = &digits[..count];
    count >= DIGITS_MIN && has_issuer(digits) && passes_luhn(digits)
}

fn has_issuer(digits: &[u8]) -> bool {
    let prefix = digits.iter().take(6).fold(0, |prefix, digit| prefix * 10 + u32::from(*digit));
    ISSUERS.iter().any(|(range, lengths)| range.contains(&prefix) && lengths.contains(&digits.len()))
}

/// Every second digit from the right counts twice, its cross sum.
fn passes_luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().fold(0, |sum, (index, digit)| {
        let digit = u32::from(*digit) << (index & 1);
        sum + digit / 10 + digit % 10
    });
    sum.is_multiple_of(10)
}
