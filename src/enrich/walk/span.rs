//! A span on the walk, with its events and links.

use super::{Index, Nested, Walk, check};
use crate::enrich::config::Scope;
use crate::enrich::stats::Place;
use crate::wire::{
    Field, Fields, SPAN_ATTRIBUTE_TAG, SpanHead, WireError, WireKind, offset_in, put_bytes_field,
};

/// The field number of a span's attributes.
const ATTRIBUTES: u32 = 9;
/// The field number of its name.
const NAME: u32 = 5;

/// The ids of a span as sent, and its name to tell it by.
#[derive(Default)]
struct Identity<'w> {
    trace_id: &'w [u8],
    span_id: &'w [u8],
    parent_span_id: &'w [u8],
    name: &'w [u8],
}

/// What of a span has been come by.
#[derive(Default)]
struct Seen<'w> {
    identity: Identity<'w>,
    name: bool,
    /// Attributes, where a script counts them.
    attributes: usize,
}

impl<'w> Walk<'w> {
    pub(super) fn span(&mut self, span: Nested<'w>) -> Result<(), WireError> {
        let frame = self.open(span);
        let (hits, changed) = (self.tally.hits.len(), self.tally.changed);
        let is_scripted = self.run_span_script(span.raw)?;
        self.place = Place::Span;
        let identity = self.span_fields(span.raw, is_scripted)?;
        if let Some(problem) = identity.problem() {
            self.tally.hits.truncate(hits);
            self.tally.changed = changed;
            self.editor.forget(frame);
            self.editor.remove(span.start..self.end_of(span.raw));
            self.reject(&identity, problem);
            return Ok(());
        }
        let end = self.end_of(span.raw);
        if is_scripted {
            self.append_scripted(Scope::Span, ATTRIBUTES, end)?;
        } else {
            let rules = self.rules;
            self.append(Scope::Span, end, &rules.span.programs);
        }
        self.editor.close(frame);
        self.tally.spans += 1;
        Ok(())
    }

    /// Applies the actions that depend on the span; whether some of them were possible.
    #[inline]
    fn run_span_script(&mut self, raw: &'w [u8]) -> Result<bool, WireError> {
        let events_ask = self.rules.events_ask_span();
        if events_ask {
            self.facts.begin_span(raw);
            self.facts.list_mut(Scope::Span).read(raw, ATTRIBUTES)?;
        }
        let Some(script) = &self.rules.span.script else {
            return Ok(false);
        };
        let Some(bits) = script.look(raw, self.resource_bits[Scope::Span as usize])? else {
            return Ok(false);
        };
        if !events_ask {
            self.facts.begin_span(raw);
            self.facts.list_mut(Scope::Span).read(raw, ATTRIBUTES)?;
        }
        script.run(&mut self.facts, bits, self.sender);
        self.tally.changed[Scope::Span as usize] += self.facts.list(Scope::Span).changes() as u64;
        Ok(true)
    }

