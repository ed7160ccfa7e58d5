//! Numbers over a spanset.

use super::pipeline::note;
use super::{Evaluator, MatchedSpanset, Row, values_of};
use crate::traceql::access::{TraceAccess, Value};
use crate::traceql::ast::{AggregateOp, BinaryOp, FieldExpr, Literal, ScalarExpr, ScalarFilter};
use crate::traceql::values;

impl<T: TraceAccess> Evaluator<'_, T> {
    /// Whether the comparison holds; the aggregates in it become attributes of the spanset.
    pub(super) fn scalar_holds(&self, filter: &ScalarFilter, set: &mut MatchedSpanset) -> bool {
        let mut noted = Vec::new();
        let left = self.scalar(&filter.left, &set.spans, &mut noted);
        let right = self.scalar(&filter.right, &set.spans, &mut noted);
        let (Some(left), Some(right)) = (left, right) else { return false };
        for (name, value) in noted {
            note(&mut set.attributes, &name, value);
        }
        values::holds(filter.op, &left, &right)
    }

    fn scalar(
        &self,
        expr: &ScalarExpr,
        spans: &[usize],
        noted: &mut Vec<(String, Literal)>,
    ) -> Option<Value<'static>> {
        match expr {
            ScalarExpr::Literal(literal, _) => number(&literal.as_value()?),
            ScalarExpr::Aggregate { op, field, .. } => {
                let value = self.aggregate(*op, field.as_ref(), spans)?;
                noted.push((expr.to_string(), value.to_literal()));
                Some(value)
            }
            ScalarExpr::Binary { op, left, right, .. } => {
                let left = self.scalar(left, spans, noted)?;
                let right = self.scalar(right, spans, noted)?;
                values::arithmetic(*op, &left, &right)
            }
            ScalarExpr::Pipeline { stages, scalar, .. } => {
                let input = MatchedSpanset { spans: spans.to_vec(), attributes: Vec::new() };
                let mut found: Vec<usize> =
                    self.run(stages, vec![input]).into_iter().flat_map(|set| set.spans).collect();
                found.sort_unstable();
                found.dedup();
                // What holds for another pipeline's spans is no attribute of this spanset.
                self.scalar(scalar, &found, &mut Vec::new())
            }
        }
    }

    /// `None` where no span has a number to take it over; `count()` always has one.
    fn aggregate(
        &self,
        op: AggregateOp,
        field: Option<&FieldExpr>,
        spans: &[usize],
    ) -> Option<Value<'static>> {
        let Some(field) = field else {
            return Some(Value::Int(i64::try_from(spans.len()).unwrap_or(i64::MAX)));
        };
        let mut total = Total::default();
        for span in spans {
            let row = Row { evaluator: self, span: *span };
            values_of(field, &row).as_slice().iter().filter_map(number).for_each(|value| total.add(value));
        }
        total.give(op)
    }
}

/// The value, owned, if it is a number.
fn number(value: &Value<'_>) -> Option<Value<'static>> {
    match value {
        Value::Int(value) => Some(Value::Int(*value)),
        Value::Float(value) if !value.is_nan() => Some(Value::Float(*value)),
        Value::Duration(nanos) => Some(Value::Duration(*nanos)),
        _ => None,
    }
}

/// Numbers seen so far. Sums stay exact while only integers, or only durations, are added and they fit.
#[derive(Default)]
struct Total {
    count: u64,
    sum: Option<Value<'static>>,
    float_sum: f64,
    all_durations: bool,
    least: Option<Value<'static>>,
    greatest: Option<Value<'static>>,
}

impl Total {
    fn add(&mut self, value: Value<'static>) {
        let is_duration = matches!(value, Value::Duration(_));
        self.all_durations = is_duration && (self.count == 0 || self.all_durations);
        self.sum = if self.count == 0 {
            Some(value.clone())
        } else {
            self.sum.take().and_then(|sum| values::arithmetic(BinaryOp::Add, &sum, &value))
        };
        self.count += 1;
        self.float_sum += values::as_float(&value).unwrap_or(0.0);
        replace_if(&mut self.least, &value, BinaryOp::Less);
        replace_if(&mut self.greatest, &value, BinaryOp::Greater);
    }

    fn give(self, op: AggregateOp) -> Option<Value<'static>> {
        if self.count == 0 {
            return None;
        }
        match op {
            AggregateOp::Count => i64::try_from(self.count).ok().map(Value::Int),
            AggregateOp::Min => self.least,
            AggregateOp::Max => self.greatest,
            AggregateOp::Sum => self.sum.or(Some(Value::Float(self.float_sum))),
            AggregateOp::Avg => {
                let average = self.float_sum / self.count as f64;
                let duration = self.all_durations.then(|| values::rounded(average)).flatten();
                Some(duration.map_or(Value::Float(average), Value::Duration))
            }
        }
    }
}

fn replace_if(kept: &mut Option<Value<'static>>, value: &Value<'static>, op: BinaryOp) {
    if kept.as_ref().is_none_or(|kept| values::holds(op, value, kept)) {
        *kept = Some(value.clone());
    }
}
