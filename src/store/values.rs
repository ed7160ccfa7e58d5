//! Attribute values as text, and back: the form they have in the table's maps.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use opentelemetry_proto::tonic::common::v1::any_value::Value as OtlpValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, KeyValue, KeyValueList};
use serde_json::Value as Json;

use super::schema::AttributeType;
use crate::wire::{
    AnyView, DEPTH_MAX, Fields, KeyValueParts, KeyValueView, ValueParts, WireError, values_of_array,
};

/// Why a value has no text that gives it back: it is kept as raw protobuf instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoText {
    /// It is not an OTLP 1.11 value, is nested too deep, or is a NaN with a payload.
    Unusual,
    /// It is damaged.
    Wire(WireError),
}

impl From<WireError> for NoText {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// Appends the text of an attribute's value to `out`, and says what it was. An empty or missing value has no text: the map
/// has null. After an error `out` may have got some bytes.
#[inline]
pub(super) fn append_text(attribute: &KeyValueParts<'_>, out: &mut Vec<u8>) -> Result<AttributeType, NoText> {
    match attribute.value {
        ValueParts::Text(text) => {
            out.extend_from_slice(text);
            Ok(AttributeType::Str)
        }
        ValueParts::Other(value) => append_other(attribute.raw, value, out),
    }
}

fn append_other(raw: &[u8], value: AnyView<'_>, out: &mut Vec<u8>) -> Result<AttributeType, NoText> {
    Ok(match value {
        AnyView::Str(text) => {
            out.extend_from_slice(text.as_bytes());
            AttributeType::Str
        }
        AnyView::Bool(value) => {
            out.extend_from_slice(if value { b"true" } else { b"false" });
            AttributeType::Bool
        }
        AnyView::Int(value) => {
            append_int(out, value);
            AttributeType::Int
        }
        AnyView::Double(value) => {
            append_double(out, value)?;
            AttributeType::Double
        }
        AnyView::Bytes(bytes) => {
            out.extend_from_slice(BASE64.encode(bytes).as_bytes());
            AttributeType::Bytes
        }
        AnyView::Array(_) | AnyView::Kvlist(_) => {
            let mut json = String::new();
            write_json(&mut json, value, DEPTH_MAX)?;
            out.extend_from_slice(json.as_bytes());
            AttributeType::Json
        }
        AnyView::Empty => presence(raw)?,
    })
}

fn append_int(out: &mut Vec<u8>, value: i64) {
    const DIGITS_MAX: usize = 20;
    let mut digits = [0; DIGITS_MAX];
    let mut at = DIGITS_MAX;
    let mut left = value.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    if value < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[at..]);
}

/// Up to here each integer has a double of its own: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
/// 2^24. Below [`EXACT_MAX`] and from 10^-5 on, only multiples of 2^-24 lie in the middle of two shortest texts.
const TIES: f64 = 16_777_216.0;

/// As [`write_double`], and faster where most numbers are.
fn append_double(out: &mut Vec<u8>, value: f64) -> Result<(), NoText> {
    let magnitude = value.abs();
    if magnitude != 0.0 && magnitude < EXACT_MAX && value.fract() == 0.0 {
        append_int(out, value as i64);
        return Ok(());
    }
    if (1e-5..EXACT_MAX).contains(&magnitude) && (value * TIES).fract() != 0.0 {
        // A faster routine with the same digits: the shortest, but for ties. Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut *out, &value);
        return Ok(());
    }
    let mut text = String::new();
    write_double(&mut text, value)?;
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn write_to(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    let _ = out.write_fmt(arguments);
}

/// Whether a `KeyValue` without a value has an empty `AnyValue` or none.
fn presence(key_value: &[u8]) -> Result<AttributeType, NoText> {
    let mut kind = AttributeType::Missing;
    let mut fields = Fields::new(key_value);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => {}
            2 if field.bytes("value")?.is_empty() => kind = AttributeType::Empty,
            _ => return Err(NoText::Unusual),
        }
    }
    Ok(kind)
}

