//! Tempo's JSON of a search. Grafana reads it strictly: no field that Tempo does not have.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::query::{Hit, Json, MatchedSpan, ROOT_MISSING, SearchResponse, SpanSet, Spelling};
use opentelemetry_proto::tonic::common::v1::KeyValue;

/// `tempopb.SearchResponse`.
#[derive(Debug, Serialize)]
pub struct TempoSearch<'a> {
    traces: Vec<TempoTrace<'a>>,
    metrics: Value,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct TempoTrace<'a> {
    #[serde(rename = "traceID")]
    trace_id: String,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_service_name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_trace_name: &'a str,
    start_time_unix_nano: String,
    #[serde(skip_serializing_if = "is_zero")]
    duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    span_set: Option<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    span_sets: Vec<Value>,
    service_stats: BTreeMap<&'a str, Value>,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl<'a> From<&'a SearchResponse> for TempoSearch<'a> {
    fn from(response: &'a SearchResponse) -> Self {
        Self { traces: response.hits.iter().map(trace).collect(), metrics: metrics(response) }
    }
}

fn metrics(response: &SearchResponse) -> Value {
    let mut metrics = json!({});
    if response.inspected_traces > 0 {
        metrics["inspectedTraces"] = json!(u32::try_from(response.inspected_traces).unwrap_or(u32::MAX));
        metrics["inspectedSpans"] = json!(response.inspected_spans.to_string());
    }
    metrics["completedJobs"] = json!(1);
    metrics["totalJobs"] = json!(1);
    metrics
}

fn trace(hit: &Hit) -> TempoTrace<'_> {
    let summary = &hit.summary;
    let span_sets: Vec<Value> = hit.span_sets.iter().map(span_set).collect();
    TempoTrace {
        trace_id: summary.trace_id.to_string(),
        root_service_name: summary.root_service.as_deref().unwrap_or_default(),
        root_trace_name: summary.root_name.as_deref().unwrap_or(ROOT_MISSING),
        start_time_unix_nano: summary.start_unix_nano.to_string(),
        duration_ms: summary.duration_nano / 1_000_000,
        // The single set of older versions: still read by some clients.
        span_set: span_sets.first().cloned(),
        span_sets,
        service_stats: summary
            .services
            .iter()
            .map(|(name, stats)| (name.as_str(), service_stats(stats.spans, stats.errors)))
            .collect(),
    }
}

fn service_stats(spans: u64, errors: u64) -> Value {
    let mut stats = json!({ "spanCount": spans });
    if errors > 0 {
        stats["errorCount"] = json!(errors);
    }
    stats
}

fn span_set(set: &SpanSet) -> Value {
    let spans: Vec<Value> = set.spans.iter().map(span).collect();
    let mut json = json!({ "spans": spans, "matched": set.matched });
    add_attributes(&mut json, &set.attributes);
    json
}

fn span(span: &MatchedSpan) -> Value {
    let mut json = json!({ "spanID": span.span_id.to_string() });
    if !span.name.is_empty() {
        json["name"] = json!(span.name);
    }
    json["startTimeUnixNano"] = json!(span.start_unix_nano.to_string());
    if span.duration_nano > 0 {
        json["durationNanos"] = json!(span.duration_nano.to_string());
    }
    add_attributes(&mut json, &span.attributes);
    json
}

fn add_attributes(json: &mut Value, attributes: &[KeyValue]) {
    if !attributes.is_empty() {
        let list = attributes.iter().map(|a| json!(Json(a, Spelling::Proto)));
        json["attributes"] = list.collect();
    }
}
