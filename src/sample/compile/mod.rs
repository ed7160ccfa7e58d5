//! Rules' conditions, compiled: single comparisons become atoms asked once a span while a request is scanned
//! ([`Program`]), what remains is decided from a few bits when the trace is due ([`Condition`]).

mod atom;
mod build;
mod condition;
mod conjunctions;
mod dnf;
mod durations;
mod keys;
mod program;

pub(super) use build::{Builder, CompileError};
pub(super) use condition::{Condition, TraceFacts};
pub(super) use keys::Lengths;
pub(super) use program::{Program, Scratch};

#[cfg(test)]
mod tests;
