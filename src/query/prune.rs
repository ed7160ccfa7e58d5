//! From a query to what the table must be asked for.
//!
//! A probe finds traces that may match; it must never miss one. Whole traces are evaluated afterwards, so a probe that is too
//! wide costs time only. Conditions on the same span go together: some row of the table holds that span, and meets them all.

use crate::store::ScanHint;
use crate::store::read::{AttributeScope, HintValue};
use crate::traceql::{
    Attribute, BinaryOp, FieldExpr, Intrinsic, Literal, Query, Scope, SpansetExpr, SpansetOp, Stage, Status,
    StructuralMode,
};

/// More alternatives (`a || b || …`) than this are one probe for everything.
const ALTERNATIVES_MAX: usize = 8;

/// What a matching trace has: one span that meets all hints, and at least this duration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Probe {
    /// Conditions that one span of the trace meets.
    pub hints: Vec<ScanHint>,
    /// The least duration of the whole trace, in nanoseconds.
    pub trace_duration_min_nano: u64,
}

/// A probe that the `traces` table answers alone, which is far smaller than `spans`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TracesProbe {
    /// A service that has a span in it.
    pub service: Option<String>,
    /// Whether a span of it failed.
    pub with_errors: bool,
    /// The least duration of one of its spans.
    pub span_duration_min_nano: Option<u64>,
}

impl Probe {
    /// The question for the `traces` table, if every hint can be asked there.
    pub fn for_traces(&self) -> Option<TracesProbe> {
        let mut probe = TracesProbe::default();
        for hint in &self.hints {
            match hint {
                ScanHint::StatusEquals(2) => probe.with_errors = true,
                ScanHint::MinDurationNano(nanos) => {
                    probe.span_duration_min_nano =
                        Some(probe.span_duration_min_nano.unwrap_or(0).max(*nanos));
                }
                ScanHint::AttributeEquals {
                    scope: AttributeScope::Resource,
                    key,
                    value: HintValue::Str(name),
                } if key == "service.name" && probe.service.is_none() => {
                    probe.service = Some(name.clone());
                }
                _ => return None,
            }
        }
        Some(probe)
    }

    fn everything() -> Vec<Self> {
        vec![Self::default()]
    }

    fn is_everything(&self) -> bool {
        *self == Self::default()
    }

    /// How much a probe narrows, roughly.
    fn weight(&self) -> usize {
        let attributes = |h: &&ScanHint| !matches!(h, ScanHint::KindEquals(_) | ScanHint::MaxDurationNano(_));
        self.hints.iter().filter(attributes).count() * 2 + usize::from(self.trace_duration_min_nano > 0)
    }
}

/// The alternatives of a query: a trace that matches meets at least one.
pub fn probes(query: &Query) -> Vec<Probe> {
    let probes = of_stages(&query.pipeline);
    let any = probes.iter().any(Probe::is_everything) || probes.len() > ALTERNATIVES_MAX;
    if any { Probe::everything() } else { probes }
}

/// Later stages only ever narrow what the first lets through.
fn of_stages(stages: &[Stage]) -> Vec<Probe> {
    match stages.first() {
        Some(Stage::Spansets(expr)) => of_spansets(expr),
        _ => Probe::everything(),
    }
}

fn of_spansets(expr: &SpansetExpr) -> Vec<Probe> {
    match expr {
        SpansetExpr::Filter(None) => Probe::everything(),
        SpansetExpr::Filter(Some(condition)) => of_condition(condition),
        SpansetExpr::Pipeline(stages) => of_stages(stages),
        SpansetExpr::Binary { op: SpansetOp::Or, left, right } => {
            of_spansets(left).into_iter().chain(of_spansets(right)).collect()
        }
        SpansetExpr::Binary {
            op: SpansetOp::Structural { mode: StructuralMode::Negated, .. },
            right,
            ..
        } => of_spansets(right),
        SpansetExpr::Binary { left, right, .. } => narrower(of_spansets(left), of_spansets(right)),
    }
}

/// Both must hold, on different spans perhaps: the one that narrows more is asked for.
fn narrower(left: Vec<Probe>, right: Vec<Probe>) -> Vec<Probe> {
    let weight = |probes: &[Probe]| probes.iter().map(Probe::weight).min().unwrap_or(0);
    if weight(&right) > weight(&left) { right } else { left }
}

