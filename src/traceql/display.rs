//! A tree back to text that parses to the same tree: canonical spelling, only the parentheses it needs.

use std::fmt::{self, Display, Formatter, Write as _};

use super::ast::{Attribute, BinaryOp, FieldExpr, Hint, Literal, Query, ScalarExpr, ScalarFilter, Scope};
use super::ast::{SpansetExpr, Stage, UnaryOp};
use super::lexer::{UNITS, is_name_part};
use super::words::precedence;

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        list(f, &self.pipeline, " | ")?;
        if self.hints.is_empty() {
            return Ok(());
        }
        f.write_str(" with(")?;
        list(f, &self.hints, ", ")?;
        f.write_str(")")
    }
}

impl Display for Hint {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl Display for Stage {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spansets(expr) => expr.fmt(f),
            Self::Scalar(filter) => filter.fmt(f),
            Self::By(field) => write!(f, "by({field})"),
            Self::Coalesce => f.write_str("coalesce()"),
            Self::Select(fields) => {
                f.write_str("select(")?;
                list(f, fields, ", ")?;
                f.write_str(")")
            }
        }
    }
}

impl Display for SpansetExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Filter(None) => f.write_str("{ }"),
            Self::Filter(Some(condition)) => write!(f, "{{ {condition} }}"),
            Self::Binary { op, left, right } => {
                let level = op.precedence();
                grouped(f, &**left, left.binds() < level)?;
                write!(f, " {} ", op.symbol())?;
                grouped(f, &**right, right.binds() <= level)
            }
            Self::Pipeline(stages) => {
                f.write_str("(")?;
                list(f, stages, " | ")?;
                f.write_str(")")
            }
        }
    }
}

impl SpansetExpr {
    fn binds(&self) -> u8 {
        match self {
            Self::Binary { op, .. } => op.precedence(),
            Self::Filter(_) | Self::Pipeline(_) => u8::MAX,
        }
    }
}

impl Display for ScalarFilter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.left, self.op.symbol(), self.right)
    }
}

impl Display for ScalarExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Aggregate { op, field: Some(field), .. } => write!(f, "{}({field})", op.word()),
            Self::Aggregate { op, field: None, .. } => write!(f, "{}()", op.word()),
            Self::Literal(literal, _) => literal.fmt(f),
            Self::Binary { op, left, right, .. } => {
                infix(f, *op, (&**left, left.binds()), (&**right, right.binds()))
            }
            Self::Pipeline { stages, scalar, .. } => {
                f.write_str("(")?;
                list(f, stages, " | ")?;
                write!(f, " | {scalar})")
            }
        }
    }
}

impl ScalarExpr {
    fn binds(&self) -> u8 {
        match self {
            Self::Binary { op, .. } => op.precedence(),
            Self::Literal(literal, _) => literal.binds(),
            Self::Aggregate { .. } | Self::Pipeline { .. } => u8::MAX,
        }
    }
}

impl Display for FieldExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attribute(attribute) => attribute.fmt(f),
            Self::Intrinsic(intrinsic, _) => f.write_str(&intrinsic.word()),
            Self::Literal(literal, _) => literal.fmt(f),
            Self::Unary { op, operand, .. } => {
                f.write_str(if *op == UnaryOp::Not { "!" } else { "-" })?;
                grouped(f, &**operand, operand.binds() < u8::MAX)
            }
            Self::Binary { op, left, right, .. } => {
                infix(f, *op, (&**left, left.binds()), (&**right, right.binds()))
            }
            Self::Match { negated, operand, pattern, .. } => {
                grouped(f, &**operand, operand.binds() < precedence::COMPARISON)?;
                f.write_str(if *negated { " !~ " } else { " =~ " })?;
                quoted(f, pattern.as_str())
            }
        }
    }
}

impl FieldExpr {
    fn binds(&self) -> u8 {
        match self {
            Self::Attribute(_) | Self::Intrinsic(..) => u8::MAX,
            Self::Literal(literal, _) => literal.binds(),
            Self::Unary { .. } => precedence::PREFIX,
            Self::Binary { op, .. } => op.precedence(),
            Self::Match { .. } => precedence::COMPARISON,
        }
    }
}

impl Literal {
    /// A negative number is a prefix and a number.
    fn binds(&self) -> u8 {
        let negative = match self {
            Self::Int(value) | Self::Duration(value) => *value < 0,
            Self::Float(value) => value.is_sign_negative(),
            _ => false,
        };
        if negative { precedence::PREFIX } else { u8::MAX }
    }
}

impl Display for Attribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.parent {
            f.write_str("parent.")?;
        }
        match self.scope {
            Scope::Unscoped if self.parent => {}
            scope => write!(f, "{}.", scope.word())?,
        }
        if self.is_bare() { f.write_str(&self.name) } else { quoted(f, &self.name) }
    }
}

impl Attribute {
    /// Whether the name reads the same without quotes.
    fn is_bare(&self) -> bool {
        let unscoped = self.scope == Scope::Unscoped;
        let looks_like_a_number = unscoped && self.name.starts_with(|c: char| c.is_ascii_digit());
        let looks_scoped = self.parent
            && unscoped
            && ["span.", "resource."].iter().any(|scope| self.name.starts_with(scope));
        self.name.chars().all(is_name_part) && !looks_like_a_number && !looks_scoped
    }
}

impl Display for Literal {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Str(text) => quoted(f, text),
            Self::Int(value) => value.fmt(f),
            Self::Float(value) => write!(f, "{value:?}"),
            Self::Bool(value) => value.fmt(f),
            Self::Nil => f.write_str("nil"),
            Self::Duration(nanos) => duration(f, *nanos),
            Self::Status(status) => f.write_str(status.word()),
            Self::Kind(kind) => f.write_str(kind.word()),
        }
    }
}

/// `left op right`, each side in parentheses where its operators bind no tighter.
fn infix<T: Display>(f: &mut Formatter<'_>, op: BinaryOp, left: (&T, u8), right: (&T, u8)) -> fmt::Result {
    let level = op.precedence();
    // `^` groups from the right, the others from the left.
    let from_right = op == BinaryOp::Power;
    grouped(f, left.0, left.1 < level || (from_right && left.1 == level))?;
    write!(f, " {} ", op.symbol())?;
    grouped(f, right.0, right.1 < level || (!from_right && right.1 == level))
}

fn grouped<T: Display>(f: &mut Formatter<'_>, node: &T, parentheses: bool) -> fmt::Result {
    if parentheses { write!(f, "({node})") } else { node.fmt(f) }
}

fn list<T: Display>(f: &mut Formatter<'_>, items: &[T], separator: &str) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(separator)?;
        }
        item.fmt(f)?;
    }
    Ok(())
}

/// The text as a `"…"` string.
fn quoted(f: &mut Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c.is_control() => write!(f, "\\u{:04x}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_str("\"")
}

/// In the largest unit that divides it.
fn duration(f: &mut Formatter<'_>, nanos: i64) -> fmt::Result {
    let size = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let unit = UNITS.iter().find(|unit| size >= unit.1 && size.is_multiple_of(unit.1));
    let (name, unit) = unit.copied().unwrap_or(("s", 1));
    write!(f, "{sign}{}{name}", size / unit)
}

#[cfg(test)]
mod tests;
