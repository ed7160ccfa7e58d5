//! What takes the place of a secret: a word, or a keyed hash that keeps equal values equal to those who cannot read
//! them. HMAC-SHA256 (RFC 2104), cut to 128 bits.

use std::borrow::Cow;

use ring::hmac;

use crate::enrich::actions::readable;
use crate::wire::{AnyView, put_any};

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// [`REDACTED`] as an `AnyValue` message.
const REDACTED_VALUE: &[u8] = b"\x0a\x0a[redacted]";
const _: () = assert!(REDACTED_VALUE.len() == REDACTED.len() + 2);

const HASH_BYTES: usize = 16;

/// What takes the place of secrets.
#[derive(Debug)]
pub(in crate::enrich) enum Replacement {
    /// [`REDACTED`]
    Text,
    /// `[hmac:…]`, 32 hexadecimal digits.
    Keyed(hmac::Key),
}

impl Replacement {
    /// A keyed hash.
    pub(in crate::enrich) fn keyed(key: &[u8]) -> Self {
        Self::Keyed(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// What stands for this text.
    pub(in crate::enrich) fn of(&self, secret: &[u8]) -> Cow<'static, str> {
        match self {
            Self::Text => Cow::Borrowed(REDACTED),
            Self::Keyed(key) => {
                let hash = hmac::sign(key, secret);
                Cow::Owned(format!("[hmac:{}]", hex::encode(&hash.as_ref()[..HASH_BYTES])))
            }
        }
    }

    /// What stands for this encoded `AnyValue`, encoded: `None` if it is a replacement itself. What is hashed of other
    /// values than strings is what the action `hash` hashes.
    pub(in crate::enrich) fn of_value(&self, any: &[u8]) -> Option<Cow<'static, [u8]>> {
        if any == REDACTED_VALUE {
            return None;
        }
        let value = AnyView::parse(any).unwrap_or(AnyView::Empty);
        if matches!(value, AnyView::Str(text) if Self::is_one(text)) {
            return None;
        }
        Some(match self {
            Self::Text => Cow::Borrowed(REDACTED_VALUE),
            Self::Keyed(_) => {
                let mut out = Vec::with_capacity(48);
                put_any(&mut out, AnyView::Str(&self.of(&readable(value).unwrap_or_default())));
                Cow::Owned(out)
            }
        })
    }

    /// Whether a text is what takes a secret's place: then it has been taken out before, maybe by an agent.
    pub(in crate::enrich) fn is_one(text: &str) -> bool {
        if text == REDACTED {
            return true;
        }
        let digits = text.strip_prefix("[hmac:").and_then(|rest| rest.strip_suffix(']'));
        digits.is_some_and(|digits| {
            digits.len() == 2 * HASH_BYTES && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    }
}
