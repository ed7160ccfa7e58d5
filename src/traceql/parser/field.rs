//! Expressions over one span: what stands in braces and in the arguments of stages.

use super::{PATTERNS_MAX, Parser, Tall, grown};
use crate::traceql::ast::{
    Attribute, BinaryOp, FieldExpr, Kind, Literal, Pattern, SourceSpan, Status, UnaryOp,
};
use crate::traceql::error::{Fault, ParseErrorKind};
use crate::traceql::fold;
use crate::traceql::lexer::Token;
use crate::traceql::words::precedence;

/// An operator after an operand.
enum Infix {
    Binary(BinaryOp),
    Match { negated: bool },
}

impl Infix {
    fn from_symbol(symbol: &str) -> Option<Self> {
        match symbol {
            "=~" => Some(Self::Match { negated: false }),
            "!~" => Some(Self::Match { negated: true }),
            _ => BinaryOp::from_symbol(symbol).map(Self::Binary),
        }
    }

    fn precedence(&self) -> u8 {
        match self {
            Self::Binary(op) => op.precedence(),
            Self::Match { .. } => precedence::COMPARISON,
        }
    }
}

impl Parser<'_> {
    /// A whole field expression.
    pub(super) fn field(&mut self) -> Result<Tall<FieldExpr>, Fault> {
        self.field_above(0)
    }

    /// An expression of operators that bind tighter than `floor`.
    fn field_above(&mut self, floor: u8) -> Result<Tall<FieldExpr>, Fault> {
        let start = self.at;
        let mut left = self.operand()?;
        while let Some(infix) = self.symbol().and_then(Infix::from_symbol) {
            let level = infix.precedence();
            if level <= floor {
                break;
            }
            self.advance()?;
            let right_at = self.at;
            // `^` groups from the right and so nests; the others take only what binds tighter.
            let right = match infix {
                Infix::Binary(BinaryOp::Power) => self.nested(|parser| parser.field_above(level - 1))?,
                _ => self.field_above(level)?,
            };
            let height = left.height.max(right.height);
            let at = self.since(start);
            let node = match infix {
                Infix::Binary(op) => fold::binary_expr(op, left.node, right.node, at)?,
                Infix::Match { negated } => {
                    self.matching(negated, left.node, right.node, at, self.since(right_at))?
                }
            };
            left = grown(node, height, at)?;
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Tall<FieldExpr>, Fault> {
        let at = self.at;
        if let Some(symbol) = self.symbol() {
            return match symbol {
                "(" => self.nested(|parser| {
                    parser.advance()?;
                    let inner = parser.field()?;
                    parser.expect(")")?;
                    Ok(inner)
                }),
                "!" => self.prefixed(UnaryOp::Not, precedence::NOT),
                "-" => self.prefixed(UnaryOp::Negate, precedence::SUM),
                _ => Err(self.expected("an attribute, an intrinsic or a constant")),
            };
        }
        if let Some(literal) = self.literal()? {
            return Ok(Tall::leaf(FieldExpr::Literal(literal, at)));
        }
        let node = match &self.token {
            Token::Intrinsic(intrinsic) => FieldExpr::Intrinsic(*intrinsic, at),
            Token::Attribute { parent, scope, name } => {
                FieldExpr::Attribute(Attribute { parent: *parent, scope: *scope, name: name.clone(), at })
            }
            Token::Word(word) => return Err(Fault::syntax(at, unknown_word(word))),
            _ => return Err(self.expected("an attribute, an intrinsic or a constant")),
        };
        self.advance()?;
        Ok(Tall::leaf(node))
    }

    fn prefixed(&mut self, op: UnaryOp, floor: u8) -> Result<Tall<FieldExpr>, Fault> {
        let start = self.at;
        self.advance()?;
        // The smallest integer has no positive counterpart: the sign belongs to the number.
        if op == UnaryOp::Negate && self.token == Token::Int(i64::MIN.unsigned_abs()) {
            self.advance()?;
            return Ok(Tall::leaf(FieldExpr::Literal(Literal::Int(i64::MIN), self.since(start))));
        }
        let operand = self.nested(|parser| parser.field_above(floor))?;
        let at = self.since(start);
        grown(fold::unary_expr(op, operand.node, at), operand.height, at)
    }

    /// `left =~ right`, with the regular expression compiled.
    fn matching(
        &mut self,
        negated: bool,
        left: FieldExpr,
        right: FieldExpr,
        at: SourceSpan,
        right_at: SourceSpan,
    ) -> Result<FieldExpr, Fault> {
        let FieldExpr::Literal(Literal::Str(source), _) = right else {
            return Err(Fault::types(right_at, "a regular expression must be a string constant"));
        };
        self.patterns += 1;
        if self.patterns > PATTERNS_MAX {
            let message = format!("more than {PATTERNS_MAX} regular expressions; use alternatives: `a|b`");
            return Err(Fault::new(ParseErrorKind::Regex, right_at, message));
        }
        let pattern = Pattern::new(&source).map_err(|error| {
            let message =
                format!("this regular expression does not compile: {}", last_line(&error.to_string()));
            Fault::new(ParseErrorKind::Regex, right_at, message)
        })?;
        Ok(FieldExpr::Match { negated, operand: Box::new(left), pattern, at })
    }

    /// A constant, without sign, if one stands here.
    pub(super) fn literal(&mut self) -> Result<Option<Literal>, Fault> {
        let literal = match &self.token {
            Token::Str(text) => Literal::Str(text.clone()),
            Token::Int(value) => Literal::Int(
                i64::try_from(*value).map_err(|_| Fault::syntax(self.at, "this integer is too large"))?,
            ),
            Token::Float(value) => Literal::Float(*value),
            // The lexer takes no duration longer than fits.
            Token::Duration(nanos) => Literal::Duration(i64::try_from(*nanos).unwrap_or(i64::MAX)),
            Token::Word(word) => match word_literal(word) {
                Some(literal) => literal,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        self.advance()?;
        Ok(Some(literal))
    }
}

fn word_literal(word: &str) -> Option<Literal> {
    match word {
        "true" => Some(Literal::Bool(true)),
        "false" => Some(Literal::Bool(false)),
        "nil" => Some(Literal::Nil),
        _ => {
            let status = Status::from_word(word).map(Literal::Status);
            status.or_else(|| Kind::from_word(word).map(Literal::Kind))
        }
    }
}

fn unknown_word(word: &str) -> String {
    format!("`{word}` is no intrinsic and no constant; an attribute starts with a dot or a scope: `.{word}`")
}

/// The regex crate draws the pattern over several lines; the last one says what is wrong.
fn last_line(text: &str) -> &str {
    let line = text.lines().next_back().unwrap_or(text);
    line.strip_prefix("error: ").unwrap_or(line)
}
