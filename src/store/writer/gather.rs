//! The spans of a batch, found in the log's records and brought into the table's order.
//!
//! Spans stay where they are: in the bodies of their records, or, where a record holds mostly others' spans, in a copy of the
//! wanted ones. So at most twice the wanted bytes are held.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::shared::{SharedResource, SharedScope, wire};
use crate::log::{Position, SpansRecord};
use crate::sample::{KeptTrace, Verdict};
use crate::store::error::StoreError;
use crate::store::schema::Layout;
use crate::wire::{ScopeSpansView, SpanId, SpanView, TraceId, WireError, offset_in, resource_spans};

type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// OTLP's `STATUS_CODE_ERROR`.
const STATUS_ERROR: i32 = 2;

const CHUNK_BYTES: usize = 1 << 20;
/// Room is made for so many spans at once, whatever the batch promises.
const SPANS_EXPECTED_MAX: usize = 1 << 20;
/// Up to so many spans of a trace, each is compared with each to find those that came twice.
const FEW: usize = 32;

/// One span: what sorting needs, and where the rest is.
pub(super) struct SpanEntry {
    /// Index of its trace.
    pub(super) trace: u32,
    pub(super) start_unix_nano: u64,
    pub(super) end_unix_nano: u64,
    pub(super) span_id: SpanId,
    pub(super) kind: i32,
    pub(super) is_root: bool,
    pub(super) is_error: bool,
    /// The day of its partition, counted from the Unix epoch.
    pub(super) day: i32,
    pub(super) resource: u32,
    pub(super) scope: u32,
    body: u32,
    at: u32,
    len: u32,
    name_at: u32,
    name_len: u32,
}

/// Spans of one tenant's part of a batch.
pub(super) struct Gathered<'a> {
    pub(super) traces: &'a [KeptTrace],
    /// The columns they are for.
    pub(super) layout: &'static Layout,
    index: Map<TraceId, u32>,
    bodies: Vec<Bytes>,
    /// Copied spans that are not in `bodies` yet, and their place there.
    chunk: (Vec<u8>, u32),
    /// In the order they came, those that came twice too.
    spans: Vec<SpanEntry>,
    /// Indexes of the spans to be written, sorted.
    pub(super) order: Vec<u32>,
    pub(super) verdicts: Vec<&'a Arc<Verdict>>,
    /// For each trace the index of its verdict.
    verdict_of: Vec<u32>,
    pub(super) resources: Vec<SharedResource>,
    pub(super) scopes: Vec<SharedScope>,
    resource_index: Map<SharedKey, u32>,
    scope_index: Map<SharedKey, u32>,
    /// Spans that came twice, left out, for each resource.
    pub(super) duplicates: Vec<u64>,
    /// For each trace the spans that were found, those that came twice too.
    found: Vec<u32>,
}

/// A raw message and its schema URL.
type SharedKey = (Vec<u8>, String);

impl<'a> Gathered<'a> {
    /// Nothing yet of these traces, which are of one tenant, each once.
    pub(super) fn new(traces: &'a [KeptTrace], layout: &'static Layout) -> Self {
        let mut verdicts: Vec<&Arc<Verdict>> = Vec::new();
        let mut known: Map<*const Verdict, u32> = Map::default();
        let mut verdict_of = Vec::with_capacity(traces.len());
        let expected = traces.iter().map(|trace| trace.spans as usize).sum::<usize>();
        for trace in traces {
            verdict_of.push(*known.entry(Arc::as_ptr(&trace.verdict)).or_insert_with(|| {
                verdicts.push(&trace.verdict);
                (verdicts.len() - 1) as u32
            }));
        }
        Self {
            traces,
            layout,
            index: traces.iter().enumerate().map(|(at, trace)| (trace.trace_id, at as u32)).collect(),
            bodies: Vec::new(),
            chunk: (Vec::new(), 0),
            spans: Vec::with_capacity(expected.min(SPANS_EXPECTED_MAX)),
            order: Vec::new(),
            verdicts,
            verdict_of,
            resources: Vec::new(),
            scopes: Vec::new(),
            resource_index: Map::default(),
            scope_index: Map::default(),
            duplicates: Vec::new(),
            found: vec![0; traces.len()],
        }
    }

