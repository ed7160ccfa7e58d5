//! What can be wrong with a configuration, each with the place that has to be changed.

use std::fmt;

/// A place in the configuration file. Line and column count from 1, in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The file, as it was named.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A command line flag, with its dashes.
    Flag(&'static str),
    /// An environment variable.
    Env(&'static str),
    /// The configuration file.
    File(Place),
    /// Nobody set it.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(place) => place.fmt(f),
            Self::Default => f.write_str("default"),
        }
    }
}

/// Why a configuration was refused. Shown, each names its place, what is wrong, and where possible what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not YAML, or a value has the wrong form.
    #[error("{place}: {message}")]
    Syntax {
        /// Where.
        place: Place,
        /// What is wrong.
        message: String,
    },
    /// A key that does not exist.
    #[error("{place}: unknown key `{key}`{}", suggestion(.nearest, .known))]
    UnknownKey {
        /// Where.
        place: Place,
        /// The key as it was written.
        key: String,
        /// The known key that looks most like it, if any does.
        nearest: Option<String>,
        /// The keys that exist there.
        known: Vec<String>,
    },
    /// `${NAME}` without a default, and the variable is not set.
    #[error("{place}: the environment variable {name} is not set; give it a default with `${{{name}:-…}}`")]
    Unset {
        /// Where.
        place: Place,
        /// The variable.
        name: String,
    },
    /// A value that is well formed and cannot be used.
    #[error("{origin}: `{key}`: {message}")]
    Invalid {
        /// Who set it.
        origin: Origin,
        /// The key, dotted: `receive.limit`.
        key: String,
        /// What is wrong with it.
        message: String,
    },
}

fn suggestion(nearest: &Option<String>, known: &[String]) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean `{nearest}`?"),
        None => format!("; the keys here are: {}", known.join(", ")),
    }
}

/// The known name that looks most like what was written, if it is near enough to be meant.
pub(super) fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&written.to_lowercase(), name);
    let near_enough = (written.chars().count() / 3).max(2);
    let candidates = known.into_iter().map(|name| (distance(name), name));
    candidates.filter(|(distance, _)| *distance <= near_enough).min_by_key(|(d, _)| *d).map(|(_, name)| name)
}
