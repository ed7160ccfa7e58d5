//! Search: from now backwards, slice by slice, until there are enough.
//!
//! A slice of time gives candidates: traces with a row (or a part in the log) that starts in it and may match. Candidates are
//! read whole and evaluated, the newest first, and the best `limit` are kept. A trace's rows never start before the trace,
//! so once a slice is done every match that starts in it has been seen, and searching stops when all that is kept
//! starts no earlier.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use futures::StreamExt;

use super::access::AssembledTrace;
use super::answer::{Hit, MatchedSpan, SearchResponse, SpanSet};
use super::engine::{Engine, QueryError, SearchRequest};
use super::fields;
use super::gather::{Budget, Gathered, LiveParts, gather};
use super::prune::{Probe, TracesProbe, probes};
use crate::runtime::Tenant;
use crate::sample::{LiveFilter, LiveTrace};
use crate::store::ScanRequest;
use crate::store::read::{Projection, TracesRequest};
use crate::traceql::{FieldExpr, Matched, MatchedSpanset, eval};
use crate::wire::{SpanId, TraceId};

const MINUTE: u64 = 60 * 1_000_000_000;
const SLICE_FIRST: u64 = 5 * MINUTE;
const SLICE_GROWTH: u64 = 4;
/// How long before the range a trace may start and still reach into it.
const LONGEST_TRACE: u64 = 60 * MINUTE;
/// How far from the row that made a trace a candidate its other spans are looked for, before and after.
const SPREAD_BEFORE: u64 = 6 * 60 * MINUTE;
const SPREAD_AFTER: u64 = 24 * 60 * MINUTE;
/// Traces whose parts are remembered for `traceDuration`; beyond, every trace is a candidate.
const PARTS_MAX: usize = 500_000;

/// Newest first, then by id.
type Rank = (std::cmp::Reverse<u64>, TraceId);

/// A trace that may match, by a row or a part of it.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    start: u64,
    id: TraceId,
}

/// One search under way.
pub struct Search<'e> {
    engine: &'e Engine,
    tenant: &'e Tenant,
    request: SearchRequest,
    probes: Vec<Probe>,
    best: BTreeMap<Rank, Hit>,
    seen: HashSet<TraceId>,
    parts: HashMap<TraceId, (u64, u64)>,
    /// All that the log has, asked once; `None` when it has too much for that, and is asked again and again.
    live: Option<LiveParts>,
    response: SearchResponse,
    deadline: Duration,
}

impl<'e> Search<'e> {
    /// Prepares a search; its time begins now.
    pub fn new(engine: &'e Engine, tenant: &'e Tenant, request: SearchRequest) -> Self {
        let deadline = engine.clock.monotonic() + request.time_max;
        let response = SearchResponse { complete: true, ..SearchResponse::default() };
        Self {
            engine,
            tenant,
            probes: probes(&request.query),
            request,
            best: BTreeMap::new(),
            seen: HashSet::new(),
            parts: HashMap::new(),
            live: None,
            response,
            deadline,
        }
    }

    /// Runs it.
    pub async fn run(mut self) -> Result<SearchResponse, QueryError> {
        self.live = self.ask_log().await;
        let floor = self.request.start_unix_nano.saturating_sub(LONGEST_TRACE);
        let mut end = self.request.end_unix_nano;
        let newest = end.min(self.engine.clock.now_unix_nano());
        let mut width = SLICE_FIRST;
        let mut start = newest.saturating_sub(width).max(floor);
        while start < end && self.request.limit > 0 {
            // At least one nanosecond further, whatever happens.
            let reached = self.slice(start..end).await?.min(end - 1);
            if self.is_over_time() {
                self.response.complete = false;
                break;
            }
            if reached <= floor || self.is_enough(reached) {
                break;
            }
            end = reached;
            width = width.saturating_mul(SLICE_GROWTH);
            start = end.saturating_sub(width).max(floor);
        }
        self.response.hits = self.best.into_values().collect();
        Ok(self.response)
    }

    fn is_over_time(&self) -> bool {
        self.engine.clock.monotonic() >= self.deadline
    }

    /// Whether no trace that starts before `start` can be among the best.
    fn is_enough(&self, start: u64) -> bool {
        self.best.len() >= self.request.limit
            && self.best.last_key_value().is_some_and(|((oldest, _), _)| oldest.0 >= start)
    }

    /// Searches one slice; gives the start down to which everything has been seen.
    async fn slice(&mut self, slice: Range<u64>) -> Result<u64, QueryError> {
        let (candidates, reached) = self.candidates(slice).await?;
        for chunk in candidates.chunks(self.engine.config.traces_a_chunk) {
            // Starts equal to the oldest kept one are still decided by their ids.
            let beaten = chunk.first().is_some_and(|c| self.is_enough(c.start.saturating_add(1)));
            if beaten || self.is_over_time() {
                break;
            }
            self.evaluate(chunk).await?;
        }
        Ok(reached)
    }

