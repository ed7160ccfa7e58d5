//! The spans of a batch, copied out of the log's records. Only wanted spans stay in memory, not the requests they came in.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::shared::{SharedResource, SharedScope, wire};
use crate::log::{Position, SpansRecord};
use crate::sample::{KeptTrace, Verdict};
use crate::store::error::StoreError;
use crate::wire::{ScopeSpansView, SpanId, SpanView, TraceId, WireError, resource_spans};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// OTLP's `STATUS_CODE_ERROR`.
const STATUS_ERROR: i32 = 2;

const CHUNK_BYTES: usize = 1 << 20;

/// Which traces to take from which record.
pub(super) type Plan<'a> = std::collections::BTreeMap<Position, Map<TraceId, &'a Arc<Verdict>>>;

/// The plan of a batch's traces of one tenant.
pub(super) fn plan<'a>(traces: impl Iterator<Item = &'a KeptTrace>) -> Plan<'a> {
    let mut plan = Plan::default();
    for trace in traces {
        for place in &trace.places {
            plan.entry(*place).or_default().insert(trace.trace_id, &trace.verdict);
        }
    }
    plan
}

/// One span: what sorting needs, and where the rest is.
pub(super) struct SpanEntry {
    pub(super) trace_id: TraceId,
    pub(super) start_unix_nano: u64,
    pub(super) span_id: SpanId,
    pub(super) kind: i32,
    pub(super) end_unix_nano: u64,
    pub(super) is_root: bool,
    pub(super) is_error: bool,
    /// The day of its partition, counted from the Unix epoch.
    pub(super) day: i32,
    pub(super) verdict: u32,
    pub(super) resource: u32,
    pub(super) scope: u32,
    chunk: u32,
    range: Range<u32>,
}

/// Spans of one tenant's part of a batch.
#[derive(Default)]
pub(super) struct Gathered {
    chunks: Vec<Vec<u8>>,
    pub(super) spans: Vec<SpanEntry>,
    pub(super) verdicts: Vec<Arc<Verdict>>,
    pub(super) resources: Vec<SharedResource>,
    pub(super) scopes: Vec<SharedScope>,
    verdict_index: Map<usize, u32>,
    resource_index: Map<SharedKey, u32>,
    scope_index: Map<SharedKey, u32>,
    /// Spans that came twice, left out.
    pub(super) duplicates: u64,
}

/// A raw message and its schema URL.
type SharedKey = (Vec<u8>, String);

impl Gathered {
    /// The raw `Span` message.
    pub(super) fn raw(&self, span: &SpanEntry) -> &[u8] {
        &self.chunks[span.chunk as usize][span.range.start as usize..span.range.end as usize]
    }

