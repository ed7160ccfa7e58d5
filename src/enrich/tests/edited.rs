//! Actions on decoded attributes.

use std::collections::HashMap;

use super::*;

/// Attributes, each with whether an action has chosen its value.
#[derive(Clone)]
pub(super) struct Edited(pub(super) Vec<(KeyValue, bool)>);

impl Edited {
    pub(super) fn new(sent: Vec<KeyValue>) -> Self {
        Self(sent.into_iter().map(|attribute| (attribute, false)).collect())
    }

    pub(super) fn plain(&self) -> Vec<KeyValue> {
        self.0.iter().map(|(attribute, _)| attribute.clone()).collect()
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(attribute, _)| attribute.key == key)
    }

    /// The first with this key gets the value, others with it go.
    pub(super) fn put(&mut self, key: &str, value: Option<AnyValue>, is_chosen: bool) {
        let wanted = KeyValue { key: key.into(), value, ..KeyValue::default() };
        match self.0.iter().position(|(attribute, _)| attribute.key == key) {
            Some(first) => {
                let mut index = 0;
                self.0.retain(|(attribute, _)| {
                    index += 1;
                    index - 1 == first || attribute.key != key
                });
                self.0[first] = (wanted, is_chosen);
            }
            None => self.0.push((wanted, is_chosen)),
        }
    }

    pub(super) fn act(&mut self, action: &Action, sender: Sender<'_>) {
        match action {
            Action::Put { put, key, value } => {
                let wanted = match value {
                    Source::Fixed(value) => Some((AnyValue::decode(&value.encode()[..]).ok(), true)),
                    Source::Attribute(from) => {
                        let found = self.0.iter().find(|(attribute, _)| attribute.key == *from);
                        found.map(|(attribute, is_chosen)| (attribute.value.clone(), *is_chosen))
                    }
                    Source::Of { .. } => unreachable!("one list knows nothing of others"),
                    Source::Header(name) => {
                        let value = sender.headers.and_then(|headers| headers.get(name));
                        value.map(|value| (text("", value.to_str().unwrap()).value, false))
                    }
                    Source::Client => {
                        sender.client.map(|address| (text("", &address.to_string()).value, false))
                    }
                };
                let fits = match put {
                    Put::Insert => !self.has(key),
                    Put::Update => self.has(key),
                    Put::Upsert => true,
                };
                if let Some((value, is_chosen)) = wanted.filter(|_| fits) {
                    self.put(key, value, is_chosen);
                }
            }
            Action::Delete { key } => self.0.retain(|(attribute, _)| attribute.key != *key),
            Action::Hash { key } => self.hash(key),
            Action::Extract { key, pattern } => self.extract(key, pattern),
            Action::Convert { key, to } => self.each_value(key, |value| converted(value, *to)),
            Action::Rename { keys } => self.rename(&keys.iter().cloned().collect()),
            Action::Truncate { key, bytes } => self.each_value(key, |value| match value {
                Value::StringValue(text) if text.len() > *bytes => {
                    let mut end = *bytes;
                    while !text.is_char_boundary(end) {
                        end -= 1;
                    }
                    Some(Value::StringValue(text[..end].into()))
                }
                _ => None,
            }),
        }
    }

    fn hash(&mut self, key: &str) {
        for (attribute, is_chosen) in self.0.iter_mut().filter(|(attribute, _)| attribute.key == key) {
            let any = attribute.value.take().unwrap_or_default().encode_to_vec();
            attribute.value = Some(AnyValue::decode(&hash_value(&any).unwrap()[..]).unwrap());
            *is_chosen = true;
        }
    }

    fn extract(&mut self, key: &str, pattern: &ExtractPattern) {
        let found = self.0.iter().find(|(attribute, _)| attribute.key == key).cloned();
        let Some((
            KeyValue { value: Some(AnyValue { value: Some(Value::StringValue(whole)) }), .. },
            is_chosen,
        )) = found
        else {
            return;
        };
        let Some(captures) = pattern.regex().captures(&whole) else { return };
        for name in pattern.regex().capture_names().flatten() {
            if let Some(caught) = captures.name(name) {
                self.put(name, text("", caught.as_str()).value, is_chosen);
            }
        }
    }

    fn each_value(&mut self, key: &str, change: impl Fn(&Value) -> Option<Value>) {
        for (attribute, _) in self.0.iter_mut().filter(|(attribute, _)| attribute.key == key) {
            if let Some(value) = attribute.value.as_mut().and_then(|any| any.value.as_mut())
                && let Some(changed) = change(value)
            {
                *value = changed;
            }
        }
    }

    fn rename(&mut self, keys: &HashMap<String, String>) {
        for index in 0..self.0.len() {
            if let Some(new) = keys.get(&self.0[index].0.key)
                && !self.has(new)
            {
                self.0[index].0.key = new.clone();
            }
        }
    }
}

fn converted(value: &Value, to: ValueType) -> Option<Value> {
    Some(match (to, value) {
        (ValueType::String, Value::IntValue(n)) => Value::StringValue(n.to_string()),
        (ValueType::String, Value::DoubleValue(n)) => Value::StringValue(n.to_string()),
        (ValueType::String, Value::BoolValue(b)) => Value::StringValue(b.to_string()),
        (ValueType::Int, Value::StringValue(text)) => Value::IntValue(text.trim().parse().ok()?),
        (ValueType::Int, Value::BoolValue(b)) => Value::IntValue((*b).into()),
        (ValueType::Int, Value::DoubleValue(n)) if n.trunc() == *n && n.abs() < 2f64.powi(63) => {
            Value::IntValue(*n as i64)
        }
        (ValueType::Double, Value::StringValue(text)) => {
            Value::DoubleValue(text.trim().parse().ok().filter(|n: &f64| n.is_finite())?)
        }
        (ValueType::Double, Value::BoolValue(b)) => Value::DoubleValue(if *b { 1.0 } else { 0.0 }),
        (ValueType::Double, Value::IntValue(n)) if (*n as f64) as i128 == i128::from(*n) => {
            Value::DoubleValue(*n as f64)
        }
        (ValueType::Bool, Value::StringValue(text)) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Value::BoolValue(true),
            "false" | "0" => Value::BoolValue(false),
            _ => return None,
        },
        (ValueType::Bool, Value::IntValue(0)) => Value::BoolValue(false),
        (ValueType::Bool, Value::IntValue(1)) => Value::BoolValue(true),
        _ => return None,
    })
}
