//! Pins: somebody wants a trace kept, whatever the rules said.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use super::events::{Event, Events, ask};
use super::finder::{FindError, Finder};
use crate::api::{PinError, Pins};
use crate::log::ReadError;
use crate::query::{Decision, Engine, PinDocument, PinOutcome, TraceFacts, TraceSource, period_text};
use crate::runtime::{Random, Tenant};
use crate::sample::{
    LiveFilter, LiveState, PIN_RULE, Pinned, RETENTION_PINNED, RetentionClasses, RetentionTerms, Verdict,
};
use crate::store::{Fate, Reader, Store};
use crate::wire::TraceId;

/// How long a pin waits until it is in the log.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Pins traces.
pub struct Pinning {
    pub engine: Engine,
    pub finder: Finder,
    pub events: Events,
    pub store: Arc<Store>,
    pub reader: Reader,
    pub random: Arc<dyn Random>,
}

/// A trace that somebody wants kept.
struct Wish<'a> {
    tenant: &'a Tenant,
    trace_id: TraceId,
    keep_for: Option<Duration>,
    /// The retention classes in force.
    classes: RetentionClasses,
    verdict: Verdict,
}

impl Pins for Pinning {
    fn pin(
        &self,
        tenant: Tenant,
        trace_id: TraceId,
        keep_for: Option<Duration>,
    ) -> BoxFuture<'_, Result<PinDocument, PinError>> {
        let rules = self.finder.rulebook.current();
        let verdict = Verdict {
            keep: true,
            rule: PIN_RULE.into(),
            rules_version: rules.version(),
            retention: RETENTION_PINNED.into(),
            threshold: None,
            erase_threshold: false,
            early: false,
            late: false,
            debug: false,
        };
        let classes = rules.retention().clone();
        async move {
            let wish = Wish { tenant: &tenant, trace_id, keep_for, classes, verdict };
            self.fulfil(&wish).await
        }
        .boxed()
    }
}

fn unavailable(error: &dyn std::fmt::Display) -> PinError {
    PinError::Unavailable(error.to_string())
}

fn stopping() -> PinError {
    PinError::Unavailable("shutting down".into())
}

impl Pinning {
    async fn fulfil(&self, wish: &Wish<'_>) -> Result<PinDocument, PinError> {
        let found = self.engine.trace(wish.tenant, wish.trace_id).await.map_err(|e| unavailable(&e))?;
        let facts = found.ok_or_else(|| self.not_found())?.facts;
        if let (Decision::Kept, Some(rule), Some(class)) = (facts.decision, &facts.rule, &facts.retention) {
            return self.keep_longer(wish, rule, class).await;
        }
        wish.check(RETENTION_PINNED)?;
        // A part that was dropped before comes along if the whole of it is looked up in the log.
        if facts.decision == Decision::Pending && !facts.sources.contains(&TraceSource::Recorder) {
            match self.decide(wish).await? {
                Pinned::Decided => {
                    self.confirmed(wish).await?;
                    return Ok(wish.document(PinOutcome::Decided));
                }
                Pinned::Kept(verdict) => {
                    return self.keep_longer(wish, &verdict.rule, &verdict.retention).await;
                }
                // Dropped meanwhile.
                Pinned::NotHere => {}
            }
        }
        self.rescue(wish, &facts).await
    }

    /// A trace that is kept under a class: it is moved, unless that class is kept for as long as is wanted.
    async fn keep_longer(&self, wish: &Wish<'_>, rule: &str, class: &str) -> Result<PinDocument, PinError> {
        let enough = wish
            .keep_for
            .or_else(|| wish.classes.get(RETENTION_PINNED).map(|terms| terms.age))
            .unwrap_or(Duration::MAX);
        // A class without a period is kept for ever.
        let is_enough =
            wish.classes.get(class).is_none_or(|terms| terms.bytes_max.is_none() && terms.age >= enough);
        if class == RETENTION_PINNED || is_enough {
            return wish.kept(rule, class);
        }
        wish.check(RETENTION_PINNED)?;
        let filter = LiveFilter::trace(wish.tenant.clone(), wish.trace_id);
        let live = ask(&self.events, |answer| Event::Live(filter, answer)).await.ok_or_else(stopping)?;
        if !live.is_empty() {
            let later = "the trace is kept, and on its way into the table; pin it again when it is there, in a minute";
            return Err(PinError::Unavailable(later.into()));
        }
        let ids = BTreeSet::from([wish.trace_id]);
        let fate = Fate::MovedTo(RETENTION_PINNED.into());
        let moved = self.store.rewrite(&self.reader, wish.tenant, &ids, &fate, self.random.as_ref());
        let moved = moved.await.map_err(|e| unavailable(&e))?;
        self.reader.forget_versions();
        tracing::info!(trace_id = %wish.trace_id, spans = moved.spans, "moved to the pinned traces");
        Ok(PinDocument { rule: rule.into(), spans: Some(moved.spans), ..wish.document(PinOutcome::Moved) })
    }

