//! From TraceQL's syntax tree to conditions over bits, and the atoms behind the bits.

use super::atom::{Field, RootField, Test};
use super::condition::{Alternative, Condition};
use super::dnf::{
    Alternatives, Conjunction, Fact, alternatives, attribute_field, either, mirrored, unsupported,
};
use super::program::Program;
use crate::traceql::{
    AggregateOp, BinaryOp, FieldExpr, Intrinsic, Literal, Query, ScalarExpr, ScalarFilter, SourceSpan,
    SpansetExpr, SpansetOp, Stage,
};

/// The most atoms, and the most conjunctions, that one set of rules may have: what a scan keeps at hand.
const TABLE_MAX: usize = 4096;

/// Why a condition cannot be compiled, and where in its text.
#[derive(Debug, Clone)]
pub(in crate::sample) struct CompileError {
    pub at: SourceSpan,
    pub message: String,
}

/// An atom of a span.
#[derive(Debug, PartialEq)]
pub(in crate::sample) struct Atom {
    pub field: Field,
    pub test: Test,
}

/// Atoms of spans that must all hold (or not) for one span, and what it does then.
#[derive(Debug, PartialEq)]
pub(in crate::sample) struct SpanConjunction {
    pub terms: Vec<(u32, bool)>,
    pub output: Output,
}

/// What a fulfilled conjunction does to the trace's [`super::super::Matches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::sample) enum Output {
    Bit(u32),
    Counter(u32),
}

/// A field whose value rates are counted by.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::sample) enum CaptureField {
    Span(Field),
    Root(RootField),
}

/// Gathers the atoms of all rules of a set; equal ones are one.
#[derive(Debug, Default)]
pub(in crate::sample) struct Builder {
    pub(super) atoms: Vec<Atom>,
    pub(super) roots: Vec<(RootField, Test)>,
    pub(super) durations: Vec<(BinaryOp, Literal)>,
    pub(super) conjunctions: Vec<SpanConjunction>,
    pub(super) captures: Vec<CaptureField>,
    bits: u32,
    pub(super) counters: u32,
}

impl Builder {
    /// Compiles one rule's `when`.
    pub fn condition(&mut self, query: &Query) -> Result<Condition, CompileError> {
        self.pipeline(&query.pipeline)
    }

    /// The number of the capture of one field, written as in TraceQL.
    pub fn capture(&mut self, field: &FieldExpr) -> Result<u32, CompileError> {
        let capture = match field {
            FieldExpr::Attribute(attribute) => CaptureField::Span(attribute_field(attribute)?),
            FieldExpr::Intrinsic(Intrinsic::Name, _) => CaptureField::Span(Field::Name),
            FieldExpr::Intrinsic(Intrinsic::RootName, _) => CaptureField::Root(RootField::Name),
            FieldExpr::Intrinsic(Intrinsic::RootServiceName, _) => CaptureField::Root(RootField::Service),
            other => return Err(unsupported(other.at(), "counting a rate by this field")),
        };
        Ok(number_of(&mut self.captures, capture))
    }

    /// The program that a scan runs.
    pub fn finish(self) -> Program {
        Program::new(self)
    }

    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    pub(super) fn span_atom(
        &mut self,
        field: Field,
        test: Test,
        at: SourceSpan,
    ) -> Result<u32, CompileError> {
        let atom = number_of(&mut self.atoms, Atom { field, test });
        self.check_size(at)?;
        Ok(atom)
    }

    pub(super) fn root_atom(&mut self, field: RootField, test: Test) -> u32 {
        number_of(&mut self.roots, (field, test))
    }

    pub(super) fn duration(&mut self, op: BinaryOp, literal: Literal) -> u32 {
        number_of(&mut self.durations, (op, literal))
    }

    fn check_size(&self, at: SourceSpan) -> Result<(), CompileError> {
        if self.atoms.len() <= TABLE_MAX && self.conjunctions.len() <= TABLE_MAX {
            return Ok(());
        }
        let message = format!("the rules have more than {TABLE_MAX} different conditions in all");
        Err(CompileError { at, message })
    }

    fn pipeline(&mut self, stages: &[Stage]) -> Result<Condition, CompileError> {
        let (first, rest) = match stages {
            [Stage::Spansets(first), rest @ ..] => (first, rest),
            _ => {
                return Err(unsupported(
                    SourceSpan::default(),
                    "a pipeline that does not begin with a filter",
                ));
            }
        };
        let mut conditions = vec![self.spansets(first)?];
        for stage in rest {
            conditions.push(match stage {
                Stage::Scalar(filter) => self.count(first, filter)?,
                Stage::Spansets(_) => {
                    return Err(unsupported(whole(first), "filtering a second time with `|`"));
                }
                Stage::By(field) => return Err(unsupported(field.at(), "`by`")),
                Stage::Coalesce => return Err(unsupported(whole(first), "`coalesce`")),
                // Names fields to return: nothing to a rule.
                Stage::Select(_) => continue,
            });
        }
        Ok(Condition::all(conditions))
    }

