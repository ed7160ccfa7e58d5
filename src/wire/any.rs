//! Attributes: `KeyValue` and the recursive `AnyValue` of `opentelemetry/proto/common/v1/common.proto`.

use super::proto::{Fields, WireError, WireKind};
use super::view::Attributes;

/// The deepest nesting of attribute values accepted, in levels. Decoders of the field stop at 100 messages; a level of a
/// map is three of them, and the request around an attribute six.
pub const DEPTH_MAX: usize = 30;

/// One attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyValueView<'a> {
    /// The whole `KeyValue` message.
    pub raw: &'a [u8],
    /// Its key.
    pub key: &'a str,
    /// Its value.
    pub value: AnyView<'a>,
}

impl<'a> KeyValueView<'a> {
    /// Reads a `KeyValue` message. The value is looked at one level deep.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { raw, key: "", value: AnyView::Empty };
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            match field.number {
                1 => view.key = field.text("an attribute's key")?,
                2 => view.value = AnyView::parse(field.bytes("an attribute's value")?)?,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// An attribute value, one level deep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnyView<'a> {
    /// No value at all: the field is there, its content is not.
    Empty,
    /// `string_value`
    Str(&'a str),
    /// `bool_value`
    Bool(bool),
    /// `int_value`
    Int(i64),
    /// `double_value`
    Double(f64),
    /// `array_value`: the raw `ArrayValue`, see [`values_of_array`].
    Array(&'a [u8]),
    /// `kvlist_value`: the raw `KeyValueList`, see [`values_of_kvlist`].
    Kvlist(&'a [u8]),
    /// `bytes_value`
    Bytes(&'a [u8]),
}

impl<'a> AnyView<'a> {
    /// Reads an `AnyValue` message. Of several values in one message the last counts, as in protobuf.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        let mut value = Self::Empty;
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            value = match field.number {
                1 => Self::Str(field.text("a string value")?),
                2 => Self::Bool(field.varint("a bool value")? != 0),
                3 => Self::Int(field.varint("an int value")? as i64),
                4 => Self::Double(f64::from_bits(field.fixed64("a double value")?)),
                5 => Self::Array(field.bytes("an array value")?),
                6 => Self::Kvlist(field.bytes("a key-value list")?),
                7 => Self::Bytes(field.bytes("a bytes value")?),
                _ => value,
            };
        }
        Ok(value)
    }
}

/// One attribute with its texts as they lie on the wire, not checked for UTF-8: for messages that were checked when they
/// were accepted, and are gone through again in great numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyValueParts<'a> {
    /// The whole `KeyValue` message.
    pub raw: &'a [u8],
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: ValueParts<'a>,
}

/// An attribute value, one level deep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ValueParts<'a> {
    /// `string_value`
    Text(&'a [u8]),
    /// Any other; never [`AnyView::Str`].
    Other(AnyView<'a>),
}

impl<'a> KeyValueParts<'a> {
    /// Reads a `KeyValue` message. What senders nearly always write, key and value once and in this order, takes a few
    /// comparisons.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        const KEY: u8 = 1 << 3 | 2;
        const VALUE: u8 = 2 << 3 | 2;
        const STRING: u8 = 1 << 3 | 2;
        if let Some((key, rest)) = short_field(raw, KEY)
            && let Some((value, [])) = short_field(rest, VALUE)
        {
            return match short_field(value, STRING) {
                Some((text, [])) => Ok(Self { raw, key, value: ValueParts::Text(text) }),
                _ => Ok(Self { raw, key, value: ValueParts::of(AnyView::parse(value)?) }),
            };
        }
        let KeyValueView { key, value, .. } = KeyValueView::parse(raw)?;
        Ok(Self { raw, key: key.as_bytes(), value: ValueParts::of(value) })
    }
}

impl<'a> ValueParts<'a> {
    fn of(value: AnyView<'a>) -> Self {
        match value {
            AnyView::Str(text) => Self::Text(text.as_bytes()),
            other => Self::Other(other),
        }
    }
}

/// The content of the length-delimited field that `message` begins with, and what follows. `None` if it begins otherwise,
/// or the field has 2^14 bytes or more.
#[inline]
fn short_field(message: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    match message {
        [first, length, rest @ ..] if *first == tag && *length < 0x80 => {
            rest.split_at_checked(usize::from(*length))
        }
        [first, low, high, rest @ ..] if *first == tag && *high < 0x80 => {
            rest.split_at_checked(usize::from(low & 0x7f) | usize::from(*high) << 7)
        }
        _ => None,
    }
}

/// The items of an `ArrayValue`.
#[derive(Debug, Clone)]
pub struct Values<'a>(Fields<'a>);

impl<'a> Iterator for Values<'a> {
    type Item = Result<AnyView<'a>, WireError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.0.read() {
                Ok(Some(field)) if field.number == 1 => {
                    return Some(field.bytes("an array's item").and_then(AnyView::parse));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return stop(&mut self.0, error),
            }
        }
    }
}

/// Ends an iterator after an error, so that a caller that goes on does not loop.
pub(super) fn stop<T>(fields: &mut Fields<'_>, error: WireError) -> Option<Result<T, WireError>> {
    *fields = Fields::new(&[]);
    Some(Err(error))
}

/// The items of a raw `ArrayValue`.
pub fn values_of_array(raw: &[u8]) -> Values<'_> {
    Values(Fields::new(raw))
}

/// The entries of a raw `KeyValueList`.
pub fn values_of_kvlist(raw: &[u8]) -> Attributes<'_> {
    Attributes::new(raw, 1)
}

/// Checks a value all the way down: structure, UTF-8 and nesting. `Err(Depth)` beyond [`DEPTH_MAX`].
#[inline]
pub fn check_any_depth(value: AnyView<'_>) -> Result<(), WireError> {
    match value {
        AnyView::Array(raw) => check_array(raw, DEPTH_MAX),
        AnyView::Kvlist(raw) => check_kvlist(raw, DEPTH_MAX),
        _ => Ok(()),
    }
}

fn check_nested(value: AnyView<'_>, left: usize) -> Result<(), WireError> {
    match value {
        AnyView::Array(raw) => check_array(raw, left),
        AnyView::Kvlist(raw) => check_kvlist(raw, left),
        _ => Ok(()),
    }
}

fn one_deeper(left: usize) -> Result<usize, WireError> {
    left.checked_sub(1).ok_or(WireError::Depth { limit: DEPTH_MAX })
}

fn check_array(raw: &[u8], left: usize) -> Result<(), WireError> {
    let left = one_deeper(left)?;
    values_of_array(raw).try_for_each(|item| check_nested(item?, left))
}

fn check_kvlist(raw: &[u8], left: usize) -> Result<(), WireError> {
    let left = one_deeper(left)?;
    let mut fields = Fields::new(raw);
    while let Some(field) = fields.read()? {
        if let (1, WireKind::Bytes(entry)) = (field.number, field.kind) {
            check_nested(KeyValueView::parse(entry)?.value, left)?;
        }
    }
    Ok(())
}
