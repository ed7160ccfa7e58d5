//! Whom a credential belongs to, and what it is good for.

use std::sync::Arc;

use crate::runtime::Tenant;

/// What somebody wants to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// Send spans.
    Write,
    /// Ask questions.
    Read,
    /// Change what is kept: pins, the tables.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Admin];

    /// As it is written in configuration and claims.
    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The scope with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// Some scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// Every scope.
    pub const ALL: Self = Self(0b111);

    /// Whether nothing is allowed.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u8) != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | (1 << scope as u8)))
    }
}

/// Other tenants that a credential may name in `X-Scope-OrgID`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Tenants {
    /// None: its own only.
    #[default]
    Own,
    /// These.
    These(Vec<Tenant>),
    /// Any: a gateway's agents, an operator.
    All,
}

/// The owner of a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What people call it; in logs.
    pub name: Arc<str>,
    /// Whose spans it sends and sees.
    pub tenant: Tenant,
    /// What it may do.
    pub scopes: Scopes,
    /// Whom else it may speak for.
    pub tenants: Tenants,
    /// Its last second, Unix time; `None`: it does not end.
    pub expires_at: Option<i64>,
}

impl Identity {
    /// Whether it may speak for this tenant.
    pub fn may_name(&self, tenant: &Tenant) -> bool {
        *tenant == self.tenant
            || match &self.tenants {
                Tenants::Own => false,
                Tenants::These(these) => these.contains(tenant),
                Tenants::All => true,
            }
    }
}
