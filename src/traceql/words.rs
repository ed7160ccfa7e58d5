//! The words of the language: one table for the lexer, which reads them, and for `Display`, which writes them.

use super::ast::{
    AggregateOp, BinaryOp, Intrinsic, Kind, Relation, Scope, SpansetOp, Status, StructuralMode,
};

/// Every intrinsic: the word written, its group before `:` and its name after it (empty where it has none).
/// The first spelling of an intrinsic that is not empty is the one written back.
const INTRINSICS: &[(Intrinsic, &str, &str, &str)] = &[
    (Intrinsic::Duration, "duration", "span", "duration"),
    (Intrinsic::Name, "name", "span", "name"),
    (Intrinsic::Status, "status", "span", "status"),
    (Intrinsic::StatusMessage, "statusMessage", "span", "statusMessage"),
    (Intrinsic::Kind, "kind", "span", "kind"),
    (Intrinsic::Parent, "parent", "", ""),
    (Intrinsic::RootName, "rootName", "trace", "rootName"),
    (Intrinsic::RootServiceName, "rootServiceName", "trace", "rootService"),
    (Intrinsic::TraceDuration, "traceDuration", "trace", "duration"),
    (Intrinsic::TraceId, "", "trace", "id"),
    (Intrinsic::NestedSetLeft, "nestedSetLeft", "", ""),
    (Intrinsic::NestedSetRight, "nestedSetRight", "", ""),
    (Intrinsic::NestedSetParent, "nestedSetParent", "", ""),
    (Intrinsic::SpanId, "", "span", "id"),
    (Intrinsic::ParentId, "", "span", "parentID"),
    (Intrinsic::ChildCount, "", "span", "childCount"),
    (Intrinsic::EventName, "", "event", "name"),
    (Intrinsic::EventTimeSinceStart, "", "event", "timeSinceStart"),
    (Intrinsic::LinkTraceId, "", "link", "traceID"),
    (Intrinsic::LinkSpanId, "", "link", "spanID"),
    (Intrinsic::InstrumentationName, "", "instrumentation", "name"),
    (Intrinsic::InstrumentationVersion, "", "instrumentation", "version"),
];

impl Intrinsic {
    /// Every intrinsic, in a stable order.
    pub fn all() -> impl Iterator<Item = Self> {
        INTRINSICS.iter().map(|entry| entry.0)
    }

    /// The intrinsic that `word` names: `duration`, `span:duration`, `trace:rootService`.
    pub fn from_word(word: &str) -> Option<Self> {
        INTRINSICS
            .iter()
            .find(|(_, plain, group, name)| match word.split_once(':') {
                Some(scoped) => !group.is_empty() && scoped == (*group, *name),
                None => !plain.is_empty() && word == *plain,
            })
            .map(|entry| entry.0)
    }

    /// The word that names it, the short one where there are two.
    pub fn word(self) -> String {
        let (_, plain, group, name) =
            INTRINSICS.iter().find(|entry| entry.0 == self).expect("the table lists every intrinsic");
        if plain.is_empty() { format!("{group}:{name}") } else { (*plain).to_owned() }
    }
}

/// Scopes as written before a dot.
const SCOPES: &[(Scope, &str)] = &[
    (Scope::Unscoped, ""),
    (Scope::Span, "span"),
    (Scope::Resource, "resource"),
    (Scope::Event, "event"),
    (Scope::Link, "link"),
    (Scope::Instrumentation, "instrumentation"),
];

impl Scope {
    /// The scopes that `.x` is looked for in, in order.
    pub const SEARCHED: [Self; 5] =
        [Self::Span, Self::Resource, Self::Event, Self::Link, Self::Instrumentation];

    /// The scope that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        SCOPES.iter().find(|entry| !word.is_empty() && entry.1 == word).map(|entry| entry.0)
    }

    /// The word that names it; empty for the unscoped one.
    pub fn word(self) -> &'static str {
        SCOPES.iter().find(|entry| entry.0 == self).map_or("", |entry| entry.1)
    }
}

/// Statuses as written.
const STATUSES: &[(Status, &str)] = &[(Status::Ok, "ok"), (Status::Error, "error"), (Status::Unset, "unset")];

impl Status {
    /// The status that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        STATUSES.iter().find(|entry| entry.1 == word).map(|entry| entry.0)
    }

    /// The word that names it.
    pub fn word(self) -> &'static str {
        STATUSES.iter().find(|entry| entry.0 == self).map_or("unset", |entry| entry.1)
    }
}

/// Kinds as written.
const KINDS: &[(Kind, &str)] = &[
    (Kind::Unspecified, "unspecified"),
    (Kind::Internal, "internal"),
    (Kind::Server, "server"),
    (Kind::Client, "client"),
    (Kind::Producer, "producer"),
    (Kind::Consumer, "consumer"),
];

impl Kind {
    /// The kind that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        KINDS.iter().find(|entry| entry.1 == word).map(|entry| entry.0)
    }

    /// The word that names it.
    pub fn word(self) -> &'static str {
        KINDS.iter().find(|entry| entry.0 == self).map_or("unspecified", |entry| entry.1)
    }
}

/// Aggregates as written.
const AGGREGATES: &[(AggregateOp, &str)] = &[
    (AggregateOp::Count, "count"),
    (AggregateOp::Avg, "avg"),
    (AggregateOp::Max, "max"),
    (AggregateOp::Min, "min"),
    (AggregateOp::Sum, "sum"),
];

