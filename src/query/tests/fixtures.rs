//! A store in a folder, and a log that is a list: what tests of questions share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, ArrayValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use parking_lot::Mutex;
use prost::Message;

use crate::log::{Position, ReadError, Recorded, SpansMeta, SpansRecord};
use crate::query::{Engine, EngineConfig, LiveSource, Recent, RecorderPlaces, Verdicts};
use crate::runtime::{Clock, CpuPool, RequestId, SystemRandom, Tasks, Tenant};
use crate::sample::{Batch, KeptTrace, LiveFilter, LiveState, LiveTrace, Verdict};
use crate::store::{
    CompactionConfig, Compactor, Location, Reader, ReaderConfig, Records, Store, StoreConfig, Unpaced,
};
use crate::wire::TraceId;

/// 21 November 2026, 08:00 UTC.
pub const NOW: u64 = 1_795_248_000_000_000_000;
pub const SECOND: u64 = 1_000_000_000;
pub const MS: u64 = 1_000_000;

pub struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now_unix_nano(&self) -> u64 {
        NOW
    }

    // Every look is a millisecond later.
    fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.0.fetch_add(MS, Ordering::Relaxed))
    }
}

pub fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.into(), value: Some(AnyValue { value: Some(value) }), key_strindex: 0 }
}

pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

pub fn texts(key: &str, values: &[&str]) -> KeyValue {
    let one = |v: &&str| AnyValue { value: Some(Value::StringValue((*v).into())) };
    attribute(key, Value::ArrayValue(ArrayValue { values: values.iter().map(one).collect() }))
}

/// The id of the n-th trace.
pub fn trace_id(n: u8) -> TraceId {
    TraceId::from_slice(&[n; 16]).unwrap()
}

/// Span `id` of trace `n` below `parent` (0: none), starting `start` after [`NOW`] − 1 h, for `duration` (nanoseconds).
pub fn span(n: u8, id: u8, parent: u8, start: u64, duration: u64) -> Span {
    let start = NOW - 3_600 * SECOND + start;
    Span {
        trace_id: vec![n; 16],
        span_id: vec![id; 8],
        parent_span_id: if parent == 0 { Vec::new() } else { vec![parent; 8] },
        name: format!("span {id}"),
        kind: 2,
        start_time_unix_nano: start,
        end_time_unix_nano: start + duration,
        ..Span::default()
    }
}

pub fn with(mut span: Span, attributes: &[KeyValue]) -> Span {
    span.attributes.extend_from_slice(attributes);
    span
}

pub fn failed(mut span: Span) -> Span {
    span.status = Some(Status { code: 2, message: "no".into() });
    span
}

pub fn request(service: &str, spans: Vec<Span>) -> ExportTraceServiceRequest {
    let resource = Resource { attributes: vec![text("service.name", service)], ..Resource::default() };
    let scope = InstrumentationScope { name: "shop".into(), version: "1.2".into(), ..Default::default() };
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, schema_url: String::new() }];
    let resource_spans =
        vec![ResourceSpans { resource: Some(resource), scope_spans, schema_url: "https://schema".into() }];
    ExportTraceServiceRequest { resource_spans }
}

pub fn verdict() -> Arc<Verdict> {
    Arc::new(crate::sample::testing::verdict("errors"))
}

/// Records by position, and which of their traces are not in the table.
#[derive(Clone, Default)]
pub struct FakeLog(Arc<Mutex<FakeLogState>>);

#[derive(Default)]
struct FakeLogState {
    records: Vec<Arc<SpansRecord>>,
    live: Vec<LiveTrace>,
    dropped: BTreeMap<(Tenant, TraceId), Arc<Verdict>>,
}

impl Records for FakeLog {
    fn spans(&self, position: Position) -> Result<Arc<SpansRecord>, ReadError> {
        self.0.lock().records.get(position.0 as usize).cloned().ok_or(ReadError::Released)
    }
}

impl LiveSource for FakeLog {
    fn live(&self, filter: LiveFilter) -> BoxFuture<'_, Vec<LiveTrace>> {
        let mut live = self.0.lock().live.clone();
        live.retain(|t| {
            filter.trace_id.is_none_or(|id| id == t.trace_id)
                && t.tenant == filter.tenant
                && t.end_unix_nano >= filter.start_unix_nano
                && t.start_unix_nano <= filter.end_unix_nano
        });
        live.sort_by_key(|t| std::cmp::Reverse(t.start_unix_nano));
        live.truncate(filter.traces_max);
        async move { live }.boxed()
    }
}

/// Everything that is in the log, whatever became of it; and why.
impl RecorderPlaces for FakeLog {
    fn find(&self, _tenant: &Tenant, _trace_id: &TraceId) -> Recorded {
        // Nobody says that only records of this tenant and trace are found.
        let records = self.0.lock().records.len() as u64;
        Recorded { places: (0..records).map(Position).collect(), complete: true }
    }
}

impl Verdicts for FakeLog {
    fn verdict(&self, tenant: &Tenant, trace_id: TraceId) -> BoxFuture<'_, Option<Arc<Verdict>>> {
        let dropped = self.0.lock().dropped.get(&(tenant.clone(), trace_id)).cloned();
        async move { dropped }.boxed()
    }
}

