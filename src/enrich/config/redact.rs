//! What is never let through.

use std::path::PathBuf;

use regex::Regex;

use crate::enrich::redact::ValueKind;

/// What is never let through.
#[derive(Debug, Clone)]
pub struct RedactConfig {
    /// Off lets everything through.
    pub enabled: bool,
    /// Keys, or the last words of keys: `token` also means `user.token`, `x-token` and `accessToken`. Case does not
    /// matter, `-` is the same as `_`.
    pub keys: Vec<String>,
    /// What is looked for inside string values.
    pub values: Vec<ValueKind>,
    /// The same by regular expressions, each with its name for metrics. Whatever one matches is replaced.
    pub patterns: Vec<(String, Regex)>,
    /// Take users and the values of queries out of URLs,
    pub urls: bool,
    /// but for the values of these keys.
    pub allowed_parameters: Vec<String>,
    /// Take literals out of SQL.
    pub sql: bool,
    /// Look into the names of spans and events too,
    pub names: bool,
    /// and into the messages of statuses.
    pub messages: bool,
    /// A file with a key: secrets are replaced by a keyed hash instead of a word.
    pub hash_key: Option<PathBuf>,
}

impl RedactConfig {
    /// The keys that are secret nearly everywhere.
    pub const DEFAULT_KEYS: [&str; 15] = [
        "authorization",
        "cookie",
        "set-cookie",
        "password",
        "passwd",
        "pwd",
        "passphrase",
        "token",
        "secret",
        "api_key",
        "apikey",
        "private_key",
        "secret_key",
        "access_key",
        "credentials",
    ];
}

impl Default for RedactConfig {
    /// By key only: to look into values costs something for each span.
    fn default() -> Self {
        Self {
            enabled: true,
            keys: Self::DEFAULT_KEYS.map(str::to_owned).to_vec(),
            values: Vec::new(),
            patterns: Vec::new(),
            urls: false,
            allowed_parameters: Vec::new(),
            sql: false,
            names: false,
            messages: false,
            hash_key: None,
        }
    }
}

impl PartialEq for RedactConfig {
    fn eq(&self, other: &Self) -> bool {
        let patterns = |config: &Self| -> Vec<(String, String)> {
            config.patterns.iter().map(|(name, regex)| (name.clone(), regex.as_str().to_owned())).collect()
        };
        let switches =
            |config: &Self| (config.enabled, config.urls, config.sql, config.names, config.messages);
        switches(self) == switches(other)
            && self.keys == other.keys
            && self.values == other.values
            && patterns(self) == patterns(other)
            && self.allowed_parameters == other.allowed_parameters
            && self.hash_key == other.hash_key
    }
}
