//! What a search and a look-up give back.

use std::collections::BTreeMap;
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, TracesData};

use super::facts::TraceFacts;
use crate::store::FullSpan;
use crate::store::read::Kept;
use crate::wire::{SpanId, TraceId};

/// What a trace without a root span is called.
pub const ROOT_MISSING: &str = "<root span not yet received>";

/// Spans and errors of one service in a trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStats {
    /// All spans.
    pub spans: u64,
    /// Of them with status error.
    pub errors: u64,
}

/// A trace in a few facts.
#[derive(Clone, Debug, PartialEq)]
pub struct TraceSummary {
    /// Its id.
    pub trace_id: TraceId,
    /// `service.name` of the root's resource; `None` while there is no root.
    pub root_service: Option<String>,
    /// The root's name; `None` while there is no root.
    pub root_name: Option<String>,
    /// Start of the earliest span, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// From the earliest start to the latest end, in nanoseconds.
    pub duration_nano: u64,
    /// Numbers for each service, by name.
    pub services: BTreeMap<String, ServiceStats>,
    /// Why it was kept; `None` while that is not decided.
    pub kept: Option<Arc<Kept>>,
}

impl TraceSummary {
    /// All spans.
    pub fn spans(&self) -> u64 {
        self.services.values().map(|s| s.spans).sum()
    }

    /// All spans with status error.
    pub fn errors(&self) -> u64 {
        self.services.values().map(|s| s.errors).sum()
    }
}

/// A span that a query matched.
#[derive(Clone, Debug, PartialEq)]
pub struct MatchedSpan {
    /// Its id.
    pub span_id: SpanId,
    /// Its name.
    pub name: String,
    /// Its start, Unix nanoseconds.
    pub start_unix_nano: u64,
    /// Its duration in nanoseconds.
    pub duration_nano: u64,
    /// The fields the query names, with this span's values.
    pub attributes: Vec<KeyValue>,
}

/// A spanset of a trace that a query matched.
#[derive(Clone, Debug, PartialEq)]
pub struct SpanSet {
    /// The first of its spans, by start.
    pub spans: Vec<MatchedSpan>,
    /// How many spans it has.
    pub matched: u32,
    /// What the query worked out about the set: `by(…)`, `count()`.
    pub attributes: Vec<KeyValue>,
}

/// A trace that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The trace.
    pub summary: TraceSummary,
    /// What matched in it.
    pub span_sets: Vec<SpanSet>,
}

/// The answer to a search: newest first by start, then by trace id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchResponse {
    /// The traces.
    pub hits: Vec<Hit>,
    /// Traces that were evaluated.
    pub inspected_traces: u64,
    /// Spans that were evaluated.
    pub inspected_spans: u64,
    /// False when time or memory ran out before everything that may match was seen.
    pub complete: bool,
}

/// A whole trace: each span (span id, kind) once, by start.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundTrace {
    /// Its id.
    pub trace_id: TraceId,
    /// Its spans.
    pub spans: Vec<FullSpan>,
    /// False when the trace is larger than what is held in memory for one answer.
    pub complete: bool,
    /// Where they are from, and what was decided.
    pub facts: TraceFacts,
}

impl FoundTrace {
    /// As OTLP: spans grouped by equal resources and scopes, in order of their first span.
    pub fn into_otlp(self) -> TracesData {
        let mut groups: Vec<Group> = Vec::new();
        for span in self.spans {
            let FullSpan { resource, scope, span, .. } = span;
            let group = match groups.iter_mut().position(|g| same(&g.resource, &resource)) {
                Some(i) => &mut groups[i],
                None => {
                    groups.push(Group { resource, scopes: Vec::new() });
                    let last = groups.len() - 1;
                    &mut groups[last]
                }
            };
            match group.scopes.iter_mut().find(|(s, _)| same(s, &scope)) {
                Some((_, spans)) => spans.push(span),
                None => group.scopes.push((scope, vec![span])),
            }
        }
        TracesData { resource_spans: groups.into_iter().map(Group::into_otlp).collect() }
    }
}

/// Spans of one resource on their way into OTLP.
struct Group {
    resource: Arc<crate::store::ResourceInfo>,
    scopes: Vec<(Arc<crate::store::ScopeInfo>, Vec<Span>)>,
}

impl Group {
    fn into_otlp(self) -> ResourceSpans {
        let resource = Arc::unwrap_or_clone(self.resource);
        let scope_spans = |(scope, spans): (Arc<crate::store::ScopeInfo>, Vec<Span>)| {
            let scope = Arc::unwrap_or_clone(scope);
            ScopeSpans { scope: Some(scope.scope), spans, schema_url: scope.schema_url }
        };
        ResourceSpans {
            resource: Some(resource.resource),
            scope_spans: self.scopes.into_iter().map(scope_spans).collect(),
            schema_url: resource.schema_url,
        }
    }
}

/// Equal by pointer (the usual case) or by content (one from the log, one from the table).
fn same<T: PartialEq>(a: &Arc<T>, b: &Arc<T>) -> bool {
    Arc::ptr_eq(a, b) || a == b
}
