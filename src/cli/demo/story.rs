//! Tells one trace as a sequence of opened and closed spans on a clock of its own; [`Story::end_at`] puts it in time.

use fastrand::Rng;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link, SpanKind};
use opentelemetry_proto::tonic::trace::v1::{Span, Status, status::StatusCode};

use super::generate::{attribute, text};
use super::shop::Service;

/// W3C `sampled`, and OTLP's "it is known whether the parent is remote".
const FLAGS_LOCAL_PARENT: u32 = 0x101;
/// The same, and the parent is remote.
const FLAGS_REMOTE_PARENT: u32 = 0x301;

/// A span and the service that it comes from.
pub(super) struct Told {
    /// Where it happened.
    pub service: &'static Service,
    /// The span.
    pub span: Span,
}

/// A span of another trace: trace id, span id.
pub(super) type Elsewhere = (Vec<u8>, Vec<u8>);

/// One trace in the making. Times are nanoseconds since the root's start until [`Self::end_at`].
pub(super) struct Story<'r> {
    rng: &'r mut Rng,
    trace_id: Vec<u8>,
    told: Vec<Told>,
    /// Indices of the spans that are open, the root first.
    open: Vec<usize>,
    now: u64,
    /// The producer span of an order put into the queue, if any.
    order: Option<Elsewhere>,
}

impl<'r> Story<'r> {
    pub fn new(rng: &'r mut Rng) -> Self {
        let trace_id = rng.u128(1..).to_be_bytes().to_vec();
        Self { rng, trace_id, told: Vec::new(), open: Vec::new(), now: 0, order: None }
    }

    /// The source of this trace's randomness.
    pub fn rng(&mut self) -> &mut Rng {
        self.rng
    }

    /// Tells a span: it opens, `inside` happens, it closes.
    pub fn span(
        &mut self,
        service: &'static Service,
        kind: SpanKind,
        name: impl Into<String>,
        attributes: Vec<KeyValue>,
        inside: impl FnOnce(&mut Self),
    ) {
        let parent = self.open.last().map(|&index| &self.told[index]);
        let remote = parent.is_some_and(|parent| parent.service.name != service.name);
        let span = Span {
            trace_id: self.trace_id.clone(),
            span_id: self.rng.u64(1..).to_be_bytes().to_vec(),
            parent_span_id: parent.map(|parent| parent.span.span_id.clone()).unwrap_or_default(),
            flags: if remote { FLAGS_REMOTE_PARENT } else { FLAGS_LOCAL_PARENT },
            name: name.into(),
            kind: kind.into(),
            start_time_unix_nano: self.now,
            attributes,
            ..Span::default()
        };
        let index = self.told.len();
        self.told.push(Told { service, span });
        self.open.push(index);
        inside(self);
        self.open.pop();
        self.told[index].span.end_time_unix_nano = self.now;
    }

    /// Time passes: a random number of microseconds of the range.
    pub fn work(&mut self, micros: std::ops::Range<u64>) {
        self.now += self.rng.u64(micros) * 1_000 + self.rng.u64(0..1_000);
    }

    /// Two things happen at once; time goes on when the later one is done.
    pub fn both(&mut self, one: impl FnOnce(&mut Self), other: impl FnOnce(&mut Self)) {
        let start = self.now;
        one(self);
        let one_done = self.now;
        self.now = start;
        other(self);
        self.now = self.now.max(one_done);
    }

    /// Adds an attribute to the innermost open span.
    pub fn set(&mut self, key: &str, value: AnyValue) {
        self.innermost().attributes.push(attribute(key, value));
    }

    /// Adds an event, now, to the innermost open span.
    pub fn event(&mut self, name: &str, attributes: Vec<KeyValue>) {
        let event = Event { time_unix_nano: self.now, name: name.into(), attributes, ..Event::default() };
        self.innermost().events.push(event);
    }

    /// Adds a link to another trace's span to the innermost open span.
    pub fn link(&mut self, to: &Elsewhere, attributes: Vec<KeyValue>) {
        let (trace_id, span_id) = to.clone();
        let link = Link { trace_id, span_id, attributes, flags: FLAGS_REMOTE_PARENT, ..Link::default() };
        self.innermost().links.push(link);
    }

    /// The innermost open span ends in an error.
    pub fn fail(&mut self, message: &str) {
        let status = Status { code: StatusCode::Error.into(), message: message.into() };
        self.innermost().status = Some(status);
    }

    /// The innermost open span ends in an error whose exception it recorded.
    pub fn throw(&mut self, kind: &str, message: &str, stack: &str) {
        let attributes = vec![
            attribute("exception.type", text(kind)),
            attribute("exception.message", text(message)),
            attribute("exception.stacktrace", text(format!("{kind}: {message}\n{stack}"))),
        ];
        self.event("exception", attributes);
        self.set("error.type", text(kind));
        self.fail(message);
    }

    /// Remembers the innermost open span as the producer of an order.
    pub fn order(&mut self) {
        let span_id = self.innermost().span_id.clone();
        self.order = Some((self.trace_id.clone(), span_id));
    }

    /// The spans, put in time so that the last one ends at `end`, and the order that waits for a consumer.
    pub fn end_at(self, end: u64) -> (Vec<Told>, Option<Elsewhere>) {
        let start = end.saturating_sub(self.now);
        let mut told = self.told;
        for Told { span, .. } in &mut told {
            span.start_time_unix_nano += start;
            span.end_time_unix_nano += start;
            for event in &mut span.events {
                event.time_unix_nano += start;
            }
        }
        (told, self.order)
    }

    fn innermost(&mut self) -> &mut Span {
        let index = *self.open.last().expect("a story tells inside its spans only");
        &mut self.told[index].span
    }
}
