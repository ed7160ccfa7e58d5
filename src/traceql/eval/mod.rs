//! Evaluation over one trace. Pure; spans are indexes.

mod field;
mod pipeline;
mod scalar;
mod tree;

pub use field::{compares, matches, values_of};

use super::access::{SpanAccess, TraceAccess, Value, Values};
use super::ast::{Intrinsic, Literal, Query, Scope};
use tree::Tree;

/// What a query found in one trace: at least one spanset.
#[derive(Debug, Clone, PartialEq)]
pub struct Matched {
    /// The spansets, several only behind `by(…)`; in the order their first spans appear.
    pub spansets: Vec<MatchedSpanset>,
}

impl Matched {
    /// The indexes of all spans found, ascending, each once.
    pub fn spans(&self) -> Vec<usize> {
        let mut spans: Vec<usize> = self.spansets.iter().flat_map(|set| set.spans.iter().copied()).collect();
        spans.sort_unstable();
        spans.dedup();
        spans
    }
}

/// One spanset.
#[derive(Debug, Clone, PartialEq)]
pub struct MatchedSpanset {
    /// Indexes of its spans, ascending, each once. Never empty.
    pub spans: Vec<usize>,
    /// What stages worked out about it, named as written: `by(resource.service.name)`, `count()`.
    pub attributes: Vec<(String, Literal)>,
}

/// Runs a query over a trace; `None` when nothing matches.
pub fn eval<T: TraceAccess>(query: &Query, trace: &T) -> Option<Matched> {
    let evaluator = Evaluator::new(trace);
    let everything = MatchedSpanset { spans: (0..trace.span_count()).collect(), attributes: Vec::new() };
    let spansets = evaluator.run(&query.pipeline, vec![everything]);
    if spansets.is_empty() { None } else { Some(Matched { spansets }) }
}

/// A trace with what is worked out about it once, when it is first needed.
struct Evaluator<'t, T> {
    trace: &'t T,
    tree: std::cell::OnceCell<Tree>,
}

impl<'t, T: TraceAccess> Evaluator<'t, T> {
    fn new(trace: &'t T) -> Self {
        Self { trace, tree: std::cell::OnceCell::new() }
    }

    fn tree(&self) -> &Tree {
        self.tree.get_or_init(|| Tree::of(self.trace))
    }
}

/// One span of a trace under evaluation.
struct Row<'e, 't, T> {
    evaluator: &'e Evaluator<'t, T>,
    span: usize,
}

impl<T: TraceAccess> SpanAccess for Row<'_, '_, T> {
    fn intrinsic(&self, intrinsic: Intrinsic) -> Values<'_> {
        let node = || self.evaluator.tree().node(self.span);
        match intrinsic {
            Intrinsic::NestedSetLeft => Value::Int(node().left).into(),
            Intrinsic::NestedSetRight => Value::Int(node().right).into(),
            Intrinsic::ChildCount => Value::Int(node().children).into(),
            Intrinsic::NestedSetParent => Value::Int(self.nested_set_parent()).into(),
            _ => self.evaluator.trace.intrinsic(self.span, intrinsic),
        }
    }

    fn attribute(&self, scope: Scope, key: &str) -> Values<'_> {
        self.evaluator.trace.attribute(self.span, scope, key)
    }

    fn parent_attribute(&self, scope: Scope, key: &str) -> Values<'_> {
        let parent = self.evaluator.tree().parent(self.span);
        parent.map_or(Values::Missing, |parent| self.evaluator.trace.attribute(parent, scope, key))
    }
}

impl<T: TraceAccess> Row<'_, '_, T> {
    /// The left bound of the parent; −1 for a root, 0 where a parent is named but did not arrive.
    fn nested_set_parent(&self) -> i64 {
        let tree = self.evaluator.tree();
        match tree.parent(self.span) {
            Some(parent) => tree.node(parent).left,
            None if self.evaluator.trace.intrinsic(self.span, Intrinsic::ParentId).is_missing() => -1,
            None => 0,
        }
    }
}

#[cfg(test)]
mod tests;
