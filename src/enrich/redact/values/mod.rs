//! What personal data and credentials look like inside a text, one file a kind.
//!
//! Each search begins with a question that nearly every text answers with no, at the speed of memory: is there an `@`,
//! are there enough digits, is there an `eyJ`.

mod bearer;
mod card;
mod email;
mod jwt;
mod ssn;

#[cfg(test)]
mod tests;

use std::ops::Range;

use regex::Regex;
use serde::{Deserialize, Serialize};

/// What is known by its form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueKind {
    /// Numbers of payment cards: an issuer's range and length, and the check digit.
    Card,
    /// E-mail addresses.
    Email,
    /// The token behind `Bearer`.
    Bearer,
    /// JSON web tokens.
    Jwt,
    /// US social security numbers: three, two and four digits.
    Ssn,
}

/// One thing to look for.
#[derive(Debug)]
pub(super) enum Pattern {
    Known(ValueKind),
    Custom { name: String, regex: Regex },
}

impl Pattern {
    pub(super) fn custom(name: &str, regex: &Regex) -> Self {
        Self::Custom { name: name.to_owned(), regex: regex.clone() }
    }

    /// Its name in metrics.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Known(ValueKind::Card) => "card",
            Self::Known(ValueKind::Email) => "email",
            Self::Known(ValueKind::Bearer) => "bearer",
            Self::Known(ValueKind::Jwt) => "jwt",
            Self::Known(ValueKind::Ssn) => "ssn",
            Self::Custom { name, .. } => name,
        }
    }

    /// The first place at or behind the byte `from` where it stands.
    pub(super) fn find(&self, text: &str, from: usize) -> Option<Range<usize>> {
        let bytes = text.as_bytes();
        match self {
            Self::Known(ValueKind::Card) => card::find(bytes, from),
            Self::Known(ValueKind::Email) => email::find(bytes, from),
            Self::Known(ValueKind::Bearer) => bearer::find(bytes, from),
            Self::Known(ValueKind::Jwt) => jwt::find(bytes, from),
            Self::Known(ValueKind::Ssn) => ssn::find(bytes, from),
            Self::Custom { regex, .. } => {
                let from = text.ceil_char_boundary(from);
                regex.find_at(text, from).map(|found| found.range())
            }
        }
    }
}

/// Where the run of bytes that fulfil `is_in` ends, from `start` on.
fn run_end(text: &[u8], start: usize, is_in: impl Fn(u8) -> bool) -> usize {
    let rest = text.get(start..).unwrap_or_default();
    start + rest.iter().position(|byte| !is_in(*byte)).unwrap_or(rest.len())
}

/// Whether there are at least so many digits from `from` on.
fn has_digits(text: &[u8], from: usize, least: usize) -> bool {
    let rest = text.get(from..).unwrap_or_default();
    rest.len() >= least && rest.iter().filter(|byte| byte.is_ascii_digit()).count() >= least
}
