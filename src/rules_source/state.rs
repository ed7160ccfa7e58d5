//! Which rules are in force, and what is wrong with those that should be.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// Why rules are not in force: they could not be fetched, or say something they may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize)]
pub struct RulesProblem {
    /// What is wrong, in words.
    pub message: String,
    /// The line of the text it is about, from 1.
    pub line: Option<u32>,
    /// The column in that line, in characters from 1.
    pub column: Option<u32>,
}

impl RulesProblem {
    /// A problem that is about no place in the text.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None, column: None }
    }

    /// A problem at a line and column, both from 1.
    pub fn at(message: impl Into<String>, line: u32, column: u32) -> Self {
        Self { message: message.into(), line: Some(line), column: Some(column) }
    }
}

impl fmt::Display for RulesProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, "line {line}, column {column}: {}", self.message),
            (Some(line), None) => write!(f, "line {line}: {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

/// The rules in force, and the problem with newer ones if there is any.
/// As JSON: `version`, `source`, `loaded_at` (RFC 3339, null before the first), `error` (null, or `message`, `line`, `column`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RulesStatus {
    /// The version in force. It counts up with each installation.
    pub version: u32,
    /// Where rules come from: a path, a URL, or `built-in`.
    pub source: String,
    /// When this version came into force, nanoseconds since the Unix epoch; 0 before the first.
    #[serde(rename = "loaded_at", serialize_with = "rfc_3339")]
    pub loaded_at_unix_nano: u64,
    /// Why what the source holds now is not in force.
    pub error: Option<RulesProblem>,
}

fn rfc_3339<S: Serializer>(unix_nano: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    match Timestamp::from_nanosecond(i128::from(*unix_nano)) {
        Ok(time) if *unix_nano > 0 => serializer.collect_str(&time),
        _ => serializer.serialize_none(),
    }
}

/// The status, shared by the source that changes it and those who tell it. Clones are the same state; the default is that
/// nothing is in force yet.
#[derive(Clone, Debug, Default)]
pub struct RulesState(Arc<Mutex<RulesStatus>>);

impl RulesState {
    /// What it is now.
    pub fn get(&self) -> RulesStatus {
        self.0.lock().clone()
    }

    /// A version from this source came into force.
    pub fn loaded(&self, version: u32, source: &str, now_unix_nano: u64) {
        let source = source.to_owned();
        *self.0.lock() = RulesStatus { version, source, loaded_at_unix_nano: now_unix_nano, error: None };
    }

    /// What the source holds now cannot come into force.
    pub fn refused(&self, problem: RulesProblem) {
        self.0.lock().error = Some(problem);
    }

    /// The source holds again what is in force.
    pub fn restored(&self) {
        self.0.lock().error = None;
    }
}
