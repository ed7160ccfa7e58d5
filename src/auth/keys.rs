//! An issuer's public keys: a JWK set (RFC 7517, RFC 7518 section 6, RFC 8037).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;

/// Keys of one set; further ones are left out.
const KEYS_MAX: usize = 64;
/// The longest number of a key, in bytes: RSA with 8192 bits.
const NUMBER_BYTES_MAX: usize = 1024;

/// How a token is signed. What is not in here is refused, `none` and the symmetric ones among it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A key, which is good for one algorithm only: a token cannot choose another for it.
#[derive(Clone, Debug)]
enum Key {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256([u8; 65]),
    Ed25519(Vec<u8>),
}

impl Key {
    fn algorithm(&self) -> Algorithm {
        match self {
            Self::Rsa { .. } => Algorithm::Rs256,
            Self::P256(_) => Algorithm::Es256,
            Self::Ed25519(_) => Algorithm::EdDsa,
        }
    }

    fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = match self {
            Self::Rsa { n, e } => {
                let key = RsaPublicKeyComponents { n, e };
                key.verify(&signature::RSA_PKCS1_2048_8192_SHA256, message, signature)
            }
            Self::P256(point) => {
                UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point).verify(message, signature)
            }
            Self::Ed25519(key) => UnparsedPublicKey::new(&signature::ED25519, key).verify(message, signature),
        };
        verified.is_ok()
    }
}

/// The keys of an issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<(Option<String>, Key)>);

#[derive(Deserialize)]
struct RawSet {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct RawKey {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    r#use: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JWK set. Keys of kinds that are not used here are left out.
    ///
    /// # Errors
    /// In words, when it is no set, or no key of it can be used.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        let set: RawSet =
            serde_json::from_slice(text).map_err(|_| "not a JWK set: `{\"keys\": [...]}`".to_owned())?;
        let keys: Vec<_> = set.keys.into_iter().take(KEYS_MAX).filter_map(key).collect();
        if keys.is_empty() {
            return Err("no key of it can be used: RSA, P-256 or Ed25519, for signatures".into());
        }
        Ok(Self(keys))
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a key of this id and algorithm is here; without an id, one of this algorithm.
    pub(super) fn has(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        self.candidates(id, algorithm).next().is_some()
    }

    /// Whether one of the keys that it may be has signed the message.
    pub(super) fn verify(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        self.candidates(id, algorithm).any(|key| key.has_signed(message, signature))
    }

    fn candidates(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let fits = move |kid: &Option<String>| id.is_none() || kid.as_deref() == id;
        self.0.iter().filter(move |(kid, key)| fits(kid) && key.algorithm() == algorithm).map(|(_, key)| key)
    }
}

fn key(value: serde_json::Value) -> Option<(Option<String>, Key)> {
    let raw: RawKey = serde_json::from_value(value).ok()?;
    if raw.r#use.is_some_and(|usage| usage != "sig") {
        return None;
    }
    let number = |text: Option<String>| {
        URL_SAFE_NO_PAD.decode(text?).ok().filter(|n| (1..=NUMBER_BYTES_MAX).contains(&n.len()))
    };
    let key = match (raw.kty.as_str(), raw.crv.as_deref()) {
        ("RSA", _) => Key::Rsa { n: number(raw.n)?, e: number(raw.e)? },
        ("EC", Some("P-256")) => {
            let mut point = [4; 65];
            point[1..33].copy_from_slice(number(raw.x)?.as_slice().try_into().ok().map(|x: &[u8; 32]| x)?);
            point[33..].copy_from_slice(number(raw.y)?.as_slice().try_into().ok().map(|y: &[u8; 32]| y)?);
            Key::P256(point)
        }
        ("OKP", Some("Ed25519")) => Key::Ed25519(number(raw.x)?),
        _ => return None,
    };
    let says = raw.alg.as_deref();
    says.is_none_or(|alg| Algorithm::named(alg) == Some(key.algorithm())).then_some((raw.kid, key))
}
