//! How evaluation sees a trace: whatever holds spans implements these traits.

use std::borrow::Cow;

use super::ast::{Intrinsic, Kind, Literal, Scope, Status};

/// One value of a field, borrowed from the trace where possible.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Text.
    Str(Cow<'a, str>),
    /// A 64-bit integer.
    Int(i64),
    /// A double.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A span's status.
    Status(Status),
    /// A span's kind.
    Kind(Kind),
}

impl<'a> Value<'a> {
    /// A borrowed string.
    pub fn str(text: &'a str) -> Self {
        Self::Str(Cow::Borrowed(text))
    }

    /// A duration given as OTLP does; what does not fit is the longest there is.
    pub fn duration(nanos: u64) -> Self {
        Self::Duration(i64::try_from(nanos).unwrap_or(i64::MAX))
    }

    /// An owned copy.
    pub fn to_literal(&self) -> Literal {
        match self {
            Self::Str(text) => Literal::Str(text.clone().into_owned()),
            Self::Int(value) => Literal::Int(*value),
            Self::Float(value) => Literal::Float(*value),
            Self::Bool(value) => Literal::Bool(*value),
            Self::Duration(nanos) => Literal::Duration(*nanos),
            Self::Status(status) => Literal::Status(*status),
            Self::Kind(kind) => Literal::Kind(*kind),
        }
    }
}

impl Literal {
    /// The constant as a value; `None` for `nil`.
    pub fn as_value(&self) -> Option<Value<'_>> {
        Some(match self {
            Self::Str(text) => Value::str(text),
            Self::Int(value) => Value::Int(*value),
            Self::Float(value) => Value::Float(*value),
            Self::Bool(value) => Value::Bool(*value),
            Self::Nil => return None,
            Self::Duration(nanos) => Value::Duration(*nanos),
            Self::Status(status) => Value::Status(*status),
            Self::Kind(kind) => Value::Kind(*kind),
        })
    }
}

/// What a field holds: an array's elements, or one value for each event or link, are many.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Values<'a> {
    /// The field is not there: `nil`.
    #[default]
    Missing,
    /// A single value.
    One(Value<'a>),
    /// Several; also an array that is there but empty.
    Many(Vec<Value<'a>>),
}

impl<'a> Values<'a> {
    /// The values as a slice; empty when missing.
    pub fn as_slice(&self) -> &[Value<'a>] {
        match self {
            Self::Missing => &[],
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }

    /// Whether the field is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }
}

impl<'a> From<Value<'a>> for Values<'a> {
    fn from(value: Value<'a>) -> Self {
        Self::One(value)
    }
}

impl<'a> From<Option<Value<'a>>> for Values<'a> {
    fn from(value: Option<Value<'a>>) -> Self {
        value.map_or(Self::Missing, Self::One)
    }
}

/// The fields of one span.
pub trait SpanAccess {
    /// The value of an intrinsic, trace-level ones included. An empty `name` or `statusMessage` is there;
    /// an empty parent id, a missing root or a span without events is `Missing`.
    fn intrinsic(&self, intrinsic: Intrinsic) -> Values<'_>;

    /// The value of an attribute. `scope` is never [`Scope::Unscoped`]: evaluation asks one scope after the other.
    fn attribute(&self, scope: Scope, key: &str) -> Values<'_>;

    /// The value of an attribute of the span's parent (`parent.span.x`); `Missing` where the parent is not known.
    fn parent_attribute(&self, _scope: Scope, _key: &str) -> Values<'_> {
        Values::Missing
    }
}

/// A whole trace: its spans by index, in a stable order.
pub trait TraceAccess {
    /// How many spans there are; indexes go from 0 to this, exclusive.
    fn span_count(&self) -> usize;

    /// The index of a span's parent, when it has one and it arrived. A span that names itself, or a cycle, is
    /// tolerated and counts as having no parent.
    fn parent(&self, span: usize) -> Option<usize>;

    /// The value of an intrinsic of a span, as [`SpanAccess::intrinsic`] gives it. Evaluation works out
    /// `nestedSetLeft`, `nestedSetRight`, `nestedSetParent` and `span:childCount` itself and never asks for them.
    fn intrinsic(&self, span: usize, intrinsic: Intrinsic) -> Values<'_>;

    /// The value of an attribute of a span, as [`SpanAccess::attribute`] gives it.
    fn attribute(&self, span: usize, scope: Scope, key: &str) -> Values<'_>;
}
