//! A trace of full spans, as TraceQL's evaluation sees it.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use opentelemetry_proto::tonic::common::v1::any_value::Value as Otlp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;

use super::answer::{ServiceStats, TraceSummary};
use crate::store::{FullSpan, ResourceInfo};
use crate::traceql::{Intrinsic, Kind, Scope, Status, TraceAccess, Value, Values};
use crate::wire::TraceId;

const STATUS_ERROR: i32 = 2;

/// A whole trace and what is worked out about it once.
pub struct AssembledTrace {
    trace_id: TraceId,
    spans: Vec<FullSpan>,
    parents: Vec<Option<usize>>,
    root: Option<usize>,
    start_unix_nano: u64,
    end_unix_nano: u64,
}

impl AssembledTrace {
    /// Sorts the spans by start and leaves each (span id, kind) once; the first of equal ones stays. `None` without spans.
    pub fn new(trace_id: TraceId, mut spans: Vec<FullSpan>) -> Option<Self> {
        let mut seen = std::collections::HashSet::with_capacity(spans.len());
        spans.retain(|s| seen.insert((s.span.span_id.clone(), s.span.kind)));
        spans.sort_by(|a, b| position(&a.span).cmp(&position(&b.span)));
        let start_unix_nano = spans.iter().map(|s| s.span.start_time_unix_nano).min()?;
        let latest = spans.iter().map(|s| s.span.end_time_unix_nano).max()?;
        let root = spans.iter().position(|s| is_zero(&s.span.parent_span_id));
        let parents = parents_of(&spans);
        let end_unix_nano = latest.max(start_unix_nano);
        Some(Self { trace_id, spans, parents, root, start_unix_nano, end_unix_nano })
    }

    /// The spans, by start.
    pub fn spans(&self) -> &[FullSpan] {
        &self.spans
    }

    /// The spans, by start.
    pub fn into_spans(self) -> Vec<FullSpan> {
        self.spans
    }

    /// From the earliest start to the latest end, in nanoseconds.
    pub fn duration_nano(&self) -> u64 {
        self.end_unix_nano - self.start_unix_nano
    }

    /// The latest end, Unix nanoseconds.
    pub fn end_unix_nano(&self) -> u64 {
        self.end_unix_nano
    }

    /// The trace in a few facts.
    pub fn summary(&self) -> TraceSummary {
        let root = self.root.map(|i| &self.spans[i]);
        let mut services: BTreeMap<String, ServiceStats> = BTreeMap::new();
        for span in &self.spans {
            let service = service_of(&span.resource).unwrap_or_default();
            let stats = services.entry(service.to_owned()).or_default();
            stats.spans += 1;
            stats.errors += u64::from(status_of(&span.span) == STATUS_ERROR);
        }
        TraceSummary {
            trace_id: self.trace_id,
            root_service: root.map(|r| service_of(&r.resource).unwrap_or_default().to_owned()),
            root_name: root.map(|r| r.span.name.clone()),
            start_unix_nano: self.start_unix_nano,
            duration_nano: self.duration_nano(),
            services,
            kept: self.spans.iter().find_map(|s| s.kept.as_ref()).map(Arc::clone),
        }
    }
}

/// Spans by start; equal starts by end (longest first), then by id: a stable order.
fn position(span: &Span) -> (u64, std::cmp::Reverse<u64>, &[u8], i32) {
    (span.start_time_unix_nano, std::cmp::Reverse(span.end_time_unix_nano), &span.span_id, span.kind)
}

fn parents_of(spans: &[FullSpan]) -> Vec<Option<usize>> {
    let ids: HashMap<&[u8], usize> =
        spans.iter().enumerate().map(|(i, s)| (s.span.span_id.as_slice(), i)).collect();
    let parent = |s: &FullSpan| ids.get(s.span.parent_span_id.as_slice()).copied();
    spans.iter().map(parent).collect()
}

fn is_zero(id: &[u8]) -> bool {
    id.iter().all(|&b| b == 0)
}

fn status_of(span: &Span) -> i32 {
    span.status.as_ref().map_or(0, |s| s.code)
}

/// `service.name`, if it is a string.
pub fn service_of(resource: &ResourceInfo) -> Option<&str> {
    let attribute = resource.resource.attributes.iter().find(|a| a.key == "service.name")?;
    match attribute.value.as_ref()?.value.as_ref()? {
        Otlp::StringValue(name) => Some(name),
        _ => None,
    }
}

impl TraceAccess for AssembledTrace {
    fn span_count(&self) -> usize {
        self.spans.len()
    }

    fn parent(&self, span: usize) -> Option<usize> {
        self.parents[span]
    }