    /// Copies the wanted spans of a record.
    pub(super) fn take(
        &mut self,
        record: &SpansRecord,
        wanted: &Map<TraceId, &Arc<Verdict>>,
    ) -> Result<(), StoreError> {
        for resource_spans in resource_spans(&record.body) {
            let resource_spans = resource_spans.map_err(wire)?;
            let mut resource = None;
            for scope_spans in resource_spans.scope_spans() {
                let scope_spans = scope_spans.map_err(wire)?;
                let mut scope = None;
                for raw in scope_spans.spans() {
                    let span = SpanView::parse(raw.map_err(wire)?).map_err(wire)?;
                    let Some((trace_id, verdict)) = TraceId::from_slice(span.trace_id)
                        .and_then(|trace_id| Some((trace_id, *wanted.get(&trace_id)?)))
                    else {
                        continue;
                    };
                    let resource = match resource {
                        Some(known) => known,
                        None => *resource.insert(self.resource(&resource_spans)?),
                    };
                    let scope = match scope {
                        Some(known) => known,
                        None => *scope.insert(self.scope(&scope_spans)?),
                    };
                    let day = partition_day(span.start_time_unix_nano, record.meta.received_unix_nano);
                    self.push(&span, trace_id, day, verdict, resource, scope);
                }
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        span: &SpanView<'_>,
        trace_id: TraceId,
        day: i32,
        verdict: &Arc<Verdict>,
        resource: u32,
        scope: u32,
    ) {
        let verdicts = &mut self.verdicts;
        let verdict = *self.verdict_index.entry(Arc::as_ptr(verdict) as usize).or_insert_with(|| {
            verdicts.push(Arc::clone(verdict));
            (verdicts.len() - 1) as u32
        });
        let (chunk, range) = self.store(span.raw);
        self.spans.push(SpanEntry {
            trace_id,
            start_unix_nano: span.start_time_unix_nano,
            span_id: SpanId::from_slice(span.span_id).unwrap_or_default(),
            kind: span.kind,
            end_unix_nano: span.end_time_unix_nano,
            is_root: span.is_root(),
            is_error: span.status_code == STATUS_ERROR,
            day,
            verdict,
            resource,
            scope,
            chunk,
            range,
        });
    }

    fn store(&mut self, raw: &[u8]) -> (u32, Range<u32>) {
        let fits = self.chunks.last().is_some_and(|c| c.capacity() - c.len() >= raw.len());
        if !fits {
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES.max(raw.len())));
        }
        let at = self.chunks.len() - 1;
        let chunk = &mut self.chunks[at];
        let start = chunk.len() as u32;
        chunk.extend_from_slice(raw);
        (at as u32, start..chunk.len() as u32)
    }

    fn resource(&mut self, spans: &crate::wire::ResourceSpansView<'_>) -> Result<u32, StoreError> {
        let key = shared_key(spans.resource(), spans.schema_url())?;
        if let Some(known) = self.resource_index.get(&key) {
            return Ok(*known);
        }
        self.resources.push(SharedResource::read(&key.0, &key.1)?);
        let index = (self.resources.len() - 1) as u32;
        self.resource_index.insert(key, index);
        Ok(index)
    }

    fn scope(&mut self, spans: &ScopeSpansView<'_>) -> Result<u32, StoreError> {
        let key = shared_key(spans.scope(), spans.schema_url())?;
        if let Some(known) = self.scope_index.get(&key) {
            return Ok(*known);
        }
        self.scopes.push(SharedScope::read(&key.0, &key.1)?);
        let index = (self.scopes.len() - 1) as u32;
        self.scope_index.insert(key, index);
        Ok(index)
    }

    /// Sorts by trace, start and span, and leaves out spans that came twice (same trace, span id and kind).
    pub(super) fn sort(&mut self) {
        let identity = |s: &SpanEntry| (s.trace_id, s.span_id, s.kind);
        self.spans.sort_by_key(identity);
        let before = self.spans.len();
        self.spans.dedup_by_key(|s| identity(s));
        self.duplicates += (before - self.spans.len()) as u64;
        self.spans.sort_by_key(|s| (s.trace_id, s.start_unix_nano, s.span_id, s.kind));
    }
}

fn shared_key<'a>(
    raw: Result<&'a [u8], WireError>,
    schema_url: Result<&'a str, WireError>,
) -> Result<SharedKey, StoreError> {
    Ok((raw.map_err(wire)?.to_vec(), schema_url.map_err(wire)?.to_owned()))
}

const NANOS_PER_DAY: u64 = 86_400_000_000_000;
/// Spans are filed under the day they started, unless that is more than this before they were received …
const DAYS_BEFORE_MAX: u64 = 30;
/// … or more than this after: then under the day they were received, so that a wrong clock makes no partitions of its own.
const DAYS_AFTER_MAX: u64 = 1;

/// The day of a span's partition, counted from the Unix epoch.
pub(super) fn partition_day(start_unix_nano: u64, received_unix_nano: u64) -> i32 {
    let (start, received) = (start_unix_nano / NANOS_PER_DAY, received_unix_nano / NANOS_PER_DAY);
    let plausible = start + DAYS_BEFORE_MAX >= received && start <= received + DAYS_AFTER_MAX;
    // 2^64 ns are 213 504 days.
    (if plausible { start } else { received }) as i32
}
