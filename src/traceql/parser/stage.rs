//! Pipelines, their stages, and the expressions of spansets and scalars.

use super::{Parser, Tall, grown};
use crate::traceql::ast::{
    AggregateOp, BinaryOp, FieldExpr, Literal, ScalarExpr, ScalarFilter, SourceSpan, SpansetExpr, SpansetOp,
    Stage,
};
use crate::traceql::error::{Fault, ParseErrorKind};
use crate::traceql::fold;
use crate::traceql::lexer::Token;
use crate::traceql::words::{METRICS, precedence};

/// What an expression outside braces can be: which one shows only once it is read.
enum Operand {
    Spansets(SpansetExpr),
    Scalar(ScalarExpr),
    Filter(ScalarFilter),
}

/// Stages, and a number after the last `|` that nothing has compared yet.
type Stages = (Tall<Vec<Stage>>, Option<ScalarExpr>);

const OPERAND: &str = "`{`, `(`, an aggregate or a constant";

impl Parser<'_> {
    /// `stage | stage | …`, up to something else.
    pub(super) fn stages(&mut self) -> Result<Stages, Fault> {
        let mut stages = Tall { node: Vec::new(), height: 0 };
        loop {
            let stage = self.stage(stages.node.is_empty())?;
            stages.height = stages.height.max(stage.height);
            match stage.node {
                Ok(stage) => stages.node.push(stage),
                Err(scalar) => return Ok((stages, Some(scalar))),
            }
            if !self.take("|")? {
                return Ok((stages, None));
            }
        }
    }

    /// One stage, or a number without a comparison.
    fn stage(&mut self, first: bool) -> Result<Tall<Result<Stage, ScalarExpr>>, Fault> {
        let at = self.at;
        if let Token::Word(word) = &self.token {
            let word = word.clone();
            if METRICS.contains(&word.as_str()) {
                let message = format!("metrics queries (`{word}`) are not supported yet");
                return Err(Fault::new(ParseErrorKind::Unsupported, at, message));
            }
            if matches!(word.as_str(), "coalesce" | "select") && first {
                return Err(Fault::syntax(at, format!("`{word}` cannot be the first stage")));
            }
            match word.as_str() {
                "by" => return Ok(self.by()?.map(Ok)),
                "coalesce" => return Ok(self.coalesce()?.map(Ok)),
                "select" => return Ok(self.select()?.map(Ok)),
                _ => {}
            }
        }
        Ok(self.operand_above(0)?.map(|operand| match operand {
            Operand::Spansets(expr) => Ok(Stage::Spansets(expr)),
            Operand::Filter(filter) => Ok(Stage::Scalar(filter)),
            Operand::Scalar(scalar) => Err(scalar),
        }))
    }

    fn by(&mut self) -> Result<Tall<Stage>, Fault> {
        self.advance()?;
        self.expect("(")?;
        let field = self.field()?;
        self.expect(")")?;
        Ok(field.map(Stage::By))
    }

    fn coalesce(&mut self) -> Result<Tall<Stage>, Fault> {
        self.advance()?;
        self.expect("(")?;
        self.expect(")")?;
        Ok(Tall::leaf(Stage::Coalesce))
    }

    fn select(&mut self) -> Result<Tall<Stage>, Fault> {
        self.advance()?;
        self.expect("(")?;
        let mut fields = Vec::new();
        loop {
            let field = self.field()?.node;
            if !matches!(field, FieldExpr::Attribute(_) | FieldExpr::Intrinsic(..)) {
                return Err(Fault::syntax(field.at(), "`select` takes attributes and intrinsics"));
            }
            fields.push(field);
            if !self.take(",")? {
                self.expect(")")?;
                return Ok(Tall::leaf(Stage::Select(fields)));
            }
        }
    }

    /// Spansets or scalars combined by operators that bind tighter than `floor`.
    fn operand_above(&mut self, floor: u8) -> Result<Tall<Operand>, Fault> {
        let start = self.at;
        let mut left = self.single()?;
        while let Some(symbol) = self.symbol() {
            let spanset_op = SpansetOp::from_symbol(symbol);
            let scalar_op = BinaryOp::from_symbol(symbol);
            let levels = (spanset_op.map(SpansetOp::precedence), scalar_op.map(BinaryOp::precedence));
            let Some(level) = levels.0.or(levels.1).filter(|level| *level > floor) else { break };
            let op_at = self.at;
            self.advance()?;
            let right = match scalar_op {
                Some(BinaryOp::Power) => self.nested(|parser| parser.operand_above(level - 1))?,
                _ => self.operand_above(level)?,
            };
            let height = left.height.max(right.height);
            let at = self.since(start);
            let node = match (left.node, right.node) {
                (Operand::Spansets(left), Operand::Spansets(right)) => {
                    combined(spanset_op, left, right, op_at).map(Operand::Spansets)
                }
                (Operand::Scalar(left), Operand::Scalar(right)) => {
                    computed(scalar_op, left, right, at, op_at)
                }
                _ => Err(Fault::syntax(op_at, "this operator stands between a spanset and a number")),
            }?;
            left = grown(node, height, at)?;
        }
        Ok(left)
    }

    /// One operand: `{…}`, `(…)`, an aggregate, a number.
    fn single(&mut self) -> Result<Tall<Operand>, Fault> {
        let at = self.at;
        match self.symbol() {
            Some("{") => return Ok(self.filter()?.map(Operand::Spansets)),
            Some("(") => return self.nested(Self::parenthesised),
            Some("-") => return self.negative(),
            Some(_) => return Err(self.expected(OPERAND)),
            None => {}
        }
        if let Token::Word(word) = &self.token {
            if let Some(op) = AggregateOp::from_word(word) {
                return self.aggregate(op);
            }
            if word == "by" || word == "coalesce" || word == "select" || METRICS.contains(&word.as_str()) {
                let message = format!("`{word}` is a stage of its own, after `|`");
                return Err(Fault::syntax(at, message));
            }
        }
        match self.literal()? {
            Some(literal @ (Literal::Int(_) | Literal::Float(_) | Literal::Duration(_))) => {
                Ok(Tall::leaf(Operand::Scalar(ScalarExpr::Literal(literal, at))))
            }
            Some(_) => Err(Fault::types(at, "expected a number or a duration")),
            None => Err(self.expected(OPERAND)),
        }
    }

    /// `-x`: a negative constant, or `(-1) * x`.
    fn negative(&mut self) -> Result<Tall<Operand>, Fault> {
        let start = self.at;
        self.advance()?;
        if self.token == Token::Int(i64::MIN.unsigned_abs()) {
            self.advance()?;
            let literal = Literal::Int(i64::MIN);
            return Ok(Tall::leaf(Operand::Scalar(ScalarExpr::Literal(literal, self.since(start)))));
        }
        let operand = self.nested(|parser| parser.operand_above(precedence::SUM))?;
        let at = self.since(start);
        let Operand::Scalar(scalar) = operand.node else {
            return Err(Fault::syntax(at, "only a number can be negated here"));
        };
        let minus_one = ScalarExpr::Literal(Literal::Int(-1), start);
        let node = fold::scalar_expr(BinaryOp::Multiply, minus_one, scalar, at)?;
        grown(Operand::Scalar(node), operand.height, at)
    }

    /// `{ condition }`.
    fn filter(&mut self) -> Result<Tall<SpansetExpr>, Fault> {
        self.advance()?;
        if self.take("}")? {
            return Ok(Tall::leaf(SpansetExpr::Filter(None)));
        }
        let condition = self.field()?;
        if self.symbol() != Some("}") {
            return Err(self.expected("an operator or `}`"));
        }
        self.advance()?;
        Ok(condition.map(|condition| SpansetExpr::Filter(Some(condition))))
    }

    /// `( … )`: grouping, a pipeline of its own, or the number such a pipeline ends in.
    fn parenthesised(&mut self) -> Result<Tall<Operand>, Fault> {
        let start = self.at;
        self.advance()?;
        let (mut stages, scalar) = self.stages()?;
        if self.symbol() != Some(")") {
            return Err(self.expected("an operator, `|` or `)`"));
        }
        self.advance()?;
        let at = self.since(start);
        let node = match scalar {
            Some(scalar) if stages.node.is_empty() => Operand::Scalar(scalar),
            Some(scalar) => {
                Operand::Scalar(ScalarExpr::Pipeline { stages: stages.node, scalar: Box::new(scalar), at })
            }
            None if stages.node.len() == 1 => match stages.node.pop() {
                Some(Stage::Spansets(expr)) => Operand::Spansets(expr),
                other => Operand::Spansets(SpansetExpr::Pipeline(other.into_iter().collect())),
            },
            None => Operand::Spansets(SpansetExpr::Pipeline(stages.node)),
        };
        grown(node, stages.height, at)
    }

    /// `count()`, `avg(field)`.
    fn aggregate(&mut self, op: AggregateOp) -> Result<Tall<Operand>, Fault> {
        let start = self.at;
        self.advance()?;
        self.expect("(")?;
        let (field, height) = if op == AggregateOp::Count {
            (None, 0)
        } else {
            let field = self.field()?;
            (Some(field.node), field.height)
        };
        self.expect(")")?;
        let at = self.since(start);
        grown(Operand::Scalar(ScalarExpr::Aggregate { op, field, at }), height, at)
    }
}

fn combined(
    op: Option<SpansetOp>,
    left: SpansetExpr,
    right: SpansetExpr,
    op_at: SourceSpan,
) -> Result<SpansetExpr, Fault> {
    let op = op.ok_or_else(|| Fault::syntax(op_at, "this operator does not combine spansets"))?;
    Ok(SpansetExpr::Binary { op, left: Box::new(left), right: Box::new(right) })
}

fn computed(
    op: Option<BinaryOp>,
    left: ScalarExpr,
    right: ScalarExpr,
    at: SourceSpan,
    op_at: SourceSpan,
) -> Result<Operand, Fault> {
    match op {
        Some(op) if op.is_comparison() => Ok(Operand::Filter(ScalarFilter { op, left, right, at })),
        Some(op) if op.is_arithmetic() => fold::scalar_expr(op, left, right, at).map(Operand::Scalar),
        _ => Err(Fault::syntax(op_at, "this operator does not combine numbers")),
    }
}
