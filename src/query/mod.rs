//! Trace by id and search, over the table and over what is in the log and not in the table yet. By id, what only the flight
//! recorder still has is found too: traces that were dropped.
//!
//! Both read the same way: first which traces the log still has, then their records, then the table. A trace that moves
//! meanwhile is seen twice, never not at all; each (span id, kind) is answered once.

mod access;
mod answer;
mod by_id;
mod document;
mod duration;
mod engine;
mod facts;
mod fields;
mod filter;
mod gather;
mod live;
mod otlp_json;
mod pin;
mod prune;
mod search;
mod trace_id;
mod why;
mod why_document;

pub use access::AssembledTrace;
pub use answer::{
    FoundTrace, Hit, MatchedSpan, ROOT_MISSING, SearchResponse, ServiceStats, SpanSet, TraceSummary,
};
pub use document::{FIND_MEDIA_TYPE, FindDocument, FoundLine, ServiceLine};
pub use duration::{DurationError, parse_duration, period_text};
pub use engine::{Engine, EngineConfig, QueryError, SearchRequest};
pub use facts::{Decision, FACTS_HEADER, TraceFacts, TraceSource};
pub use filter::{Filter, FilterError};
pub use live::{LiveSource, Recent, RecorderPlaces, Verdicts};
pub use otlp_json::{Document, Json, Spelling};
pub use pin::{PinDocument, PinOutcome};
pub use prune::{Probe, TracesProbe, probes};
pub use trace_id::{TraceIdError, parse_trace_id};
pub use why::{RuleTexts, Standing, Standings, Why};
pub use why_document::{DecisionLine, MatchedLine, RuleLine, RuleResult, WhyDocument, WhySpans, WhyState};

/// A point in time as RFC 3339 with nanoseconds; empty for times that no calendar knows.
pub fn time_rfc3339(unix_nano: u64) -> String {
    jiff::Timestamp::from_nanosecond(i128::from(unix_nano)).map_or_else(|_| String::new(), |t| t.to_string())
}

#[cfg(test)]
pub(crate) mod tests;
