//! The document of `trace find --json`, and of `GET /api/search` with `Accept: application/vnd.tracewell.search+json`.
//!
//! Its fields are stable: fields may be added, none is renamed or removed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answer::{Hit, SearchResponse};

/// The media type of [`FindDocument`].
pub const FIND_MEDIA_TYPE: &str = "application/vnd.tracewell.search+json";

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindDocument {
    /// Newest first.
    pub traces: Vec<FoundLine>,
    /// False when time or memory ran out before everything that may match was seen.
    pub complete: bool,
    /// Traces that were evaluated.
    pub inspected_traces: u64,
    /// Spans that were evaluated.
    pub inspected_spans: u64,
}

/// One trace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundLine {
    /// 32 lower-case hex digits.
    pub trace_id: String,
    /// Start of the earliest span, RFC 3339 in UTC.
    pub start_time: String,
    /// The same in nanoseconds since the Unix epoch; a string, as it does not fit a JSON number.
    pub start_time_unix_nano: String,
    /// From the earliest start to the latest end, in nanoseconds.
    pub duration_nano: u64,
    /// `service.name` of the root span; null while it has not been received.
    pub root_service: Option<String>,
    /// Name of the root span; null while it has not been received.
    pub root_name: Option<String>,
    /// All spans of the trace.
    pub span_count: u64,
    /// Spans with status error.
    pub error_count: u64,
    /// Spans that the query matched.
    pub matched_count: u64,
    /// Numbers for each service, by name.
    pub services: BTreeMap<String, ServiceLine>,
    /// The rule that kept it; null while that is not decided.
    pub rule: Option<String>,
    /// Its retention class; null while that is not decided.
    pub retention: Option<String>,
}

/// Numbers of one service in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceLine {
    /// Its spans.
    pub span_count: u64,
    /// Of them with status error.
    pub error_count: u64,
}

impl From<&SearchResponse> for FindDocument {
    fn from(response: &SearchResponse) -> Self {
        Self {
            traces: response.hits.iter().map(FoundLine::from).collect(),
            complete: response.complete,
            inspected_traces: response.inspected_traces,
            inspected_spans: response.inspected_spans,
        }
    }
}

impl From<&Hit> for FoundLine {
    fn from(hit: &Hit) -> Self {
        let summary = &hit.summary;
        let services = summary.services.iter();
        Self {
            trace_id: summary.trace_id.to_string(),
            start_time: super::time_rfc3339(summary.start_unix_nano),
            start_time_unix_nano: summary.start_unix_nano.to_string(),
            duration_nano: summary.duration_nano,
            root_service: summary.root_service.clone(),
            root_name: summary.root_name.clone(),
            span_count: summary.spans(),
            error_count: summary.errors(),
            matched_count: hit.span_sets.iter().map(|set| u64::from(set.matched)).sum(),
            services: services
                .map(|(name, s)| (name.clone(), ServiceLine { span_count: s.spans, error_count: s.errors }))
                .collect(),
            rule: summary.kept.as_ref().map(|kept| kept.rule.to_string()),
            retention: summary.kept.as_ref().map(|kept| kept.retention.to_string()),
        }
    }
}