    /// Candidates that start in the slice, newest first, each trace once, none that was seen.
    async fn candidates(&mut self, slice: Range<u64>) -> Result<(Vec<Candidate>, u64), QueryError> {
        let mut found = Candidates::new(slice.start, self.engine.config.candidates_max);
        self.add_look_in_log(&slice, &mut found).await;
        for probe in self.probes.clone() {
            match probe.for_traces() {
                Some(question) => {
                    self.add_look_in_traces(&slice, &probe, question, &mut found).await?;
                }
                None => self.add_look_in_spans(&slice, &probe, &mut found).await?,
            }
        }
        let (mut candidates, reached) = found.finish();
        candidates.retain(|c| self.seen.insert(c.id));
        Ok((candidates, reached))
    }

    /// All traces in the log, unless they are too many.
    async fn ask_log(&self) -> Option<LiveParts> {
        let traces_max = self.engine.config.candidates_max;
        let traces = self.live(0..u64::MAX, traces_max).await;
        if traces.len() >= traces_max {
            return None;
        }
        let mut parts = LiveParts::new();
        for trace in traces {
            parts.entry(trace.trace_id).or_default().push(trace);
        }
        Some(parts)
    }

    async fn live(&self, range: Range<u64>, traces_max: usize) -> Vec<LiveTrace> {
        let Some(recent) = &self.engine.recent else { return Vec::new() };
        let (start_unix_nano, end_unix_nano) = (range.start, range.end);
        let tenant = self.tenant.clone();
        let filter = LiveFilter { tenant, trace_id: None, start_unix_nano, end_unix_nano, traces_max };
        recent.traces.live(filter).await
    }

    async fn add_look_in_log(&self, slice: &Range<u64>, found: &mut Candidates) {
        let mut add = |trace: &LiveTrace| {
            if slice.contains(&trace.start_unix_nano) {
                found.add(Candidate { start: trace.start_unix_nano, id: trace.trace_id });
            }
        };
        if let Some(parts) = &self.live {
            parts.values().flatten().for_each(add);
            return;
        }
        let traces_max = self.engine.config.candidates_max;
        let traces = self.live(slice.clone(), traces_max).await;
        traces.iter().for_each(&mut add);
        if traces.len() >= traces_max {
            // There may be more: they began no later than the oldest of these.
            let oldest = traces.iter().map(|t| t.start_unix_nano).min().unwrap_or(0);
            found.reached = found.reached.max(oldest.saturating_add(1));
        }
    }

    async fn add_look_in_traces(
        &mut self,
        slice: &Range<u64>,
        probe: &Probe,
        question: TracesProbe,
        found: &mut Candidates,
    ) -> Result<(), QueryError> {
        // Only without other conditions are all rows of a trace seen, as the pruning by its duration needs.
        let whole = question == TracesProbe::default();
        let request = TracesRequest {
            start_unix_nano: slice.clone(),
            service: question.service,
            min_duration_nano: question.span_duration_min_nano,
            with_errors: question.with_errors,
            trace_ids: None,
        };
        let mut batches = self.engine.reader.traces_scan(self.tenant, request).await?;
        while let Some(rows) = batches.next().await {
            for row in rows? {
                let end = row.start_unix_nano.saturating_add(row.duration_nano);
                let long = self.is_long_enough(row.trace_id, row.start_unix_nano..end, probe);
                if (long || !whole) && slice.contains(&row.start_unix_nano) {
                    found.add(Candidate { start: row.start_unix_nano, id: row.trace_id });
                }
            }
        }
        Ok(())
    }

    /// Whether the trace, as far as its rows were seen, is as long as the probe wants. Rows come newest slice first, so at the
    /// latest with a trace's first row all of it was seen; only traces in several rows need to be remembered for it.
    fn is_long_enough(&mut self, id: TraceId, row: Range<u64>, probe: &Probe) -> bool {
        let wanted = probe.trace_duration_min_nano;
        if wanted == 0 || row.end - row.start >= wanted || self.parts.len() >= PARTS_MAX {
            return true;
        }
        let whole = self.parts.entry(id).or_insert((row.start, row.end));
        *whole = (whole.0.min(row.start), whole.1.max(row.end));
        whole.1 - whole.0 >= wanted
    }

    async fn add_look_in_spans(
        &self,
        slice: &Range<u64>,
        probe: &Probe,
        found: &mut Candidates,
    ) -> Result<(), QueryError> {
        let request = ScanRequest {
            start_unix_nano: slice.clone(),
            projection: Projection::Columns(Vec::new()),
            hints: probe.hints.clone(),
        };
        let mut batches = self.engine.reader.scan(self.tenant, request).await?;
        while let Some(rows) = batches.next().await {
            let rows = rows?;
            for row in 0..rows.len() {
                let start = rows.start_unix_nano(row);
                if slice.contains(&start) {
                    found.add(Candidate { start, id: rows.trace_id(row) });
                }
            }
        }
        Ok(())
    }

