//! Static checks: what can never mean anything is an error when the query is parsed, not an empty answer.

use super::ast::{
    BinaryOp, FieldExpr, Intrinsic, Literal, Query, ScalarExpr, ScalarFilter, SourceSpan, SpansetExpr, Stage,
    UnaryOp,
};
use super::error::Fault;

/// The type of an expression, as far as the query itself tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Type {
    /// An attribute: known only when a span is there.
    Any,
    /// `nil`.
    Nil,
    /// Text.
    Str,
    /// An integer.
    Int,
    /// A double.
    Float,
    /// A duration.
    Duration,
    /// A number of which only a span tells the type: arithmetic over attributes.
    Number,
    /// A boolean.
    Bool,
    /// A span's status.
    Status,
    /// A span's kind.
    Kind,
}

impl Type {
    /// Whether it can be computed with.
    pub fn is_numeric(self) -> bool {
        matches!(self, Self::Any | Self::Number | Self::Int | Self::Float | Self::Duration)
    }

    /// Whether it has an order.
    fn is_ordered(self) -> bool {
        self == Self::Str || self.is_numeric()
    }

    fn is_boolean(self) -> bool {
        matches!(self, Self::Any | Self::Bool)
    }

    /// Whether values of both compare.
    fn compares_with(self, other: Self) -> bool {
        let wild = |kind| matches!(kind, Self::Any | Self::Nil);
        self == other || wild(self) || wild(other) || (self.is_numeric() && other.is_numeric())
    }

    /// The type in words.
    fn words(self) -> &'static str {
        match self {
            Self::Any => "an attribute",
            Self::Nil => "nil",
            Self::Str => "a string",
            Self::Int => "an integer",
            Self::Float => "a float",
            Self::Duration => "a duration",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Status => "a status",
            Self::Kind => "a kind",
        }
    }
}

impl Literal {
    /// The type of the constant.
    pub fn type_of(&self) -> Type {
        match self {
            Self::Str(_) => Type::Str,
            Self::Int(_) => Type::Int,
            Self::Float(_) => Type::Float,
            Self::Bool(_) => Type::Bool,
            Self::Nil => Type::Nil,
            Self::Duration(_) => Type::Duration,
            Self::Status(_) => Type::Status,
            Self::Kind(_) => Type::Kind,
        }
    }
}

impl Intrinsic {
    /// The type of its values.
    pub fn type_of(self) -> Type {
        match self {
            Self::Duration | Self::TraceDuration | Self::EventTimeSinceStart => Type::Duration,
            Self::Status => Type::Status,
            Self::Kind => Type::Kind,
            Self::NestedSetLeft | Self::NestedSetRight | Self::NestedSetParent | Self::ChildCount => {
                Type::Int
            }
            Self::Parent
            | Self::Name
            | Self::StatusMessage
            | Self::RootName
            | Self::RootServiceName
            | Self::TraceId
            | Self::SpanId
            | Self::ParentId
            | Self::EventName
            | Self::LinkTraceId
            | Self::LinkSpanId
            | Self::InstrumentationName
            | Self::InstrumentationVersion => Type::Str,
        }
    }
}

/// Checks every stage.
pub(super) fn check(query: &Query) -> Result<(), Fault> {
    query.pipeline.iter().try_for_each(stage)
}

fn stage(stage: &Stage) -> Result<(), Fault> {
    match stage {
        Stage::Spansets(expr) => spansets(expr),
        Stage::Scalar(filter) => scalar_filter(filter),
        Stage::By(field) => {
            field_type(field)?;
            of_a_span(field, "`by` needs a field of the span")
        }
        Stage::Coalesce => Ok(()),
        Stage::Select(fields) => fields.iter().try_for_each(|field| field_type(field).map(|_| ())),
    }
}

fn spansets(expr: &SpansetExpr) -> Result<(), Fault> {
    match expr {
        SpansetExpr::Filter(None) => Ok(()),
        SpansetExpr::Filter(Some(condition)) => {
            let found = field_type(condition)?;
            if found.is_boolean() {
                return Ok(());
            }
            let message = format!("a filter must be a condition, this is {}", found.words());
            Err(Fault::types(condition.at(), message))
        }
        SpansetExpr::Binary { left, right, .. } => {
            spansets(left)?;
            spansets(right)
        }
        SpansetExpr::Pipeline(stages) => stages.iter().try_for_each(stage),
    }
}

fn scalar_filter(filter: &ScalarFilter) -> Result<(), Fault> {
    let aggregates = scalar(&filter.left)? | scalar(&filter.right)?;
    if aggregates {
        return Ok(());
    }
    Err(Fault::types(filter.at, "a comparison in a pipeline needs an aggregate such as `count()`"))
}

