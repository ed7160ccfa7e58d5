//! Durations, sizes and percentages as people write them.

use std::time::Duration;

/// Units of durations, in milliseconds.
const UNITS: &[(&str, f64)] = &[
    ("ms", 1.0),
    ("s", 1000.0),
    ("m", 60_000.0),
    ("h", 3_600_000.0),
    ("d", 86_400_000.0),
    ("w", 604_800_000.0),
];
/// The longest duration: a hundred years.
const DAYS_MAX: f64 = 36_500.0;

/// A number and a unit: `500ms`, `30s`, `3d`. `Err` says what is wrong.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let unit = UNITS.iter().find(|(name, _)| *name == unit.trim());
    let millis = unit.and_then(|(_, millis)| Some(number.parse::<f64>().ok()? * millis));
    match millis {
        Some(millis) if millis <= DAYS_MAX * 86_400_000.0 => Ok(Duration::from_secs_f64(millis / 1000.0)),
        Some(_) => Err(format!("`{text}` is longer than {DAYS_MAX} days")),
        None => Err(format!(
            "`{text}` is not a duration such as `30s`, `500ms` or `3d` (units: ms, s, m, h, d, w)"
        )),
    }
}

/// Units of sizes, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// A number and a unit: `500MB`, `1.5TiB`. `Err` says what is wrong.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '.').len();
    let (number, unit) = text.split_at(digits);
    let unit = SIZES.iter().find(|(name, _)| *name == unit.trim());
    let bytes = unit.and_then(|(_, factor)| Some(number.parse::<f64>().ok()? * *factor as f64));
    match bytes {
        Some(bytes) if bytes < i64::MAX as f64 => Ok(bytes as u64),
        Some(_) => Err(format!("`{text}` is more than any store has")),
        None => Err(format!(
            "`{text}` is not a size such as `500GiB` (units: B, KiB, MiB, GiB, TiB, KB, MB, GB, TB)"
        )),
    }
}

/// A percentage: `10%`, `0.5 %`. Its range is the action's business.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().strip_suffix('%').map(str::trim_end);
    let is_plain = |number: &&str| number.bytes().all(|byte| byte.is_ascii_digit() || b".-".contains(&byte));
    let value = number.filter(is_plain).and_then(|number| number.parse().ok());
    value.ok_or_else(|| format!("`{text}` is not a percentage such as `10%`"))
}
