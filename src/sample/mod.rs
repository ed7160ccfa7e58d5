//! Tail sampling: rules, the index of traces, verdicts.
//!
//! A request is scanned once, before it is logged ([`Rulebook::scan`]): what the rules need to know of each trace in it
//! becomes [`Notes`]. The [`Sampler`] is a pure state machine fed in log order, live and in replay alike: it gathers notes by
//! trace, decides when a trace is due, and hands kept traces over in batches. It owns no clock, file or thread.

mod notes;
pub mod probability;
pub mod records;
mod verdict;

pub use notes::{Matches, Notes, TraceNote};
pub use probability::Threshold;
pub use verdict::{Batch, KeptTrace, LiveFilter, LiveState, LiveTrace, Places, Verdict};