    fn spansets(&mut self, expr: &SpansetExpr) -> Result<Condition, CompileError> {
        match expr {
            SpansetExpr::Filter(condition) => {
                let alternatives = self.filter(condition.as_ref())?;
                self.found(alternatives, whole(expr))
            }
            SpansetExpr::Binary { op: SpansetOp::And, left, right } => {
                Ok(Condition::all(vec![self.spansets(left)?, self.spansets(right)?]))
            }
            SpansetExpr::Binary { op: SpansetOp::Or, left, right } => {
                Ok(Condition::Any(vec![self.spansets(left)?, self.spansets(right)?]))
            }
            SpansetExpr::Binary { op: op @ SpansetOp::Structural { .. }, right, .. } => {
                Err(unsupported(whole(right), &format!("the relation `{}` between spans", op.symbol())))
            }
            SpansetExpr::Pipeline(stages) => self.pipeline(stages),
        }
    }

    fn filter(&mut self, condition: Option<&FieldExpr>) -> Result<Alternatives, CompileError> {
        condition.map_or_else(|| Ok(vec![Conjunction::new()]), |condition| alternatives(condition, self))
    }

    /// "Some span fulfils one of these": trace-level terms are the same for every span, so they stand beside the bit.
    fn found(&mut self, alternatives: Alternatives, at: SourceSpan) -> Result<Condition, CompileError> {
        let mut found = Vec::new();
        for conjunction in alternatives {
            let (terms, guard) = split(&conjunction);
            let bit = if terms.is_empty() { None } else { Some(self.bit(terms)) };
            found.push(Alternative { guard, bit });
        }
        self.check_size(at)?;
        Ok(Condition::Found(found))
    }

    fn bit(&mut self, terms: Vec<(u32, bool)>) -> u32 {
        let known = self.conjunctions.iter().find_map(|known| match known.output {
            Output::Bit(bit) if known.terms == terms => Some(bit),
            _ => None,
        });
        known.unwrap_or_else(|| {
            let bit = self.bits;
            self.bits += 1;
            self.conjunctions.push(SpanConjunction { terms, output: Output::Bit(bit) });
            bit
        })
    }

    /// `… | count() > 2`, over the spans that the expression before it gives.
    fn count(&mut self, expr: &SpansetExpr, filter: &ScalarFilter) -> Result<Condition, CompileError> {
        let (op, limit) = count_comparison(filter)?;
        let mut filters = Vec::new();
        if !(chain(expr, SpansetOp::Or, &mut filters) || chain(expr, SpansetOp::And, &mut filters)) {
            return Err(unsupported(filter.at, "`count()` behind a mixture of `&&` and `||`"));
        }
        let mut counted = Alternatives::new();
        for condition in filters {
            let alternatives = self.filter(condition)?;
            counted = either(counted, alternatives, filter.at)?;
        }
        let mut parts = counted.iter().map(split);
        let Some((_, guard)) = parts.next() else { return Ok(Condition::never()) };
        if !parts.all(|(_, other)| other == guard) {
            return Err(unsupported(
                filter.at,
                "`count()` of spans under different conditions on their trace",
            ));
        }
        let counter = self.counters;
        self.counters += 1;
        for conjunction in &counted {
            let (terms, _) = split(conjunction);
            self.conjunctions.push(SpanConjunction { terms, output: Output::Counter(counter) });
        }
        self.check_size(filter.at)?;
        Ok(Condition::Count { guard, counter, op, limit })
    }
}

/// `count() op number`, from either side.
fn count_comparison(filter: &ScalarFilter) -> Result<(BinaryOp, Literal), CompileError> {
    let is_count = |expr: &ScalarExpr| matches!(expr, ScalarExpr::Aggregate { op: AggregateOp::Count, .. });
    match (&filter.left, &filter.right) {
        (left, ScalarExpr::Literal(limit, _)) if is_count(left) => Ok((filter.op, limit.clone())),
        (ScalarExpr::Literal(limit, _), right) if is_count(right) => Ok((mirrored(filter.op), limit.clone())),
        _ => Err(unsupported(filter.at, "an aggregate other than `count()` compared with a number")),
    }
}

/// The filters of a chain of one operator; false where anything else is in it.
fn chain<'a>(expr: &'a SpansetExpr, wanted: SpansetOp, filters: &mut Vec<Option<&'a FieldExpr>>) -> bool {
    let mut open = vec![expr];
    filters.clear();
    while let Some(expr) = open.pop() {
        match expr {
            SpansetExpr::Filter(condition) => filters.push(condition.as_ref()),
            SpansetExpr::Binary { op, left, right } if *op == wanted => open.extend([&**right, &**left]),
            _ => return false,
        }
    }
    true
}

/// The terms about a span, and those about the trace.
fn split(conjunction: &Conjunction) -> (Vec<(u32, bool)>, Conjunction) {
    let span_terms = conjunction.iter().filter_map(|term| match term.fact {
        Fact::Span(atom) => Some((atom, term.negated)),
        _ => None,
    });
    let guard = conjunction.iter().filter(|term| !matches!(term.fact, Fact::Span(_)));
    (span_terms.collect(), guard.copied().collect())
}

/// Where the first condition of an expression stands.
fn whole(expr: &SpansetExpr) -> SourceSpan {
    let mut at = SourceSpan::default();
    let mut seen = false;
    expr.walk_fields(&mut |field| {
        if !seen {
            at = field.at();
            seen = true;
        }
    });
    at
}

/// The index of an entry in a table, which it joins where it is not there yet.
fn number_of<T: PartialEq>(table: &mut Vec<T>, entry: T) -> u32 {
    let index = table.iter().position(|known| *known == entry).unwrap_or_else(|| {
        table.push(entry);
        table.len() - 1
    });
    u32::try_from(index).unwrap_or(u32::MAX)
}