/// Checks a number and tells whether an aggregate is in it.
fn scalar(expr: &ScalarExpr) -> Result<bool, Fault> {
    match expr {
        ScalarExpr::Literal(..) => Ok(false),
        ScalarExpr::Aggregate { op, field, .. } => {
            let Some(field) = field else { return Ok(true) };
            let found = field_type(field)?;
            if !found.is_numeric() {
                let message = format!("`{}` needs a number, this is {}", op.word(), found.words());
                return Err(Fault::types(field.at(), message));
            }
            of_a_span(field, "an aggregate needs a field of the span")?;
            Ok(true)
        }
        ScalarExpr::Binary { left, right, .. } => Ok(scalar(left)? | scalar(right)?),
        ScalarExpr::Pipeline { stages, scalar: inner, .. } => {
            stages.iter().try_for_each(stage)?;
            scalar(inner)
        }
    }
}

fn of_a_span(field: &FieldExpr, message: &str) -> Result<(), Fault> {
    if field.reach().is_constant() { Err(Fault::types(field.at(), message)) } else { Ok(()) }
}

/// The type of an expression, once everything in it is found to fit.
fn field_type(expr: &FieldExpr) -> Result<Type, Fault> {
    match expr {
        FieldExpr::Attribute(_) => Ok(Type::Any),
        FieldExpr::Intrinsic(intrinsic, _) => Ok(intrinsic.type_of()),
        FieldExpr::Literal(literal, _) => Ok(literal.type_of()),
        FieldExpr::Unary { op, operand, at } => unary_type(*op, field_type(operand)?, *at),
        FieldExpr::Binary { op, left, right, at } => {
            let types = (field_type(left)?, field_type(right)?);
            if divides_by_zero(*op, types.0, right) {
                return Err(Fault::types(*at, "division by zero"));
            }
            binary_type(*op, types.0, types.1, *at)
        }
        FieldExpr::Match { operand, at, .. } => match field_type(operand)? {
            Type::Any | Type::Str => Ok(Type::Bool),
            other => Err(Fault::types(
                *at,
                format!("a regular expression matches strings, this is {}", other.words()),
            )),
        },
    }
}

fn divides_by_zero(op: BinaryOp, left: Type, right: &FieldExpr) -> bool {
    matches!(op, BinaryOp::Divide | BinaryOp::Modulo)
        && matches!(left, Type::Int | Type::Duration)
        && matches!(right, FieldExpr::Literal(Literal::Int(0) | Literal::Duration(0), _))
}

fn unary_type(op: UnaryOp, operand: Type, at: SourceSpan) -> Result<Type, Fault> {
    match op {
        UnaryOp::Not if operand.is_boolean() => Ok(Type::Bool),
        UnaryOp::Negate if operand == Type::Any => Ok(Type::Number),
        UnaryOp::Negate if operand.is_numeric() => Ok(operand),
        UnaryOp::Not => Err(Fault::types(at, format!("`!` needs a condition, this is {}", operand.words()))),
        UnaryOp::Negate => Err(Fault::types(at, format!("`-` needs a number, this is {}", operand.words()))),
    }
}

fn binary_type(op: BinaryOp, left: Type, right: Type, at: SourceSpan) -> Result<Type, Fault> {
    let fits = match op {
        BinaryOp::And | BinaryOp::Or => left.is_boolean() && right.is_boolean(),
        BinaryOp::Equal | BinaryOp::NotEqual => left.compares_with(right),
        _ if op.is_comparison() => left.is_ordered() && right.is_ordered() && left.compares_with(right),
        _ => left.is_numeric() && right.is_numeric(),
    };
    if !fits {
        let symbol = op.symbol();
        let message = format!("`{symbol}` does not fit between {} and {}", left.words(), right.words());
        return Err(Fault::types(at, message));
    }
    Ok(if op.is_arithmetic() { computed_type(op, left, right) } else { Type::Bool })
}

/// The type of a computation, as `values::arithmetic` gives it.
fn computed_type(op: BinaryOp, left: Type, right: Type) -> Type {
    match (left, right) {
        (Type::Any | Type::Number, _) | (_, Type::Any | Type::Number) => Type::Number,
        (Type::Int, Type::Int) if op == BinaryOp::Power => Type::Number,
        (Type::Int, Type::Int) => Type::Int,
        (Type::Duration, Type::Duration) => match op {
            BinaryOp::Multiply | BinaryOp::Divide | BinaryOp::Power => Type::Float,
            _ => Type::Duration,
        },
        (Type::Duration, _) if op != BinaryOp::Power => Type::Duration,
        (_, Type::Duration) if !matches!(op, BinaryOp::Power | BinaryOp::Divide) => Type::Duration,
        _ => Type::Float,
    }
}

#[cfg(test)]
mod tests;
