//! Views of the messages of `opentelemetry/proto/trace/v1/trace.proto`, borrowed from the request's bytes.

use super::any::{KeyValueView, stop};
use super::proto::{Fields, WireError};

/// What an attribute of a span begins with: field 9, length-delimited.
pub const SPAN_ATTRIBUTE_TAG: u8 = 9 << 3 | 2;

/// The length-delimited fields of one number in a message: repeated messages, in order.
#[derive(Debug, Clone)]
pub struct Messages<'a> {
    fields: Fields<'a>,
    number: u32,
    what: &'static str,
}

impl<'a> Messages<'a> {
    /// The fields `number` of `message`; `what` names one in errors.
    #[inline]
    pub fn new(message: &'a [u8], number: u32, what: &'static str) -> Self {
        Self { fields: Fields::new(message), number, what }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<&'a [u8], WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.fields.read() {
                Ok(Some(field)) if field.number == self.number => {
                    let bytes = field.bytes(self.what);
                    return match bytes {
                        Ok(bytes) => Some(Ok(bytes)),
                        Err(error) => stop(&mut self.fields, error),
                    };
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => return stop(&mut self.fields, error),
            }
        }
    }
}

/// The attributes of a message, in order.
#[derive(Debug, Clone)]
pub struct Attributes<'a>(Messages<'a>);

impl<'a> Attributes<'a> {
    /// The `KeyValue` fields `number` of `message`.
    #[inline]
    pub fn new(message: &'a [u8], number: u32) -> Self {
        Self(Messages::new(message, number, "an attribute"))
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<KeyValueView<'a>, WireError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|raw| raw.and_then(KeyValueView::parse))
    }
}

/// The attributes of a raw message: field 1 of a Resource, 3 of a scope, 9 of a span, 3 of an event, 4 of a link.
pub fn attributes_of(raw: &[u8], number: u32) -> Attributes<'_> {
    Attributes::new(raw, number)
}

/// The `ResourceSpans` of an `ExportTraceServiceRequest` (or of `TracesData`: the same shape).
pub fn resource_spans(body: &[u8]) -> impl Iterator<Item = Result<ResourceSpansView<'_>, WireError>> {
    Messages::new(body, 1, "resource_spans").map(|raw| raw.map(|raw| ResourceSpansView { raw }))
}

/// Spans of one resource.
#[derive(Debug, Clone, Copy)]
pub struct ResourceSpansView<'a> {
    /// The whole `ResourceSpans` message.
    pub raw: &'a [u8],
}

impl<'a> ResourceSpansView<'a> {
    /// The raw `Resource`; empty if there is none.
    pub fn resource(&self) -> Result<&'a [u8], WireError> {
        last_bytes(self.raw, 1, "resource")
    }

    /// The schema URL of the resource.
    pub fn schema_url(&self) -> Result<&'a str, WireError> {
        last_text(self.raw, 3, "schema_url")
    }

    /// The spans by instrumentation scope.
    pub fn scope_spans(&self) -> impl Iterator<Item = Result<ScopeSpansView<'a>, WireError>> + use<'a> {
        Messages::new(self.raw, 2, "scope_spans").map(|raw| raw.map(|raw| ScopeSpansView { raw }))
    }
}

/// Spans of one instrumentation scope.
#[derive(Debug, Clone, Copy)]
pub struct ScopeSpansView<'a> {
    /// The whole `ScopeSpans` message.
    pub raw: &'a [u8],
}

impl<'a> ScopeSpansView<'a> {
    /// The raw `InstrumentationScope`; empty if there is none.
    pub fn scope(&self) -> Result<&'a [u8], WireError> {
        last_bytes(self.raw, 1, "scope")
    }

    /// The schema URL of the spans.
    pub fn schema_url(&self) -> Result<&'a str, WireError> {
        last_text(self.raw, 3, "schema_url")
    }

    /// The raw `Span` messages.
    pub fn spans(&self) -> Messages<'a> {
        Messages::new(self.raw, 2, "spans")
    }
}

fn last_bytes<'a>(raw: &'a [u8], number: u32, what: &'static str) -> Result<&'a [u8], WireError> {
    Messages::new(raw, number, what).try_fold(&[][..], |_, bytes| bytes)
}

fn last_text<'a>(raw: &'a [u8], number: u32, what: &'static str) -> Result<&'a str, WireError> {
    simdutf8::basic::from_utf8(last_bytes(raw, number, what)?).map_err(|_| WireError::Utf8(what))
}

/// The scalars of an `InstrumentationScope`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScopeView<'a> {
    /// The whole message; its attributes are field 3.
    pub raw: &'a [u8],
    /// `name`
    pub name: &'a str,
    /// `version`
    pub version: &'a str,
    /// `dropped_attributes_count`
    pub dropped_attributes_count: u32,
}

