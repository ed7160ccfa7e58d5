//! What the store's tests share: records without a log, batches, requests.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message;

use crate::log::{Position, ReadError, SpansMeta, SpansRecord};
use crate::runtime::{Clock, RequestId, Tenant};
use crate::sample::{Batch, KeptTrace, Verdict};
use crate::store::{Location, Reader, ReaderConfig, Records, Store, StoreConfig};
use crate::wire::TraceId;

/// 21 November 2026, 08:00 UTC.
pub(in crate::store) const NOW: u64 = 1_795_248_000_000_000_000;
pub(in crate::store) const DAY: u64 = 86_400_000_000_000;

/// A clock that tests set.
pub(in crate::store) struct TestClock(pub(in crate::store) AtomicU64);

impl TestClock {
    pub(in crate::store) fn new() -> Arc<Self> {
        Arc::new(Self(AtomicU64::new(NOW)))
    }
}

impl Clock for TestClock {
    fn now_unix_nano(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    // Every look is a millisecond later.
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.fetch_add(1_000_000, Ordering::Relaxed))
    }
}

/// Records by position.
#[derive(Clone, Default)]
pub(in crate::store) struct MapRecords(pub(in crate::store) HashMap<Position, Arc<SpansRecord>>);

impl Records for MapRecords {
    fn spans(&self, position: Position) -> Result<Arc<SpansRecord>, ReadError> {
        self.0.get(&position).cloned().ok_or(ReadError::Unknown)
    }
}

impl MapRecords {
    pub(in crate::store) fn of(requests: &[ExportTraceServiceRequest]) -> Self {
        let record = |(at, request): (usize, &ExportTraceServiceRequest)| {
            let meta = SpansMeta {
                tenant: Tenant::default(),
                request_id: RequestId(at as u64),
                received_unix_nano: NOW,
                rules_version: 1,
            };
            (Position(at as u64), Arc::new(SpansRecord { meta, body: request.encode_to_vec().into() }))
        };
        Self(requests.iter().enumerate().map(record).collect())
    }

    /// A batch of all traces in all records.
    pub(in crate::store) fn batch(&self, id: u64, verdict: &Arc<Verdict>) -> Batch {
        let mut places: BTreeMap<TraceId, BTreeSet<Position>> = BTreeMap::new();
        for (position, record) in &self.0 {
            let request = ExportTraceServiceRequest::decode(record.body.clone()).unwrap();
            let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
            for span in scopes.flat_map(|s| &s.spans) {
                places.entry(TraceId::from_slice(&span.trace_id).unwrap()).or_default().insert(*position);
            }
        }
        let trace = |(trace_id, places): (TraceId, BTreeSet<Position>)| KeptTrace {
            tenant: Tenant::default(),
            trace_id,
            places: places.into_iter().collect(),
            spans: 1,
            bytes: 1,
            start_unix_nano: 0,
            end_unix_nano: 0,
            services: Default::default(),
            verdict: Arc::clone(verdict),
        };
        Batch { id, traces: places.into_iter().map(trace).collect() }
    }
}

pub(in crate::store) fn verdict(rule: &str, retention: &str) -> Arc<Verdict> {
    Arc::new(Verdict {
        rules_version: 7,
        retention: retention.into(),
        ..crate::sample::testing::verdict(rule)
    })
}

pub(in crate::store) fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub(in crate::store) fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Trace `trace`'s span `span`; number 0 is the root, 1 000 ms long, the others its children, 100 ms long.
pub(in crate::store) fn span(trace: u64, span: u64, start: u64) -> Span {
    let mut trace_id = [0x11; 16];
    trace_id[..8].copy_from_slice(&trace.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let id = |n: u64| (trace << 16 | n << 1 | 1).to_be_bytes().to_vec();
    Span {
        trace_id: trace_id.to_vec(),
        span_id: id(span),
        parent_span_id: if span == 0 { Vec::new() } else { id(0) },
        name: if span == 0 { "GET /shop".into() } else { format!("step {span}") },
        kind: if span == 0 { 2 } else { 1 },
        start_time_unix_nano: start + span * 1_000_000,
        end_time_unix_nano: start + if span == 0 { 1_000_000_000 } else { 100_000_000 + span * 1_000_000 },
        attributes: vec![
            text("http.route", "/shop/{id}"),
            attribute("http.response.status_code", Value::IntValue(200)),
            text("user.id", &format!("user-{trace}")),
        ],
        status: Some(Status { code: if trace.is_multiple_of(10) { 2 } else { 0 }, message: String::new() }),
        ..Span::default()
    }
}

pub(in crate::store) fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
    let scope = InstrumentationScope { name: "shop".into(), version: "1.2".into(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let resource_spans = ResourceSpans { resource: Some(resource), scope_spans, schema_url: String::new() };
    ExportTraceServiceRequest { resource_spans: vec![resource_spans] }
}

/// `count` traces of four spans each from number `first` on, in one request.
pub(in crate::store) fn traces(first: u64, count: u64, start: u64) -> ExportTraceServiceRequest {
    let spans = (first..first + count).flat_map(|t| (0..4).map(move |s| span(t, s, start + t)));
    request("shop", spans.collect())
}

pub(in crate::store) fn trace_id(trace: u64) -> TraceId {
    TraceId::from_slice(&span(trace, 0, 0).trace_id).unwrap()
}

/// A store in a folder of its own.
pub(in crate::store) struct Fixture {
    pub(in crate::store) folder: tempfile::TempDir,
    pub(in crate::store) clock: Arc<TestClock>,
}

impl Fixture {
    pub(in crate::store) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: TestClock::new() }
    }

    pub(in crate::store) fn location(&self) -> Location {
        Location::parse(self.folder.path().to_str().unwrap()).unwrap()
    }

    pub(in crate::store) fn store(&self, app_id: &str) -> Store {
        Store::open(StoreConfig::new(self.location(), app_id), self.clock.clone()).unwrap()
    }

    pub(in crate::store) fn reader(&self) -> Reader {
        let config = ReaderConfig { refresh_after: Duration::ZERO, ..ReaderConfig::default() };
        Reader::new(self.location(), self.clock.clone(), config)
    }
}
