//! Durations and times, for people.

use jiff::Timestamp;

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
    // Digits align and say how exact they are; only whole numbers go without.
    let whole = number.trim_end_matches('0').strip_suffix('.');
    format!("{}{unit}", whole.unwrap_or(&number))
}

fn pair(seconds: u64) -> String {
    match seconds {
        0..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// An amount of bytes, three significant digits in the binary unit that fits: `512 B`, `1.5 KiB`, `70.2 MiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = if value < 9.995 {
        2
    } else if value < 99.95 {
        1
    } else {
        0
    };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// A point in time as `2026-11-21 08:31:20.123` (UTC, milliseconds). Times no calendar knows become `-`.
pub fn time(unix_nano: u64) -> String {
    let Ok(t) = Timestamp::from_nanosecond(i128::from(unix_nano)) else { return "-".to_owned() };
    t.strftime("%Y-%m-%d %H:%M:%S%.3f").to_string()
}