fn of_condition(condition: &FieldExpr) -> Vec<Probe> {
    let mut probe = Probe::default();
    let mut alternatives: Option<Vec<Probe>> = None;
    for part in condition.conjuncts() {
        let sides = part.disjuncts();
        if sides.len() > 1 {
            let probes: Vec<Probe> = sides.into_iter().flat_map(of_condition).collect();
            alternatives.get_or_insert(probes);
        } else {
            add(part, &mut probe);
        }
    }
    match alternatives {
        Some(probes) if probe.is_everything() => probes,
        _ => vec![probe],
    }
}

/// Adds what a single comparison says, if it says something that the table knows.
fn add(part: &FieldExpr, probe: &mut Probe) {
    let FieldExpr::Binary { op, left, right, .. } = part else { return };
    let (op, field, literal) = match (&**left, &**right) {
        (field, FieldExpr::Literal(literal, _)) => (*op, field, literal),
        (FieldExpr::Literal(literal, _), field) => (mirrored(*op), field, literal),
        _ => return,
    };
    match field {
        FieldExpr::Intrinsic(Intrinsic::TraceDuration, _) => {
            if let (Some(nanos), true) = (nanos(literal), at_least(op)) {
                probe.trace_duration_min_nano = probe.trace_duration_min_nano.max(nanos);
            }
        }
        FieldExpr::Intrinsic(intrinsic, _) => probe.hints.extend(of_intrinsic(*intrinsic, op, literal)),
        FieldExpr::Attribute(attribute) => probe.hints.extend(of_attribute(attribute, op, literal)),
        _ => {}
    }
}

fn mirrored(op: BinaryOp) -> BinaryOp {
    match op {
        BinaryOp::Less => BinaryOp::Greater,
        BinaryOp::LessEqual => BinaryOp::GreaterEqual,
        BinaryOp::Greater => BinaryOp::Less,
        BinaryOp::GreaterEqual => BinaryOp::LessEqual,
        other => other,
    }
}

fn at_least(op: BinaryOp) -> bool {
    matches!(op, BinaryOp::Greater | BinaryOp::GreaterEqual | BinaryOp::Equal)
}

fn of_intrinsic(intrinsic: Intrinsic, op: BinaryOp, literal: &Literal) -> Option<ScanHint> {
    match (intrinsic, literal) {
        (Intrinsic::Duration, _) if at_least(op) => nanos(literal).map(ScanHint::MinDurationNano),
        (Intrinsic::Duration, _) if matches!(op, BinaryOp::Less | BinaryOp::LessEqual) => {
            nanos(literal).map(ScanHint::MaxDurationNano)
        }
        (Intrinsic::Name, Literal::Str(name)) if op == BinaryOp::Equal => {
            Some(ScanHint::NameEquals(name.clone()))
        }
        // Unknown codes count as unset: no hint for that one.
        (Intrinsic::Status, Literal::Status(Status::Error)) if op == BinaryOp::Equal => {
            Some(ScanHint::StatusEquals(2))
        }
        (Intrinsic::Status, Literal::Status(Status::Ok)) if op == BinaryOp::Equal => {
            Some(ScanHint::StatusEquals(1))
        }
        (Intrinsic::Kind, Literal::Kind(kind)) if op == BinaryOp::Equal => {
            let number = *kind as i32;
            (number > 0).then_some(ScanHint::KindEquals(number))
        }
        _ => None,
    }
}

/// Equality with a string or a boolean. Numbers compare across types (`= 500` finds `500.0` too), columns do not.
fn of_attribute(attribute: &Attribute, op: BinaryOp, literal: &Literal) -> Option<ScanHint> {
    if op != BinaryOp::Equal || attribute.parent {
        return None;
    }
    let scope = match attribute.scope {
        Scope::Span => AttributeScope::Span,
        Scope::Resource => AttributeScope::Resource,
        _ => return None,
    };
    let value = match literal {
        Literal::Str(text) => HintValue::Str(text.clone()),
        Literal::Bool(value) => HintValue::Bool(*value),
        Literal::Int(value) => HintValue::Int(*value),
        _ => return None,
    };
    Some(ScanHint::AttributeEquals { scope, key: attribute.name.clone(), value })
}

/// A number of nanoseconds; plain numbers compare with durations as nanoseconds.
fn nanos(literal: &Literal) -> Option<u64> {
    match literal {
        Literal::Duration(nanos) | Literal::Int(nanos) => u64::try_from(*nanos).ok(),
        _ => None,
    }
}
