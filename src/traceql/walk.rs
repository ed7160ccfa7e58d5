//! Walking a query without running it: which fields it names, and how far an expression reaches.

use std::collections::HashSet;

use super::ast::{
    Attribute, BinaryOp, FieldExpr, Intrinsic, Literal, Query, ScalarExpr, Scope, SpansetExpr, Stage,
};

/// What an expression must know to be evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reach {
    /// Something of the whole trace: its duration, its id, its root.
    pub trace: bool,
    /// Something of the span itself, its resource, scope, events or links.
    pub span: bool,
    /// Something of the tree around the span: its parent's attributes, its place, its children.
    pub tree: bool,
}

impl Reach {
    /// Names no field at all.
    pub fn is_constant(self) -> bool {
        self == Self::default()
    }

    /// Can be decided from the trace's summary, without any span at hand.
    pub fn is_trace_only(self) -> bool {
        self.trace && !self.span && !self.tree
    }

    /// Can be decided while one span is read, without the others.
    pub fn is_span_only(self) -> bool {
        self.span && !self.trace && !self.tree
    }

    /// What both together need.
    pub fn and(self, other: Self) -> Self {
        Self {
            trace: self.trace || other.trace,
            span: self.span || other.span,
            tree: self.tree || other.tree,
        }
    }
}

impl Intrinsic {
    /// What must be known for its value.
    pub fn reach(self) -> Reach {
        match self {
            Self::RootName | Self::RootServiceName | Self::TraceDuration | Self::TraceId => {
                Reach { trace: true, ..Reach::default() }
            }
            Self::NestedSetLeft | Self::NestedSetRight | Self::NestedSetParent | Self::ChildCount => {
                Reach { tree: true, ..Reach::default() }
            }
            _ => Reach { span: true, ..Reach::default() },
        }
    }
}

impl Attribute {
    /// What must be known for its value.
    pub fn reach(&self) -> Reach {
        Reach { span: !self.parent, tree: self.parent, trace: false }
    }
}

impl FieldExpr {
    /// Visits this expression and everything under it, outer ones first.
    pub fn walk<'a>(&'a self, visit: &mut dyn FnMut(&'a FieldExpr)) {
        visit(self);
        match self {
            Self::Attribute(_) | Self::Intrinsic(..) | Self::Literal(..) => {}
            Self::Unary { operand, .. } | Self::Match { operand, .. } => operand.walk(visit),
            Self::Binary { left, right, .. } => {
                left.walk(visit);
                right.walk(visit);
            }
        }
    }

    /// How far the expression reaches.
    pub fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        self.walk(&mut |expr| match expr {
            Self::Attribute(attribute) => reach = reach.and(attribute.reach()),
            Self::Intrinsic(intrinsic, _) => reach = reach.and(intrinsic.reach()),
            _ => {}
        });
        reach
    }

    /// The parts of a top-level `a && b && c`, in order: all must hold. The expression itself where there is no `&&`.
    pub fn conjuncts(&self) -> Vec<&FieldExpr> {
        self.parts(BinaryOp::And)
    }

    /// The parts of a top-level `a || b || c`, in order: one must hold.
    pub fn disjuncts(&self) -> Vec<&FieldExpr> {
        self.parts(BinaryOp::Or)
    }

    fn parts(&self, wanted: BinaryOp) -> Vec<&FieldExpr> {
        let mut parts = Vec::new();
        let mut open = vec![self];
        while let Some(expr) = open.pop() {
            match expr {
                Self::Binary { op, left, right, .. } if *op == wanted => open.extend([&**right, &**left]),
                _ => parts.push(expr),
            }
        }
        parts
    }
}

impl SpansetExpr {
    /// Visits every field expression outermost in a filter or a stage.
    pub fn walk_fields<'a>(&'a self, visit: &mut dyn FnMut(&'a FieldExpr)) {
        match self {
            Self::Filter(condition) => condition.iter().for_each(visit),
            Self::Binary { left, right, .. } => {
                left.walk_fields(visit);
                right.walk_fields(visit);
            }
            Self::Pipeline(stages) => stages.iter().for_each(|stage| stage.walk_fields(visit)),
        }
    }
}

impl Stage {
    /// Visits every field expression outermost in the stage.
    pub fn walk_fields<'a>(&'a self, visit: &mut dyn FnMut(&'a FieldExpr)) {
        match self {
            Self::Spansets(expr) => expr.walk_fields(visit),
            Self::Scalar(filter) => {
                filter.left.walk_fields(visit);
                filter.right.walk_fields(visit);
            }
            Self::By(field) => visit(field),
            Self::Coalesce => {}
            Self::Select(fields) => fields.iter().for_each(visit),
        }
    }
}

impl ScalarExpr {
    /// Visits every field expression outermost in an aggregate.
    pub fn walk_fields<'a>(&'a self, visit: &mut dyn FnMut(&'a FieldExpr)) {
        match self {
            Self::Aggregate { field, .. } => field.iter().for_each(visit),
            Self::Literal(..) => {}
            Self::Binary { left, right, .. } => {
                left.walk_fields(visit);
                right.walk_fields(visit);
            }
            Self::Pipeline { stages, scalar, .. } => {
                stages.iter().for_each(|stage| stage.walk_fields(visit));
                scalar.walk_fields(visit);
            }
        }
    }
}

impl Query {
    /// Visits every field expression outermost in a filter, an aggregate, `by` or `select`.
    pub fn walk_fields<'a>(&'a self, visit: &mut dyn FnMut(&'a FieldExpr)) {
        self.pipeline.iter().for_each(|stage| stage.walk_fields(visit));
    }

    /// The attributes and intrinsics the query names anywhere, each once, in order of appearance: the columns to
    /// read, and the fields to return with a span.
    pub fn fields(&self) -> Vec<&FieldExpr> {
        let mut seen = HashSet::new();
        let mut fields = Vec::new();
        self.walk_fields(&mut |expr| {
            expr.walk(&mut |leaf| {
                let key = match leaf {
                    FieldExpr::Attribute(a) => (None, a.parent, a.scope, a.name.as_str()),
                    FieldExpr::Intrinsic(intrinsic, _) => (Some(*intrinsic), false, Scope::Unscoped, ""),
                    _ => return,
                };
                if seen.insert(key) {
                    fields.push(leaf);
                }
            });
        });
        fields
    }

    /// The fields of `select(…)`, in order.
    pub fn selected(&self) -> Vec<&FieldExpr> {
        let stages = self.pipeline.iter();
        stages
            .filter_map(|stage| if let Stage::Select(fields) = stage { Some(fields) } else { None })
            .flatten()
            .collect()
    }

    /// The value of a hint, the last one where it is given twice.
    pub fn hint(&self, name: &str) -> Option<&Literal> {
        self.hints.iter().rev().find(|hint| hint.name == name).map(|hint| &hint.value)
    }
}

#[cfg(test)]
mod tests;
