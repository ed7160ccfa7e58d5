//! Where rules come from: a file, watched.
//!
//! This room knows how to fetch rules, not what they say: whoever runs a source hands it a function that installs a text.
//! What cannot be fetched or is refused changes nothing but the [`RulesState`]; the last good rules stay in force.

mod file;
mod history;
mod state;

#[cfg(test)]
mod tests;

pub use file::{FileSource, TEXT_BYTES_MAX};
pub use history::RulesHistory;
pub use state::{RulesProblem, RulesState, RulesStatus};
