//! A rule's condition as it is decided: over bits, counts, and the trace's duration.

use super::atom::is_set;
use super::dnf::{Conjunction, Fact, Term};
use super::program::Program;
use crate::sample::notes::Matches;
use crate::traceql::{BinaryOp, Literal, Value, Values, compares};

/// One way for a filter to find a span.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sample) struct Alternative {
    /// What must hold for the trace.
    pub guard: Conjunction,
    /// The bit that says that some span fulfils the rest; `None` where any span does.
    pub bit: Option<u32>,
}

/// A condition over a trace.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sample) enum Condition {
    /// Some span was found in one of these ways.
    Found(Vec<Alternative>),
    /// So many spans fulfilled a filter. None at all never counts: there is no spanset then.
    Count { guard: Conjunction, counter: u32, op: BinaryOp, limit: Literal },
    /// All of them hold.
    All(Vec<Condition>),
    /// One of them holds.
    Any(Vec<Condition>),
}

/// What conditions are decided from.
#[derive(Debug, Clone, Copy)]
pub(in crate::sample) struct TraceFacts<'a> {
    /// From the earliest start to the latest end.
    pub duration_nano: u64,
    /// What matched.
    pub matches: &'a Matches,
}

impl Condition {
    /// All of several; one alone is itself.
    pub fn all(mut conditions: Vec<Self>) -> Self {
        match conditions.pop() {
            Some(only) if conditions.is_empty() => only,
            last => {
                conditions.extend(last);
                Self::All(conditions)
            }
        }
    }

    /// What never holds.
    pub fn never() -> Self {
        Self::Any(Vec::new())
    }

    /// Whether it holds for a trace of at least one span.
    pub fn holds(&self, facts: TraceFacts<'_>, program: &Program) -> bool {
        match self {
            Self::Found(alternatives) => alternatives.iter().any(|alternative| {
                alternative.bit.is_none_or(|bit| is_set(&facts.matches.bits, bit))
                    && guard_holds(&alternative.guard, facts, program)
            }),
            Self::Count { guard, counter, op, limit } => {
                let count = facts.matches.counts.get(*counter as usize).copied().unwrap_or(0);
                let count_value = Values::One(Value::Int(i64::from(count)));
                count > 0
                    && compares(*op, &count_value, &limit.as_value().into())
                    && guard_holds(guard, facts, program)
            }
            Self::All(conditions) => conditions.iter().all(|condition| condition.holds(facts, program)),
            Self::Any(conditions) => conditions.iter().any(|condition| condition.holds(facts, program)),
        }
    }
}

fn guard_holds(guard: &Conjunction, facts: TraceFacts<'_>, program: &Program) -> bool {
    guard.iter().all(|term| term_holds(*term, facts, program))
}

fn term_holds(term: Term, facts: TraceFacts<'_>, program: &Program) -> bool {
    let holds = match term.fact {
        Fact::Root(atom) => is_set(&facts.matches.root, atom),
        Fact::Duration(index) => program.duration_holds(index, facts.duration_nano),
        // Terms about spans are behind the bit.
        Fact::Span(_) => false,
    };
    holds != term.negated
}
