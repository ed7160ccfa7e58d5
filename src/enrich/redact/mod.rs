//! Secrets and personal data: which attributes hold them by their key, where they stand inside a text, and what takes
//! their place.

mod keys;
mod replacement;
mod sql;
mod url;
mod values;

use std::borrow::Cow;
use std::ops::Range;

pub(super) use keys::Matcher;
pub use replacement::REDACTED;
pub(super) use replacement::Replacement;
pub use values::ValueKind;

use super::config::RedactConfig;
use url::Urls;
use values::Pattern;

/// All of it, compiled. Rules are numbered: first the listed keys, then URLs, SQL, and the patterns.
#[derive(Debug)]
pub(super) struct Redactor {
    /// The secret keys.
    pub(super) keys: Matcher,
    key_count: usize,
    urls: Option<Urls>,
    sql: bool,
    patterns: Vec<Pattern>,
    pub(super) replacement: Replacement,
    /// Whether string values are looked into.
    pub(super) reads_values: bool,
    /// Whether names of spans and events are looked into,
    pub(super) reads_names: bool,
    /// and the messages of statuses.
    pub(super) reads_messages: bool,
}

impl Redactor {
    pub(super) fn compile(config: &RedactConfig) -> Self {
        let keys = Matcher::compile(config);
        let mut patterns = Vec::new();
        let (mut urls, mut sql) = (None, false);
        if config.enabled {
            patterns.extend(config.values.iter().map(|kind| Pattern::Known(*kind)));
            let custom = config.patterns.iter();
            patterns.extend(custom.map(|(name, regex)| Pattern::custom(name, regex)));
            urls = config.urls.then(|| Urls::new(&config.allowed_parameters));
            sql = config.sql;
        }
        let has_patterns = !patterns.is_empty();
        Self {
            key_count: keys.names().count(),
            keys,
            reads_values: has_patterns || urls.is_some() || sql,
            reads_names: has_patterns && config.names,
            reads_messages: has_patterns && config.messages,
            urls,
            sql,
            patterns,
            replacement: Replacement::Text,
        }
    }

    /// The names of all rules, by their numbers.
    pub(super) fn rule_names(&self) -> Vec<String> {
        let keys = self.keys.names().map(|key| format!("key:{key}"));
        let patterns = self.patterns.iter().map(|pattern| format!("value:{}", pattern.name()));
        keys.chain(["url".to_owned(), "sql".to_owned()]).chain(patterns).collect()
    }

    /// The value of an attribute with what must not be in it replaced; `None` if nothing is. `on_hit` is told the
    /// number of each rule that replaced something.
    pub(super) fn clean_value(
        &self,
        key: &[u8],
        text: &str,
        mut on_hit: impl FnMut(usize),
    ) -> Option<String> {
        let by_key = self.clean_by_key(key, text, &mut on_hit);
        let by_pattern = self.clean_text(by_key.as_deref().unwrap_or(text), on_hit);
        by_pattern.or(by_key)
    }

    /// The same for a text that is no attribute's.
    pub(super) fn clean_text(&self, text: &str, mut on_hit: impl FnMut(usize)) -> Option<String> {
        let mut cleaned: Option<String> = None;
        for (index, pattern) in self.patterns.iter().enumerate() {
            let current = cleaned.as_deref().unwrap_or(text);
            if let Some(replaced) = self.replace_found(current, |from| pattern.find(current, from)) {
                on_hit(self.key_count + 2 + index);
                cleaned = Some(replaced);
            }
        }
        cleaned
    }

    fn clean_by_key(&self, key: &[u8], text: &str, on_hit: &mut impl FnMut(usize)) -> Option<String> {
        if let Some(urls) = &self.urls
            && let Some(form) = url::form_of(key)
        {
            let mut secrets = urls.secrets(form, text);
            secrets.retain(|secret| !Replacement::is_one(&text[secret.clone()]));
            let replacement = |secret: &str| self.replacement.of(secret.as_bytes());
            return replaced(text, &secrets, replacement).inspect(|_| on_hit(self.key_count));
        }
        if self.sql && sql::is_statement(key) {
            let literals = sql::literals(text);
            return replaced(text, &literals, |_| "?".into()).inspect(|_| on_hit(self.key_count + 1));
        }
        None
    }

    /// The text with all ranges replaced that `find` gives: the first that begins at or behind an offset.
    fn replace_found(&self, text: &str, find: impl Fn(usize) -> Option<Range<usize>>) -> Option<String> {
        let mut cleaned: Option<String> = None;
        let mut copied = 0;
        let mut from = 0;
        while from <= text.len()
            && let Some(found) = find(from)
        {
            // A pattern may match nothing; and what was replaced before stays.
            from = found.end.max(from + 1);
            let Some(secret) = text.get(found.clone()).filter(|secret| !secret.is_empty()) else {
                continue;
            };
            if Replacement::is_one(secret) {
                continue;
            }
            let out = cleaned.get_or_insert_with(|| String::with_capacity(text.len() + 16));
            out.push_str(&text[copied..found.start]);
            out.push_str(&self.replacement.of(secret.as_bytes()));
            copied = found.end;
        }
        cleaned.map(|mut out| {
            out.push_str(&text[copied..]);
            out
        })
    }
}

/// The text with these ranges, which are in order, replaced; `None` if there are none.
fn replaced(
    text: &str,
    ranges: &[Range<usize>],
    replacement: impl Fn(&str) -> Cow<'static, str>,
) -> Option<String> {
    if ranges.is_empty() {
        return None;
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut copied = 0;
    for range in ranges {
        out.push_str(&text[copied..range.start]);
        out.push_str(&replacement(&text[range.clone()]));
        copied = range.end;
    }
    out.push_str(&text[copied..]);
    Some(out)
}
