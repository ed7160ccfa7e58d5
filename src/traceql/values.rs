//! How single values compare and compute: one set of rules for constants and for what a trace holds.

use std::cmp::Ordering;

use super::access::Value;
use super::ast::BinaryOp;

/// Whether two values are equal; `None` where their types do not compare.
pub(super) fn equal(left: &Value<'_>, right: &Value<'_>) -> Option<bool> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left == right),
        (Value::Status(left), Value::Status(right)) => Some(left == right),
        (Value::Kind(left), Value::Kind(right)) => Some(left == right),
        _ => order(left, right).map(Ordering::is_eq),
    }
}

/// How two strings or two numbers compare; `None` for other types, for a mixture and for NaN.
pub(super) fn order(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    if let (Value::Str(left), Value::Str(right)) = (left, right) {
        return Some(left.cmp(right));
    }
    match (Number::of(left)?, Number::of(right)?) {
        (Number::Float(left), Number::Float(right)) => left.partial_cmp(&right),
        (Number::Float(left), right) => order_mixed(right.whole(), left).map(Ordering::reverse),
        (left, Number::Float(right)) => order_mixed(left.whole(), right),
        (left, right) => Some(left.whole().cmp(&right.whole())),
    }
}

/// Compares exactly: not every 64-bit integer is a double.
fn order_mixed(whole: i64, float: f64) -> Option<Ordering> {
    let rough = (whole as f64).partial_cmp(&float)?;
    // Where they look equal the double is finite and has no fraction.
    Some(if rough.is_eq() { i128::from(whole).cmp(&(float as i128)) } else { rough })
}

/// Whether the comparison `left op right` holds; false where the types do not compare.
pub(super) fn holds(op: BinaryOp, left: &Value<'_>, right: &Value<'_>) -> bool {
    match op {
        BinaryOp::Equal => equal(left, right) == Some(true),
        BinaryOp::NotEqual => equal(left, right) == Some(false),
        BinaryOp::Less => order(left, right).is_some_and(Ordering::is_lt),
        BinaryOp::LessEqual => order(left, right).is_some_and(Ordering::is_le),
        BinaryOp::Greater => order(left, right).is_some_and(Ordering::is_gt),
        BinaryOp::GreaterEqual => order(left, right).is_some_and(Ordering::is_ge),
        _ => false,
    }
}

/// A number or a duration.
#[derive(Clone, Copy)]
enum Number {
    Int(i64),
    Duration(i64),
    Float(f64),
}

impl Number {
    fn of(value: &Value<'_>) -> Option<Self> {
        match value {
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Duration(nanos) => Some(Self::Duration(*nanos)),
            Value::Float(value) => Some(Self::Float(*value)),
            _ => None,
        }
    }

    /// Its integer; a float is cut.
    fn whole(self) -> i64 {
        match self {
            Self::Int(value) | Self::Duration(value) => value,
            Self::Float(value) => value as i64,
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Int(value) | Self::Duration(value) => value as f64,
            Self::Float(value) => value,
        }
    }
}

/// The number as a double, durations in nanoseconds; `None` for what is no number.
pub(super) fn as_float(value: &Value<'_>) -> Option<f64> {
    Number::of(value).map(Number::float)
}

/// `left op right`. A duration and a plain number give a duration (the number counts as nanoseconds where it is
/// added), two durations divided give a ratio. `None`: no numbers, division by zero, overflow, not finite.
pub(super) fn arithmetic(op: BinaryOp, left: &Value<'_>, right: &Value<'_>) -> Option<Value<'static>> {
    let (left, right) = (Number::of(left)?, Number::of(right)?);
    if gives_duration(op, left, right) {
        let whole = match (left, right) {
            (Number::Float(_), _) | (_, Number::Float(_)) => {
                rounded(floats(op, left.float(), right.float())?)
            }
            _ => integers(op, left.whole(), right.whole()),
        };
        return whole.map(Value::Duration);
    }
    if let (Number::Int(left), Number::Int(right)) = (left, right)
        && !(op == BinaryOp::Power && right < 0)
    {
        return integers(op, left, right).map(Value::Int);
    }
    floats(op, left.float(), right.float()).map(Value::Float)
}

fn gives_duration(op: BinaryOp, left: Number, right: Number) -> bool {
    match (left, right, op) {
        (_, _, BinaryOp::Power) => false,
        (Number::Duration(_), Number::Duration(_), op) => {
            !matches!(op, BinaryOp::Multiply | BinaryOp::Divide)
        }
        (Number::Duration(_), _, _) => true,
        (_, Number::Duration(_), op) => op != BinaryOp::Divide,
        _ => false,
    }
}

fn integers(op: BinaryOp, left: i64, right: i64) -> Option<i64> {
    match op {
        BinaryOp::Add => left.checked_add(right),
        BinaryOp::Subtract => left.checked_sub(right),
        BinaryOp::Multiply => left.checked_mul(right),
        BinaryOp::Divide => left.checked_div(right),
        BinaryOp::Modulo => left.checked_rem(right),
        BinaryOp::Power => left.checked_pow(u32::try_from(right).ok()?),
        _ => None,
    }
}

fn floats(op: BinaryOp, left: f64, right: f64) -> Option<f64> {
    let value = match op {
        BinaryOp::Add => left + right,
        BinaryOp::Subtract => left - right,
        BinaryOp::Multiply => left * right,
        BinaryOp::Divide => left / right,
        BinaryOp::Modulo => left % right,
        BinaryOp::Power => left.powf(right),
        _ => return None,
    };
    value.is_finite().then_some(value)
}

/// The nearest integer, if there is one.
pub(super) fn rounded(value: f64) -> Option<i64> {
    let rounded = value.round();
    let limit = i64::MAX as f64;
    (rounded > -limit && rounded < limit).then_some(rounded as i64)
}