    /// Reads and evaluates some traces. Too many for the memory at once are halved, until it is one.
    async fn evaluate(&mut self, chunk: &[Candidate]) -> Result<(), QueryError> {
        let mut open = vec![chunk];
        while let Some(part) = open.pop() {
            let budget = Budget::new(self.engine.config.bytes_max, &self.engine.held);
            let ids: Vec<TraceId> = part.iter().map(|c| c.id).collect();
            let traces =
                gather(self.engine, self.tenant, &ids, self.live.as_ref(), Some(window(part)), &budget)
                    .await?;
            if budget.is_exceeded() && part.len() > 1 {
                let (newer, older) = part.split_at(part.len() / 2);
                open.extend([older, newer]);
                continue;
            }
            self.response.complete &= !budget.is_exceeded();
            self.judge(traces);
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    fn judge(&mut self, traces: Gathered) {
        for (id, spans) in traces {
            let Some(trace) = AssembledTrace::new(id, spans) else { continue };
            self.response.inspected_traces += 1;
            self.response.inspected_spans += trace.spans().len() as u64;
            let summary = trace.summary();
            let begins = summary.start_unix_nano;
            let outside =
                begins >= self.request.end_unix_nano || trace.end_unix_nano() < self.request.start_unix_nano;
            if outside {
                continue;
            }
            if let Some(matched) = eval(&self.request.query, &trace) {
                let span_sets = span_sets(&self.request, &trace, &matched);
                self.best.insert((std::cmp::Reverse(begins), id), Hit { summary, span_sets });
                if self.best.len() > self.request.limit {
                    self.best.pop_last();
                }
            }
        }
    }
}

/// Where spans of these candidates are looked for.
fn window(candidates: &[Candidate]) -> Range<u64> {
    let first = candidates.iter().map(|c| c.start).min().unwrap_or(0);
    let last = candidates.iter().map(|c| c.start).max().unwrap_or(u64::MAX);
    first.saturating_sub(SPREAD_BEFORE)..last.saturating_add(SPREAD_AFTER)
}

fn span_sets(request: &SearchRequest, trace: &AssembledTrace, matched: &Matched) -> Vec<SpanSet> {
    let told = fields::told(&request.query);
    matched.spansets.iter().map(|set| span_set(request, &told, trace, set)).collect()
}

fn span_set(
    request: &SearchRequest,
    told: &[&FieldExpr],
    trace: &AssembledTrace,
    set: &MatchedSpanset,
) -> SpanSet {
    let span = |&index: &usize| {
        let span = &trace.spans()[index].span;
        MatchedSpan {
            span_id: SpanId::from_slice(&span.span_id).unwrap_or_default(),
            name: span.name.clone(),
            start_unix_nano: span.start_time_unix_nano,
            duration_nano: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
            attributes: fields::values(told, trace, index),
        }
    };
    let attributes = set.attributes.iter();
    SpanSet {
        spans: set.spans.iter().take(request.spans_per_set).map(span).collect(),
        matched: u32::try_from(set.spans.len()).unwrap_or(u32::MAX),
        attributes: attributes.map(|(k, v)| fields::key_value(k, fields::of_literal(v))).collect(),
    }
}

/// Candidates of a slice, bounded: when there are too many the oldest are forgotten, and the slice ends above them.
struct Candidates {
    all: Vec<Candidate>,
    max: usize,
    reached: u64,
}

impl Candidates {
    fn new(start: u64, max: usize) -> Self {
        Self { all: Vec::new(), max: max.max(1), reached: start }
    }

    fn add(&mut self, candidate: Candidate) {
        if candidate.start < self.reached {
            return;
        }
        self.all.push(candidate);
        if self.all.len() >= self.max * 2 {
            self.tidy();
        }
    }

    fn tidy(&mut self) {
        let reached = self.reached;
        self.all.sort_unstable_by_key(|c| (std::cmp::Reverse(c.start), c.id));
        let mut ids = HashSet::with_capacity(self.all.len());
        self.all.retain(|c| c.start >= reached && ids.insert(c.id));
        if self.all.len() > self.max {
            self.cut();
        }
    }

    /// Forgets the oldest. All that start with the first one forgotten go too, so that the next slice finds them together;
    /// unless that were all there is.
    fn cut(&mut self) {
        let oldest = self.all[self.max].start;
        let kept = self.all.partition_point(|c| c.start > oldest);
        self.reached = if kept > 0 { oldest + 1 } else { oldest };
        self.all.truncate(if kept > 0 { kept } else { self.max });
    }

    /// All of them, and the start from which on none is missing.
    fn finish(mut self) -> (Vec<Candidate>, u64) {
        self.tidy();
        (self.all, self.reached)
    }
}
