//! Why somebody is not let in.

/// The reasons, as they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeniedReason {
    /// No credential was shown.
    Missing,
    /// What was shown is not a credential of a kind that is known here.
    Malformed,
    /// Nobody has this token, name, password or certificate.
    Unknown,
    /// It was good once.
    Expired,
    /// It is not good yet.
    NotYet,
    /// A web token that was not signed by anybody who is trusted.
    Signature,
    /// A web token for another audience, from another issuer, or without a claim that is needed.
    Claims,
    /// It is good, but not for this.
    Scope,
    /// It is good, but not for this tenant.
    Tenant,
    /// It cannot be checked now: too many at a time.
    Busy,
}

impl DeniedReason {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::NotYet,
        Self::Signature,
        Self::Claims,
        Self::Scope,
        Self::Tenant,
        Self::Busy,
    ];

    /// A label for metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::NotYet => "not_yet_valid",
            Self::Signature => "signature",
            Self::Claims => "claims",
            Self::Scope => "scope",
            Self::Tenant => "tenant",
            Self::Busy => "busy",
        }
    }
}

/// Somebody is not let in. Shown, it says why as far as the client may know: never whether a name exists.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    /// Why.
    pub reason: DeniedReason,
    /// In words, without anything the client sent.
    pub message: String,
}

impl Denied {
    pub(super) fn new(reason: DeniedReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }

    /// Whether the credential is good and the deed is not allowed (403), rather than the credential not good (401).
    pub fn is_forbidden(&self) -> bool {
        matches!(self.reason, DeniedReason::Scope | DeniedReason::Tenant)
    }

    /// Whether the same credential may be let in a moment later (503).
    pub fn is_transient(&self) -> bool {
        self.reason == DeniedReason::Busy
    }
}
