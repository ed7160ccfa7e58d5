//! Sizes and durations as people write them: `64MiB`, `30s`. A unit is always required, so that nobody has to guess.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _};

/// A text that is not a size or a duration, and what it should look like.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no number in front.
    #[error("`{text}` does not begin with a number; write for example `{example}`")]
    NoNumber {
        /// What was written.
        text: String,
        /// What is right.
        example: &'static str,
    },
    /// There is a number without a unit.
    #[error("`{text}` has no unit; write for example `{text}{unit}` or `{example}`")]
    NoUnit {
        /// What was written.
        text: String,
        /// A unit that fits.
        unit: &'static str,
        /// What is right.
        example: &'static str,
    },
    /// The unit is not known.
    #[error("`{unit}` is not a unit; the units are {units}")]
    UnknownUnit {
        /// What was written.
        unit: String,
        /// Those that exist.
        units: &'static str,
    },
    /// More than 64 bits hold.
    #[error("`{text}` is too large")]
    TooLarge {
        /// What was written.
        text: String,
    },
}

/// A size in bytes, written with a unit: `512B`, `64MiB`, `1.5GiB`, `10GB`. `KiB` is 1 024 bytes, `KB` is 1 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ByteSize(pub u64);

/// A length of time, written with a unit: `500ms`, `30s`, `15m`, `24h`, `3d`, also `1h30m` and `1.5s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Period(pub Duration);

/// The units of sizes, in bytes.
const SIZES: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// The units of durations, in nanoseconds.
const PERIODS: &[(&str, u64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let grammar = Grammar { units: SIZES, names: "B, KiB, MiB, GiB, TiB", plain: "B", example: "64MiB" };
        let text = text.trim();
        match grammar.term(text)? {
            (bytes, "") => Ok(Self(bytes)),
            (_, rest) => Err(grammar.unknown(rest)),
        }
    }
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let grammar = Grammar { units: PERIODS, names: "ms, s, m, h, d", plain: "s", example: "500ms" };
        let mut total = 0u64;
        let mut rest = text.trim();
        loop {
            let (nanos, after) = grammar.term(rest)?;
            total = total.checked_add(nanos).ok_or_else(|| too_large(text))?;
            match after {
                "" => return Ok(Self(Duration::from_nanos(total))),
                more => rest = more,
            }
        }
    }
}

/// What one kind of quantity is written with.
struct Grammar {
    units: &'static [(&'static str, u64)],
    names: &'static str,
    plain: &'static str,
    example: &'static str,
}

impl Grammar {
    /// Reads `number unit` and returns the quantity in base units, and what follows it.
    fn term<'a>(&self, text: &'a str) -> Result<(u64, &'a str), UnitError> {
        let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, rest) = text.split_at(digits);
        if !number.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(UnitError::NoNumber { text: text.into(), example: self.example });
        }
        let rest = rest.trim_start();
        let letters = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        let (unit, rest) = rest.split_at(letters);
        if unit.is_empty() && rest.is_empty() {
            return Err(UnitError::NoUnit { text: text.into(), unit: self.plain, example: self.example });
        }
        let known = self.units.iter().find(|(name, _)| *name == unit);
        let (_, factor) = known.ok_or_else(|| self.unknown(unit))?;
        Ok((scale(number, *factor).ok_or_else(|| too_large(text))?, rest))
    }

    fn unknown(&self, unit: &str) -> UnitError {
        UnitError::UnknownUnit { unit: unit.into(), units: self.names }
    }
}

/// A decimal number times a factor, exact for whole numbers; a fraction is rounded down.
fn scale(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let mut part = 0u128;
    let mut place = 1u128;
    for digit in fraction.bytes().take(18) {
        if !digit.is_ascii_digit() {
            return None;
        }
        place *= 10;
        part = part * 10 + u128::from(digit - b'0');
    }
    let part = u64::try_from(part * u128::from(factor) / place).ok()?;
    whole.checked_add(part)
}

fn too_large(text: &str) -> UnitError {
    UnitError::TooLarge { text: text.into() }
}

/// The largest unit that divides the quantity.
fn show(f: &mut fmt::Formatter<'_>, quantity: u64, units: &[(&str, u64)]) -> fmt::Result {
    let fits = |(_, factor): &&(&str, u64)| quantity.is_multiple_of(*factor) && quantity >= *factor;
    match units.iter().find(fits) {
        Some((name, factor)) => write!(f, "{}{name}", quantity / factor),
        None => f.write_str(if units.len() == SIZES.len() { "0B" } else { "0s" }),
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, SIZES)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX), PERIODS)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl serde::Serialize for ByteSize {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl serde::Serialize for Period {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