impl AggregateOp {
    /// The aggregate that `word` names.
    pub fn from_word(word: &str) -> Option<Self> {
        AGGREGATES.iter().find(|entry| entry.1 == word).map(|entry| entry.0)
    }

    /// The word that names it.
    pub fn word(self) -> &'static str {
        AGGREGATES.iter().find(|entry| entry.0 == self).map_or("count", |entry| entry.1)
    }
}

/// Stages of metrics queries: known, so that the error says so.
pub(super) const METRICS: &[&str] = &[
    "rate",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "avg_over_time",
    "sum_over_time",
    "quantile_over_time",
    "histogram_over_time",
    "compare",
    "topk",
    "bottomk",
];

/// How tightly operators bind, loosest first. Prefix `-` binds like `+`, prefix `!` a little tighter.
pub(super) mod precedence {
    pub const LOGIC: u8 = 1;
    pub const COMPARISON: u8 = 2;
    /// What `Display` takes a prefix and its operand for: in parentheses beside arithmetic, bare elsewhere.
    pub const PREFIX: u8 = 3;
    pub const SUM: u8 = 4;
    pub const NOT: u8 = 5;
    pub const PRODUCT: u8 = 6;
    pub const POWER: u8 = 7;
}

/// Operators between fields or scalars, as written.
const BINARY: &[(BinaryOp, &str)] = &[
    (BinaryOp::Or, "||"),
    (BinaryOp::And, "&&"),
    (BinaryOp::Equal, "="),
    (BinaryOp::NotEqual, "!="),
    (BinaryOp::Less, "<"),
    (BinaryOp::LessEqual, "<="),
    (BinaryOp::Greater, ">"),
    (BinaryOp::GreaterEqual, ">="),
    (BinaryOp::Add, "+"),
    (BinaryOp::Subtract, "-"),
    (BinaryOp::Multiply, "*"),
    (BinaryOp::Divide, "/"),
    (BinaryOp::Modulo, "%"),
    (BinaryOp::Power, "^"),
];

impl BinaryOp {
    /// The operator that `symbol` stands for.
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        BINARY.iter().find(|entry| entry.1 == symbol).map(|entry| entry.0)
    }

    /// The symbol that stands for it.
    pub fn symbol(self) -> &'static str {
        BINARY.iter().find(|entry| entry.0 == self).map_or("", |entry| entry.1)
    }

    /// How tightly it binds. Evaluation asks for every span, so this is no look-up in a table.
    pub(super) const fn precedence(self) -> u8 {
        match self {
            Self::Or | Self::And => precedence::LOGIC,
            Self::Equal | Self::NotEqual => precedence::COMPARISON,
            Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual => precedence::COMPARISON,
            Self::Add | Self::Subtract => precedence::SUM,
            Self::Multiply | Self::Divide | Self::Modulo => precedence::PRODUCT,
            Self::Power => precedence::POWER,
        }
    }

    /// `&&`, `||`.
    pub fn is_logic(self) -> bool {
        self.precedence() == precedence::LOGIC
    }

    /// `= != < <= > >=`.
    pub fn is_comparison(self) -> bool {
        self.precedence() == precedence::COMPARISON
    }

    /// `+ - * / % ^`.
    pub fn is_arithmetic(self) -> bool {
        self.precedence() >= precedence::SUM
    }
}

const fn structural(relation: Relation, mode: StructuralMode) -> SpansetOp {
    SpansetOp::Structural { relation, mode }
}

/// Operators between spansets.
const SPANSETS: &[(SpansetOp, &str)] = &[
    (SpansetOp::And, "&&"),
    (SpansetOp::Or, "||"),
    (structural(Relation::Child, StructuralMode::Plain), ">"),
    (structural(Relation::Descendant, StructuralMode::Plain), ">>"),
    (structural(Relation::Parent, StructuralMode::Plain), "<"),
    (structural(Relation::Ancestor, StructuralMode::Plain), "<<"),
    (structural(Relation::Sibling, StructuralMode::Plain), "~"),
    (structural(Relation::Child, StructuralMode::Negated), "!>"),
    (structural(Relation::Descendant, StructuralMode::Negated), "!>>"),
    (structural(Relation::Parent, StructuralMode::Negated), "!<"),
    (structural(Relation::Ancestor, StructuralMode::Negated), "!<<"),
    (structural(Relation::Sibling, StructuralMode::Negated), "!~"),
    (structural(Relation::Child, StructuralMode::Union), "&>"),
    (structural(Relation::Descendant, StructuralMode::Union), "&>>"),
    (structural(Relation::Parent, StructuralMode::Union), "&<"),
    (structural(Relation::Ancestor, StructuralMode::Union), "&<<"),
    (structural(Relation::Sibling, StructuralMode::Union), "&~"),
];

impl SpansetOp {
    /// The operator that `symbol` stands for.
    pub fn from_symbol(symbol: &str) -> Option<Self> {
        SPANSETS.iter().find(|entry| entry.1 == symbol).map(|entry| entry.0)
    }

    /// The symbol that stands for it.
    pub fn symbol(self) -> &'static str {
        SPANSETS.iter().find(|entry| entry.0 == self).map_or("", |entry| entry.1)
    }

    /// Its precedence.
    pub(super) fn precedence(self) -> u8 {
        match self {
            Self::And | Self::Or => precedence::LOGIC,
            Self::Structural { .. } => precedence::COMPARISON,
        }
    }
}
