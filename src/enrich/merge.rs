//! Protobuf lets a field that holds one message occur several times: the contents are then merged, which is the same
//! as concatenating them. No SDK sends a resource or a scope so. Those who do get them merged here, so that nobody
//! behind has to know.

use crate::wire::{Fields, WireError, WireKind, put_bytes_field};

/// The request with one resource a `ResourceSpans` and one scope a `ScopeSpans`, at most.
pub(super) fn merge_repeated(body: &[u8]) -> Result<Vec<u8>, WireError> {
    rewrite(body, 1, |out, resource_spans| {
        let mut merged = merge_first(resource_spans)?;
        merged.extend(rewrite(&rest_of(resource_spans)?, 2, |out, scope_spans| {
            let mut merged = merge_first(scope_spans)?;
            merged.extend(rest_of(scope_spans)?);
            put_bytes_field(out, 2, &merged);
            Ok(())
        })?);
        put_bytes_field(out, 1, &merged);
        Ok(())
    })
}

/// The message with each length-delimited field `number` written anew, the others as they are.
fn rewrite(
    message: &[u8],
    number: u32,
    mut write: impl FnMut(&mut Vec<u8>, &[u8]) -> Result<(), WireError>,
) -> Result<Vec<u8>, WireError> {
    let mut out = Vec::with_capacity(message.len());
    let mut fields = Fields::new(message);
    let mut start = 0;
    while let Some(field) = fields.read()? {
        match field.kind {
            WireKind::Bytes(content) if field.number == number => write(&mut out, content)?,
            _ => out.extend_from_slice(&message[start..fields.offset()]),
        }
        start = fields.offset();
    }
    Ok(out)
}

/// Field 1 (the resource, or the scope), merged; nothing if there is none.
fn merge_first(message: &[u8]) -> Result<Vec<u8>, WireError> {
    let mut content = Vec::new();
    let mut is_there = false;
    rewrite(message, 1, |_, part| {
        is_there = true;
        content.extend_from_slice(part);
        Ok(())
    })?;
    let mut out = Vec::with_capacity(content.len() + 8);
    if is_there {
        put_bytes_field(&mut out, 1, &content);
    }
    Ok(out)
}

/// All but field 1.
fn rest_of(message: &[u8]) -> Result<Vec<u8>, WireError> {
    rewrite(message, 1, |_, _| Ok(()))
}
