//! Verdicts and kept traces for the tests of this room and of those behind it.

use std::sync::Arc;

use super::{KeptTrace, Verdict};
use crate::log::Position;
use crate::runtime::Tenant;
use crate::wire::TraceId;

/// Kept by a rule, all of it, in the class `default`.
pub(crate) fn verdict(rule: &str) -> Verdict {
    Verdict {
        keep: true,
        rule: rule.into(),
        rules_version: 1,
        retention: "default".into(),
        threshold: None,
        erase_threshold: false,
        early: false,
        late: false,
        debug: false,
    }
}

/// A kept trace of one span, whose id is this byte sixteen times.
pub(crate) fn kept_trace(number: u8, places: impl IntoIterator<Item = Position>) -> KeptTrace {
    KeptTrace {
        tenant: Tenant::default(),
        trace_id: TraceId([number; 16]),
        places: places.into_iter().collect(),
        spans: 1,
        bytes: 10,
        start_unix_nano: 0,
        end_unix_nano: 1,
        services: Default::default(),
        verdict: Arc::new(verdict("r")),
    }
}
