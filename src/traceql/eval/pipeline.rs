//! Stages over spansets, and operators between spansets.

use std::collections::BTreeMap;

use super::tree::inverse;
use super::{Evaluator, MatchedSpanset, Row, matches, values_of};
use crate::traceql::access::{TraceAccess, Values};
use crate::traceql::ast::{FieldExpr, Literal, Relation, SpansetExpr, SpansetOp, Stage, StructuralMode};

impl<T: TraceAccess> Evaluator<'_, T> {
    /// Passes spansets through the stages; empty ones fall out.
    pub(super) fn run(&self, stages: &[Stage], mut spansets: Vec<MatchedSpanset>) -> Vec<MatchedSpanset> {
        for stage in stages {
            spansets.retain(|set| !set.spans.is_empty());
            if spansets.is_empty() {
                break;
            }
            spansets = self.stage(stage, spansets);
        }
        spansets.retain(|set| !set.spans.is_empty());
        spansets
    }

    fn stage(&self, stage: &Stage, mut spansets: Vec<MatchedSpanset>) -> Vec<MatchedSpanset> {
        match stage {
            Stage::Spansets(expr) => {
                spansets.iter_mut().for_each(|set| set.spans = self.spans(expr, &set.spans));
                spansets
            }
            Stage::Scalar(filter) => {
                spansets.retain_mut(|set| self.scalar_holds(filter, set));
                spansets
            }
            Stage::By(field) => {
                let name = stage.to_string();
                spansets.into_iter().flat_map(|set| self.split(field, &name, set)).collect()
            }
            Stage::Coalesce => {
                let sets = spansets.into_iter().map(|set| set.spans);
                vec![MatchedSpanset { spans: union(sets), attributes: Vec::new() }]
            }
            Stage::Select(_) => spansets,
        }
    }

    /// The spans an expression finds among `input`, ascending.
    fn spans(&self, expr: &SpansetExpr, input: &[usize]) -> Vec<usize> {
        match expr {
            SpansetExpr::Filter(None) => input.to_vec(),
            SpansetExpr::Filter(Some(condition)) => {
                let holds = |span: &usize| matches(condition, &Row { evaluator: self, span: *span });
                input.iter().copied().filter(holds).collect()
            }
            SpansetExpr::Binary { op, left, right } => {
                let left = self.spans(left, input);
                if left.is_empty() && needs_left(*op) {
                    return left;
                }
                self.combine(*op, left, self.spans(right, input))
            }
            SpansetExpr::Pipeline(stages) => {
                let set = MatchedSpanset { spans: input.to_vec(), attributes: Vec::new() };
                union(self.run(stages, vec![set]).into_iter().map(|set| set.spans))
            }
        }
    }

    fn combine(&self, op: SpansetOp, left: Vec<usize>, right: Vec<usize>) -> Vec<usize> {
        match op {
            SpansetOp::And if left.is_empty() || right.is_empty() => Vec::new(),
            SpansetOp::And | SpansetOp::Or => union([left, right].into_iter()),
            SpansetOp::Structural { relation, mode } => self.structural(relation, mode, &left, right),
        }
    }

    fn structural(
        &self,
        relation: Relation,
        mode: StructuralMode,
        left: &[usize],
        right: Vec<usize>,
    ) -> Vec<usize> {
        let found = self.tree().related(relation, left, &right);
        match mode {
            StructuralMode::Plain => found,
            StructuralMode::Negated => {
                right.into_iter().filter(|span| found.binary_search(span).is_err()).collect()
            }
            StructuralMode::Union => {
                let others = self.tree().related(inverse(relation), &right, left);
                union([found, others].into_iter())
            }
        }
    }

    /// One spanset for each value of the field, in the order values first appear; spans without it form a group
    /// too, and a span with several values is in several groups.
    fn split(&self, field: &FieldExpr, name: &str, set: MatchedSpanset) -> Vec<MatchedSpanset> {
        let mut groups: Vec<MatchedSpanset> = Vec::new();
        let mut places: BTreeMap<GroupKey, usize> = BTreeMap::new();
        for span in set.spans {
            let row = Row { evaluator: self, span };
            let values = match values_of(field, &row) {
                Values::Missing => vec![Literal::Nil],
                Values::One(value) => vec![value.to_literal()],
                Values::Many(values) if values.is_empty() => vec![Literal::Nil],
                Values::Many(values) => values.iter().map(|value| value.to_literal()).collect(),
            };
            for value in values {
                let place = *places.entry(GroupKey::of(&value)).or_insert_with(|| {
                    let mut attributes = set.attributes.clone();
                    note(&mut attributes, name, value);
                    groups.push(MatchedSpanset { spans: Vec::new(), attributes });
                    groups.len() - 1
                });
                if groups[place].spans.last() != Some(&span) {
                    groups[place].spans.push(span);
                }
            }
        }
        groups
    }
}

/// Sets an attribute of a spanset, replacing one of the same name.
pub(super) fn note(attributes: &mut Vec<(String, Literal)>, name: &str, value: Literal) {
    attributes.retain(|(known, _)| known != name);
    attributes.push((name.to_owned(), value));
}

/// Whether nothing can be found once the left side found nothing.
fn needs_left(op: SpansetOp) -> bool {
    match op {
        SpansetOp::And => true,
        SpansetOp::Or => false,
        SpansetOp::Structural { mode, .. } => mode != StructuralMode::Negated,
    }
}

/// Everything in any of the sets, ascending, each once.
fn union(sets: impl Iterator<Item = Vec<usize>>) -> Vec<usize> {
    let mut spans: Vec<usize> = sets.flatten().collect();
    spans.sort_unstable();
    spans.dedup();
    spans
}

/// A value as something with a total order: its type, and its bits or text.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct GroupKey(u8, u64, String);

impl GroupKey {
    fn of(value: &Literal) -> Self {
        let bits = |kind, bits| Self(kind, bits, String::new());
        match value {
            Literal::Nil => bits(0, 0),
            Literal::Str(text) => Self(1, 0, text.clone()),
            Literal::Int(value) => bits(2, value.cast_unsigned()),
            Literal::Float(value) => bits(3, value.to_bits()),
            Literal::Bool(value) => bits(4, u64::from(*value)),
            Literal::Duration(nanos) => bits(5, nanos.cast_unsigned()),
            Literal::Status(status) => bits(6, *status as u64),
            Literal::Kind(kind) => bits(7, *kind as u64),
        }
    }
}
