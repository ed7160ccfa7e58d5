//! Rules: what is kept, for how long, and why. The first rule that matches a trace decides.

mod built_in;
mod check;
mod error;
mod place;
mod raw;
mod rulebook;
mod units;

pub use error::RulesError;
pub use rulebook::Rulebook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::actions::{Action, Limiter, Outcome, Subject};
use super::compile::{Condition, Program, TraceFacts};
use super::{Matches, Verdict};
use crate::wire::TraceId;

/// The class of kept traces whose rule names none.
pub const RETENTION_DEFAULT: &str = "default";
/// The class of traces that somebody pinned; it is always there.
pub const RETENTION_PINNED: &str = "pinned";
/// The rule that verdicts name where somebody pinned the trace.
pub const PIN_RULE: &str = "pin";
/// The rule that verdicts name where none matched: such a trace is kept, since nobody said to drop it.
pub const UNMATCHED: &str = "unmatched";

/// How long and how much is stored of a retention class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetentionTerms {
    /// How long a trace is stored.
    pub age: Duration,
    /// How many bytes the class may have in the store of a tenant: over it the oldest go early.
    pub bytes_max: Option<u64>,
}

impl From<Duration> for RetentionTerms {
    fn from(age: Duration) -> Self {
        Self { age, bytes_max: None }
    }
}

/// Terms by retention class.
pub type RetentionClasses = BTreeMap<String, RetentionTerms>;

/// A checked and compiled set of rules.
#[derive(Debug)]
pub struct RuleSet {
    version: u32,
    debug: bool,
    text: Arc<str>,
    wait: Duration,
    after_root: Duration,
    rules: Vec<Rule>,
    unmatched: (Arc<str>, Arc<str>),
    retention: RetentionClasses,
    program: Program,
}

/// One rule.
#[derive(Debug)]
struct Rule {
    name: Arc<str>,
    /// `None` matches every trace.
    condition: Option<Condition>,
    action: Action,
    retention: Arc<str>,
    /// The condition and the action as they are written, for people.
    when: Option<Arc<str>>,
    action_text: Arc<str>,
}

/// A rule as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleText<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its condition, TraceQL; `None` matches every trace.
    pub when: Option<&'a str>,
    /// What it does: `keep 10%`, `keep 50 per second by resource.service.name`, `drop`.
    pub action: &'a str,
}

/// What is known of a trace when it is decided.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The trace.
    pub trace_id: TraceId,
    /// `rv` of its tracestate.
    pub randomness: Option<u64>,
    /// From its earliest start to its latest end.
    pub duration_nano: u64,
    /// Whether its root arrived.
    pub has_root: bool,
    /// How many spans arrived.
    pub spans: u32,
    /// What matched of this version of the rules; `None` where nothing is known.
    pub matches: Option<&'a Matches>,
}

/// Reads a rules file: YAML as described in `config/rules.yaml`.
pub fn parse_rules(text: &str) -> Result<RuleSet, RulesError> {
    check::parse(text)
}

impl RuleSet {
    /// The rules in force where none are given: errors, slower than 500 ms, `/login` and `/upload`, and everything else,
    /// all at 100 %.
    pub fn built_in() -> Self {
        built_in::rules()
    }

    /// The version, given when the rules came into force; 0 before.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The file's text.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// How long after a trace's first span it is decided at the latest.
    pub fn wait(&self) -> Duration {
        self.wait
    }

    /// How long after its root arrived it is decided.
    pub fn after_root(&self) -> Duration {
        self.after_root
    }

    /// How long kept traces are stored, and how much of them, by retention class; [`RETENTION_DEFAULT`] and
    /// [`RETENTION_PINNED`] are always there.
    pub fn retention(&self) -> &RetentionClasses {
        &self.retention
    }

    /// The names of the rules, in order.
    pub fn rule_names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.name)
    }

    /// The rules as they are written, in order.
    pub fn texts(&self) -> impl Iterator<Item = RuleText<'_>> {
        self.rules.iter().map(|rule| RuleText {
            name: &rule.name,
            when: rule.when.as_deref(),
            action: &rule.action_text,
        })
    }

    /// Decides about a trace; `now` is monotonic time, for rates.
    pub fn decide(&self, facts: &Facts<'_>, limiter: &mut Limiter, now: Duration) -> Verdict {
        let nothing = Matches::default();
        let matches = facts.matches.unwrap_or(&nothing);
        let Some(rule) = self.rules.iter().find(|rule| self.fits(rule, facts.duration_nano, matches)) else {
            return self.verdict(&self.unmatched.0, &self.unmatched.1, Outcome::KEPT, self.debug);
        };
        if self.debug {
            return self.verdict(&rule.name, &rule.retention, Outcome::KEPT, true);
        }
        let randomness = facts.randomness.unwrap_or_else(|| facts.trace_id.randomness());
        let subject = Subject { randomness, captures: &matches.captures, now };
        self.verdict(&rule.name, &rule.retention, rule.action.decide(subject, limiter), false)
    }

    /// Whether what came late would have kept a trace that the rule named `dropped_by` dropped: a rule before that one
    /// matches the late part, and keeps all that it matches.
    pub fn rescues(&self, facts: &Facts<'_>, dropped_by: &str) -> Option<Verdict> {
        let nothing = Matches::default();
        let matches = facts.matches.unwrap_or(&nothing);
        let mut before = self.rules.iter().take_while(|rule| &*rule.name != dropped_by);
        let rule = before.find(|rule| self.fits(rule, facts.duration_nano, matches))?;
        if !rule.action.keeps_all() {
            return None;
        }
        Some(self.verdict(&rule.name, &rule.retention, Outcome::KEPT, false))
    }

    fn fits(&self, rule: &Rule, duration_nano: u64, matches: &Matches) -> bool {
        let trace = TraceFacts { duration_nano, matches };
        rule.condition.as_ref().is_none_or(|condition| condition.holds(trace, &self.program))
    }

    fn verdict(&self, rule: &Arc<str>, retention: &Arc<str>, outcome: Outcome, debug: bool) -> Verdict {
        Verdict {
            keep: outcome.keep,
            rule: Arc::clone(rule),
            rules_version: self.version,
            retention: Arc::clone(retention),
            threshold: outcome.threshold,
            erase_threshold: outcome.erase_threshold,
            early: false,
            late: false,
            debug,
        }
    }

    /// The atoms to ask while scanning.
    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    /// The same rules, in force as this version.
    pub(super) fn in_force(mut self, version: u32, debug: bool) -> Self {
        self.version = version;
        self.debug = debug;
        self
    }
}

#[cfg(test)]
mod tests;
