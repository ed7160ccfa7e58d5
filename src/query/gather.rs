//! Whole traces by their ids, from the log and the table.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;

use super::engine::{Engine, QueryError};
use super::live::Recent;
use crate::log::{Position, ReadError};
use crate::runtime::Tenant;
use crate::sample::{LiveFilter, LiveState, LiveTrace, Verdict};
use crate::store::{FullSpan, Projection, ScanHint, ScanRequest, Wanted};
use crate::wire::TraceId;

/// Spans by their trace.
pub type Gathered = HashMap<TraceId, Vec<FullSpan>>;

/// Parts of traces in the log, by their trace.
pub type LiveParts = HashMap<TraceId, Vec<LiveTrace>>;

/// How many bytes one question may hold. Shared with the threads that read for it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Held>);

#[derive(Debug)]
struct Held {
    bytes_max: usize,
    left: AtomicUsize,
    /// What all questions hold together.
    all: Arc<AtomicUsize>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let held = self.bytes_max - self.left.load(Ordering::Relaxed);
        self.all.fetch_sub(held, Ordering::Relaxed);
    }
}

impl Budget {
    /// So many bytes. What is taken of them counts in `all` until the budget is dropped.
    pub fn new(bytes: usize, all: &Arc<AtomicUsize>) -> Self {
        let bytes_max = bytes.max(1);
        Self(Arc::new(Held { bytes_max, left: AtomicUsize::new(bytes_max), all: Arc::clone(all) }))
    }

    /// Takes bytes; false when they were the last.
    pub fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| Some(left.saturating_sub(bytes));
        let before = self.0.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).unwrap_or(0);
        self.0.all.fetch_add(before.min(bytes), Ordering::Relaxed);
        before > bytes
    }

    /// Takes bytes where anything is left at all: what goes over the bound is still answered, for otherwise a single piece
    /// that is larger would never be.
    pub fn take_if_any(&self, bytes: usize) -> bool {
        let any = !self.is_exceeded();
        if any {
            self.take(bytes);
        }
        any
    }

    /// Whether something was left out for want of bytes.
    pub fn is_exceeded(&self) -> bool {
        self.0.left.load(Ordering::Relaxed) == 0
    }
}

/// Reads traces. The log first, then the table: what moves from one to the other meanwhile is found in the table.
/// `known` is all that the log has, if that was asked already; `window` bounds the start times of spans looked for in the
/// table, `None` finds them whenever they were.
/// When the budget is exceeded, what was read until then comes back.
pub async fn gather(
    engine: &Engine,
    tenant: &Tenant,
    ids: &[TraceId],
    known: Option<&LiveParts>,
    window: Option<Range<u64>>,
    budget: &Budget,
) -> Result<Gathered, QueryError> {
    let from_log = match &engine.recent {
        Some(recent) => from_log(recent, tenant, ids, known, budget).await?,
        None => Vec::new(),
    };
    // The table's spans come first: of two equal ones, the stored one is answered.
    let mut gathered = from_table(engine, tenant, ids, window, budget).await?;
    for span in from_log {
        add(&mut gathered, span);
    }
    Ok(gathered)
}

fn add(gathered: &mut Gathered, span: FullSpan) {
    if let Some(id) = TraceId::from_slice(&span.span.trace_id) {
        gathered.entry(id).or_default().push(span);
    }
}

pub(super) async fn from_table(
    engine: &Engine,
    tenant: &Tenant,
    ids: &[TraceId],
    window: Option<Range<u64>>,
    budget: &Budget,
) -> Result<Gathered, QueryError> {
    let mut gathered = Gathered::new();
    if let ([id], None) = (ids, &window) {
        let spans = engine.reader.by_id_within(tenant, *id, |bytes| budget.take_if_any(bytes)).await?;
        gathered.insert(*id, spans);
        return Ok(gathered);
    }
    let wanted: HashSet<TraceId> = ids.iter().copied().collect();
    let request = ScanRequest {
        start_unix_nano: window.unwrap_or(0..u64::MAX),
        projection: Projection::All,
        hints: vec![ScanHint::TraceIds(ids.to_vec())],
    };
    let mut batches = engine.reader.scan(tenant, request).await?;
    while let Some(rows) = batches.next().await {
        let rows = rows?;
        for span in rows.full_spans()? {
            if TraceId::from_slice(&span.span.trace_id).is_some_and(|id| wanted.contains(&id)) {
                add(&mut gathered, span);
            }
        }
        if !budget.take(rows.batch().get_array_memory_size()) {
            break;
        }
    }
    Ok(gathered)
}

/// What of one record is wanted: its traces, and why each was kept (`None`: not decided yet).
type WantedTraces = HashMap<TraceId, Option<Arc<Verdict>>>;

fn wish(wanted: &WantedTraces, id: TraceId) -> Wanted<'_> {
    match wanted.get(&id) {
        None => Wanted::No,
        Some(None) => Wanted::Pending,
        Some(Some(verdict)) => Wanted::Kept(verdict),
    }
}

pub(super) async fn from_log(
    recent: &Recent,
    tenant: &Tenant,
    ids: &[TraceId],
    known: Option<&LiveParts>,
    budget: &Budget,
) -> Result<Vec<FullSpan>, QueryError> {
    let mut plan: BTreeMap<Position, WantedTraces> = BTreeMap::new();
    for id in ids {
        let parts = match known {
            Some(known) => known.get(id).cloned().unwrap_or_default(),
            None => recent.traces.live(LiveFilter::trace(tenant.clone(), *id)).await,
        };
        parts.into_iter().for_each(|part| add_to_plan(&mut plan, part));
    }
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    let (records, budget) = (Arc::clone(&recent.records), budget.clone());
    let read = move || {
        let mut spans = Vec::new();
        for (position, wanted) in plan {
            let record = match records.spans(position) {
                Ok(record) => record,
                Err(ReadError::Io(error)) => return Err(QueryError::Log(error)),
                // Released: it is in the table by now. Unknown or damaged: the log has told and counted it.
                Err(_) => continue,
            };
            if !budget.take_if_any(record.body.len()) {
                break;
            }
            match FullSpan::from_record(&record, |id| wish(&wanted, id)) {
                Ok(found) => spans.extend(found),
                Err(error) => {
                    tracing::warn!(position = position.0, %error, "a record is left out of an answer")
                }
            }
        }
        Ok(spans)
    };
    recent.pool.run("read spans from the log", read).await?
}

fn add_to_plan(plan: &mut BTreeMap<Position, WantedTraces>, part: LiveTrace) {
    let verdict = match part.state {
        LiveState::Pending => None,
        LiveState::Kept(verdict) => Some(verdict),
    };
    for position in part.places {
        plan.entry(position).or_default().insert(part.trace_id, verdict.clone());
    }
}