pub struct World {
    pub log: FakeLog,
    pub engine: Engine,
    store: Store,
    clock: Arc<TestClock>,
    batches: u64,
    _folder: tempfile::TempDir,
}

impl World {
    pub fn new() -> Self {
        Self::with_config(EngineConfig::default())
    }

    pub fn with_config(config: EngineConfig) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::parse(folder.path().to_str().unwrap()).unwrap();
        let clock = Arc::new(TestClock(AtomicU64::new(0)));
        let reader = Reader::new(
            location.clone(),
            clock.clone(),
            ReaderConfig { refresh_after: Duration::ZERO, ..ReaderConfig::default() },
        );
        let store = Store::open(StoreConfig::new(location, "tests"), clock.clone()).unwrap();
        let log = FakeLog::default();
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let recent = Recent {
            traces: Arc::new(log.clone()),
            records: Arc::new(log.clone()),
            recorder: Arc::new(log.clone()),
            verdicts: Arc::new(log.clone()),
            pool: CpuPool::new(tasks, std::num::NonZeroUsize::MIN),
        };
        let engine = Engine::new(reader, Some(recent), clock.clone(), config);
        Self { log, engine, store, clock, batches: 0, _folder: folder }
    }

    /// Puts a request into the log; its traces are live until [`Self::forget`].
    pub fn log(&self, request: &ExportTraceServiceRequest, state: LiveState) {
        let position = self.record(&Tenant::default(), request);
        let traces = traces_of(request);
        let mut log = self.log.0.lock();
        log.live.extend(traces.into_iter().map(|(trace_id, (start, end))| LiveTrace {
            tenant: Tenant::default(),
            trace_id,
            places: [position].into_iter().collect(),
            start_unix_nano: start,
            end_unix_nano: end,
            state: state.clone(),
        }));
    }

    /// Puts a request into the log that only the recorder knows of.
    pub fn record(&self, tenant: &Tenant, request: &ExportTraceServiceRequest) -> Position {
        let meta = SpansMeta {
            tenant: tenant.clone(),
            request_id: RequestId(1),
            received_unix_nano: NOW,
            rules_version: 1,
        };
        let mut log = self.log.0.lock();
        log.records.push(Arc::new(SpansRecord { meta, body: request.encode_to_vec().into() }));
        Position(log.records.len() as u64 - 1)
    }

    /// A verdict that is remembered.
    pub fn remember(&self, tenant: &Tenant, trace_id: TraceId, verdict: Verdict) {
        self.log.0.lock().dropped.insert((tenant.clone(), trace_id), Arc::new(verdict));
    }

    /// Loses the log's records, as when the recorder's time is over.
    pub fn release(&self) {
        self.log.0.lock().records.clear();
    }

    /// Stores everything that is live, and leaves it live: as between commit and `Done`.
    pub async fn store(&mut self) {
        let live = self.log.0.lock().live.clone();
        let mut traces: BTreeMap<TraceId, KeptTrace> = BTreeMap::new();
        for part in live {
            let trace = traces.entry(part.trace_id).or_insert_with(|| KeptTrace {
                tenant: part.tenant.clone(),
                trace_id: part.trace_id,
                places: Default::default(),
                spans: 1,
                bytes: 1,
                start_unix_nano: part.start_unix_nano,
                end_unix_nano: part.end_unix_nano,
                services: Default::default(),
                verdict: verdict(),
            });
            trace.places.extend(part.places);
        }
        self.batches += 1;
        let batch = Batch { id: self.batches, traces: traces.into_values().collect() };
        self.store.write(&batch, &self.log.clone()).await.unwrap();
    }

    /// Merges the files of all batches; gives how many went.
    pub async fn compact(&self) -> u64 {
        let store = Store::open(self.store.config().clone(), self.clock.clone()).unwrap();
        let compactor = Compactor::new(Arc::new(store), CompactionConfig::default(), Arc::new(SystemRandom));
        let mut files = 0;
        for unit in compactor.plan(&Tenant::default(), NOW + 3 * 86_400 * SECOND).await.unwrap() {
            files += compactor.compact(&unit, Box::new(Unpaced)).await.unwrap().unwrap().files_in;
        }
        files
    }

    /// The log no longer counts anything as live.
    pub fn forget(&self) {
        self.log.0.lock().live.clear();
    }

    /// Logs, stores and forgets.
    pub async fn stored(&mut self, requests: &[ExportTraceServiceRequest]) {
        requests.iter().for_each(|r| self.log(r, LiveState::Kept(verdict())));
        self.store().await;
        self.forget();
    }
}

fn traces_of(request: &ExportTraceServiceRequest) -> BTreeMap<TraceId, (u64, u64)> {
    let mut traces = BTreeMap::new();
    let scopes = request.resource_spans.iter().flat_map(|r| &r.scope_spans);
    for span in scopes.flat_map(|s| &s.spans) {
        let id = TraceId::from_slice(&span.trace_id).unwrap();
        let times = traces.entry(id).or_insert((u64::MAX, 0));
        *times = (times.0.min(span.start_time_unix_nano), times.1.max(span.end_time_unix_nano));
    }
    traces
}
