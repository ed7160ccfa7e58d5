//! The syntax tree of a TraceQL query, as `parse` builds it and `eval` runs it.
//!
//! Two trees are equal when they ask the same thing: source positions do not count.

use std::fmt;

/// Where in the query's text a node stands: byte offsets, end exclusive.
#[derive(Debug, Clone, Copy, Default)]
pub struct SourceSpan {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset after the last byte.
    pub end: usize,
}

impl SourceSpan {
    /// The span from `start` to `end` (exclusive).
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The smallest span that holds both.
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start.min(other.start), self.end.max(other.end))
    }
}

/// Positions do not take part in comparing trees: any two are equal.
impl PartialEq for SourceSpan {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// A whole query: a pipeline of at least one stage, and its hints.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// What spansets pass through, in order. Never empty.
    pub pipeline: Vec<Stage>,
    /// `with(name=value, …)` at the end; unknown names are kept and mean nothing.
    pub hints: Vec<Hint>,
}

/// One `name=value` of `with(…)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Hint {
    /// The name as written.
    pub name: String,
    /// Its value.
    pub value: Literal,
}

/// One stage of a pipeline, between two `|`.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    /// `{ … }`, or several combined by spanset operators.
    Spansets(SpansetExpr),
    /// `count() > 2`: keeps the spansets for which the comparison holds.
    Scalar(ScalarFilter),
    /// `by(field)`: splits every spanset by the field's value.
    By(FieldExpr),
    /// `coalesce()`: merges all spansets into one again.
    Coalesce,
    /// `select(a, b)`: fields to return beside those the query names.
    Select(Vec<FieldExpr>),
}

/// An expression that gives spansets.
#[derive(Debug, Clone, PartialEq)]
pub enum SpansetExpr {
    /// `{ condition }`; `None` is `{ }`, which takes every span.
    Filter(Option<FieldExpr>),
    /// `left op right`.
    Binary {
        /// What relates both sides.
        op: SpansetOp,
        /// The left side.
        left: Box<SpansetExpr>,
        /// The right side, the one whose spans structural operators give.
        right: Box<SpansetExpr>,
    },
    /// `( … | … )`, a pipeline of its own inside parentheses; at least one stage, and never a single [`Stage::Spansets`].
    Pipeline(Vec<Stage>),
}

/// An operator between two spansets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SpansetOp {
    /// `&&`: both sides must find spans; gives the spans of both.
    And,
    /// `||`: the spans of either.
    Or,
    /// A relation in the tree of spans, as seen from the right side.
    Structural {
        /// Which relation.
        relation: Relation,
        /// Whether it must hold, must not hold, or gives both its ends.
        mode: StructuralMode,
    },
}

/// How a span of the right side relates to one of the left side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Relation {
    /// `>`: right is a child of left.
    Child,
    /// `>>`: right is a descendant of left.
    Descendant,
    /// `<`: right is the parent of left.
    Parent,
    /// `<<`: right is an ancestor of left.
    Ancestor,
    /// `~`: both have the same parent.
    Sibling,
}

/// What a structural operator gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StructuralMode {
    /// `>`: right spans for which it holds.
    Plain,
    /// `!>`: right spans for which it holds with no left span.
    Negated,
    /// `&>`: left and right spans that take part in it.
    Union,
}

/// A comparison of two numbers taken over a spanset.
#[derive(Debug, Clone, PartialEq)]
pub struct ScalarFilter {
    /// `=`, `!=`, `<`, `<=`, `>` or `>=`.
    pub op: BinaryOp,
    /// The left side.
    pub left: ScalarExpr,
    /// The right side.
    pub right: ScalarExpr,
    /// Where it stands.
    pub at: SourceSpan,
}

