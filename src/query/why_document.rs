//! The document of `trace why --json`, and of `GET /api/traces/{id}/why`.
//!
//! Its fields are stable: fields may be added, none is renamed or removed.

use serde::{Deserialize, Serialize};

use crate::wire::TraceId;

/// What became of a trace, and why.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhyDocument {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// `kept`, `dropped`, `pending`, or `unknown` where there are spans and nothing says why.
    pub state: WhyState,
    /// The last verdict; null while pending, and where it is longer ago than decisions are kept.
    pub decision: Option<DecisionLine>,
    /// The rule that the table says kept it, where the decision itself is not known any more.
    pub stored_by_rule: Option<String>,
    /// When a pending trace is due at the latest, RFC 3339 in UTC.
    pub due_time: Option<String>,
    /// The same in nanoseconds since the Unix epoch; a string, as it does not fit a JSON number.
    pub due_time_unix_nano: Option<String>,
    /// The version of the rules that a pending trace will be decided by.
    pub rules_version: Option<u32>,
    /// What there is of the trace to look at.
    pub spans: WhySpans,
    /// Whether the rules of that version are known; if not, `rules` is empty.
    pub rules_known: bool,
    /// The rules in order, up to the one that decided.
    pub rules: Vec<RuleLine>,
}

/// How far a trace is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhyState {
    /// It is kept.
    Kept,
    /// It was dropped.
    Dropped,
    /// It waits for its verdict.
    Pending,
    /// There are spans of it, and nothing says why.
    #[default]
    Unknown,
}

/// A verdict.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DecisionLine {
    /// The rule that decided; `unmatched` where none matched, `trace-debug` where everything is kept, `pin` where somebody
    /// pinned the trace.
    pub rule: String,
    /// The version of the rules that it is of.
    pub rules_version: u32,
    /// The retention class of a kept trace.
    pub retention: Option<String>,
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// The same in nanoseconds since the Unix epoch; a string, as it does not fit a JSON number.
    pub time_unix_nano: String,
    /// The share of traces that the rule keeps, 0 to 1; null where it is no matter of chance.
    pub probability: Option<f64>,
    /// The sampling threshold, as `th` of the tracestate.
    pub threshold: Option<String>,
    /// How many spans each kept one stands for.
    pub adjusted_count: Option<f64>,
    /// Kept by a rate: with a probability that nobody knows.
    pub probability_unknown: bool,
    /// Decided before it was due, because memory was full.
    pub early: bool,
    /// Given to spans that came after the trace was decided.
    pub late: bool,
    /// Kept because of `TRACE_DEBUG=1`.
    pub debug: bool,
    /// Kept because somebody pinned it.
    pub pinned: bool,
    /// The record of the log that says so.
    pub log_position: Option<u64>,
}

/// What there is of a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhySpans {
    /// Spans found in the table and the log.
    pub found: u64,
    /// False where there are none, or too many for one answer.
    pub complete: bool,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleLine {
    /// Its name.
    pub name: String,
    /// Its condition, TraceQL; null: every trace.
    pub when: Option<String>,
    /// What it does: `keep 10%`, `drop`.
    pub action: String,
    /// What came of it.
    pub result: RuleResult,
    /// Whether it matches the spans there are now; null where there are none.
    pub matches_now: Option<bool>,
    /// How many spans its condition is true of.
    pub matched_count: u64,
    /// The first of them.
    pub spans: Vec<MatchedLine>,
}

/// What came of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleResult {
    /// It decided.
    Decided,
    /// It did not match.
    NoMatch,
    /// It matches what is there now. Of a decided trace: spans came after the verdict. A pending one it will decide.
    Matches,
    /// It did not decide; there are no spans to see why.
    NotKnown,
}

/// A span that a rule's condition is true of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchedLine {
    /// 16 lower-case hex digits.
    pub span_id: String,
    /// `service.name` of its resource.
    pub service: String,
    /// Its name.
    pub name: String,
    /// Whether its status is error.
    pub is_error: bool,
    /// Its start; a string, as it does not fit a JSON number.
    pub start_time_unix_nano: String,
    /// How long it took, in nanoseconds.
    pub duration_nano: u64,
}

impl WhyDocument {
    pub(super) fn new(trace_id: TraceId) -> Self {
        Self { trace_id: trace_id.to_string(), ..Self::default() }
    }
}
