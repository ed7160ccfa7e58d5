//! Attribute values as a person writes them.

use crate::wire::{put_bytes_field, put_fixed64_field, put_varint_field};

/// A value for an attribute.
#[derive(Debug, Clone, PartialEq)]
pub enum AttributeValue {
    /// `string_value`
    Str(String),
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `double_value`
    Double(f64),
    /// `array_value`
    Array(Vec<AttributeValue>),
    /// `kvlist_value`
    Map(Vec<(String, AttributeValue)>),
}

impl AttributeValue {
    /// The value that a YAML or JSON value means. The error is a sentence for the person who wrote it.
    pub fn from_json(json: &serde_json::Value) -> Result<Self, String> {
        use serde_json::Value;
        Ok(match json {
            Value::Null => return Err("an attribute's value cannot be null".into()),
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(int), _) => Self::Int(int),
                (None, Some(double)) if !number.is_u64() => Self::Double(double),
                _ => return Err(format!("{number} does not fit a signed 64-bit integer")),
            },
            Value::String(text) => Self::Str(text.clone()),
            Value::Array(items) => Self::Array(items.iter().map(Self::from_json).collect::<Result<_, _>>()?),
            Value::Object(entries) => {
                let entry = |(key, value): (&String, &Value)| Ok((key.clone(), Self::from_json(value)?));
                Self::Map(entries.iter().map(entry).collect::<Result<_, String>>()?)
            }
        })
    }

    /// The value as an `AnyValue` message.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Str(text) => put_bytes_field(&mut out, 1, text.as_bytes()),
            Self::Bool(value) => put_varint_field(&mut out, 2, u64::from(*value)),
            Self::Int(value) => put_varint_field(&mut out, 3, *value as u64),
            Self::Double(value) => put_fixed64_field(&mut out, 4, value.to_bits()),
            Self::Array(items) => {
                let mut list = Vec::new();
                items.iter().for_each(|item| put_bytes_field(&mut list, 1, &item.encode()));
                put_bytes_field(&mut out, 5, &list);
            }
            Self::Map(entries) => {
                let mut list = Vec::new();
                for (key, value) in entries {
                    put_bytes_field(&mut list, 1, &crate::enrich::program::key_value(key, &value.encode()));
                }
                put_bytes_field(&mut out, 6, &list);
            }
        }
        out
    }
}