/// A number taken over a spanset.
#[derive(Debug, Clone, PartialEq)]
pub enum ScalarExpr {
    /// `count()`, `avg(duration)`, …
    Aggregate {
        /// Which one.
        op: AggregateOp,
        /// What it is taken over; `None` for `count()` only.
        field: Option<FieldExpr>,
        /// Where it stands.
        at: SourceSpan,
    },
    /// A number or a duration.
    Literal(Literal, SourceSpan),
    /// `left op right`, arithmetic only.
    Binary {
        /// `+ - * / % ^`.
        op: BinaryOp,
        /// The left side.
        left: Box<ScalarExpr>,
        /// The right side.
        right: Box<ScalarExpr>,
        /// Where it stands.
        at: SourceSpan,
    },
    /// `({ … } | count())`: the number of another pipeline over the same trace.
    Pipeline {
        /// The stages before the number; never empty.
        stages: Vec<Stage>,
        /// The number.
        scalar: Box<ScalarExpr>,
        /// Where it stands.
        at: SourceSpan,
    },
}

/// An aggregate over the spans of a spanset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AggregateOp {
    /// `count()`.
    Count,
    /// `avg(field)`.
    Avg,
    /// `max(field)`.
    Max,
    /// `min(field)`.
    Min,
    /// `sum(field)`.
    Sum,
}

/// An expression over one span.
#[derive(Debug, Clone, PartialEq)]
pub enum FieldExpr {
    /// `span.http.route`, `.x`, `parent.resource.y`.
    Attribute(Attribute),
    /// `duration`, `span:id`, …
    Intrinsic(Intrinsic, SourceSpan),
    /// A constant.
    Literal(Literal, SourceSpan),
    /// `!x`, `-x`.
    Unary {
        /// Which one.
        op: UnaryOp,
        /// What it applies to.
        operand: Box<FieldExpr>,
        /// Where it stands.
        at: SourceSpan,
    },
    /// `left op right`.
    Binary {
        /// Which one.
        op: BinaryOp,
        /// The left side.
        left: Box<FieldExpr>,
        /// The right side.
        right: Box<FieldExpr>,
        /// Where it stands.
        at: SourceSpan,
    },
    /// `operand =~ "…"` and `operand !~ "…"`.
    Match {
        /// True for `!~`.
        negated: bool,
        /// What is matched.
        operand: Box<FieldExpr>,
        /// The whole value must match it.
        pattern: Pattern,
        /// Where it stands.
        at: SourceSpan,
    },
}

impl FieldExpr {
    /// Where the expression stands in the query.
    pub fn at(&self) -> SourceSpan {
        match self {
            Self::Attribute(attribute) => attribute.at,
            Self::Intrinsic(_, at) | Self::Literal(_, at) => *at,
            Self::Unary { at, .. } | Self::Binary { at, .. } | Self::Match { at, .. } => *at,
        }
    }
}

impl ScalarExpr {
    /// Where the expression stands in the query.
    pub fn at(&self) -> SourceSpan {
        match self {
            Self::Aggregate { at, .. } | Self::Binary { at, .. } | Self::Pipeline { at, .. } => *at,
            Self::Literal(_, at) => *at,
        }
    }
}

/// A reference to an attribute.
#[derive(Debug, Clone, PartialEq)]
pub struct Attribute {
    /// True when it is the attribute of the span's parent (`parent.x`).
    pub parent: bool,
    /// Where to look.
    pub scope: Scope,
    /// Its key, without scope and quotes. Never empty.
    pub name: String,
    /// Where it stands.
    pub at: SourceSpan,
}

/// Where an attribute is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scope {
    /// `.x`: span, then resource, event, link, instrumentation: the first that has it.
    Unscoped,
    /// `span.x`.
    Span,
    /// `resource.x`.
    Resource,
    /// `event.x`: the values of all events of the span.
    Event,
    /// `link.x`: the values of all links of the span.
    Link,
    /// `instrumentation.x`.
    Instrumentation,
}

