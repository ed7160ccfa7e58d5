//! A filter as alternatives of conjunctions (disjunctive normal form), so that each conjunction becomes one bit.

use super::atom::{Field, RootField, Test};
use super::{Builder, CompileError};
use crate::traceql::{
    Attribute, BinaryOp, FieldExpr, Intrinsic, Literal, Scope, SourceSpan, UnaryOp, Values, compares,
};

/// The most alternatives a filter may have once its brackets are multiplied out.
pub(in crate::sample) const ALTERNATIVES_MAX: usize = 64;

/// One condition of a conjunction. Numbers point into the tables of the [`Builder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sample) enum Fact {
    /// An atom of a span.
    Span(u32),
    /// An atom of the trace's root.
    Root(u32),
    /// A comparison with the trace's duration.
    Duration(u32),
}

/// A fact that must hold, or must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::sample) struct Term {
    pub fact: Fact,
    pub negated: bool,
}

/// Terms that must all hold; none: always true. Sorted, each once.
pub(in crate::sample) type Conjunction = Vec<Term>;

/// Of which one must hold; none: never true.
pub(in crate::sample) type Alternatives = Vec<Conjunction>;

/// The alternatives under which a filter's condition holds for a span.
pub(in crate::sample) fn alternatives(
    condition: &FieldExpr,
    builder: &mut Builder,
) -> Result<Alternatives, CompileError> {
    Lowering { builder, whole: condition.at() }.holds(condition, false)
}

/// All alternatives of both.
pub(in crate::sample) fn either(
    left: Alternatives,
    right: Alternatives,
    at: SourceSpan,
) -> Result<Alternatives, CompileError> {
    bounded(simplified([left, right].concat()), at)
}

struct Lowering<'b> {
    builder: &'b mut Builder,
    whole: SourceSpan,
}

impl Lowering<'_> {
    /// When the condition holds; where `negated`, when it does not.
    fn holds(&mut self, expr: &FieldExpr, negated: bool) -> Result<Alternatives, CompileError> {
        match expr {
            FieldExpr::Binary { op: op @ (BinaryOp::And | BinaryOp::Or), left, right, .. } => {
                let left = self.holds(left, negated)?;
                let right = self.holds(right, negated)?;
                // De Morgan: a negated `&&` is an `||`.
                if (*op == BinaryOp::And) != negated {
                    self.both(left, right)
                } else {
                    either(left, right, self.whole)
                }
            }
            FieldExpr::Unary { op: UnaryOp::Not, operand, .. } => self.is_false(operand, negated),
            FieldExpr::Binary { op, left, right, at } if op.is_comparison() => {
                self.comparison(*op, left, right, *at, negated)
            }
            FieldExpr::Match { negated: differs, operand, pattern, at } => {
                let test = Test::Match { negated: *differs, pattern: pattern.clone() };
                self.leaf(operand, test, *at, negated)
            }
            FieldExpr::Literal(literal, _) => Ok(constant((*literal == Literal::Bool(true)) != negated)),
            FieldExpr::Attribute(_) | FieldExpr::Intrinsic(..) => {
                self.leaf(expr, Test::True, expr.at(), negated)
            }
            FieldExpr::Unary { at, .. } | FieldExpr::Binary { at, .. } => Err(unsupported(*at, "computing")),
        }
    }

    /// When the condition is there and false: `!` before a field asks for a boolean, before anything else it
    /// simply turns the answer around.
    fn is_false(&mut self, operand: &FieldExpr, negated: bool) -> Result<Alternatives, CompileError> {
        match operand {
            FieldExpr::Unary { op: UnaryOp::Not, operand, .. } => self.holds(operand, negated),
            FieldExpr::Attribute(_) | FieldExpr::Intrinsic(..) => {
                self.leaf(operand, Test::False, operand.at(), negated)
            }
            FieldExpr::Literal(literal, _) => Ok(constant((*literal == Literal::Bool(false)) != negated)),
            _ => self.holds(operand, !negated),
        }
    }

    fn comparison(
        &mut self,
        op: BinaryOp,
        left: &FieldExpr,
        right: &FieldExpr,
        at: SourceSpan,
        negated: bool,
    ) -> Result<Alternatives, CompileError> {
        match (left, right) {
            (FieldExpr::Literal(left, _), FieldExpr::Literal(right, _)) => {
                Ok(constant(constants_hold(op, left, right) != negated))
            }
            (FieldExpr::Literal(literal, _), field) => {
                self.compared(field, mirrored(op), literal, at, negated)
            }
            (field, FieldExpr::Literal(literal, _)) => self.compared(field, op, literal, at, negated),
            _ => Err(unsupported(at, "comparing two fields")),
        }
    }

    fn compared(
        &mut self,
        field: &FieldExpr,
        op: BinaryOp,
        literal: &Literal,
        at: SourceSpan,
        negated: bool,
    ) -> Result<Alternatives, CompileError> {
        match (literal, op) {
            (Literal::Nil, BinaryOp::Equal) => self.leaf(field, Test::Exists, at, !negated),
            (Literal::Nil, BinaryOp::NotEqual) => self.leaf(field, Test::Exists, at, negated),
            (Literal::Nil, _) => Ok(constant(negated)),
            _ => self.leaf(field, Test::Compare(op, literal.clone()), at, negated),
        }
    }

    fn leaf(
        &mut self,
        operand: &FieldExpr,
        test: Test,
        at: SourceSpan,
        negated: bool,
    ) -> Result<Alternatives, CompileError> {
        let fact = match operand {
            FieldExpr::Intrinsic(Intrinsic::TraceDuration, _) => match test {
                Test::Compare(op, literal) => Fact::Duration(self.builder.duration(op, literal)),
                // It is always there, and never a boolean.
                Test::Exists => return Ok(constant(!negated)),
                _ => return Ok(constant(negated)),
            },
            FieldExpr::Intrinsic(Intrinsic::RootName, _) => {
                Fact::Root(self.builder.root_atom(RootField::Name, test))
            }
            FieldExpr::Intrinsic(Intrinsic::RootServiceName, _) => {
                Fact::Root(self.builder.root_atom(RootField::Service, test))
            }
            FieldExpr::Literal(literal, _) => {
                return Ok(constant(test.holds(&literal.as_value().into()) != negated));
            }
            _ => Fact::Span(self.builder.span_atom(field_of(operand, &test)?, test, at)?),
        };
        Ok(vec![vec![Term { fact, negated }]])
    }

    fn both(&self, left: Alternatives, right: Alternatives) -> Result<Alternatives, CompileError> {
        if left.len().saturating_mul(right.len()) > ALTERNATIVES_MAX * ALTERNATIVES_MAX {
            return bounded(
                left.into_iter().chain(right).cycle().take(ALTERNATIVES_MAX + 1).collect(),
                self.whole,
            );
        }
        let pairs = left.iter().flat_map(|l| right.iter().map(move |r| [l.as_slice(), r].concat()));
        bounded(simplified(pairs.collect()), self.whole)
    }
}