    /// The records that hold spans of the traces, ascending.
    pub(super) fn positions(&self) -> Vec<Position> {
        let mut positions: Vec<_> =
            self.traces.iter().flat_map(|trace| trace.places.iter().copied()).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// A span by its index.
    #[inline]
    pub(super) fn span(&self, at: u32) -> &SpanEntry {
        &self.spans[at as usize]
    }

    /// The raw `Span` message.
    pub(super) fn raw(&self, span: &SpanEntry) -> &[u8] {
        &self.bodies[span.body as usize][span.at as usize..(span.at + span.len) as usize]
    }

    /// How long that is, in bytes.
    pub(super) fn raw_len(&self, span: &SpanEntry) -> u32 {
        span.len
    }

    /// The span's name.
    pub(super) fn name(&self, span: &SpanEntry) -> &[u8] {
        &self.raw(span)[span.name_at as usize..(span.name_at + span.name_len) as usize]
    }

    /// The index of a trace's verdict.
    pub(super) fn verdict(&self, trace: u32) -> u32 {
        self.verdict_of[trace as usize]
    }

    /// How many spans of a trace were found, those that came twice too. Known once they are sorted.
    pub(super) fn found(&self, trace: u32) -> u64 {
        u64::from(self.found[trace as usize])
    }

    /// Takes the wanted spans of a record.
    pub(super) fn take(&mut self, position: Position, record: &SpansRecord) -> Result<(), StoreError> {
        let first = self.spans.len();
        // Spans of a trace come together: the answer for the last one is nearly always that for the next.
        let mut last = (TraceId::default(), None);
        for resource_spans in resource_spans(&record.body) {
            let resource_spans = resource_spans.map_err(wire)?;
            let mut resource = None;
            for scope_spans in resource_spans.scope_spans() {
                let scope_spans = scope_spans.map_err(wire)?;
                let mut scope = None;
                for raw in scope_spans.spans() {
                    let span = SpanView::parse(raw.map_err(wire)?).map_err(wire)?;
                    let Some(trace_id) = TraceId::from_slice(span.trace_id) else { continue };
                    if last.0 != trace_id || self.spans.len() == first {
                        last = (trace_id, self.wanted(trace_id, position));
                    }
                    let Some(trace) = last.1 else { continue };
                    let resource = match resource {
                        Some(known) => known,
                        None => *resource.insert(self.resource(&resource_spans)?),
                    };
                    let scope = match scope {
                        Some(known) => known,
                        None => *scope.insert(self.scope(&scope_spans)?),
                    };
                    let at = offset_in(&record.body, span.raw) as u32;
                    self.spans.push(SpanEntry {
                        trace,
                        start_unix_nano: span.start_time_unix_nano,
                        end_unix_nano: span.end_time_unix_nano,
                        span_id: SpanId::from_slice(span.span_id).unwrap_or_default(),
                        kind: span.kind,
                        is_root: span.is_root(),
                        is_error: span.status_code == STATUS_ERROR,
                        day: partition_day(span.start_time_unix_nano, record.meta.received_unix_nano),
                        resource,
                        scope,
                        body: 0,
                        at,
                        len: span.raw.len() as u32,
                        name_at: if span.name.is_empty() {
                            0
                        } else {
                            offset_in(span.raw, span.name.as_bytes()) as u32
                        },
                        name_len: span.name.len() as u32,
                    });
                }
            }
        }
        self.hold(first, &record.body);
        Ok(())
    }

    fn wanted(&self, trace_id: TraceId, position: Position) -> Option<u32> {
        let trace = *self.index.get(&trace_id)?;
        self.traces[trace as usize].places.binary_search(&position).is_ok().then_some(trace)
    }

    /// Keeps the bytes of the spans from index `first` on, which lie in `body`.
    fn hold(&mut self, first: usize, body: &Bytes) {
        let spans = &mut self.spans[first..];
        let wanted: usize = spans.iter().map(|s| s.len as usize).sum();
        if wanted * 2 >= body.len() {
            let number = self.bodies.len() as u32;
            self.bodies.push(body.clone());
            spans.iter_mut().for_each(|span| span.body = number);
            return;
        }
        for span in spans {
            let raw = &body[span.at as usize..(span.at + span.len) as usize];
            let (chunk, number) = &mut self.chunk;
            if chunk.capacity() - chunk.len() < raw.len() {
                let full = std::mem::replace(chunk, Vec::with_capacity(CHUNK_BYTES.max(raw.len())));
                if let Some(body) = self.bodies.get_mut(*number as usize).filter(|_| !full.is_empty()) {
                    *body = full.into();
                }
                *number = self.bodies.len() as u32;
                self.bodies.push(Bytes::new());
            }
            (span.body, span.at) = (*number, chunk.len() as u32);
            chunk.extend_from_slice(raw);
        }
    }

    fn resource(&mut self, spans: &crate::wire::ResourceSpansView<'_>) -> Result<u32, StoreError> {
        let key = shared_key(spans.resource(), spans.schema_url())?;
        if let Some(known) = self.resource_index.get(&key) {
            return Ok(*known);
        }
        self.resources.push(SharedResource::read(&key.0, &key.1, self.layout)?);
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

    /// Sorts by trace, start and span, and leaves out spans that came twice (same trace, span id and kind: the first stays).
    ///
    /// The traces are sorted already, so spans are counted into their trace's place, and only those of one trace compared.
    pub(super) fn sort(&mut self) {
        let (chunk, number) = std::mem::take(&mut self.chunk);
        if let Some(body) = self.bodies.get_mut(number as usize).filter(|_| !chunk.is_empty()) {
            *body = chunk.into();
        }
        self.duplicates = vec![0; self.resources.len()];
        for span in &self.spans {
            self.found[span.trace as usize] += 1;
        }
        let mut ends = vec![0];
        ends.extend(self.found.iter().scan(0, |end, found| {
            *end += found;
            Some(*end)
        }));
        let mut order = vec![0u32; self.spans.len()];
        let mut next = ends.clone();
        for (at, span) in self.spans.iter().enumerate() {
            let place = &mut next[span.trace as usize];
            order[*place as usize] = at as u32;
            *place += 1;
        }
        let mut len = 0;
        for bounds in ends.windows(2) {
            len = self.sort_trace(&mut order, bounds[0] as usize..bounds[1] as usize, len);
        }
        order.truncate(len);
        self.order = order;
    }

    /// Moves the spans of one trace, which are in the order they came, to their places from `len` on; gives where they end.
    fn sort_trace(&mut self, order: &mut [u32], of_trace: Range<usize>, mut len: usize) -> usize {
        let spans = &self.spans;
        let identity = |at: u32| (spans[at as usize].span_id, spans[at as usize].kind);
        let (begin, many) = (len, of_trace.len() > FEW);
        if many {
            order[of_trace.clone()].sort_by_key(|at| identity(*at));
        }
        for from in of_trace {
            let at = order[from];
            // Sorted, the same ones are neighbours.
            let others = &order[if many { begin.max(len.saturating_sub(1)) } else { begin }..len];
            if others.iter().any(|other| identity(*other) == identity(at)) {
                self.duplicates[spans[at as usize].resource as usize] += 1;
            } else {
                order[len] = at;
                len += 1;
            }
        }
        order[begin..len].sort_by_key(|at| {
            let span = &spans[*at as usize];
            (span.start_unix_nano, span.span_id, span.kind)
        });
        len
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