impl<'a> ScopeView<'a> {
    /// Reads a raw `InstrumentationScope`.
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { raw, ..Self::default() };
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            match field.number {
                1 => view.name = field.text("scope.name")?,
                2 => view.version = field.text("scope.version")?,
                4 => view.dropped_attributes_count = field.varint("scope.dropped_attributes_count")? as u32,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// The scalars of a `Span`. Ids are as sent: any length, checked by whoever cares.
#[derive(Debug, Clone, Copy, Default)]
pub struct SpanView<'a> {
    /// The whole `Span` message.
    pub raw: &'a [u8],
    /// `trace_id`, 16 bytes if valid.
    pub trace_id: &'a [u8],
    /// `span_id`, 8 bytes if valid.
    pub span_id: &'a [u8],
    /// `parent_span_id`: empty or zeros for a root.
    pub parent_span_id: &'a [u8],
    /// `trace_state`, W3C format.
    pub trace_state: &'a str,
    /// `flags`
    pub flags: u32,
    /// `name`
    pub name: &'a str,
    /// `kind`: 0 unspecified, 1 internal, 2 server, 3 client, 4 producer, 5 consumer.
    pub kind: i32,
    /// `start_time_unix_nano`
    pub start_time_unix_nano: u64,
    /// `end_time_unix_nano`
    pub end_time_unix_nano: u64,
    /// `status.code`: 0 unset, 1 ok, 2 error.
    pub status_code: i32,
    /// `status.message`
    pub status_message: &'a str,
    /// `dropped_attributes_count`
    pub dropped_attributes_count: u32,
    /// `dropped_events_count`
    pub dropped_events_count: u32,
    /// `dropped_links_count`
    pub dropped_links_count: u32,
}

/// The fields of a span before its attributes as every SDK writes them: in the order of their numbers, short. What is written
/// in another way is not read, and is what it is by default.
#[derive(Debug, Clone, Copy)]
pub struct SpanHead<'a> {
    /// `trace_id`
    pub trace_id: &'a [u8],
    /// `span_id`
    pub span_id: &'a [u8],
    /// `parent_span_id`
    pub parent_span_id: &'a [u8],
    /// `name`, if it was read: a tag and a length of one byte each come before it. Not checked.
    pub name: Option<&'a [u8]>,
    /// `kind`
    pub kind: u8,
    /// `start_time_unix_nano`
    pub start_time_unix_nano: u64,
    /// `end_time_unix_nano`
    pub end_time_unix_nano: u64,
}

impl<'a> SpanHead<'a> {
    /// Reads these fields; the next one is whatever comes behind them.
    #[inline(always)]
    pub fn read(fields: &mut Fields<'a>) -> Self {
        const fn tag(number: u8, wire_type: u8) -> u8 {
            number << 3 | wire_type
        }
        Self {
            trace_id: fields.read_short(tag(1, 2)).unwrap_or_default(),
            span_id: fields.read_short(tag(2, 2)).unwrap_or_default(),
            parent_span_id: fields.read_short(tag(4, 2)).unwrap_or_default(),
            name: fields.read_short(tag(5, 2)),
            kind: fields.read_small(tag(6, 0)).unwrap_or_default(),
            start_time_unix_nano: fields.read_fixed64(tag(7, 1)).unwrap_or_default(),
            end_time_unix_nano: fields.read_fixed64(tag(8, 1)).unwrap_or_default(),
        }
    }
}