    fn intrinsic(&self, index: usize, intrinsic: Intrinsic) -> Values<'_> {
        let full = &self.spans[index];
        let span = &full.span;
        let root = self.root.map(|i| &self.spans[i]);
        match intrinsic {
            Intrinsic::Duration => {
                let nanos = span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano);
                Value::duration(nanos).into()
            }
            Intrinsic::Name => Value::str(&span.name).into(),
            Intrinsic::Status => Value::Status(Status::from_otlp(status_of(span))).into(),
            Intrinsic::StatusMessage => Value::str(span.status.as_ref().map_or("", |s| &s.message)).into(),
            Intrinsic::Kind => Value::Kind(Kind::from_otlp(span.kind)).into(),
            Intrinsic::Parent | Intrinsic::ParentId => hex_id(&span.parent_span_id).into(),
            Intrinsic::RootName => root.map(|r| Value::str(&r.span.name)).into(),
            Intrinsic::RootServiceName => root.and_then(|r| service_of(&r.resource)).map(Value::str).into(),
            Intrinsic::TraceDuration => Value::duration(self.duration_nano()).into(),
            Intrinsic::TraceId => text(self.trace_id.to_string()).into(),
            Intrinsic::SpanId => hex_id(&span.span_id).into(),
            Intrinsic::EventName => many(span.events.iter().map(|e| Value::str(&e.name))),
            Intrinsic::EventTimeSinceStart => {
                let start = span.start_time_unix_nano;
                many(span.events.iter().map(|e| Value::duration(e.time_unix_nano.saturating_sub(start))))
            }
            Intrinsic::LinkTraceId => many(span.links.iter().filter_map(|l| hex_id(&l.trace_id))),
            Intrinsic::LinkSpanId => many(span.links.iter().filter_map(|l| hex_id(&l.span_id))),
            Intrinsic::InstrumentationName => Value::str(&full.scope.scope.name).into(),
            Intrinsic::InstrumentationVersion => Value::str(&full.scope.scope.version).into(),
            // Evaluation works these out itself.
            Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
            | Intrinsic::ChildCount => Values::Missing,
        }
    }

    fn attribute(&self, index: usize, scope: Scope, key: &str) -> Values<'_> {
        let full = &self.spans[index];
        match scope {
            Scope::Span => find(&full.span.attributes, key),
            Scope::Resource => find(&full.resource.resource.attributes, key),
            Scope::Instrumentation => find(&full.scope.scope.attributes, key),
            Scope::Event => gather(full.span.events.iter().map(|e| find(&e.attributes, key))),
            Scope::Link => gather(full.span.links.iter().map(|l| find(&l.attributes, key))),
            // Evaluation asks one scope after the other.
            Scope::Unscoped => Values::Missing,
        }
    }
}

fn find<'a>(attributes: &'a [KeyValue], key: &str) -> Values<'a> {
    attributes.iter().find(|a| a.key == key).map_or(Values::Missing, |a| values(a.value.as_ref()))
}

/// Scalars are one value, arrays many; lists, bytes and empty values cannot be compared with anything.
fn values(value: Option<&AnyValue>) -> Values<'_> {
    match value.and_then(|v| v.value.as_ref()) {
        Some(Otlp::ArrayValue(array)) => {
            Values::Many(array.values.iter().filter_map(|v| scalar(v.value.as_ref()?)).collect())
        }
        Some(value) => scalar(value).into(),
        None => Values::Missing,
    }
}

fn scalar(value: &Otlp) -> Option<Value<'_>> {
    Some(match value {
        Otlp::StringValue(s) => Value::str(s),
        Otlp::BoolValue(b) => Value::Bool(*b),
        Otlp::IntValue(i) => Value::Int(*i),
        Otlp::DoubleValue(d) => Value::Float(*d),
        _ => return None,
    })
}

fn gather<'a>(each: impl Iterator<Item = Values<'a>>) -> Values<'a> {
    let all: Vec<Value<'a>> = each.flat_map(|values| values.as_slice().to_vec()).collect();
    if all.is_empty() { Values::Missing } else { Values::Many(all) }
}

fn many<'a>(each: impl Iterator<Item = Value<'a>>) -> Values<'a> {
    let all: Vec<Value<'a>> = each.collect();
    if all.is_empty() { Values::Missing } else { Values::Many(all) }
}

fn text<'a>(owned: String) -> Value<'a> {
    Value::Str(Cow::Owned(owned))
}

fn hex_id<'a>(id: &[u8]) -> Option<Value<'a>> {
    (!is_zero(id)).then(|| text(hex::encode(id)))
}
