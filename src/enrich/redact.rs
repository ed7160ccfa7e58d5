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
    /// The listed keys, folded.
    listed: Vec<Vec<u8>>,
    /// For each last byte (as sent), the second to last bytes that some listed key has, as bits by their low five bits.
    /// All bits where a listed key has one byte only.
    ends: [u32; 256],
}

impl Matcher {
    pub(super) fn compile(config: &RedactConfig) -> Self {
        let keys: &[String] = if config.enabled { &config.keys } else { &[] };
        let folded = keys.iter().filter(|key| !key.is_empty()).map(|key| key.bytes().map(fold).collect());
        let listed: Vec<Vec<u8>> = folded.collect();
        let mut ends = [0; 256];
        for last_sent in 0..=255u8 {
            for key in listed.iter().filter(|key| key.last() == Some(&fold(last_sent))) {
                ends[usize::from(last_sent)] |= match key.len() {
                    1 => u32::MAX,
                    length => 1 << (key[length - 2] & 31),
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
        self.listed.iter().any(|listed| {
            let Some(start) = key.len().checked_sub(listed.len()) else {
                return false;
            };
            let same = |(sent, listed): (&u8, &u8)| fold(*sent) == *listed;
            key[start..].iter().rev().zip(listed.iter().rev()).all(same) && begins_word(key, start)
        })
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
