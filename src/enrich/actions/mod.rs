//! Attribute actions, one file each.
//!
//! Those that neither depend on the span nor on another attribute say what becomes of one key's [`State`]: what that
//! means for bytes is worked out once, when the configuration is loaded. In a scope that has others too, all are
//! applied to the list of its attributes, one after the other: an [`Op`] each.

mod convert;
mod delete;
mod extract;
mod hash;
mod insert;
mod op;
mod rename;
mod route;
mod truncate;
mod update;
mod upsert;

use serde::{Deserialize, Serialize};

pub use hash::hash_value;
pub(super) use hash::readable;
pub(super) use op::Op;

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
    /// Makes attributes of what a regular expression's named groups catch.
    Extract,
    /// Gives the value another type.
    Convert,
    /// Gives attributes other keys.
    Rename,
    /// Cuts a string value off.
    Truncate,
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
            Self::Extract => "extract",
            Self::Convert => "convert",
            Self::Rename => "rename",
            Self::Truncate => "truncate",
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
