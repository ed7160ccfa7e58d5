//! Durations and times, for people.

use std::time::Duration;

use jiff::Timestamp;
use thiserror::Error;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Three significant digits in the unit that fits, spelled as TraceQL spells them: `850ns`, `30.1µs`, `120ms`, `1.23s`,
/// `2m05s`, `1h02m`, `3d04h`.
pub fn duration(nanos: u64) -> String {
    match nanos {
        0 => "0s".to_owned(),
        1..1_000 => format!("{nanos}ns"),
        1_000..999_500 => significant(nanos, 1_000, "µs"),
        999_500..999_500_000 => significant(nanos, 1_000_000, "ms"),
        999_500_000..60_000_000_000 => significant(nanos, NANOS_PER_SECOND, "s"),
        _ => pair(nanos / NANOS_PER_SECOND),
    }
}

fn significant(nanos: u64, unit_nanos: u64, unit: &str) -> String {
    let value = nanos as f64 / unit_nanos as f64;
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    let number = format!("{value:.decimals$}");
    let number = if decimals > 0 { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number}{unit}")
}

fn pair(seconds: u64) -> String {
    match seconds {
        0..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// A point in time as `2026-11-21 08:31:20.123` (UTC, milliseconds). Times no calendar knows become `-`.
pub fn time(unix_nano: u64) -> String {
    let Ok(t) = Timestamp::from_nanosecond(i128::from(unix_nano)) else { return "-".to_owned() };
    t.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A point in time as RFC 3339 with nanoseconds, for documents.
pub fn time_rfc3339(unix_nano: u64) -> String {
    Timestamp::from_nanosecond(i128::from(unix_nano)).map_or_else(|_| String::new(), |t| t.to_string())
}

/// Why a text is not a duration.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{0}` is not a duration; write a number and a unit, like 500ms, 30m, 1h30m or 7d")]
pub struct DurationError(String);

/// Reads `500ms`, `1.5s`, `1h30m`, `7d` (units `ns us µs ms s m h d w`).
pub fn parse_duration(text: &str) -> Result<Duration, DurationError> {
    let wrong = || DurationError(text.to_owned());
    let mut rest = text.trim();
    let mut nanos = 0.0_f64;
    if rest.is_empty() {
        return Err(wrong());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        nanos += number * unit_nanos(&rest[..letters]).ok_or_else(wrong)?;
        rest = &rest[letters..];
    }
    if !nanos.is_finite() || nanos >= u64::MAX as f64 {
        return Err(wrong());
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

fn unit_nanos(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1.0,
        "us" | "µs" | "μs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        "m" => 60e9,
        "h" => 3_600e9,
        "d" => 86_400e9,
        "w" => 604_800e9,
        _ => return None,
    })
}
