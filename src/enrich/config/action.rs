//! Attribute actions as they are configured.

use std::fmt;

use http::HeaderName;
use regex::Regex;
use serde::{Deserialize, Serialize};

use super::{AttributeValue, RedactConfig};
use crate::enrich::condition::Condition;
use crate::enrich::redact::Matcher;

/// One action on the attributes of one scope.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionConfig {
    /// To whose attributes.
    pub scope: Scope,
    /// Only where this holds.
    pub when: Option<Condition>,
    /// What is done.
    pub action: Action,
}

/// What is done to attributes.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Gives an attribute a value.
    Put {
        /// Depending on whether it is there.
        put: Put,
        /// Its key.
        key: String,
        /// The value; where there is none nothing is done.
        value: Source,
    },
    /// Takes the attribute out, each of them if the key is there more than once.
    Delete {
        /// Its key.
        key: String,
    },
    /// Replaces the value by its SHA-256.
    Hash {
        /// Its key.
        key: String,
    },
    /// Matches a string value; what its named groups caught becomes attributes, replacing those of these names.
    Extract {
        /// The key of the value.
        key: String,
        /// What is looked for, anywhere in it.
        pattern: ExtractPattern,
    },
    /// Gives the value another type; one that cannot have it stays as it is.
    Convert {
        /// Its key.
        key: String,
        /// The type.
        to: ValueType,
    },
    /// Gives attributes other keys, one after the other; nothing is done where the new key is there already.
    Rename {
        /// Old and new keys.
        keys: Vec<(String, String)>,
    },
    /// Cuts a string value off.
    Truncate {
        /// Its key.
        key: String,
        /// The most bytes that remain; fewer where a character would be cut.
        bytes: usize,
    },
}

impl Action {
    /// Whose attribute it copies from, if that is not one of those it edits.
    pub fn takes_from(&self) -> Option<Scope> {
        match self {
            Self::Put { value: Source::Of { scope, .. }, .. } => Some(*scope),
            _ => None,
        }
    }
}

impl ActionConfig {
    /// The key of a secret, and that under which this action would put it where redaction does not know it for one.
    pub fn uncovers<'a>(&'a self, redact: &RedactConfig) -> Option<(&'a str, &'a str)> {
        let matcher = Matcher::compile(redact);
        let is_secret = |key: &str| redact.enabled && matcher.find(key.as_bytes()).is_some();
        let uncovers = |(from, to): &(&str, &str)| is_secret(from) && !is_secret(to);
        match &self.action {
            Action::Put { key, value: Source::Attribute(from) | Source::Of { key: from, .. }, .. } => {
                Some((from.as_str(), key.as_str())).filter(uncovers)
            }
            Action::Rename { keys } => {
                keys.iter().map(|(old, new)| (old.as_str(), new.as_str())).find(uncovers)
            }
            _ => None,
        }
    }
}

/// When an attribute is given a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Where its key is not there.
    Insert,
    /// Where its key is there.
    Update,
    /// Always.
    Upsert,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// From the configuration.
    Fixed(AttributeValue),
    /// From the attribute with this key, of the same span, resource, event or scope.
    Attribute(String),
    /// From the attribute with this key of what the span, event or scope belongs to.
    Of {
        /// Whose it is: the resource's of whatever is below it, the scope's of spans and events, the span's of events.
        scope: Scope,
        /// Its key.
        key: String,
    },
    /// From this header of the request, over gRPC from its metadata.
    Header(HeaderName),
    /// The sender's address, without a port.
    Client,
}

impl Source {
    /// An attribute of `owner`, for an action on `scope`. The error is a sentence for the person who wrote it.
    pub fn of(owner: Scope, key: String, scope: Scope) -> Result<Self, String> {
        if owner == scope {
            return Ok(Self::Attribute(key));
        }
        if !scope.is_below(owner) {
            let (owner, scope) = (owner.as_str(), scope.as_str());
            return Err(format!("a {scope} does not belong to one {owner}: there may be many, or none"));
        }
        Ok(Self::Of { scope: owner, key })
    }

    /// A header of the request, by its name. The error is a sentence for the person who wrote it: headers that hold
    /// credentials are never read.
    pub fn header(name: &str) -> Result<Self, String> {
        let parsed: HeaderName = name.parse().map_err(|_| format!("`{name}` is not the name of a header"))?;
        if Matcher::compile(&RedactConfig::default()).find(parsed.as_str().as_bytes()).is_some() {
            return Err(format!("the header `{parsed}` holds credentials: they are never put on spans"));
        }
        Ok(Self::Header(parsed))
    }
}

/// Whose attributes an action edits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// The span's.
    #[default]
    Span,
    /// The resource's.
    Resource,
    /// Those of the instrumentation scope.
    Scope,
    /// Those of each event of the span.
    Event,
}

impl Scope {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Span, Self::Resource, Self::Scope, Self::Event];

    /// The field number of the attributes in the scope's message.
    pub(in crate::enrich) fn attributes_field(self) -> u32 {
        match self {
            Self::Span => 9,
            Self::Resource => 1,
            Self::Scope | Self::Event => 3,
        }
    }

    /// Whether each of these belongs to one of those.
    pub fn is_below(self, owner: Self) -> bool {
        match owner {
            Self::Resource => self != Self::Resource,
            Self::Scope => matches!(self, Self::Span | Self::Event),
            Self::Span => self == Self::Event,
            Self::Event => false,
        }
    }

    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Span => "span",
            Self::Resource => "resource",
            Self::Scope => "scope",
            Self::Event => "event",
        }
    }
}

/// A type that a value can be converted to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueType {
    /// `string_value`
    String,
    /// `int_value`
    Int,
    /// `double_value`
    Double,
    /// `bool_value`
    Bool,
}

/// A regular expression with named groups. Two are equal if they are written alike.
#[derive(Clone)]
pub struct ExtractPattern(Regex);

/// The most that a compiled regular expression may take, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

impl ExtractPattern {
    /// Compiles it. The error is a sentence for the person who wrote it.
    pub fn new(source: &str) -> Result<Self, String> {
        let regex = compile_pattern(source)?;
        if regex.capture_names().flatten().next().is_none() {
            return Err(
                "the pattern names no group; write `(?P<attribute.key>…)` around what is to be extracted"
                    .into(),
            );
        }
        Ok(Self(regex))
    }

    /// The compiled expression.
    pub fn regex(&self) -> &Regex {
        &self.0
    }
}

/// A regular expression of bounded size. The error is a sentence for the person who wrote it.
pub fn compile_pattern(source: &str) -> Result<Regex, String> {
    let built = regex::RegexBuilder::new(source).size_limit(PATTERN_BYTES_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "the regular expression is too large".to_owned(),
        // The library draws a picture over several lines; its last says what is wrong.
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("`{source}` is not a regular expression: {reason}")
        }
    })
}

impl PartialEq for ExtractPattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl fmt::Debug for ExtractPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.0.as_str())
    }
}
