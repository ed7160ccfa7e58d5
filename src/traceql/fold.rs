//! Constants are computed once, while parsing: `500ms * 2` becomes `1s`.

use super::access::Value;
use super::ast::{BinaryOp, FieldExpr, Literal, ScalarExpr, SourceSpan, UnaryOp};
use super::error::Fault;
use super::values;

/// `left op right`, computed where both are constant numbers.
pub(super) fn binary_expr(
    op: BinaryOp,
    left: FieldExpr,
    right: FieldExpr,
    at: SourceSpan,
) -> Result<FieldExpr, Fault> {
    if let (FieldExpr::Literal(left, _), FieldExpr::Literal(right, _)) = (&left, &right)
        && let Some(folded) = constants(op, left, right, at)?
    {
        return Ok(FieldExpr::Literal(folded, at));
    }
    Ok(FieldExpr::Binary { op, left: Box::new(left), right: Box::new(right), at })
}

/// The same for numbers over spansets.
pub(super) fn scalar_expr(
    op: BinaryOp,
    left: ScalarExpr,
    right: ScalarExpr,
    at: SourceSpan,
) -> Result<ScalarExpr, Fault> {
    if let (ScalarExpr::Literal(left, _), ScalarExpr::Literal(right, _)) = (&left, &right)
        && let Some(folded) = constants(op, left, right, at)?
    {
        return Ok(ScalarExpr::Literal(folded, at));
    }
    Ok(ScalarExpr::Binary { op, left: Box::new(left), right: Box::new(right), at })
}

/// `op operand`, computed where the operand is a constant of the right type.
pub(super) fn unary_expr(op: UnaryOp, operand: FieldExpr, at: SourceSpan) -> FieldExpr {
    let folded = match (&operand, op) {
        (FieldExpr::Literal(literal, _), UnaryOp::Negate) => negated(literal),
        (FieldExpr::Literal(Literal::Bool(value), _), UnaryOp::Not) => Some(Literal::Bool(!value)),
        _ => None,
    };
    match folded {
        Some(literal) => FieldExpr::Literal(literal, at),
        None => FieldExpr::Unary { op, operand: Box::new(operand), at },
    }
}

fn negated(literal: &Literal) -> Option<Literal> {
    match literal {
        Literal::Int(value) => value.checked_neg().map(Literal::Int),
        Literal::Duration(nanos) => nanos.checked_neg().map(Literal::Duration),
        Literal::Float(value) => Some(Literal::Float(-value)),
        _ => None,
    }
}

/// What two constants give; `None` where they are no numbers or `op` does not compute.
fn constants(
    op: BinaryOp,
    left: &Literal,
    right: &Literal,
    at: SourceSpan,
) -> Result<Option<Literal>, Fault> {
    let (Some(left), Some(right)) = (left.as_value(), right.as_value()) else { return Ok(None) };
    let numbers = values::as_float(&left).is_some() && values::as_float(&right).is_some();
    if !op.is_arithmetic() || !numbers {
        return Ok(None);
    }
    match values::arithmetic(op, &left, &right) {
        // The smallest duration cannot be written: its sign is no part of it.
        None | Some(Value::Duration(i64::MIN)) => Err(Fault::types(at, failure(op, &right))),
        Some(value) => Ok(Some(value.to_literal())),
    }
}

fn failure(op: BinaryOp, right: &Value<'_>) -> &'static str {
    let divides = matches!(op, BinaryOp::Divide | BinaryOp::Modulo);
    if divides && values::as_float(right) == Some(0.0) {
        "division by zero"
    } else {
        "the result of this is too large"
    }
}
