//! Trace and span ids, as W3C Trace Context defines them.

use std::fmt;
use std::str::FromStr;

/// A text that is not an id: wrong length or not hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not {what}: expected {digits} hexadecimal digits")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
    digits: usize,
}

macro_rules! id {
    ($name:ident, $bytes:literal, $what:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The id in these bytes; `None` unless there are exactly as many as an id has.
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }

            /// W3C: an id of zeros only is invalid.
            pub fn is_valid(&self) -> bool {
                self.0 != [0; $bytes]
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut text = [0u8; $bytes * 2];
                for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 15)];
                }
                f.pad(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let mut bytes = [0; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError {
                    text: text.chars().take(64).collect(),
                    what: $what,
                    digits: $bytes * 2,
                })?;
                Ok(Self(bytes))
            }
        }
    };
}

id!(TraceId, 16, "a trace id", "A trace id: 16 bytes, shown as 32 lower-case hexadecimal digits.");
id!(SpanId, 8, "a span id", "A span id: 8 bytes, shown as 16 lower-case hexadecimal digits.");

impl TraceId {
    /// The 56 low bits: the randomness that consistent probability sampling compares with a threshold
    /// (W3C Trace Context level 2, OpenTelemetry probability sampling).
    pub fn randomness(&self) -> u64 {
        let mut low = [0; 8];
        low.copy_from_slice(&self.0[8..]);
        u64::from_be_bytes(low) & ((1 << 56) - 1)
    }
}
