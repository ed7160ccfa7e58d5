//! Which attribute keys hold secrets.
//!
//! A key is secret if it is a listed one, or ends with a listed one as whole words: after `.`, `_`, `-`, another sign,
//! or where `camelCase` begins a word. Case does not matter, `-` and `_` are the same. So `token` covers `user.token`,
//! `x-token` and `accessToken`, but neither `tokens` nor `betoken`.

use crate::enrich::config::RedactConfig;
use crate::enrich::ends::Ends;

/// A compiled list of secret keys. Nearly every key is told not to be one by how it ends.
#[derive(Debug)]
pub(in crate::enrich) struct Matcher {
    listed: Vec<Listed>,
    ends: Ends,
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
    pub(in crate::enrich) fn compile(config: &RedactConfig) -> Self {
        let keys: &[String] = if config.enabled { &config.keys } else { &[] };
        let listed: Vec<_> = keys.iter().filter(|key| !key.is_empty()).map(|key| Listed::new(key)).collect();
        let mut ends = Ends::none();
        listed.iter().for_each(|listed| ends.add(&listed.key));
        Self { listed, ends }
    }

    /// The listed key, by its index, because of which the attribute with this key holds a secret.
    #[inline]
    pub(in crate::enrich) fn find(&self, key: &[u8]) -> Option<usize> {
        if key.is_empty() || !self.ends.may_have(key) {
            return None;
        }
        self.find_listed(key)
    }

    /// How the listed keys end.
    pub(in crate::enrich) fn ends(&self) -> &Ends {
        &self.ends
    }

    fn find_listed(&self, key: &[u8]) -> Option<usize> {
        let tail = tail(key);
        self.listed.iter().position(|listed| tail & listed.mask == listed.tail && listed.ends(key))
    }

    /// The listed keys as they are compared: lower case, `_` for `-`.
    pub(super) fn names(&self) -> impl Iterator<Item = String> {
        self.listed.iter().map(|listed| String::from_utf8_lossy(&listed.key).into_owned())
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
