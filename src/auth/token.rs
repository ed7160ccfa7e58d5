//! Bearer tokens: random, and known by their hash only.

use std::collections::HashMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::identity::Identity;

/// What each token that we make begins with, so that scanners of repositories can tell what they found.
pub const TOKEN_PREFIX: &str = "tw_";
/// Random bytes of a token.
pub const TOKEN_BYTES: usize = 32;

/// A new token of these random bytes, which must come from a generator that is fit for secrets.
pub fn new_token(random: &[u8; TOKEN_BYTES]) -> String {
    format!("{TOKEN_PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

/// What a token is known by: its SHA-256. A random token needs no salt and no slow hash.
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// The tokens that are known.
#[derive(Clone, Debug, Default)]
pub(super) struct Tokens(HashMap<u64, Vec<([u8; 32], Identity)>>);

/// Where to look: whoever does not know a token with this hash cannot steer to it.
fn drawer(hash: &[u8; 32]) -> u64 {
    hash.iter().take(8).fold(0, |drawer, byte| (drawer << 8) | u64::from(*byte))
}

impl Tokens {
    /// Adds one; false when there is one with this hash already.
    pub(super) fn add(&mut self, hash: [u8; 32], identity: Identity) -> bool {
        let drawer = self.0.entry(drawer(&hash)).or_default();
        let is_new = drawer.iter().all(|(known, _)| *known != hash);
        if is_new {
            drawer.push((hash, identity));
        }
        is_new
    }

    /// Whose it is.
    pub(super) fn find(&self, token: &str) -> Option<&Identity> {
        let hash = token_hash(token);
        let drawer = self.0.get(&drawer(&hash))?;
        drawer.iter().find(|(known, _)| bool::from(known.ct_eq(&hash))).map(|(_, identity)| identity)
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }
}
