//! What sorting wants to know of a span: a walk that passes over its attributes.

use crate::wire::{Field, Fields, WireError, WireKind};

/// Tag of a span's `attributes`: field 9, length-delimited.
const ATTRIBUTE: u8 = 9 << 3 | 2;

/// Some fields of a raw `Span`, as [`SpanView`](crate::wire::SpanView) has them.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skimmed<'a> {
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) parent_span_id: &'a [u8],
    pub(super) name: &'a str,
    pub(super) kind: i32,
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
    pub(super) status_code: i32,
}

impl<'a> Skimmed<'a> {
    /// Reads a raw `Span`.
    pub(super) fn of(raw: &'a [u8]) -> Result<Self, WireError> {
        let mut span = Self::default();
        let mut message = raw;
        while !message.is_empty() {
            // Most of a span is attributes, one after the other.
            if let Some((_, rest)) = short_attribute(message) {
                message = rest;
                continue;
            }
            let field = read_field(&mut message)?;
            match field.number {
                1 => span.trace_id = field.bytes("span.trace_id")?,
                2 => span.span_id = field.bytes("span.span_id")?,
                4 => span.parent_span_id = field.bytes("span.parent_span_id")?,
                5 => span.name = field.text("span.name")?,
                6 => span.kind = field.varint("span.kind")? as i32,
                7 => span.start_unix_nano = field.fixed64("span.start_time_unix_nano")?,
                8 => span.end_unix_nano = field.fixed64("span.end_time_unix_nano")?,
                9 => {
                    field.bytes("span.attributes")?;
                }
                15 => span.read_status(field.bytes("span.status")?)?,
                _ => {}
            }
        }
        Ok(span)
    }

    fn read_status(&mut self, raw: &[u8]) -> Result<(), WireError> {
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            if field.number == 3 {
                self.status_code = field.varint("span.status.code")? as i32;
            }
        }
        Ok(())
    }

    /// A span without a parent: no parent id, or one of zeros only.
    pub(super) fn is_root(&self) -> bool {
        self.parent_span_id.iter().all(|byte| *byte == 0)
    }
}

/// The attribute that what is left of a span begins with, and what follows: it is there as senders write it, and has less than
/// 2^14 bytes. Any other is left to [`read_field`].
#[inline]
pub(super) fn short_attribute(message: &[u8]) -> Option<(&[u8], &[u8])> {
    match message {
        [ATTRIBUTE, length, rest @ ..] if *length < 0x80 => rest.split_at_checked(usize::from(*length)),
        [ATTRIBUTE, low, high, rest @ ..] if *high < 0x80 => {
            rest.split_at_checked(usize::from(low & 0x7f) | usize::from(*high) << 7)
        }
        _ => None,
    }
}

/// Takes a field off what is left of a message, which is not empty.
#[inline(always)]
pub(super) fn read_field<'a>(message: &mut &'a [u8]) -> Result<Field<'a>, WireError> {
    const BYTES: u8 = 2;
    let whole = *message;
    // Ids, names: a tag and a length of one byte each.
    if let [tag @ 8..0x80, length @ ..0x80, rest @ ..] = whole
        && tag & 7 == BYTES
        && let Some((content, rest)) = rest.split_at_checked(usize::from(*length))
    {
        *message = rest;
        return Ok(Field { number: u32::from(tag >> 3), kind: WireKind::Bytes(content) });
    }
    let mut fields = Fields::new(whole);
    let field = fields.read()?.ok_or(WireError::Truncated("a message"))?;
    *message = &whole[fields.offset()..];
    Ok(field)
}

#[cfg(test)]
mod tests;
