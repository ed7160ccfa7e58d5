//! `drop: true`: the trace goes, whatever its id.

use super::Outcome;

/// Decides about any trace.
pub(super) fn decide() -> Outcome {
    Outcome::DROPPED
}