/// The field an atom looks at, where rules can look at it.
fn field_of(expr: &FieldExpr, test: &Test) -> Result<Field, CompileError> {
    let intrinsic = |at: SourceSpan, intrinsic: Intrinsic| match intrinsic {
        Intrinsic::Name => Ok(Field::Name),
        Intrinsic::Status => Ok(Field::Status),
        Intrinsic::StatusMessage => Ok(Field::StatusMessage),
        Intrinsic::Kind => Ok(Field::Kind),
        Intrinsic::Duration => Ok(Field::Duration),
        Intrinsic::Parent | Intrinsic::ParentId if *test == Test::Exists => Ok(Field::Parent),
        other => Err(unsupported(at, &format!("`{}`", other.word()))),
    };
    match expr {
        FieldExpr::Attribute(attribute) => attribute_field(attribute),
        FieldExpr::Intrinsic(which, at) => intrinsic(*at, *which),
        other => Err(unsupported(other.at(), "computing")),
    }
}

/// An attribute that rules can look at.
pub(in crate::sample) fn attribute_field(attribute: &Attribute) -> Result<Field, CompileError> {
    let name = attribute.name.clone();
    if attribute.parent {
        return Err(unsupported(attribute.at, "an attribute of the parent"));
    }
    match attribute.scope {
        Scope::Span => Ok(Field::Span(name)),
        Scope::Resource => Ok(Field::Resource(name)),
        Scope::Unscoped => Ok(Field::Unscoped(name)),
        scope @ (Scope::Event | Scope::Link | Scope::Instrumentation) => {
            Err(unsupported(attribute.at, &format!("an attribute of `{}`", scope.word())))
        }
    }
}

/// The refusal of what a rule's condition cannot express yet.
pub(in crate::sample) fn unsupported(at: SourceSpan, what: &str) -> CompileError {
    CompileError { at, message: format!("{what} is not possible in a rule yet") }
}

fn constant(holds: bool) -> Alternatives {
    if holds { vec![Vec::new()] } else { Vec::new() }
}

fn constants_hold(op: BinaryOp, left: &Literal, right: &Literal) -> bool {
    match (left, right, op) {
        (Literal::Nil, Literal::Nil, _) => op == BinaryOp::Equal,
        (Literal::Nil, _, _) | (_, Literal::Nil, _) => op == BinaryOp::NotEqual,
        _ => compares(op, &Values::from(left.as_value()), &Values::from(right.as_value())),
    }
}

/// The operator that asks the same with its sides exchanged.
pub(in crate::sample) fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        other => other,
    }
}

fn bounded(alternatives: Alternatives, at: SourceSpan) -> Result<Alternatives, CompileError> {
    if alternatives.len() <= ALTERNATIVES_MAX {
        return Ok(alternatives);
    }
    let message = format!(
        "the condition has more than {ALTERNATIVES_MAX} alternatives once its brackets are multiplied out; \
         split it into several rules"
    );
    Err(CompileError { at, message })
}

/// Drops what contradicts itself, and alternatives that another one contains.
fn simplified(mut alternatives: Alternatives) -> Alternatives {
    for conjunction in &mut alternatives {
        conjunction.sort_unstable();
        conjunction.dedup();
    }
    alternatives.retain(|terms| !terms.windows(2).any(|pair| pair[0].fact == pair[1].fact));
    alternatives.sort_by_key(Vec::len);
    let mut kept: Alternatives = Vec::new();
    for conjunction in alternatives {
        let implied = |weaker: &Conjunction| weaker.iter().all(|term| conjunction.contains(term));
        if !kept.iter().any(implied) {
            kept.push(conjunction);
        }
    }
    kept
}
