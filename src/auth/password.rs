//! Users' passwords: salted, and slow to try (PBKDF2-HMAC-SHA256, RFC 8018).

use std::fmt;
use std::num::NonZeroU32;

use ring::pbkdf2;

/// Rounds of a new hash: what OWASP asks for with SHA-256 (Password Storage Cheat Sheet, 2023).
pub const ITERATIONS: u32 = 600_000;
/// Fewer protect nobody, more keep a core busy for seconds.
const ITERATIONS_ALLOWED: std::ops::RangeInclusive<u32> = 10_000..=5_000_000;
const NAME: &str = "pbkdf2-sha256";
const SALT_BYTES: std::ops::RangeInclusive<usize> = 8..=64;
const HASH_BYTES: usize = 32;

/// A password's hash. As text `pbkdf2-sha256$ITERATIONS$SALT$HASH`, salt and hash in hex.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    hash: [u8; HASH_BYTES],
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash")
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{NAME}${}${}${}", self.iterations, hex::encode(&self.salt), hex::encode(self.hash))
    }
}

impl PasswordHash {
    /// Hashes a password with this random salt. Takes tenths of a second.
    pub fn new(password: &str, salt: &[u8; 16], iterations: NonZeroU32) -> Self {
        let mut hash = [0; HASH_BYTES];
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, iterations, salt, password.as_bytes(), &mut hash);
        Self { iterations, salt: salt.to_vec(), hash }
    }

    /// Reads the text.
    ///
    /// # Errors
    /// In words, without the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = "write pbkdf2-sha256$ITERATIONS$SALT$HASH as `tracewell token password` prints it";
        let mut parts = text.split('$');
        let parts = [parts.next(), parts.next(), parts.next(), parts.next(), parts.next()];
        let [Some(NAME), Some(iterations), Some(salt), Some(hash), None] = parts else {
            return Err(format!("not a password's hash; {expected}"));
        };
        let iterations = iterations.parse::<u32>().ok().filter(|n| ITERATIONS_ALLOWED.contains(n));
        let Some(iterations) = iterations.and_then(NonZeroU32::new) else {
            let (least, most) = (ITERATIONS_ALLOWED.start(), ITERATIONS_ALLOWED.end());
            return Err(format!(
                "the iterations of a password's hash are from {least} to {most}; {expected}"
            ));
        };
        let salt = hex::decode(salt).ok().filter(|salt| SALT_BYTES.contains(&salt.len()));
        let hash = hex::decode(hash).ok().and_then(|hash| hash.try_into().ok());
        match (salt, hash) {
            (Some(salt), Some(hash)) => Ok(Self { iterations, salt, hash }),
            _ => Err(format!("salt or hash of a password is not hex of the right length; {expected}")),
        }
    }

    /// Whether it is the hash of this password. Takes tenths of a second, the same for a right and a wrong one.
    pub fn is_of(&self, password: &str) -> bool {
        let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
        pbkdf2::verify(algorithm, self.iterations, &self.salt, password.as_bytes(), &self.hash).is_ok()
    }
}