impl<'a> SpanView<'a> {
    /// Reads a raw `Span`, passing over attributes, events and links.
    #[inline]
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        Self::parse_with(raw, true, |_| Ok(()))
    }

    /// Reads a raw `Span` in one scan; `on_attribute` sees each raw `KeyValue` on the way. Without `texts`, `name` and
    /// `status_message` stay empty: nobody asks for them, and it costs as much to see that they are UTF-8 as all the rest.
    #[inline]
    pub fn parse_with(
        raw: &'a [u8],
        texts: bool,
        mut on_attribute: impl FnMut(&'a [u8]) -> Result<(), WireError>,
    ) -> Result<Self, WireError> {
        let mut fields = Fields::new(raw);
        let head = SpanHead::read(&mut fields);
        let mut view = Self {
            raw,
            trace_id: head.trace_id,
            span_id: head.span_id,
            parent_span_id: head.parent_span_id,
            kind: head.kind.into(),
            start_time_unix_nano: head.start_time_unix_nano,
            end_time_unix_nano: head.end_time_unix_nano,
            ..Self::default()
        };
        if let Some(name) = head.name.filter(|_| texts) {
            view.name = simdutf8::basic::from_utf8(name).map_err(|_| WireError::Utf8("span.name"))?;
        }
        loop {
            while let Some(attribute) = fields.read_short(SPAN_ATTRIBUTE_TAG) {
                on_attribute(attribute)?;
            }
            let Some(field) = fields.read()? else { return Ok(view) };
            match field.number {
                1 => view.trace_id = field.bytes("span.trace_id")?,
                2 => view.span_id = field.bytes("span.span_id")?,
                3 => view.trace_state = field.text("span.trace_state")?,
                4 => view.parent_span_id = field.bytes("span.parent_span_id")?,
                5 if texts => view.name = field.text("span.name")?,
                6 => view.kind = field.varint("span.kind")? as i32,
                7 => view.start_time_unix_nano = field.fixed64("span.start_time_unix_nano")?,
                8 => view.end_time_unix_nano = field.fixed64("span.end_time_unix_nano")?,
                9 => on_attribute(field.bytes("span.attributes")?)?,
                10 => view.dropped_attributes_count = field.varint("span.dropped_attributes_count")? as u32,
                12 => view.dropped_events_count = field.varint("span.dropped_events_count")? as u32,
                14 => view.dropped_links_count = field.varint("span.dropped_links_count")? as u32,
                15 => view.read_status(field.bytes("span.status")?, texts)?,
                16 => view.flags = field.fixed32("span.flags")?,
                _ => {}
            }
        }
    }

    #[inline]
    fn read_status(&mut self, raw: &'a [u8], texts: bool) -> Result<(), WireError> {
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            match field.number {
                2 if texts => self.status_message = field.text("span.status.message")?,
                3 => self.status_code = field.varint("span.status.code")? as i32,
                _ => {}
            }
        }
        Ok(())
    }

    /// A span without a parent: no parent id, or one of zeros only.
    #[inline]
    pub fn is_root(&self) -> bool {
        self.parent_span_id.iter().all(|byte| *byte == 0)
    }

    /// End − start in nanoseconds; 0 where the end is before the start.
    #[inline]
    pub fn duration_nano(&self) -> u64 {
        self.end_time_unix_nano.saturating_sub(self.start_time_unix_nano)
    }

    /// The span's attributes, read again from its bytes.
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes::new(self.raw, 9)
    }

    /// The raw `Event` messages.
    pub fn events(&self) -> Messages<'a> {
        Messages::new(self.raw, 11, "span.events")
    }

    /// The raw `Link` messages.
    pub fn links(&self) -> Messages<'a> {
        Messages::new(self.raw, 13, "span.links")
    }
}

/// The scalars of a `Span.Event`.
#[derive(Debug, Clone, Copy, Default)]
pub struct EventView<'a> {
    /// The whole message; its attributes are field 3.
    pub raw: &'a [u8],
    /// `time_unix_nano`
    pub time_unix_nano: u64,
    /// `name`
    pub name: &'a str,
    /// `dropped_attributes_count`
    pub dropped_attributes_count: u32,
}

impl<'a> EventView<'a> {
    /// Reads a raw `Event`.
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { raw, ..Self::default() };
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            match field.number {
                1 => view.time_unix_nano = field.fixed64("event.time_unix_nano")?,
                2 => view.name = field.text("event.name")?,
                4 => view.dropped_attributes_count = field.varint("event.dropped_attributes_count")? as u32,
                _ => {}
            }
        }
        Ok(view)
    }
}

/// The scalars of a `Span.Link`.
#[derive(Debug, Clone, Copy, Default)]
pub struct LinkView<'a> {
    /// The whole message; its attributes are field 4.
    pub raw: &'a [u8],
    /// `trace_id`
    pub trace_id: &'a [u8],
    /// `span_id`
    pub span_id: &'a [u8],
    /// `trace_state`
    pub trace_state: &'a str,
    /// `dropped_attributes_count`
    pub dropped_attributes_count: u32,
    /// `flags`
    pub flags: u32,
}

impl<'a> LinkView<'a> {
    /// Reads a raw `Link`.
    pub fn parse(raw: &'a [u8]) -> Result<Self, WireError> {
        let mut view = Self { raw, ..Self::default() };
        let mut fields = Fields::new(raw);
        while let Some(field) = fields.read()? {
            match field.number {
                1 => view.trace_id = field.bytes("link.trace_id")?,
                2 => view.span_id = field.bytes("link.span_id")?,
                3 => view.trace_state = field.text("link.trace_state")?,
                5 => view.dropped_attributes_count = field.varint("link.dropped_attributes_count")? as u32,
                6 => view.flags = field.fixed32("link.flags")?,
                _ => {}
            }
        }
        Ok(view)
    }
}
