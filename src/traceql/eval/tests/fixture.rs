//! A trace made of maps.

use std::collections::BTreeMap;

use crate::traceql::access::{TraceAccess, Value, Values};
use crate::traceql::ast::{Intrinsic, Kind, Scope, Status};
use crate::traceql::{eval, parse};

#[derive(Default, Clone)]
pub struct TestSpan {
    pub parent: Option<usize>,
    /// A parent is named, though it is not in the trace.
    pub orphan: bool,
    pub name: &'static str,
    pub duration: i64,
    pub status: i32,
    pub kind: i32,
    pub attributes: BTreeMap<(u8, &'static str), Values<'static>>,
    pub events: Vec<&'static str>,
}

impl TestSpan {
    pub fn with(mut self, scope: Scope, key: &'static str, values: impl Into<Values<'static>>) -> Self {
        self.attributes.insert((scope as u8, key), values.into());
        self
    }
}

/// A span under a parent, named and lasting `millis`.
pub fn span(parent: Option<usize>, name: &'static str, millis: i64) -> TestSpan {
    TestSpan { parent, name, duration: millis * 1_000_000, ..TestSpan::default() }
}

#[derive(Default)]
pub struct TestTrace(pub Vec<TestSpan>);

impl TraceAccess for TestTrace {
    fn span_count(&self) -> usize {
        self.0.len()
    }

    fn parent(&self, span: usize) -> Option<usize> {
        self.0[span].parent
    }

    fn intrinsic(&self, index: usize, intrinsic: Intrinsic) -> Values<'_> {
        let span = &self.0[index];
        let has_parent = span.parent.is_some() || span.orphan;
        match intrinsic {
            Intrinsic::Duration => Value::Duration(span.duration).into(),
            Intrinsic::Name => Value::str(span.name).into(),
            Intrinsic::Status => Value::Status(Status::from_otlp(span.status)).into(),
            Intrinsic::StatusMessage => Value::str("").into(),
            Intrinsic::Kind => Value::Kind(Kind::from_otlp(span.kind)).into(),
            Intrinsic::Parent | Intrinsic::ParentId => has_parent.then(|| Value::str("aa")).into(),
            Intrinsic::RootName => Value::str("root").into(),
            Intrinsic::RootServiceName => Values::Missing,
            Intrinsic::TraceDuration => Value::duration(1_000_000_000).into(),
            Intrinsic::TraceId => Value::str("0102").into(),
            Intrinsic::SpanId => Value::Str(format!("{index:02x}").into()).into(),
            Intrinsic::EventName if span.events.is_empty() => Values::Missing,
            Intrinsic::EventName => Values::Many(span.events.iter().map(|name| Value::str(name)).collect()),
            Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
            | Intrinsic::ChildCount => panic!("{intrinsic:?} is worked out by evaluation"),
            _ => Values::Missing,
        }
    }

    fn attribute(&self, span: usize, scope: Scope, key: &str) -> Values<'_> {
        assert_ne!(scope, Scope::Unscoped);
        let found = self.0[span].attributes.iter().find(|((s, k), _)| *s == scope as u8 && *k == key);
        found.map(|(_, values)| values.clone()).unwrap_or_default()
    }
}

/// The spansets a query finds, as span indexes.
#[track_caller]
pub fn found(query: &str, trace: &TestTrace) -> Vec<Vec<usize>> {
    let parsed = parse(query).unwrap_or_else(|error| panic!("{query}: {error}"));
    let matched = eval(&parsed, trace);
    matched.map(|matched| matched.spansets.into_iter().map(|set| set.spans).collect()).unwrap_or_default()
}

/// Each query finds exactly these spans, in one spanset.
#[track_caller]
pub fn check(trace: &TestTrace, query: &str, spans: &[usize]) {
    let expected = if spans.is_empty() { vec![] } else { vec![spans.to_vec()] };
    assert_eq!(found(query, trace), expected, "{query}");
}
