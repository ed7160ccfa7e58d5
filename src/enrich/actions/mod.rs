//! Attribute actions, one file each. An action says what becomes of one key's [`State`]; what that means for bytes is
//! worked out once, when the configuration is loaded.

mod delete;
mod hash;
mod insert;
mod update;
mod upsert;

use serde::{Deserialize, Serialize};

pub use hash::hash_value;

/// The actions that exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ActionKind {
    /// Adds the attribute where its key is not there.
    Insert,
    /// Replaces the value where the key is there.
    Update,
    /// Adds the attribute, or replaces its value.
    Upsert,
    /// Takes the attribute out.
    Delete,
    /// Replaces the value by its SHA-256.
    Hash,
}

impl ActionKind {
    /// As it is written in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Upsert => "upsert",
            Self::Delete => "delete",
            Self::Hash => "hash",
        }
    }

    /// Whether it needs a value.
    pub fn takes_value(self) -> bool {
        match self {
            Self::Insert | Self::Update | Self::Upsert => true,
            Self::Delete | Self::Hash => false,
        }
    }

    /// What becomes of an attribute. `value` is the encoded `AnyValue` of an action that takes one.
    pub(super) fn apply(self, before: State, value: &[u8]) -> State {
        match self {
            Self::Insert => insert::apply(before, value),
            Self::Update => update::apply(before, value),
            Self::Upsert => upsert::apply(value),
            Self::Delete => delete::apply(),
            Self::Hash => hash::apply(before),
        }
    }
}

/// What is known of one key's attribute while actions are applied to it, whatever its value will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// There is none.
    Absent,
    /// It is what the sender set, hashed so many times.
    Sent {
        /// 0: untouched.
        hashes: u32,
    },
    /// It has this value, an encoded `AnyValue`.
    Fixed(Vec<u8>),
}
