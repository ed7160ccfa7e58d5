//! Which attribute keys hold secrets.
//!
//! A key is secret if it is a listed one, or ends with a listed one as whole words: after `.`, `_`, `-`, another sign,
//! or where `camelCase` begins a word. Case does not matter, `-` and `_` are the same. So `token` covers `user.token`,
//! `x-token` and `accessToken`, but neither `tokens` nor `betoken`.

use super::config::RedactConfig;

/// What stands where a secret was.
pub const REDACTED: &str = "[redacted]";

/// A compiled list of secret keys. Each attribute of each span is asked about: two table look-ups answer for nearly
/// all of them.
#[derive(Debug)]
pub(super) struct Matcher {
    listed: Vec<Listed>,
    /// For each last byte (as sent), the second to last bytes that some listed key has, as bits by their low five bits.
    /// All bits where a listed key has one byte only.
    ends: [u32; 256],
}

/// A listed key.
#[derive(Debug)]
struct Listed {
    /// The key, folded.
    key: Vec<u8>,
    /// Its last four bytes, and which of them there are.
    tail: u32,
    mask: u32,
}

impl Listed {
    fn new(key: &str) -> Self {
        let key: Vec<u8> = key.bytes().map(fold).collect();
        let mask = u32::MAX.checked_shr(32 - 8 * key.len().min(4) as u32).unwrap_or_default();
        Self { tail: tail(&key), mask, key }
    }

    fn ends(&self, key: &[u8]) -> bool {
        let Some(start) = key.len().checked_sub(self.key.len()) else {
            return false;
        };
        key[start..].iter().map(|byte| fold(*byte)).eq(self.key.iter().copied()) && begins_word(key, start)
    }
}

/// The last four bytes, folded, the last one lowest; zeros where there are fewer.
#[inline]
fn tail(key: &[u8]) -> u32 {
    key.iter().rev().take(4).rev().fold(0, |tail, byte| tail << 8 | u32::from(fold(*byte)))
}

impl Matcher {
    pub(super) fn compile(config: &RedactConfig) -> Self {
        let keys: &[String] = if config.enabled { &config.keys } else { &[] };
        let listed: Vec<_> = keys.iter().filter(|key| !key.is_empty()).map(|key| Listed::new(key)).collect();
        let mut ends = [0; 256];
        for last_sent in 0..=255u8 {
            for key in listed.iter().map(|listed| &listed.key[..]) {
                ends[usize::from(last_sent)] |= match key {
                    [.., before, last] if *last == fold(last_sent) => 1 << (before & 31),
                    [last] if *last == fold(last_sent) => u32::MAX,
                    _ => 0,
                };
            }
        }
        Self { listed, ends }
    }

    /// Whether the attribute with this key holds a secret.
    #[inline]
    pub(super) fn is_secret(&self, key: &[u8]) -> bool {
        let (before, last) = match key {
            [.., before, last] => (*before, *last),
            [last] => (0, *last),
            [] => return false,
        };
        let bits = self.ends[usize::from(last)];
        bits != 0 && bits >> (fold(before) & 31) & 1 == 1 && self.ends_with_listed(key)
    }

    fn ends_with_listed(&self, key: &[u8]) -> bool {
        let tail = tail(key);
        self.listed.iter().any(|listed| tail & listed.mask == listed.tail && listed.ends(key))
    }
}

/// Lower case, and `_` for `-`.
#[inline]
fn fold(byte: u8) -> u8 {
    match byte {
        b'-' => b'_',
        other => other.to_ascii_lowercase(),
    }
}

/// Whether a word begins at `start`.
fn begins_word(key: &[u8], start: usize) -> bool {
    match key[..start].last() {
        None => true,
        Some(before) if !before.is_ascii_alphanumeric() && before.is_ascii() => true,
        Some(before) => key[start].is_ascii_uppercase() && !before.is_ascii_uppercase(),
    }
}
