//! `trace why`: what was decided about a trace, by which rule, and which spans made that rule match.
//!
//! The verdict is what the ledger of decisions says. The rules are those of the version that decided, evaluated once more
//! over the spans there still are: rule by rule up to the one that decided, as sampling did.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::access::{AssembledTrace, service_of};
use super::engine::{Engine, QueryError};
use super::why_document::{DecisionLine, MatchedLine, RuleLine, RuleResult, WhyDocument, WhySpans, WhyState};
use crate::ledger::Told;
use crate::runtime::Tenant;
use crate::sample::{PIN_RULE, RuleSet, RuleText, Verdict};
use crate::store::FullSpan;
use crate::traceql;
use crate::wire::TraceId;

/// Spans named of each rule; of further ones there is the number.
const SPANS_MAX: usize = 5;

/// How far a trace is.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// Nothing is known of it.
    Unknown,
    /// It waits for its verdict.
    Pending {
        /// When it is due, Unix nanoseconds.
        due_unix_nano: u64,
        /// The rules that it will be decided by.
        rules_version: u32,
    },
    /// It was decided.
    Decided(Told),
}

/// Knows what was decided about traces.
pub trait Standings: Send + Sync + 'static {
    /// How far the trace is.
    fn standing(&self, tenant: &Tenant, trace_id: TraceId) -> BoxFuture<'_, Standing>;
}

/// Knows the rules that are or were in force.
pub trait RuleTexts: Send + Sync + 'static {
    /// The rules of a version; `None` where they are not known any more.
    fn rules(&self, version: u32) -> Option<Arc<RuleSet>>;
}

/// Answers why. Cheap to clone.
#[derive(Clone)]
pub struct Why {
    /// Finds the spans.
    pub engine: Engine,
    /// Finds the verdict.
    pub standings: Arc<dyn Standings>,
    /// Finds the rules.
    pub rules: Arc<dyn RuleTexts>,
}

impl Why {
    /// What became of a trace, and why; `None` when neither a verdict nor a span of it is known.
    ///
    /// # Errors
    /// [`QueryError`] when the table or the log cannot be read.
    pub async fn why(&self, tenant: &Tenant, trace_id: TraceId) -> Result<Option<WhyDocument>, QueryError> {
        let standing = self.standings.standing(tenant, trace_id).await;
        let found = self.engine.trace(tenant, trace_id).await?;
        let complete = found.as_ref().is_none_or(|found| found.complete);
        let spans = found.map(|found| found.spans).unwrap_or_default();
        let stored = spans.iter().find_map(|span| span.kept.as_ref()).map(|kept| kept.rule.to_string());
        if standing == Standing::Unknown && spans.is_empty() {
            return Ok(None);
        }
        let trace = AssembledTrace::new(trace_id, spans);
        let mut document = WhyDocument::new(trace_id);
        document.spans = WhySpans {
            found: trace.as_ref().map_or(0, |trace| trace.spans().len() as u64),
            complete: complete && trace.is_some(),
        };
        match standing {
            Standing::Decided(told) => {
                document.state = if told.verdict.keep { WhyState::Kept } else { WhyState::Dropped };
                self.explain(&mut document, told.verdict.rules_version, Some(&told.verdict), trace.as_ref());
                document.decision = Some(decision(&told));
            }
            Standing::Pending { due_unix_nano, rules_version } => {
                document.state = WhyState::Pending;
                document.due_time = Some(super::time_rfc3339(due_unix_nano));
                document.due_time_unix_nano = Some(due_unix_nano.to_string());
                document.rules_version = Some(rules_version);
                self.explain(&mut document, rules_version, None, trace.as_ref());
            }
            Standing::Unknown => {
                // Longer ago than decisions are kept: the table still says by which rule.
                document.state = if stored.is_some() { WhyState::Kept } else { WhyState::Unknown };
                document.stored_by_rule = stored;
            }
        }
        Ok(Some(document))
    }

    /// Goes through the rules as sampling did, up to the one that decided.
    fn explain(
        &self,
        document: &mut WhyDocument,
        version: u32,
        verdict: Option<&Verdict>,
        trace: Option<&AssembledTrace>,
    ) {
        let Some(rules) = self.rules.rules(version) else { return };
        document.rules_known = true;
        for rule in rules.texts() {
            let decided = verdict.is_some_and(|verdict| *verdict.rule == *rule.name);
            let (matched, matched_spans) = evaluate(&rule, trace);
            let result = match (decided, matched) {
                (true, _) => RuleResult::Decided,
                (false, None) => RuleResult::NotKnown,
                (false, Some(true)) => RuleResult::Matches,
                (false, Some(false)) => RuleResult::NoMatch,
            };
            document.rules.push(RuleLine {
                name: rule.name.to_owned(),
                when: rule.when.map(str::to_owned),
                action: rule.action.to_owned(),
                result,
                matches_now: matched,
                matched_count: matched_spans.len() as u64,
                spans: matched_spans.into_iter().take(SPANS_MAX).map(line).collect(),
            });
            // A pending trace is decided by the first rule that matches, if nothing changes until then.
            if decided || (verdict.is_none() && matched == Some(true)) {
                break;
            }
        }
    }
}

/// Whether the rule matches what is there, and on which spans. A rule without a condition matches, on no span.
fn evaluate<'t>(rule: &RuleText<'_>, trace: Option<&'t AssembledTrace>) -> (Option<bool>, Vec<&'t FullSpan>) {
    let Some(when) = rule.when else { return (Some(true), Vec::new()) };
    // It was parsed when it came into force.
    let (Some(trace), Ok(query)) = (trace, traceql::parse(when)) else { return (None, Vec::new()) };
    match traceql::eval(&query, trace) {
        Some(matched) => {
            let spans = matched.spans().into_iter().filter_map(|index| trace.spans().get(index)).collect();
            (Some(true), spans)
        }
        None => (Some(false), Vec::new()),
    }
}

fn line(full: &FullSpan) -> MatchedLine {
    let span = &full.span;
    MatchedLine {
        span_id: hex::encode(&span.span_id),
        service: service_of(&full.resource).unwrap_or_default().to_owned(),
        name: span.name.clone(),
        is_error: span.status.as_ref().is_some_and(|status| status.code == 2),
        start_time_unix_nano: span.start_time_unix_nano.to_string(),
        duration_nano: span.end_time_unix_nano.saturating_sub(span.start_time_unix_nano),
    }
}

fn decision(told: &Told) -> DecisionLine {
    let verdict = &told.verdict;
    DecisionLine {
        rule: verdict.rule.to_string(),
        rules_version: verdict.rules_version,
        retention: verdict.keep.then(|| verdict.retention.to_string()),
        time: super::time_rfc3339(told.decided_unix_nano),
        time_unix_nano: told.decided_unix_nano.to_string(),
        probability: verdict.threshold.map(|threshold| threshold.probability()),
        threshold: verdict.threshold.map(|threshold| threshold.to_string()),
        adjusted_count: verdict.threshold.filter(|_| verdict.keep).map(|t| t.adjusted_count()),
        probability_unknown: verdict.erase_threshold,
        early: verdict.early,
        late: verdict.late,
        debug: verdict.debug,
        pinned: &*verdict.rule == PIN_RULE,
        log_position: told.position.map(|position| position.0),
    }
}