/// What a span or its trace has without attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Intrinsic {
    /// `duration`, `span:duration` (duration).
    Duration,
    /// `name`, `span:name` (string).
    Name,
    /// `status`, `span:status`.
    Status,
    /// `statusMessage`, `span:statusMessage` (string).
    StatusMessage,
    /// `kind`, `span:kind`.
    Kind,
    /// `parent`: there when the span has a parent id (compare with `nil`).
    Parent,
    /// `rootName`, `trace:rootName` (string).
    RootName,
    /// `rootServiceName`, `trace:rootService` (string).
    RootServiceName,
    /// `traceDuration`, `trace:duration` (duration).
    TraceDuration,
    /// `trace:id` (string, lower hex).
    TraceId,
    /// `nestedSetLeft` (integer).
    NestedSetLeft,
    /// `nestedSetRight` (integer).
    NestedSetRight,
    /// `nestedSetParent` (integer; −1 for a root, 0 where the parent did not arrive).
    NestedSetParent,
    /// `span:id` (string, lower hex).
    SpanId,
    /// `span:parentID` (string, lower hex).
    ParentId,
    /// `span:childCount` (integer).
    ChildCount,
    /// `event:name` (strings).
    EventName,
    /// `event:timeSinceStart` (durations).
    EventTimeSinceStart,
    /// `link:traceID` (strings, lower hex).
    LinkTraceId,
    /// `link:spanID` (strings, lower hex).
    LinkSpanId,
    /// `instrumentation:name` (string).
    InstrumentationName,
    /// `instrumentation:version` (string).
    InstrumentationVersion,
}

/// An operator before its operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `!`.
    Not,
    /// `-`.
    Negate,
}

/// An operator between two field or scalar expressions. Regex matches are [`FieldExpr::Match`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `||`.
    Or,
    /// `&&`.
    And,
    /// `=`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterEqual,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Modulo,
    /// `^`.
    Power,
}

/// A constant. Also what evaluation hands out as an owned value.
#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    /// `"text"` or a backquoted one.
    Str(String),
    /// A 64-bit integer.
    Int(i64),
    /// A finite number with a fraction or exponent.
    Float(f64),
    /// `true`, `false`.
    Bool(bool),
    /// `nil`: not there.
    Nil,
    /// A duration in nanoseconds.
    Duration(i64),
    /// `ok`, `error`, `unset`.
    Status(Status),
    /// `server`, `client`, …
    Kind(Kind),
}

/// A span's status, as OpenTelemetry's `StatusCode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// `unset`, code 0.
    Unset,
    /// `ok`, code 1.
    Ok,
    /// `error`, code 2.
    Error,
}

impl Status {
    /// From OTLP's code; an unknown one counts as unset.
    pub fn from_otlp(code: i32) -> Self {
        match code {
            1 => Self::Ok,
            2 => Self::Error,
            _ => Self::Unset,
        }
    }
}

/// A span's kind, as OpenTelemetry's `SpanKind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `unspecified`, 0.
    Unspecified,
    /// `internal`, 1.
    Internal,
    /// `server`, 2.
    Server,
    /// `client`, 3.
    Client,
    /// `producer`, 4.
    Producer,
    /// `consumer`, 5.
    Consumer,
}

impl Kind {
    /// From OTLP's number; an unknown one counts as unspecified.
    pub fn from_otlp(kind: i32) -> Self {
        match kind {
            1 => Self::Internal,
            2 => Self::Server,
            3 => Self::Client,
            4 => Self::Producer,
            5 => Self::Consumer,
            _ => Self::Unspecified,
        }
    }
}

/// The most a compiled regular expression may take, in bytes.
const PATTERN_SIZE_MAX: usize = 1 << 20;

/// A regular expression, anchored at both ends and compiled when the query was parsed.
#[derive(Clone)]
pub struct Pattern {
    source: String,
    regex: regex::Regex,
}

impl Pattern {
    /// Compiles `source`, which must match a value as a whole. Bounded in compiled size.
    pub fn new(source: &str) -> Result<Self, regex::Error> {
        let build = |text: &str| regex::RegexBuilder::new(text).size_limit(PATTERN_SIZE_MAX).build();
        // It must stand on its own first: `a)|(b` would otherwise escape the anchors.
        build(source)?;
        // In verbose mode a comment at its end swallows the bracket; a line break ends the comment.
        let regex = build(&format!("^(?:{source})$")).or_else(|_| build(&format!("^(?:{source}\n)$")))?;
        Ok(Self { source: source.to_owned(), regex })
    }

    /// Whether the whole of `text` matches.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// The expression as written, without anchors.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}/", self.source)
    }
}
