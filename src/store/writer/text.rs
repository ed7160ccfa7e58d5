//! Small conversions of OTLP's scalars to the table's.

use std::fmt::Write;

use arrow_array::builder::StringBuilder;

const NANOS_PER_MICRO: u64 = 1_000;

/// Microseconds since the Unix epoch. The largest nanoseconds give a number far below `i64::MAX`.
pub(in crate::store) fn micros(unix_nano: u64) -> i64 {
    (unix_nano / NANOS_PER_MICRO) as i64
}

/// Appends bytes in lower-case hexadecimal.
pub(super) fn append_hex(out: &mut StringBuilder, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0u8; 64];
    for chunk in bytes.chunks(32) {
        for (pair, byte) in text.chunks_exact_mut(2).zip(chunk) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        // Writing to memory does not fail, and the digits are ASCII.
        let _ = out.write_str(std::str::from_utf8(&text[..chunk.len() * 2]).unwrap_or_default());
    }
    out.append_value("");
}

/// Appends a text, or null if it is empty.
pub(super) fn append_nonempty(out: &mut StringBuilder, text: &str) {
    out.append_option((!text.is_empty()).then_some(text));
}

/// Words for OTLP's span kinds and status codes, as TraceQL has them; a number outside them is written as such.
pub(in crate::store) const KINDS: [&str; 6] =
    ["unspecified", "internal", "server", "client", "producer", "consumer"];

/// Words for OTLP's status codes.
pub(in crate::store) const STATUS_CODES: [&str; 3] = ["unset", "ok", "error"];

/// Appends the word for an enumeration's value.
pub(super) fn append_word(out: &mut StringBuilder, words: &[&'static str], value: i32) {
    match usize::try_from(value).ok().and_then(|at| words.get(at)) {
        Some(word) => out.append_value(word),
        None => out.append_value(value.to_string()),
    }
}

/// The word of an enumeration's value, as [`append_word`] writes it.
pub(in crate::store) fn word(words: &[&'static str], value: i32) -> String {
    match usize::try_from(value).ok().and_then(|at| words.get(at)) {
        Some(word) => (*word).to_owned(),
        None => value.to_string(),
    }
}

/// The value of a word that [`append_word`] wrote.
pub(in crate::store) fn value_of_word(words: &[&'static str], text: &str) -> i32 {
    match words.iter().position(|word| *word == text) {
        Some(at) => at as i32,
        None => text.parse().unwrap_or(0),
    }
}

const SECONDS_PER_DAY: i64 = 86_400;

/// A day, counted from the Unix epoch, as `YYYY-MM-DD`. Days outside of jiff's years −9999 to 9999 read as the first.
pub(in crate::store) fn day_name(day: i64) -> String {
    let seconds = day.saturating_mul(SECONDS_PER_DAY);
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

/// The day of a `YYYY-MM-DD`, counted from the Unix epoch; `None` for anything else.
pub(in crate::store) fn day_of_name(name: &str) -> Option<i64> {
    let date: jiff::civil::Date = name.parse().ok()?;
    let at = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(at.timestamp().as_second().div_euclid(SECONDS_PER_DAY))
}
