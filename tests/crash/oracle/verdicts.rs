//! Verdicts: justified by what the sampler had seen, and kept to.

use tracewell::sample::probability::PRECISION_DEFAULT;
use tracewell::sample::records::Decided;
use tracewell::sample::{Rescued, Threshold};

use super::{Breach, Oracle};
use crate::load::{Facts, Load, TraceNumber};

/// A moment, by what had been observed until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(pub(super) u64);

pub(super) struct Observed {
    pub(super) number: u64,
    pub(super) facts: Facts,
}

/// What was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub(super) keep: bool,
    pub(super) rule: String,
    threshold: Option<Threshold>,
}

impl Given {
    pub(super) fn of(decided: &Decided) -> Self {
        let verdict = &decided.verdict;
        Self { keep: verdict.keep, rule: verdict.rule.to_string(), threshold: verdict.threshold }
    }
}

impl Oracle {
    pub(super) fn given(
        &self,
        load: &Load,
        decided: &[Decided],
    ) -> Result<Vec<(TraceNumber, Given)>, Breach> {
        let find = |d: &Decided| Some((load.find(&d.tenant, d.trace_id)?, Given::of(d)));
        decided
            .iter()
            .map(|d| find(d).ok_or_else(|| "a verdict on a trace that nobody sent".into()))
            .collect()
    }

    /// A verdict has become durable that was made when at least what `mark` says had been observed.
    pub(super) fn decides(
        &mut self,
        load: &Load,
        trace: TraceNumber,
        given: &Given,
        mark: Mark,
    ) -> Result<(), Breach> {
        if self.known.contains_key(&trace) {
            return self.holds(trace, given);
        }
        self.justified(load, trace, given, mark)?;
        self.remember(trace, given);
        Ok(())
    }

    /// A life reads a verdict in its log.
    pub(super) fn reads_verdict(
        &mut self,
        load: &Load,
        trace: TraceNumber,
        given: &Given,
    ) -> Result<(), Breach> {
        if self.known.contains_key(&trace) {
            return self.holds(trace, given);
        }
        // Written before a crash that nobody saw it become durable in: as good as any other.
        if !self.verdicts.contains_key(&trace) {
            self.is_of_its_rule(load, trace, given)?;
        }
        self.remember(trace, given);
        Ok(())
    }

    /// A verdict is never taken back while the log remembers it. Of a trace that was kept after all the drop may be recorded
    /// once more, if that was on its way: the keep is recorded again behind it, and what comes late must be kept.
    fn holds(&mut self, trace: TraceNumber, given: &Given) -> Result<(), Breach> {
        let before = self.known[&trace].clone();
        if before.keep == given.keep {
            return Ok(());
        }
        let rescued = |ever: &Vec<Given>| ever.windows(2).any(|two| !two[0].keep && two[1].keep);
        if self.verdicts.get(&trace).is_some_and(rescued) {
            if given.keep {
                self.known.insert(trace, given.clone());
            }
            return Ok(());
        }
        Err(format!("the verdict on trace {trace} flips: {before:?}, then {given:?}"))
    }

    /// Dropped traces are kept after all: what of them is still in the log.
    pub(super) fn rescues(&mut self, load: &Load, rescued: &[Rescued]) -> Result<(), Breach> {
        for found in rescued {
            let trace =
                load.find(&found.tenant, found.trace_id).ok_or("a rescue of a trace that nobody sent")?;
            let given = Given { keep: true, rule: found.verdict.rule.to_string(), threshold: None };
            if !["errors", "slow", "pinned-routes"].contains(&given.rule.as_str()) {
                return Err(format!("trace {trace} is kept after all, by {given:?}"));
            }
            self.remember(trace, &given);
            self.totals.rescued += 1;
        }
        Ok(())
    }

    fn remember(&mut self, trace: TraceNumber, given: &Given) {
        self.known.insert(trace, given.clone());
        let ever = self.verdicts.entry(trace).or_default();
        match ever.last() {
            Some(last) if last.keep == given.keep => {
                if last.rule != given.rule {
                    self.redecided.insert(trace);
                }
            }
            Some(_) => self.totals.decided_anew += 1,
            None if given.keep => self.totals.kept += 1,
            None => self.totals.dropped += 1,
        }
        if ever.last().is_none_or(|last| last.keep != given.keep) {
            ever.push(given.clone());
        }
    }

    fn justified(&self, load: &Load, trace: TraceNumber, given: &Given, mark: Mark) -> Result<(), Breach> {
        // Given before, and known from the ledger of decisions: recorded once more, for spans that came late.
        let before = self.verdicts.get(&trace).and_then(|ever| ever.last());
        if before.is_some_and(|before| before.keep == given.keep && before.rule == given.rule) {
            return Ok(());
        }
        let (then, now) = (self.facts(trace, mark), self.facts(trace, self.mark()));
        if then == now && now.rule() != given.rule {
            return Err(format!("trace {trace} was decided as {given:?} with {now:?}"));
        }
        if !given.keep && ["errors", "slow", "pinned-routes"].contains(&then.rule()) {
            return Err(format!("trace {trace} is lost to {given:?} with {then:?}"));
        }
        self.is_of_its_rule(load, trace, given)
    }

    /// Whether the rule could decide so at all.
    fn is_of_its_rule(&self, load: &Load, trace: TraceNumber, given: &Given) -> Result<(), Breach> {
        let fits = match given.rule.as_str() {
            "errors" | "slow" | "pinned-routes" => given.keep,
            "health-checks" => !given.keep,
            "chatty" => true,
            "baseline" => given.threshold.is_some_and(|threshold| {
                let known = [0.3, 0.6, 0.05].map(|p| Threshold::from_probability(p, PRECISION_DEFAULT));
                let keeps = threshold.keeps(load.traces[trace].id.randomness());
                known.contains(&Some(threshold)) && keeps == given.keep
            }),
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("trace {trace} was decided as {given:?}")) }
    }

    /// What became of a trace: `None` while nobody knows, or where verdicts differ because the log forgot the first.
    pub(super) fn fate(&self, trace: TraceNumber) -> Option<bool> {
        match self.verdicts.get(&trace)?.as_slice() {
            [only] => Some(only.keep),
            _ => None,
        }
    }

    pub(super) fn was_decided(&self, trace: TraceNumber) -> bool {
        self.verdicts.contains_key(&trace)
    }

    pub(super) fn was_ever_kept(&self, trace: TraceNumber) -> bool {
        self.verdicts.get(&trace).is_some_and(|ever| ever.iter().any(|given| given.keep))
    }
}
