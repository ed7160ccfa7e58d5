//! The answer to `POST /api/traces/{id}/pin`, and the document of `trace pin --json`.
//!
//! Its fields are stable: fields and words may be added, none is renamed or removed.

use serde::{Deserialize, Serialize};

/// What a pin did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PinOutcome {
    /// The trace waited for its verdict, and is kept now.
    Decided,
    /// The trace had been dropped; its spans were found in the flight recorder, and are kept now.
    Rescued,
    /// The trace was stored under another retention class, and is under `pinned` now.
    Moved,
    /// The trace is kept already, for as long as pinned ones are or longer. Nothing was changed.
    Kept,
}

/// What became of a trace that was to be pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PinDocument {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// What was done.
    pub outcome: PinOutcome,
    /// The rule that keeps the trace: `pin` for one that was pinned.
    pub rule: String,
    /// The retention class that the trace is kept under: `pinned` for one that was pinned.
    pub retention: String,
    /// How long that class is kept, from the trace's start, in seconds; null for a class that the rules do not name (any
    /// more): such traces do not expire.
    pub retention_seconds: Option<u64>,
    /// The rule that had dropped a rescued trace; null if nobody remembers, and otherwise.
    pub dropped_by: Option<String>,
    /// The spans of a rescued or moved trace; null otherwise.
    pub spans: Option<u64>,
    /// False when a part of the flight recorder could not be searched, so that a rescued trace may lack spans.
    pub complete: bool,
}
