//! The rules in force where none are given.

use super::{RuleSet, check};

/// The same file as a person would write it.
pub(super) const TEXT: &str = include_str!("built_in.yaml");

pub(super) fn rules() -> RuleSet {
    check::parse(TEXT).expect("a test parses the built-in rules")
}
