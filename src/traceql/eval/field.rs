//! Expressions over one span.

use crate::traceql::access::{SpanAccess, Value, Values};
use crate::traceql::ast::{Attribute, BinaryOp, FieldExpr, Literal, Pattern, Scope, UnaryOp};
use crate::traceql::values;

/// Whether the condition holds for the span. What is missing or of the wrong type makes it false.
pub fn matches(condition: &FieldExpr, span: &(impl SpanAccess + ?Sized)) -> bool {
    truth(condition, span) == Some(true)
}

/// What an expression gives for the span.
pub fn values_of<'a>(expr: &'a FieldExpr, span: &'a (impl SpanAccess + ?Sized)) -> Values<'a> {
    match expr {
        FieldExpr::Attribute(attribute) => attribute_of(attribute, span),
        FieldExpr::Intrinsic(intrinsic, _) => span.intrinsic(*intrinsic),
        FieldExpr::Literal(literal, _) => literal.as_value().into(),
        FieldExpr::Unary { op: UnaryOp::Negate, operand, .. } => negated(&values_of(operand, span)).into(),
        FieldExpr::Binary { op, left, right, .. } if op.is_arithmetic() => {
            match (values_of(left, span), values_of(right, span)) {
                (Values::One(left), Values::One(right)) => values::arithmetic(*op, &left, &right).into(),
                _ => Values::Missing,
            }
        }
        FieldExpr::Unary { .. } | FieldExpr::Binary { .. } | FieldExpr::Match { .. } => {
            truth(expr, span).map(Value::Bool).into()
        }
    }
}

fn attribute_of<'a>(attribute: &Attribute, span: &'a (impl SpanAccess + ?Sized)) -> Values<'a> {
    let look = |scope| match attribute.parent {
        true => span.parent_attribute(scope, &attribute.name),
        false => span.attribute(scope, &attribute.name),
    };
    if attribute.scope != Scope::Unscoped {
        return look(attribute.scope);
    }
    let found = Scope::SEARCHED.iter().map(|scope| look(*scope)).find(|values| !values.is_missing());
    found.unwrap_or_default()
}

fn negated(values: &Values<'_>) -> Option<Value<'static>> {
    match values {
        Values::One(Value::Int(value)) => value.checked_neg().map(Value::Int),
        Values::One(Value::Duration(nanos)) => nanos.checked_neg().map(Value::Duration),
        Values::One(Value::Float(value)) => Some(Value::Float(-value)),
        _ => None,
    }
}

/// The expression as a condition; `None` where it is none.
fn truth(expr: &FieldExpr, span: &(impl SpanAccess + ?Sized)) -> Option<bool> {
    match expr {
        FieldExpr::Binary { op: BinaryOp::And, left, right, .. } => {
            Some(matches(left, span) && matches(right, span))
        }
        FieldExpr::Binary { op: BinaryOp::Or, left, right, .. } => {
            Some(matches(left, span) || matches(right, span))
        }
        FieldExpr::Binary { op, left, right, .. } if op.is_comparison() => {
            Some(compared(*op, left, right, span))
        }
        FieldExpr::Unary { op: UnaryOp::Not, operand, .. } => truth(operand, span).map(|holds| !holds),
        FieldExpr::Match { negated, operand, pattern, .. } => {
            Some(pattern_holds(pattern, *negated, &values_of(operand, span)))
        }
        FieldExpr::Attribute(_) | FieldExpr::Intrinsic(..) | FieldExpr::Literal(..) => {
            let values = values_of(expr, span);
            let is_boolean = values.as_slice().iter().any(|value| matches!(value, Value::Bool(_)));
            is_boolean.then(|| values.as_slice().contains(&Value::Bool(true)))
        }
        FieldExpr::Unary { .. } | FieldExpr::Binary { .. } => None,
    }
}

fn compared(op: BinaryOp, left: &FieldExpr, right: &FieldExpr, span: &(impl SpanAccess + ?Sized)) -> bool {
    let is_nil = |expr: &FieldExpr| matches!(expr, FieldExpr::Literal(Literal::Nil, _));
    match (is_nil(left), is_nil(right)) {
        (false, false) => compares(op, &values_of(left, span), &values_of(right, span)),
        (true, _) => nil_holds(op, &values_of(right, span)),
        (_, true) => nil_holds(op, &values_of(left, span)),
    }
}

/// `= nil` asks that nothing is there, `!= nil` that something is.
fn nil_holds(op: BinaryOp, values: &Values<'_>) -> bool {
    match op {
        BinaryOp::Equal => values.is_missing(),
        BinaryOp::NotEqual => !values.is_missing(),
        _ => false,
    }
}

/// Whether `left op right` holds, `op` being a comparison: among several values one pair must do, with `!=` all.
/// False where either side is missing.
pub fn compares(op: BinaryOp, left: &Values<'_>, right: &Values<'_>) -> bool {
    if left.is_missing() || right.is_missing() {
        return false;
    }
    let pair = |l: &Value<'_>| {
        let mut rights = right.as_slice().iter();
        match op {
            BinaryOp::NotEqual => rights.all(|r| values::holds(op, l, r)),
            _ => rights.any(|r| values::holds(op, l, r)),
        }
    };
    match op {
        BinaryOp::NotEqual => left.as_slice().iter().all(pair),
        _ => left.as_slice().iter().any(pair),
    }
}

/// The same for `=~` and `!~`.
fn pattern_holds(pattern: &Pattern, negated: bool, values: &Values<'_>) -> bool {
    let fits = |value: &Value<'_>| match value {
        Value::Str(text) => pattern.is_match(text) != negated,
        _ => false,
    };
    match negated {
        true => !values.is_missing() && values.as_slice().iter().all(fits),
        false => values.as_slice().iter().any(fits),
    }
}
