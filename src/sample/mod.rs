//! Tail sampling: rules, the index of traces, verdicts.
//!
//! A request is scanned once, before it is logged ([`Rulebook::scan`]): what the rules need to know of each trace in it
//! becomes [`Notes`]. The [`Sampler`] is a pure state machine fed in log order, live and in replay alike: it gathers notes by
//! trace, decides when a trace is due, and hands kept traces over in batches. It owns no clock, file or thread.

mod actions;
mod balance;
mod compile;
mod decisions;
mod due;
mod fingerprint;
mod index;
mod notes;
pub mod probability;
pub mod records;
mod rules;
mod sampler;
mod scan;
pub mod services;
#[cfg(test)]
pub(crate) mod testing;
mod verdict;

pub use actions::Limiter;
pub use balance::{Account, AccountOf, StoredSpans};
pub use fingerprint::Fingerprint;
pub use notes::{Matches, Notes, TraceNote};
pub use probability::Threshold;
pub use rules::{
    Facts, PIN_RULE, RETENTION_DEFAULT, RETENTION_PINNED, RetentionClasses, RetentionTerms, RuleSet,
    RuleText, Rulebook, RulesError, UNMATCHED, parse_rules,
};
pub use sampler::{BatchPolicy, Checkpoint, Sampler, SamplerConfig, SamplerStats, Tally, Waiting};
pub use verdict::{
    Batch, KeptTrace, LiveFilter, LiveState, LiveTrace, Pinned, Places, Rescue, Rescued, Verdict,
};
