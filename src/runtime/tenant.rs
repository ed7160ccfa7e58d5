//! Names that every stage carries along: the tenant, and the request's correlation id.

use std::fmt;
use std::sync::Arc;

/// The owner of spans. Cheap to clone. Data of two tenants never meets in one file or one answer.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tenant(Arc<str>);

impl Tenant {
    /// The longest name accepted, in bytes.
    pub const BYTES_MAX: usize = 150;

    /// A tenant by name: 1 to [`Self::BYTES_MAX`] characters of `A-Z a-z 0-9 - _ .`, not starting with a dot
    /// (it becomes a folder of the store). `None` for anything else.
    pub fn new(name: &str) -> Option<Self> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        let valid = !name.is_empty()
            && name.len() <= Self::BYTES_MAX
            && !name.starts_with('.')
            && name.bytes().all(allowed);
        valid.then(|| Self(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tenant {
    fn default() -> Self {
        Self("default".into())
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({})", self.0)
    }
}

/// Correlates one export request through the logs: receive, verdict, commit. Shown as 16 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