/// A double's text: the shortest that reads back as the same bits, with an exponent where it is very large or small.
pub(super) fn write_double(out: &mut String, value: f64) -> Result<(), NoText> {
    let magnitude = value.abs();
    if value.is_nan() {
        if value.to_bits() != f64::NAN.to_bits() {
            return Err(NoText::Unusual);
        }
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else if magnitude != 0.0 && !(1e-5..1e16).contains(&magnitude) {
        write_to(out, format_args!("{value:e}"));
    } else {
        write_to(out, format_args!("{value}"));
    }
    Ok(())
}

/// OTLP JSON of an `AnyValue` (protobuf's JSON mapping: 64-bit integers and numbers that are none as strings).
fn write_json(out: &mut String, value: AnyView<'_>, depth_left: usize) -> Result<(), NoText> {
    match value {
        AnyView::Empty => out.push_str("{}"),
        AnyView::Str(text) => {
            out.push_str("{\"stringValue\":");
            write_json_text(out, text);
            out.push('}');
        }
        AnyView::Bool(value) => write_to(out, format_args!("{{\"boolValue\":{value}}}")),
        AnyView::Int(value) => write_to(out, format_args!("{{\"intValue\":\"{value}\"}}")),
        AnyView::Double(value) => write_json_double(out, value)?,
        AnyView::Bytes(bytes) => {
            out.push_str("{\"bytesValue\":\"");
            BASE64.encode_string(bytes, out);
            out.push_str("\"}");
        }
        AnyView::Array(raw) => {
            let depth_left = depth_left.checked_sub(1).ok_or(NoText::Unusual)?;
            out.push_str("{\"arrayValue\":{\"values\":[");
            for (index, item) in values_of_array(raw).enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_json(out, item?, depth_left)?;
            }
            out.push_str("]}}");
        }
        AnyView::Kvlist(raw) => {
            let depth_left = depth_left.checked_sub(1).ok_or(NoText::Unusual)?;
            out.push_str("{\"kvlistValue\":{\"values\":[");
            for (index, entry) in crate::wire::values_of_kvlist(raw).enumerate() {
                out.push_str(if index == 0 { "" } else { "," });
                write_json_entry(out, &entry?, depth_left)?;
            }
            out.push_str("]}}");
        }
    }
    Ok(())
}

fn write_json_entry(out: &mut String, entry: &KeyValueView<'_>, depth_left: usize) -> Result<(), NoText> {
    out.push_str("{\"key\":");
    write_json_text(out, entry.key);
    if entry.value != AnyView::Empty || presence(entry.raw)? == AttributeType::Empty {
        out.push_str(",\"value\":");
        write_json(out, entry.value, depth_left)?;
    }
    out.push('}');
    Ok(())
}

fn write_json_text(out: &mut String, text: &str) {
    let plain = !text.bytes().any(|b| b < 0x20 || b == b'"' || b == b'\\');
    if plain {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Json::from(text).to_string());
    }
}

/// A double in JSON: as a number where this program's own reader gives back the same bits, else as a string.
fn write_json_double(out: &mut String, value: f64) -> Result<(), NoText> {
    let mut text = String::new();
    write_double(&mut text, value)?;
    let number = serde_json::from_str::<f64>(&text);
    let quote = if number.is_ok_and(|read| read.to_bits() == value.to_bits()) { "" } else { "\"" };
    write_to(out, format_args!("{{\"doubleValue\":{quote}{text}{quote}}}"));
    Ok(())
}

/// The `KeyValue` of a map's entry. `None` if the text is not one that [`append_text`] writes.
pub(super) fn read_text(key: &str, text: Option<&str>, kind: AttributeType) -> Option<KeyValue> {
    let value = match kind {
        AttributeType::Missing => None,
        AttributeType::Empty => Some(None),
        AttributeType::Str => Some(Some(OtlpValue::StringValue(text?.to_owned()))),
        AttributeType::Int => Some(Some(OtlpValue::IntValue(text?.parse().ok()?))),
        AttributeType::Double => Some(Some(OtlpValue::DoubleValue(text?.parse().ok()?))),
        AttributeType::Bool => Some(Some(OtlpValue::BoolValue(text?.parse().ok()?))),
        AttributeType::Bytes => Some(Some(OtlpValue::BytesValue(BASE64.decode(text?).ok()?))),
        AttributeType::Json => Some(any_of_json(&serde_json::from_str(text?).ok()?)?.value),
    };
    Some(KeyValue {
        key: key.to_owned(),
        value: value.map(|value| AnyValue { value }),
        ..KeyValue::default()
    })
}

fn any_of_json(json: &Json) -> Option<AnyValue> {
    let Some((name, value)) = json.as_object()?.iter().next() else { return Some(AnyValue { value: None }) };
    let value = match name.as_str() {
        "stringValue" => OtlpValue::StringValue(value.as_str()?.to_owned()),
        "boolValue" => OtlpValue::BoolValue(value.as_bool()?),
        "intValue" => OtlpValue::IntValue(value.as_str()?.parse().ok()?),
        "doubleValue" => OtlpValue::DoubleValue(match value {
            Json::String(text) => text.parse().ok()?,
            number => number.as_f64()?,
        }),
        "bytesValue" => OtlpValue::BytesValue(BASE64.decode(value.as_str()?).ok()?),
        "arrayValue" => OtlpValue::ArrayValue(ArrayValue {
            values: items(value)?.map(any_of_json).collect::<Option<_>>()?,
        }),
        "kvlistValue" => OtlpValue::KvlistValue(KeyValueList {
            values: items(value)?.map(entry_of_json).collect::<Option<_>>()?,
        }),
        _ => return None,
    };
    Some(AnyValue { value: Some(value) })
}

fn items(json: &Json) -> Option<std::slice::Iter<'_, Json>> {
    Some(json.get("values")?.as_array()?.iter())
}

fn entry_of_json(json: &Json) -> Option<KeyValue> {
    let value = match json.get("value") {
        Some(value) => Some(any_of_json(value)?),
        None => None,
    };
    Some(KeyValue { key: json.get("key")?.as_str()?.to_owned(), value, ..KeyValue::default() })
}

#[cfg(test)]
mod tests;
