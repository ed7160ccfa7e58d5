//! What actions and their conditions see: a span with its resource and its instrumentation scope, as the actions before
//! them have left the attributes.

use std::cell::OnceCell;

use super::attributes::Attributes;
use super::config::Scope;
use crate::traceql::{Intrinsic, Kind, Scope as Of, SpanAccess, Status, Value, Values};
use crate::wire::{
    AnyView, EventView, KeyValueView, LinkView, ScopeView, SpanView, WireError, attributes_of,
    values_of_array,
};

/// What is known at one place of a request.
#[derive(Debug, Default)]
pub(super) struct Facts<'w> {
    /// The attributes of each scope: span, resource, scope, event.
    lists: [Attributes<'w>; 4],
    /// The `Span` message; empty where there is none.
    span: &'w [u8],
    view: OnceCell<Option<SpanView<'w>>>,
    /// The `InstrumentationScope` message; empty where there is none.
    scope: &'w [u8],
    /// The name that the span is given instead of its own.
    pub(super) span_name: Option<String>,
}

impl<'w> Facts<'w> {
    /// Begins another span. Its attributes are those of the last one until they are read.
    pub(super) fn begin_span(&mut self, raw: &'w [u8]) {
        self.span = raw;
        self.view = OnceCell::new();
        self.span_name = None;
    }

    /// Begins another instrumentation scope.
    pub(super) fn begin_scope(&mut self, raw: &'w [u8]) {
        self.scope = raw;
    }

    /// The attributes of one scope.
    pub(super) fn list(&self, scope: Scope) -> &Attributes<'w> {
        &self.lists[scope as usize]
    }

    /// The attributes of one scope, to edit.
    pub(super) fn list_mut(&mut self, scope: Scope) -> &mut Attributes<'w> {
        &mut self.lists[scope as usize]
    }

    /// The span but for its attributes, as it was sent.
    pub(super) fn span(&self) -> SpanView<'w> {
        // What is malformed is refused when it is walked over.
        self.view.get_or_init(|| SpanView::parse(self.span).ok()).unwrap_or_default()
    }

    fn scope_view(&self) -> ScopeView<'w> {
        ScopeView::parse(self.scope).unwrap_or_default()
    }

    fn events(&self) -> impl Iterator<Item = EventView<'w>> {
        self.span().events().map_while(Result::ok).filter_map(|raw| EventView::parse(raw).ok())
    }

    fn links(&self) -> impl Iterator<Item = LinkView<'w>> {
        self.span().links().map_while(Result::ok).filter_map(|raw| LinkView::parse(raw).ok())
    }
}

impl SpanAccess for Facts<'_> {
    fn intrinsic(&self, intrinsic: Intrinsic) -> Values<'_> {
        let span = self.span();
        match intrinsic {
            Intrinsic::Name => Value::str(span.name).into(),
            Intrinsic::Duration => Value::duration(span.duration_nano()).into(),
            Intrinsic::Status => Value::Status(Status::from_otlp(span.status_code)).into(),
            Intrinsic::StatusMessage => Value::str(span.status_message).into(),
            Intrinsic::Kind => Value::Kind(Kind::from_otlp(span.kind)).into(),
            Intrinsic::Parent | Intrinsic::ParentId => hex_id(span.parent_span_id).into(),
            Intrinsic::SpanId => hex_id(span.span_id).into(),
            Intrinsic::EventName => many(self.events().map(|event| Value::str(event.name))),
            Intrinsic::EventTimeSinceStart => {
                let since =
                    |event: EventView<'_>| event.time_unix_nano.saturating_sub(span.start_time_unix_nano);
                many(self.events().map(|event| Value::duration(since(event))))
            }
            Intrinsic::LinkTraceId => many(self.links().filter_map(|link| hex_id(link.trace_id))),
            Intrinsic::LinkSpanId => many(self.links().filter_map(|link| hex_id(link.span_id))),
            Intrinsic::InstrumentationName => Value::str(self.scope_view().name).into(),
            Intrinsic::InstrumentationVersion => Value::str(self.scope_view().version).into(),
            // Of the trace: a condition that asks for one of these is refused.
            Intrinsic::RootName
            | Intrinsic::RootServiceName
            | Intrinsic::TraceDuration
            | Intrinsic::TraceId
            | Intrinsic::NestedSetLeft
            | Intrinsic::NestedSetRight
            | Intrinsic::NestedSetParent
            | Intrinsic::ChildCount => Values::Missing,
        }
    }

    fn attribute(&self, scope: Of, key: &str) -> Values<'_> {
        let in_list = |scope| {
            let entry = self.list(scope).get(key.as_bytes());
            entry.map_or(Values::Missing, |entry| values_of(&entry.any))
        };
        match scope {
            Of::Span => in_list(Scope::Span),
            Of::Resource => in_list(Scope::Resource),
            Of::Instrumentation => in_list(Scope::Scope),
            Of::Event => many_of(self.events().map(|event| (event.raw, 3)), key),
            Of::Link => many_of(self.links().map(|link| (link.raw, 4)), key),
            Of::Unscoped => Values::Missing,
        }
    }
}

/// The values of one key in several messages, whose attributes are the fields of the number given.
fn many_of<'w>(messages: impl Iterator<Item = (&'w [u8], u32)>, key: &str) -> Values<'w> {
    let found = messages.filter_map(|(raw, number)| {
        let mut attributes = attributes_of(raw, number).map_while(Result::ok);
        attributes.find(|attribute: &KeyValueView<'_>| attribute.key == key).map(|attribute| attribute.value)
    });
    many(found.flat_map(|value| match scalars(value) {
        Values::Missing => Vec::new(),
        Values::One(value) => vec![value],
        Values::Many(values) => values,
    }))
}

fn many<'w>(values: impl Iterator<Item = Value<'w>>) -> Values<'w> {
    let values: Vec<_> = values.collect();
    if values.is_empty() { Values::Missing } else { Values::Many(values) }
}

fn hex_id(id: &[u8]) -> Option<Value<'static>> {
    let is_there = id.iter().any(|byte| *byte != 0);
    is_there.then(|| Value::Str(hex::encode(id).into()))
}

/// An encoded `AnyValue` as TraceQL sees it: maps, bytes and empty values compare with nothing.
fn values_of(any: &[u8]) -> Values<'_> {
    AnyView::parse(any).map_or(Values::Missing, scalars)
}

fn scalars(value: AnyView<'_>) -> Values<'_> {
    let AnyView::Array(raw) = value else { return scalar(value).into() };
    let items: Result<Vec<_>, WireError> = values_of_array(raw).collect();
    items.map_or(Values::Missing, |items| Values::Many(items.into_iter().filter_map(scalar).collect()))
}

fn scalar(value: AnyView<'_>) -> Option<Value<'_>> {
    Some(match value {
        AnyView::Str(text) => Value::str(text),
        AnyView::Bool(value) => Value::Bool(value),
        AnyView::Int(value) => Value::Int(value),
        AnyView::Double(value) => Value::Float(value),
        AnyView::Empty | AnyView::Array(_) | AnyView::Kvlist(_) | AnyView::Bytes(_) => return None,
    })
}