    fn span_fields(&mut self, raw: &'w [u8], is_scripted: bool) -> Result<Identity<'w>, WireError> {
        let mut seen = Seen::default();
        self.seen.fill(false);
        let base = offset_in(self.body, raw);
        let mut fields = Fields::new(raw);
        self.span_head(&mut seen, SpanHead::read(&mut fields), is_scripted)?;
        loop {
            let mut start = base + fields.offset();
            while !is_scripted && let Some(raw) = fields.read_short(SPAN_ATTRIBUTE_TAG) {
                self.span_attribute(Nested { number: ATTRIBUTES, start, raw })?;
                start = base + fields.offset();
            }
            let Some(field) = fields.read()? else { break };
            self.span_field(&mut seen, field, start, is_scripted)?;
        }
        if is_scripted && !seen.name {
            self.name(self.end_of(raw), None, true);
        }
        Ok(seen.identity)
    }

    /// What is at a span's head. Types are right there, and of a name that is ASCII nobody asks more, unless for its secrets.
    #[inline(always)]
    fn span_head(
        &mut self,
        seen: &mut Seen<'w>,
        head: SpanHead<'w>,
        is_scripted: bool,
    ) -> Result<(), WireError> {
        seen.identity.trace_id = head.trace_id;
        seen.identity.span_id = head.span_id;
        seen.identity.parent_span_id = head.parent_span_id;
        let Some(name) = head.name else { return Ok(()) };
        if name.is_ascii() && !is_scripted && !self.rules.redactor.reads_names {
            seen.identity.name = name;
            return Ok(());
        }
        // Its tag and its length come before it.
        let start = offset_in(self.body, name) - 2;
        let field = Field { number: NAME, kind: WireKind::Bytes(name) };
        self.span_field(seen, field, start, is_scripted)
    }

    /// The field of a span that begins at `start`.
    #[inline(always)]
    fn span_field(
        &mut self,
        seen: &mut Seen<'w>,
        field: Field<'w>,
        start: usize,
        is_scripted: bool,
    ) -> Result<(), WireError> {
        let identity = &mut seen.identity;
        match field.number {
            1 => identity.trace_id = field.bytes("span.trace_id")?,
            2 => identity.span_id = field.bytes("span.span_id")?,
            3 => check::text(&field, "span.trace_state")?,
            4 => identity.parent_span_id = field.bytes("span.parent_span_id")?,
            NAME => {
                let name = field.text("span.name")?;
                identity.name = name.as_bytes();
                seen.name = true;
                self.name(start, Some(name), is_scripted);
            }
            6 => check::number(&field, "span.kind")?,
            7 => check::fixed64(&field, "span.start_time_unix_nano")?,
            8 => check::fixed64(&field, "span.end_time_unix_nano")?,
            ATTRIBUTES => {
                let nested = Nested { number: field.number, start, raw: field.bytes("an attribute")? };
                if is_scripted {
                    self.scripted(Scope::Span, nested, seen.attributes)?;
                    seen.attributes += 1;
                } else {
                    self.span_attribute(nested)?;
                }
            }
            10 => check::number(&field, "span.dropped_attributes_count")?,
            11 => self.event(Nested { number: 11, start, raw: field.bytes("span.events")? })?,
            12 => check::number(&field, "span.dropped_events_count")?,
            13 => self.link(Nested { number: 13, start, raw: field.bytes("span.links")? })?,
            14 => check::number(&field, "span.dropped_links_count")?,
            15 => self.status(Nested { number: 15, start, raw: field.bytes("span.status")? })?,
            16 => check::fixed32(&field, "span.flags")?,
            _ => check::unknown(&field)?,
        }
        Ok(())
    }

    fn event(&mut self, event: Nested<'w>) -> Result<(), WireError> {
        const EVENT_ATTRIBUTES: u32 = 3;
        let script = self.rules.event.as_ref();
        let mut is_scripted = false;
        if let Some(script) = script
            && let Some(bits) = script.look(event.raw, self.resource_bits[Scope::Event as usize])?
        {
            is_scripted = true;
            self.facts.list_mut(Scope::Event).read(event.raw, EVENT_ATTRIBUTES)?;
            script.run(&mut self.facts, bits, self.sender);
            self.tally.changed[Scope::Event as usize] += self.facts.list(Scope::Event).changes() as u64;
        }
        self.place = Place::Event;
        let mut index = 0;
        let frame = self.open(event);
        self.each_field(event.raw, |walk, field, start| match field.number {
            1 => check::fixed64(&field, "event.time_unix_nano"),
            2 => {
                let name = field.text("event.name")?;
                walk.clean_name(start, 2, name);
                Ok(())
            }
            EVENT_ATTRIBUTES => {
                let nested = Nested { number: 3, start, raw: field.bytes("an attribute")? };
                index += 1;
                walk.attribute_or_scripted(is_scripted.then_some(Scope::Event), nested, index - 1)
            }
            4 => check::number(&field, "event.dropped_attributes_count"),
            _ => check::unknown(&field),
        })?;
        if is_scripted {
            self.append_scripted(Scope::Event, EVENT_ATTRIBUTES, self.end_of(event.raw))?;
        }
        self.editor.close(frame);
        self.place = Place::Span;
        Ok(())
    }

    fn link(&mut self, link: Nested<'w>) -> Result<(), WireError> {
        self.place = Place::Link;
        self.owner(link, |walk, field, start| match field.number {
            1 => check::bytes(&field, "link.trace_id"),
            2 => check::bytes(&field, "link.span_id"),
            3 => check::text(&field, "link.trace_state"),
            4 => walk.attribute(Nested { number: 4, start, raw: field.bytes("an attribute")? }),
            5 => check::number(&field, "link.dropped_attributes_count"),
            6 => check::fixed32(&field, "link.flags"),
            _ => check::unknown(&field),
        })?;
        self.place = Place::Span;
        Ok(())
    }

    fn status(&mut self, status: Nested<'w>) -> Result<(), WireError> {
        if !self.rules.redactor.reads_messages {
            return check::status(status.raw);
        }
        self.place = Place::Message;
        self.owner(status, |walk, field, start| match field.number {
            2 => {
                let message = field.text("span.status.message")?;
                walk.clean_field(start, 2, message);
                Ok(())
            }
            3 => check::number(&field, "span.status.code"),
            _ => check::unknown(&field),
        })?;
        self.place = Place::Span;
        Ok(())
    }

    /// The name of a span, the field that begins at `start` or would stand there: another one where it was given one,
    /// and without secrets.
    #[inline]
    fn name(&mut self, start: usize, sent: Option<&'w str>, is_scripted: bool) {
        let given = if is_scripted { self.facts.span_name.clone() } else { None };
        match (given, sent) {
            (Some(name), _) => self.rename_span(start, sent, &name),
            (None, Some(sent)) => self.clean_name(start, NAME, sent),
            (None, None) => {}
        }
    }

    fn rename_span(&mut self, start: usize, sent: Option<&'w str>, name: &str) {
        let place = std::mem::replace(&mut self.place, Place::Name);
        let cleaned = if self.rules.redactor.reads_names { self.cleaned(name) } else { None };
        self.place = place;
        let end = sent.map_or(start, |sent| self.end_of(sent.as_bytes()));
        self.editor.replace(start..end, |out| {
            put_bytes_field(out, NAME, cleaned.as_deref().unwrap_or(name).as_bytes());
        });
    }

    /// Takes secrets out of the name of a span or event, the field that begins at `start`.
    #[inline]
    fn clean_name(&mut self, start: usize, number: u32, name: &'w str) {
        if self.rules.redactor.reads_names {
            let place = std::mem::replace(&mut self.place, Place::Name);
            self.clean_field(start, number, name);
            self.place = place;
        }
    }

    fn clean_field(&mut self, start: usize, number: u32, text: &'w str) {
        if let Some(cleaned) = self.cleaned(text) {
            let whole = start..self.end_of(text.as_bytes());
            self.editor.replace(whole, |out| put_bytes_field(out, number, cleaned.as_bytes()));
        }
    }

    fn reject(&mut self, identity: &Identity<'w>, problem: String) {
        self.tally.rejected += 1;
        let Index { resource_spans, scope_spans, span } = self.index;
        let rules = self.rules;
        self.tally.reject_reason.get_or_insert_with(|| {
            let name = String::from_utf8_lossy(identity.name);
            let cleaned = rules.redactor.clean_text(&name, |_| {});
            let name: String = cleaned.as_deref().unwrap_or(&name).chars().take(80).collect();
            format!(
                "{problem}: resource_spans[{resource_spans}].scope_spans[{scope_spans}].spans[{span}], named {name:?}"
            )
        });
    }
}

impl Identity<'_> {
    /// What is wrong with the ids, if anything.
    #[inline]
    fn problem(&self) -> Option<String> {
        let is_parent = matches!(self.parent_span_id.len(), 0 | 8);
        if is_id(self.trace_id, 16) && is_id(self.span_id, 8) && is_parent {
            return None;
        }
        Some(self.describe())
    }

    #[cold]
    fn describe(&self) -> String {
        let parent = ("parent_span_id", self.parent_span_id, 8);
        let all = [("trace_id", self.trace_id, 16), ("span_id", self.span_id, 8), parent];
        let wrong = all.into_iter().find(|(_, id, length)| !is_id(id, *length));
        match wrong {
            Some((what, id, length)) if id.len() != length => {
                format!("{what} has {} bytes instead of {length}", id.len())
            }
            Some((what, ..)) => format!("{what} is all zeros"),
            None => "an id is invalid".into(),
        }
    }
}

#[inline]
fn is_id(id: &[u8], length: usize) -> bool {
    id.len() == length && id.iter().any(|byte| *byte != 0)
}
