//! What is wrong with a rules file, and where.

use std::fmt;

/// A refused rules file. Nothing of it takes effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct RulesError {
    /// What is wrong, in words, and where possible what would be right.
    pub message: String,
    /// The line, from 1; `None` where the problem has no place.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
}

impl RulesError {
    pub(super) fn new((line, column): (usize, usize), message: impl Into<String>) -> Self {
        let number = |value: usize| u32::try_from(value.max(1)).ok();
        Self { message: message.into(), line: number(line), column: number(column) }
    }
}

impl fmt::Display for RulesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

/// The known name that looks most like what was written, if it is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&written.to_lowercase(), name);
    let near_enough = (written.chars().count() / 3).max(2);
    let candidates = known.into_iter().map(|name| (distance(name), name));
    candidates.filter(|(distance, _)| *distance <= near_enough).min_by_key(|(d, _)| *d).map(|(_, name)| name)
}
