//! Checks of single fields: that each known field has its wire type and each string is UTF-8, so that a full decoder
//! accepts what passed here.

use crate::wire::{Field, Fields, WireError, WireKind};

/// What a `KeyValue` message holds.
pub(super) struct Attribute<'a> {
    /// Its key, UTF-8.
    pub(super) key: &'a [u8],
    /// Its `AnyValue` message, empty if there is none.
    pub(super) any: &'a [u8],
    /// Whether the value is an array or a map: what is in it has not been checked yet.
    pub(super) is_nested: bool,
}

#[inline(always)]
pub(super) fn attribute(raw: &[u8]) -> Result<Attribute<'_>, WireError> {
    match usual_attribute(raw) {
        Some(attribute) => Ok(attribute),
        None => any_attribute(raw),
    }
}

/// A `KeyValue` as every SDK writes it, checked: key, then value, both short, one scalar in the value, all text ASCII. Nearly
/// all attributes are of this form, and spans are mostly attributes. `None` for any other form, right or wrong.
#[inline(always)]
pub(super) fn usual_attribute(raw: &[u8]) -> Option<Attribute<'_>> {
    let [0x0a, key_length @ 0..=0x7f, rest @ ..] = raw else {
        return None;
    };
    let (key, rest) = rest.split_at_checked(usize::from(*key_length))?;
    let [0x12, any_length @ 0..=0x7f, any @ ..] = rest else {
        return None;
    };
    let length = usize::from(*any_length);
    let is_usual = match any {
        _ if any.len() != length => false,
        // Tags and lengths are ASCII too, so one look at everything does.
        [0x0a, text_length, text @ ..] => usize::from(*text_length) == text.len() && is_ascii(raw),
        [0x10 | 0x18, 0..=0x7f] | [0x18, 0x80..=0xff, 0..=0x7f] => key.is_ascii(),
        [0x21, _, _, _, _, _, _, _, _] => key.is_ascii(),
        _ => false,
    };
    is_usual.then_some(Attribute { key, any, is_nested: false })
}

/// As the library's, in a form with fewer turns for what is some dozens of bytes long.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    let Some(last) = bytes.last_chunk() else { return bytes.is_ascii() };
    // Every byte is in one of the sixteens, some of the last in two.
    let [mut low, mut high] = sixteen(last);
    for bytes in bytes.as_chunks().0 {
        let more = sixteen(bytes);
        low |= more[0];
        high |= more[1];
    }
    (low | high) & 0x8080_8080_8080_8080 == 0
}

#[inline(always)]
fn sixteen(bytes: &[u8; 16]) -> [u64; 2] {
    let both = u128::from_le_bytes(*bytes);
    [both as u64, (both >> 64) as u64]
}

#[cold]
fn any_attribute(raw: &[u8]) -> Result<Attribute<'_>, WireError> {
    let mut found = Attribute { key: &[], any: &[], is_nested: false };
    let mut fields = Fields::new(raw);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => found.key = field.text("an attribute's key")?.as_bytes(),
            2 => {
                found.any = field.bytes("an attribute's value")?;
                found.is_nested |= any_value(found.any)?;
            }
            3 => number(&field, "key_strindex")?,
            _ => unknown(&field)?,
        }
    }
    Ok(found)
}

/// Checks an `AnyValue` one level deep; true if there is an array or a map in it.
#[inline]
pub(super) fn any_value(raw: &[u8]) -> Result<bool, WireError> {
    let mut is_nested = false;
    let mut fields = Fields::new(raw);
    while let Some(field) = fields.read()? {
        match field.number {
            1 => text(&field, "a string value")?,
            2 => number(&field, "a bool value")?,
            3 => number(&field, "an int value")?,
            4 => fixed64(&field, "a double value")?,
            5 => is_nested |= !field.bytes("an array value")?.is_empty(),
            6 => is_nested |= !field.bytes("a key-value list")?.is_empty(),
            7 => bytes(&field, "a bytes value")?,
            8 => number(&field, "string_value_strindex")?,
            _ => unknown(&field)?,
        }
    }
    Ok(is_nested)
}

pub(super) fn entity_ref(raw: &[u8]) -> Result<(), WireError> {
    let mut fields = Fields::new(raw);
    while let Some(field) = fields.read()? {
        match field.number {
            1..=4 => text(&field, "a text of resource.entity_refs")?,
            _ => unknown(&field)?,
        }
    }
    Ok(())
}

#[inline]
pub(super) fn status(raw: &[u8]) -> Result<(), WireError> {
    let mut fields = Fields::new(raw);
    while let Some(field) = fields.read()? {
        match field.number {
            2 => text(&field, "span.status.message")?,
            3 => number(&field, "span.status.code")?,
            _ => unknown(&field)?,
        }
    }
    Ok(())
}

#[inline]
pub(super) fn text(field: &Field<'_>, what: &'static str) -> Result<(), WireError> {
    field.text(what).map(|_| ())
}

#[inline]
pub(super) fn bytes(field: &Field<'_>, what: &'static str) -> Result<(), WireError> {
    field.bytes(what).map(|_| ())
}

#[inline]
pub(super) fn number(field: &Field<'_>, what: &'static str) -> Result<(), WireError> {
    field.varint(what).map(|_| ())
}

#[inline]
pub(super) fn fixed64(field: &Field<'_>, what: &'static str) -> Result<(), WireError> {
    field.fixed64(what).map(|_| ())
}

#[inline]
pub(super) fn fixed32(field: &Field<'_>, what: &'static str) -> Result<(), WireError> {
    field.fixed32(what).map(|_| ())
}

/// Fields nobody knows pass. Groups do not: they are deprecated, OTLP has none, and a reader that does not skip them as
/// a whole would take what is inside for the message's own fields.
#[inline]
pub(super) fn unknown(field: &Field<'_>) -> Result<(), WireError> {
    match field.kind {
        WireKind::Group => Err(WireError::Mismatch("a group")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