    fn not_found(&self) -> PinError {
        if self.finder.recorder.stats().missing == 0 {
            return PinError::NotFound;
        }
        let not_yet = "a part of the flight recorder is not indexed yet, and the trace may be there; try again in a moment";
        PinError::Unavailable(not_yet.into())
    }

    async fn decide(&self, wish: &Wish<'_>) -> Result<Pinned, PinError> {
        let (tenant, verdict) = (wish.tenant.clone(), wish.verdict.clone());
        let event = |answer| Event::Pin { tenant, trace_id: wish.trace_id, verdict, answer };
        ask(&self.events, event).await.ok_or_else(stopping)
    }

    async fn rescue(&self, wish: &Wish<'_>, facts: &TraceFacts) -> Result<PinDocument, PinError> {
        let verdict = Arc::new(wish.verdict.clone());
        let found =
            self.finder.find(wish.tenant, wish.trace_id, verdict).await.map_err(|error| match error {
                FindError::NotThere { .. } => self.not_found(),
                error => unavailable(&error),
            })?;
        let (spans, first) = (found.trace.spans, found.trace.places.first().copied());
        self.events.send(Event::Rescued(vec![found.trace])).await.map_err(|_| stopping())?;
        let kept_by = self.confirmed(wish).await?;
        // Nothing held it in the log until then.
        if let Some(Err(ReadError::Released)) = first.map(|first| self.finder.records.read(first)) {
            return Err(PinError::Unavailable(
                "a part of the trace left the flight recorder while it was being fetched back; the rest is kept".into(),
            ));
        }
        if kept_by.rule != wish.verdict.rule {
            // A late error was faster.
            return self.keep_longer(wish, &kept_by.rule, &kept_by.retention).await;
        }
        Ok(PinDocument {
            dropped_by: facts.rule.clone().filter(|_| facts.decision == Decision::Dropped),
            spans: Some(spans.into()),
            complete: found.complete,
            ..wish.document(PinOutcome::Rescued)
        })
    }

    /// Waits until the log says that the trace is kept: then it is, over restarts too. Gives by what.
    async fn confirmed(&self, wish: &Wish<'_>) -> Result<Arc<Verdict>, PinError> {
        let confirmed = async {
            loop {
                if let Some(verdict) = self.is_kept(wish).await? {
                    return Ok(verdict);
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        let late = "the log has not confirmed the pin in time; ask again whether the trace is kept";
        tokio::time::timeout(CONFIRMED_WITHIN, confirmed)
            .await
            .unwrap_or_else(|_| Err(PinError::Unavailable(late.into())))
    }

    /// A verdict acts once it is on the disk; until then its trace is still pending.
    async fn is_kept(&self, wish: &Wish<'_>) -> Result<Option<Arc<Verdict>>, PinError> {
        let filter = LiveFilter::trace(wish.tenant.clone(), wish.trace_id);
        let live = ask(&self.events, |answer| Event::Live(filter, answer)).await.ok_or_else(stopping)?;
        if live.iter().any(|part| part.state == LiveState::Pending) {
            return Ok(None);
        }
        let event = |answer| Event::Verdict(wish.tenant.clone(), wish.trace_id, answer);
        let verdict = ask(&self.events, event).await.ok_or_else(stopping)?;
        Ok(verdict.filter(|verdict| verdict.keep))
    }
}

impl Wish<'_> {
    /// Whether the class is kept for as long as is asked for.
    fn check(&self, class: &str) -> Result<(), PinError> {
        let (Some(asked), Some(RetentionTerms { age: period, .. })) =
            (self.keep_for, self.classes.get(class))
        else {
            return Ok(());
        };
        if asked <= *period {
            return Ok(());
        }
        let (asked, period) = (period_text(asked), period_text(*period));
        Err(PinError::TooLong(format!(
            "{class} traces are kept for {period}, not for {asked}; for longer, set `retention: {{ {class}: {asked} }}` \
             in the rules"
        )))
    }

    fn document(&self, outcome: PinOutcome) -> PinDocument {
        PinDocument {
            trace_id: self.trace_id.to_string(),
            outcome,
            rule: PIN_RULE.into(),
            retention: RETENTION_PINNED.into(),
            retention_seconds: self.classes.get(RETENTION_PINNED).map(|terms| terms.age.as_secs()),
            dropped_by: None,
            spans: None,
            complete: true,
        }
    }

    fn kept(&self, rule: &str, class: &str) -> Result<PinDocument, PinError> {
        self.check(class)?;
        Ok(PinDocument {
            rule: rule.into(),
            retention: class.into(),
            retention_seconds: self.classes.get(class).map(|terms| terms.age.as_secs()),
            ..self.document(PinOutcome::Kept)
        })
    }
}
