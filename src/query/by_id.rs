//! One trace by its id: from the log, the table, and, where those have nothing or perhaps only a part, the flight recorder.

use std::collections::HashSet;
use std::sync::Arc;

use prost::Message;

use super::access::AssembledTrace;
use super::answer::FoundTrace;
use super::engine::{Engine, QueryError};
use super::facts::{Decision, TraceFacts, TraceSource};
use super::gather::{Budget, from_log, from_table};
use super::live::Recent;
use crate::log::ReadError;
use crate::runtime::Tenant;
use crate::store::{FullSpan, Wanted};
use crate::wire::TraceId;

/// The log first, then the table, then the recorder: what moves meanwhile is found where it went.
pub(super) async fn trace(
    engine: &Engine,
    tenant: &Tenant,
    trace_id: TraceId,
) -> Result<Option<FoundTrace>, QueryError> {
    let budget = Budget::new(engine.config.bytes_max, &engine.held);
    let ids = [trace_id];
    let logged = match &engine.recent {
        Some(recent) => from_log(recent, tenant, &ids, None, &budget).await?,
        None => Vec::new(),
    };
    let mut stored = from_table(engine, tenant, &ids, None, &budget).await?;
    let mut union = Union::default();
    // Of two equal spans the stored one is answered.
    union.add(TraceSource::Store, stored.remove(&trace_id).unwrap_or_default());
    union.add(TraceSource::Log, logged);
    let mut searched = true;
    if let Some(recent) = engine.recent.as_ref().filter(|_| union.may_be_a_part()) {
        let (recorded, all) = from_recorder(recent, tenant, trace_id, &budget).await?;
        union.add(TraceSource::Recorder, recorded);
        searched = all;
    }
    let complete = !budget.is_exceeded();
    let mut facts = union.facts();
    facts.complete = complete && searched;
    if let (Decision::Unknown, Some(recent)) = (facts.decision, &engine.recent)
        && !union.spans.is_empty()
        && let Some(verdict) = recent.verdicts.verdict(tenant, trace_id).await
    {
        facts.decision = if verdict.keep { Decision::Kept } else { Decision::Dropped };
        facts.rule = Some(verdict.rule.to_string());
        facts.rules_version = Some(verdict.rules_version);
        facts.retention = verdict.keep.then(|| verdict.retention.to_string());
    }
    let assembled = AssembledTrace::new(trace_id, union.spans);
    Ok(assembled.map(|trace| FoundTrace { trace_id, spans: trace.into_spans(), complete, facts }))
}

/// Spans from several sources, each once.
#[derive(Default)]
struct Union {
    spans: Vec<FullSpan>,
    seen: HashSet<(Vec<u8>, i32)>,
    sources: Vec<TraceSource>,
    pending: bool,
}

impl Union {
    fn add(&mut self, source: TraceSource, spans: Vec<FullSpan>) {
        let before = self.spans.len();
        for full in spans {
            if self.seen.insert((full.span.span_id.clone(), full.span.kind)) {
                self.pending |= source == TraceSource::Log && full.kept.is_none();
                self.spans.push(full);
            }
        }
        if self.spans.len() > before {
            self.sources.push(source);
        }
    }

    /// Whether there may be more of it that nothing keeps: a part of it is missing, or it was not decided as a whole.
    fn may_be_a_part(&self) -> bool {
        let ids: HashSet<&[u8]> = self.spans.iter().map(|full| full.span.span_id.as_slice()).collect();
        let is_root = |full: &FullSpan| full.span.parent_span_id.iter().all(|byte| *byte == 0);
        let has_parent = |full: &FullSpan| ids.contains(full.span.parent_span_id.as_slice());
        let whole = self.spans.iter().all(|full| is_root(full) || has_parent(full));
        self.pending || !whole || !self.spans.iter().any(is_root)
    }

    fn facts(&self) -> TraceFacts {
        let kept = self.spans.iter().find_map(|full| full.kept.as_ref());
        let open = if self.pending { Decision::Pending } else { Decision::Unknown };
        TraceFacts {
            sources: self.sources.clone(),
            decision: if kept.is_some() { Decision::Kept } else { open },
            rule: kept.map(|kept| kept.rule.to_string()),
            rules_version: kept.map(|kept| kept.rules_version),
            retention: kept.map(|kept| kept.retention.to_string()),
            complete: true,
        }
    }
}

/// What the recorder has of a trace, as it was sent; and whether all of the recorder was searched.
async fn from_recorder(
    recent: &Recent,
    tenant: &Tenant,
    trace_id: TraceId,
    budget: &Budget,
) -> Result<(Vec<FullSpan>, bool), QueryError> {
    let (recorder, records) = (Arc::clone(&recent.recorder), Arc::clone(&recent.records));
    let (tenant, budget) = (tenant.clone(), budget.clone());
    let read = move || {
        let recorded = recorder.find(&tenant, &trace_id);
        let mut spans = Vec::new();
        for position in recorded.places {
            let record = match records.spans(position) {
                Ok(record) => record,
                Err(ReadError::Io(error)) => return Err(QueryError::Log(error)),
                // Released meanwhile, or damaged: the log has told and counted it.
                Err(_) => continue,
            };
            // Two traces may look alike to the index, and a tenant's records are nobody else's.
            if record.meta.tenant != tenant {
                continue;
            }
            let wish = |id| if id == trace_id { Wanted::Pending } else { Wanted::No };
            let found = match FullSpan::from_record(&record, wish) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(position = position.0, %error, "a record is left out of an answer");
                    continue;
                }
            };
            let bytes = found.iter().map(|full| full.span.encoded_len()).sum();
            spans.extend(found);
            if !budget.take(bytes) {
                break;
            }
        }
        Ok((spans, recorded.complete))
    };
    recent.pool.run("read spans from the recorder", read).await?
}
