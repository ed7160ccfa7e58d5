//! The section `enrich`: attribute actions, detectors, redaction.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;

use super::error::ConfigError;
use super::raw::{Key, section};
use super::units::ByteSize;
use super::validate::{Loader, invalid, or};
use crate::enrich::{
    Action, ActionConfig, ActionKind, AttributeValue, Condition, DetectorKind, EnrichConfig, ExtractPattern,
    PodsConfig, Put, RedactConfig, RouteConfig, Scope, Source, ValueKind, ValueType, compile_pattern,
};

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEnrich {
    actions: Option<Vec<RawAction>>,
    detectors: Option<Vec<DetectorKind>>,
    r#override: Key<bool>,
    #[serde(deserialize_with = "section")]
    redact: RawRedact,
    #[serde(deserialize_with = "section")]
    http_route: RawRoute,
    #[serde(deserialize_with = "section")]
    kubernetes: RawPods,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawPods {
    enabled: Key<bool>,
    api: Key<String>,
    node: Key<String>,
    labels: Option<Vec<String>>,
    annotations: Option<Vec<String>>,
    cache: Key<ByteSize>,
    token_file: Key<String>,
    ca_file: Key<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawRoute {
    enabled: Key<bool>,
    name: Key<bool>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawAction {
    action: Spanned<ActionKind>,
    #[serde(default)]
    scope: Scope,
    #[serde(default)]
    when: Key<String>,
    #[serde(default)]
    key: Key<String>,
    #[serde(default)]
    value: Key<serde_json::Value>,
    #[serde(default)]
    from: Key<String>,
    #[serde(default)]
    from_scope: Key<Scope>,
    #[serde(default)]
    from_header: Key<String>,
    #[serde(default)]
    from_client: Key<bool>,
    #[serde(default)]
    pattern: Key<String>,
    #[serde(default)]
    to: Key<String>,
    #[serde(default)]
    keys: Key<BTreeMap<String, String>>,
    #[serde(default)]
    bytes: Key<usize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawRedact {
    enabled: Key<bool>,
    keys: Option<Vec<Spanned<String>>>,
    values: Option<Vec<ValueKind>>,
    patterns: Option<Vec<RawPattern>>,
    urls: Key<bool>,
    allowed_parameters: Option<Vec<String>>,
    sql: Key<bool>,
    names: Key<bool>,
    messages: Key<bool>,
    hash_key: Key<String>,
}

#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RawPattern {
    name: Spanned<String>,
    pattern: Spanned<String>,
}

const ACTIONS: &str = "enrich.actions";

impl Loader<'_> {
    pub(super) fn enrich(&self, raw: RawEnrich) -> Result<EnrichConfig, ConfigError> {
        let default = EnrichConfig::default();
        let redact = self.redact(raw.redact)?;
        let actions = raw.actions.unwrap_or_default().into_iter();
        let action = |raw: RawAction| {
            let origin = self.origin(&raw.action);
            let action = self.action(raw)?;
            match action.uncovers(&redact) {
                Some((secret, key)) => Err(invalid(origin, ACTIONS, uncovered(secret, key))),
                None => Ok(action),
            }
        };
        Ok(EnrichConfig {
            actions: actions.map(action).collect::<Result<_, _>>()?,
            detectors: raw.detectors.unwrap_or(default.detectors),
            override_sent: or(raw.r#override, default.override_sent),
            redact,
            kubernetes: self.pods(raw.kubernetes)?,
            http_route: RouteConfig {
                enabled: or(raw.http_route.enabled, false),
                name: or(raw.http_route.name, false),
            },
        })
    }

    fn action(&self, mut raw: RawAction) -> Result<ActionConfig, ConfigError> {
        let kind = raw.action.value;
        let scope = raw.scope;
        let when = raw
            .when
            .take()
            .map(|text| self.checked(&text, Condition::parse(&text.value, scope)))
            .transpose()?;
        let action = match kind {
            ActionKind::Insert => self.put(Put::Insert, &mut raw)?,
            ActionKind::Update => self.put(Put::Update, &mut raw)?,
            ActionKind::Upsert => self.put(Put::Upsert, &mut raw)?,
            ActionKind::Delete => Action::Delete { key: self.key(&mut raw)? },
            ActionKind::Hash => Action::Hash { key: self.key(&mut raw)? },
            ActionKind::Extract => {
                let key = self.key(&mut raw)?;
                let text = self.needed(&raw, raw.pattern.as_ref(), "`pattern`, a regular expression")?;
                let pattern = self.checked(text, ExtractPattern::new(&text.value))?;
                raw.pattern = None;
                Action::Extract { key, pattern }
            }
            ActionKind::Convert => {
                let key = self.key(&mut raw)?;
                let text = self.needed(&raw, raw.to.as_ref(), "`to`: string, int, double or bool")?;
                let to = self.checked(text, type_named(&text.value))?;
                raw.to = None;
                Action::Convert { key, to }
            }
            ActionKind::Rename => Action::Rename { keys: self.renames(&mut raw)? },
            ActionKind::Truncate => {
                let key = self.key(&mut raw)?;
                let bytes = self.needed(&raw, raw.bytes.as_ref(), "`bytes`, the most that remain")?.value;
                raw.bytes = None;
                Action::Truncate { key, bytes }
            }
        };
        self.nothing_left(&raw)?;
        Ok(ActionConfig { scope, when, action })
    }

    fn put(&self, put: Put, raw: &mut RawAction) -> Result<Action, ConfigError> {
        let key = self.key(raw)?;
        let word = raw.action.value.as_str();
        let sources =
            [raw.value.is_some(), raw.from.is_some(), raw.from_header.is_some(), raw.from_client.is_some()];
        if sources.iter().filter(|is_set| **is_set).count() != 1 {
            let message =
                format!("`{word}` needs a value: one of `value`, `from`, `from_header` and `from_client`");
            return Err(invalid(self.origin(&raw.action), ACTIONS, message));
        }
        let value = if let Some(value) = raw.value.take() {
            Source::Fixed(self.checked(&value, AttributeValue::from_json(&value.value))?)
        } else if let Some(from) = raw.from.take() {
            let key = self.checked(&from, not_empty(&from.value))?;
            match raw.from_scope.take() {
                None => Source::Attribute(key),
                Some(owner) => self.checked(&owner, Source::of(owner.value, key, raw.scope))?,
            }
        } else if let Some(name) = raw.from_header.take() {
            self.checked(&name, Source::header(&name.value))?
        } else {
            if let Some(off) = raw.from_client.take().filter(|spanned| !spanned.value) {
                let message = "leave `from_client` out, or write true".into();
                return Err(invalid(self.origin(&off), ACTIONS, message));
            }
            Source::Client
        };
        Ok(Action::Put { put, key, value })
    }

    fn renames(&self, raw: &mut RawAction) -> Result<Vec<(String, String)>, ConfigError> {
        match (raw.keys.take(), raw.key.is_some()) {
            (Some(keys), false) => {
                let pairs = keys.value.iter().map(|(old, new)| Ok((not_empty(old)?, not_empty(new)?)));
                self.checked(&keys, pairs.collect::<Result<_, String>>())
            }
            (None, true) => {
                let key = self.key(raw)?;
                let new = self.needed(raw, raw.to.as_ref(), "`to`, the new key")?;
                let new = self.checked(new, not_empty(&new.value))?;
                raw.to = None;
                Ok(vec![(key, new)])
            }
            _ => {
                let message = "`rename` needs `key` and `to`, or `keys` with the new key of each".into();
                Err(invalid(self.origin(&raw.action), ACTIONS, message))
            }
        }
    }

    fn key(&self, raw: &mut RawAction) -> Result<String, ConfigError> {
        let key = self.needed(raw, raw.key.as_ref(), "`key`, an attribute's key")?;
        let checked = self.checked(key, not_empty(&key.value))?;
        raw.key = None;
        Ok(checked)
    }

    fn needed<'k, T>(
        &self,
        raw: &RawAction,
        key: Option<&'k Spanned<T>>,
        what: &str,
    ) -> Result<&'k Spanned<T>, ConfigError> {
        let missing = || format!("`{}` needs {what}", raw.action.value.as_str());
        key.ok_or_else(|| invalid(self.origin(&raw.action), ACTIONS, missing()))
    }

    /// What an action does not look at is a mistake.
    fn nothing_left(&self, raw: &RawAction) -> Result<(), ConfigError> {
        let origin_of = |key: &Key<String>| key.as_ref().map(|spanned| self.origin(spanned));
        let left = [
            ("key", origin_of(&raw.key)),
            ("value", raw.value.as_ref().map(|spanned| self.origin(spanned))),
            ("from", origin_of(&raw.from)),
            ("from_scope", raw.from_scope.as_ref().map(|spanned| self.origin(spanned))),
            ("from_header", origin_of(&raw.from_header)),
            ("from_client", raw.from_client.as_ref().map(|spanned| self.origin(spanned))),
            ("pattern", origin_of(&raw.pattern)),
            ("to", origin_of(&raw.to)),
            ("keys", raw.keys.as_ref().map(|spanned| self.origin(spanned))),
            ("bytes", raw.bytes.as_ref().map(|spanned| self.origin(spanned))),
        ];
        match left.into_iter().find_map(|(name, origin)| Some((name, origin?))) {
            Some((name, origin)) => {
                Err(invalid(origin, ACTIONS, format!("`{}` takes no `{name}`", raw.action.value.as_str())))
            }
            None => Ok(()),
        }
    }

    fn redact(&self, raw: RawRedact) -> Result<RedactConfig, ConfigError> {
        let default = RedactConfig::default();
        let mut keys = default.keys;
        if let Some(written) = raw.keys {
            if let Some(empty) = written.iter().find(|key| key.value.is_empty()) {
                let message = "an empty key would redact everything".into();
                return Err(invalid(self.origin(empty), "enrich.redact.keys", message));
            }
            keys = written.into_iter().map(|key| key.value).collect();
        }
        let patterns = raw.patterns.unwrap_or_default();
        let hash_key = raw.hash_key.map(|path| path.value).filter(|path| !path.is_empty());
        Ok(RedactConfig {
            enabled: or(raw.enabled, default.enabled),
            keys,
            values: raw.values.unwrap_or_default(),
            patterns: patterns.iter().map(|pattern| self.pattern(pattern)).collect::<Result<_, _>>()?,
            urls: or(raw.urls, default.urls),
            allowed_parameters: raw.allowed_parameters.unwrap_or_default(),
            sql: or(raw.sql, default.sql),
            names: or(raw.names, default.names),
            messages: or(raw.messages, default.messages),
            hash_key: hash_key.map(Into::into),
        })
    }

    fn pods(&self, raw: RawPods) -> Result<PodsConfig, ConfigError> {
        let default = PodsConfig::default();
        let named = |key: Key<String>| key.map(|spanned| spanned.value).filter(|value| !value.is_empty());
        if let Some(api) = &raw.api {
            let is_url = |text: &str| text.starts_with("https://") || text.starts_with("http://");
            if !api.value.is_empty() && !is_url(&api.value) {
                let message = format!("`{}` is not a URL; write https://HOST:PORT", api.value);
                return Err(invalid(self.origin(api), "enrich.kubernetes.api", message));
            }
        }
        Ok(PodsConfig {
            enabled: or(raw.enabled, default.enabled),
            api: named(raw.api),
            node: named(raw.node),
            labels: raw.labels.unwrap_or_default(),
            annotations: raw.annotations.unwrap_or_default(),
            cache: self.positive_bytes("enrich.kubernetes.cache", raw.cache, default.cache)?,
            token_file: named(raw.token_file).map_or(default.token_file, Into::into),
            ca_file: named(raw.ca_file).map_or(default.ca_file, Into::into),
        })
    }

    fn pattern(&self, raw: &RawPattern) -> Result<(String, regex::Regex), ConfigError> {
        const KEY: &str = "enrich.redact.patterns";
        let wrong = |origin, message: String| Err(invalid(origin, KEY, message));
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        if !is_name(&raw.name.value) {
            let message = "a pattern's name is of letters, digits, `_`, `-` and `.`: metrics show it";
            return wrong(self.origin(&raw.name), message.into());
        }
        match compile_pattern(&raw.pattern.value) {
            Ok(regex) if regex.is_match("") => {
                let message = "the pattern matches nothing at all, and so stands everywhere";
                wrong(self.origin(&raw.pattern), message.into())
            }
            Ok(regex) => Ok((raw.name.value.clone(), regex)),
            Err(message) => wrong(self.origin(&raw.pattern), message),
        }
    }

    fn checked<T, V>(&self, at: &Spanned<V>, outcome: Result<T, String>) -> Result<T, ConfigError> {
        outcome.map_err(|message| invalid(self.origin(at), ACTIONS, message))
    }
}

fn uncovered(secret: &str, key: &str) -> String {
    format!(
        "`{secret}` is redacted by its key, and as `{key}` it would not be: add `{key}` to `enrich.redact.keys`, or take \
         `{secret}` out"
    )
}

fn not_empty(key: &str) -> Result<String, String> {
    if key.is_empty() { Err("an attribute's key is not empty".into()) } else { Ok(key.to_owned()) }
}

fn type_named(name: &str) -> Result<ValueType, String> {
    Ok(match name {
        "string" => ValueType::String,
        "int" => ValueType::Int,
        "double" => ValueType::Double,
        "bool" => ValueType::Bool,
        _ => return Err(format!("`{name}` is no type; the types are string, int, double, bool")),
    })
}
