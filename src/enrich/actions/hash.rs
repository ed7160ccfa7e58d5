//! `hash`: replaces the value by its SHA-256, in 64 lower-case hexadecimal digits, so that equal values stay equal and
//! nobody reads them. It is not keyed: a value that can be guessed can be confirmed.

use sha2::{Digest, Sha256};

use super::State;
use crate::wire::{AnyView, WireError, put_any};

pub(super) fn apply(before: State) -> State {
    match before {
        State::Absent => State::Absent,
        State::Sent { hashes } => State::Sent { hashes: hashes + 1 },
        State::Fixed(any) => State::Fixed(hash_value(&any).unwrap_or(any)),
    }
}

/// The encoded `AnyValue` (a string) that takes the place of the encoded `AnyValue` given. What is hashed: the UTF-8
/// of a string, the bytes of a bytes value, the text of a number or bool (`42`, `1.5`, `true`), the wire encoding of
/// an array or a map. An empty value stays empty.
pub fn hash_value(any: &[u8]) -> Result<Vec<u8>, WireError> {
    let digest = match AnyView::parse(any)? {
        AnyView::Empty => return Ok(Vec::new()),
        AnyView::Str(text) => Sha256::digest(text),
        AnyView::Bool(value) => Sha256::digest(value.to_string()),
        AnyView::Int(value) => Sha256::digest(value.to_string()),
        AnyView::Double(value) => Sha256::digest(value.to_string()),
        AnyView::Array(raw) | AnyView::Kvlist(raw) | AnyView::Bytes(raw) => Sha256::digest(raw),
    };
    let mut out = Vec::with_capacity(66);
    put_any(&mut out, AnyView::Str(&hex::encode(digest)));
    Ok(out)
}
