//! A span as it was sent, with its resource, scope and why it was kept.

use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use crate::log::SpansRecord;
use crate::sample::Verdict;
use crate::sample::probability::{SamplingState, kept_tracestate};
use crate::store::error::{ErrorKind, StoreError};
use crate::wire::{Messages, ResourceSpansView, ScopeSpansView, TraceId, resource_spans};

/// A resource and the schema URL of its `ResourceSpans`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ResourceInfo {
    /// The resource; an absent one is an empty one.
    pub resource: Resource,
    /// `ResourceSpans.schema_url`
    pub schema_url: String,
}

/// An instrumentation scope and the schema URL of its `ScopeSpans`.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ScopeInfo {
    /// The scope; an absent one is an empty one.
    pub scope: InstrumentationScope,
    /// `ScopeSpans.schema_url`
    pub schema_url: String,
}

/// Why a span was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The rule that decided.
    pub rule: Arc<str>,
    /// The version of the rules it stands in.
    pub rules_version: u32,
    /// The retention class.
    pub retention: Arc<str>,
}

/// A span as OTLP has it.
#[derive(Clone, Debug, PartialEq)]
pub struct FullSpan {
    /// Its resource, shared by the spans of one answer that have the same.
    pub resource: Arc<ResourceInfo>,
    /// Its scope, likewise shared.
    pub scope: Arc<ScopeInfo>,
    /// The span, `trace_state` as it is kept (with the sampling threshold of the verdict).
    pub span: Span,
    /// How many spans this one stands for; 1 where its sampling threshold is unknown.
    pub adjusted_count: f64,
    /// Why it was kept; `None` while its trace is pending.
    pub kept: Option<Arc<Kept>>,
}

/// What [`FullSpan::from_record`] shall do with a trace.
#[derive(Clone, Copy)]
pub enum Wanted<'a> {
    /// Pass over its spans.
    No,
    /// Its trace is not decided yet: as the spans came.
    Pending,
    /// It is kept: with the verdict applied.
    Kept(&'a Verdict),
}

impl FullSpan {
    /// The wanted spans of a record of the log, as the table would give them back. Resources and scopes are decoded once.
    ///
    /// # Errors
    /// [`ErrorKind::Record`] if the record is damaged.
    pub fn from_record<'a>(
        record: &SpansRecord,
        mut wanted: impl FnMut(TraceId) -> Wanted<'a>,
    ) -> Result<Vec<Self>, StoreError> {
        let mut found = Vec::new();
        for resource_spans in resource_spans(&record.body) {
            let resource_spans = resource_spans.map_err(damaged)?;
            let mut resource = None;
            for scope_spans in resource_spans.scope_spans() {
                let scope_spans = scope_spans.map_err(damaged)?;
                let mut scope = None;
                for raw in scope_spans.spans() {
                    let raw = raw.map_err(damaged)?;
                    let verdict = match trace_id_of(raw)?.map_or(Wanted::No, &mut wanted) {
                        Wanted::No => continue,
                        Wanted::Pending => None,
                        Wanted::Kept(verdict) => Some(verdict),
                    };
                    let resource = match &resource {
                        Some(known) => Arc::clone(known),
                        None => Arc::clone(resource.insert(resource_info(&resource_spans)?)),
                    };
                    let scope = match &scope {
                        Some(known) => Arc::clone(known),
                        None => Arc::clone(scope.insert(scope_info(&scope_spans)?)),
                    };
                    let span = Span::decode(raw).map_err(damaged)?;
                    found.push(Self::new(resource, scope, span, verdict));
                }
            }
        }
        Ok(found)
    }

    fn new(
        resource: Arc<ResourceInfo>,
        scope: Arc<ScopeInfo>,
        mut span: Span,
        verdict: Option<&Verdict>,
    ) -> Self {
        let Some(verdict) = verdict else {
            let threshold = SamplingState::parse(&span.trace_state).threshold;
            let adjusted_count = threshold.map_or(1.0, |t| t.adjusted_count());
            return Self { resource, scope, span, adjusted_count, kept: None };
        };
        let (trace_state, adjusted_count) = kept_tracestate(&span.trace_state, verdict);
        span.trace_state = trace_state.into_owned();
        let kept = Kept {
            rule: Arc::clone(&verdict.rule),
            rules_version: verdict.rules_version,
            retention: Arc::clone(&verdict.retention),
        };
        Self { resource, scope, span, adjusted_count, kept: Some(Arc::new(kept)) }
    }
}

fn trace_id_of(raw: &[u8]) -> Result<Option<TraceId>, StoreError> {
    let mut id = None;
    for bytes in Messages::new(raw, 1, "span.trace_id") {
        id = TraceId::from_slice(bytes.map_err(damaged)?);
    }
    Ok(id)
}

fn resource_info(spans: &ResourceSpansView<'_>) -> Result<Arc<ResourceInfo>, StoreError> {
    let resource = Resource::decode(spans.resource().map_err(damaged)?).map_err(damaged)?;
    let schema_url = spans.schema_url().map_err(damaged)?.to_owned();
    Ok(Arc::new(ResourceInfo { resource, schema_url }))
}

fn scope_info(spans: &ScopeSpansView<'_>) -> Result<Arc<ScopeInfo>, StoreError> {
    let scope = InstrumentationScope::decode(spans.scope().map_err(damaged)?).map_err(damaged)?;
    let schema_url = spans.schema_url().map_err(damaged)?.to_owned();
    Ok(Arc::new(ScopeInfo { scope, schema_url }))
}

fn damaged(error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
    StoreError::caused(ErrorKind::Record, "a record of the log holds a damaged span", error)
}
