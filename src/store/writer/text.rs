//! Small conversions of OTLP's scalars to the table's.

const NANOS_PER_MICRO: u64 = 1_000;

/// Microseconds since the Unix epoch. The largest nanoseconds give a number far below `i64::MAX`.
pub(in crate::store) fn micros(unix_nano: u64) -> i64 {
    (unix_nano / NANOS_PER_MICRO) as i64
}

/// Each byte's two digits.
static HEX: [[u8; 2]; 256] = hex_digits();

const fn hex_digits() -> [[u8; 2]; 256] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut table = [[0; 2]; 256];
    let mut byte = 0;
    while byte < table.len() {
        table[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    table
}

/// Appends bytes in lower-case hexadecimal.
#[inline]
pub(super) fn append_hex(out: &mut Vec<u8>, bytes: &[u8]) {
    // Eight bytes, a span id, at a time.
    for chunk in bytes.chunks(8) {
        let mut text = [0; 16];
        for (pair, byte) in text.chunks_exact_mut(2).zip(chunk) {
            pair.copy_from_slice(&HEX[usize::from(*byte)]);
        }
        out.extend_from_slice(&text[..chunk.len() * 2]);
    }
}

/// Words for OTLP's span kinds and status codes, as TraceQL has them; a number outside them is written as such.
pub(in crate::store) const KINDS: [&str; 6] =
    ["unspecified", "internal", "server", "client", "producer", "consumer"];

/// Words for OTLP's status codes.
pub(in crate::store) const STATUS_CODES: [&str; 3] = ["unset", "ok", "error"];

/// The word of an enumeration's value; a number outside of the words as such.
pub(in crate::store) fn word(words: &[&'static str], value: i32) -> String {
    match usize::try_from(value).ok().and_then(|at| words.get(at)) {
        Some(word) => (*word).to_owned(),
        None => value.to_string(),
    }
}

/// The value of what [`word`] gave.
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
