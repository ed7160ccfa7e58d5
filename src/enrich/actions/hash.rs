//! `hash`: replaces the value by its SHA-256, in 64 lower-case hexadecimal digits, so that equal values stay equal and
//! nobody reads them. It is not keyed: a value that can be guessed can be confirmed.

use std::borrow::Cow;

use sha2::{Digest, Sha256};

use super::State;
use crate::enrich::attributes::Attributes;
use crate::wire::{AnyView, WireError, put_any};

pub(super) fn apply(before: State) -> State {
    match before {
        State::Absent => State::Absent,
        State::Sent { hashes } => State::Sent { hashes: hashes + 1 },
        State::Fixed(any) => State::Fixed(hash_value(&any).unwrap_or(any)),
    }
}

pub(super) fn edit(list: &mut Attributes<'_>, key: &[u8]) {
    for entry in list.each(key) {
        if let Ok(hashed) = hash_value(&entry.any) {
            entry.set(hashed.into(), true);
        }
    }
}

/// The encoded `AnyValue` (a string) that takes the place of the encoded `AnyValue` given. What is hashed: the UTF-8
/// of a string, the bytes of a bytes value, the text of a number or bool (`42`, `1.5`, `true`), the wire encoding of
/// an array or a map. An empty value stays empty.
pub fn hash_value(any: &[u8]) -> Result<Vec<u8>, WireError> {
    let Some(readable) = readable(AnyView::parse(any)?) else {
        return Ok(Vec::new());
    };
    let mut out = Vec::with_capacity(66);
    put_any(&mut out, AnyView::Str(&hex::encode(Sha256::digest(readable))));
    Ok(out)
}

/// What stands for a value where it is hashed; `None` for an empty one.
pub(in crate::enrich) fn readable(value: AnyView<'_>) -> Option<Cow<'_, [u8]>> {
    Some(match value {
        AnyView::Empty => return None,
        AnyView::Str(text) => Cow::Borrowed(text.as_bytes()),
        AnyView::Bool(value) => Cow::Owned(value.to_string().into_bytes()),
        AnyView::Int(value) => Cow::Owned(value.to_string().into_bytes()),
        AnyView::Double(value) => Cow::Owned(value.to_string().into_bytes()),
        AnyView::Array(raw) | AnyView::Kvlist(raw) | AnyView::Bytes(raw) => Cow::Borrowed(raw),
    })
}
