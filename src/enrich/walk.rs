//! The one walk over a request: checks every field, and tells the editor what changes.

use super::check;
use super::program::{Present, Programs};
use super::{REDACTED, Rules, hash_value};
use crate::wire::{
    DEPTH_MAX, Editor, Field, Fields, WireError, WireKind, offset_in, put_attribute_raw, put_bytes_field,
};

/// The field number of a Resource's attributes.
pub(super) const RESOURCE_ATTRIBUTES: u32 = 1;
/// The field number of a span's attributes.
pub(super) const SPAN_ATTRIBUTES: u32 = 9;

/// [`REDACTED`] as an `AnyValue` message.
const REDACTED_VALUE: &[u8] = b"\x0a\x0a[redacted]";
const _: () = assert!(REDACTED_VALUE.len() == REDACTED.len() + 2);

/// Why a walk ended early.
pub(super) enum Stop {
    /// The request is malformed.
    Wire(WireError),
    /// A resource or a scope occurs more than once where it must be one: to be merged first.
    Repeated,
}

impl From<WireError> for Stop {
    fn from(error: WireError) -> Self {
        Self::Wire(error)
    }
}

/// What was counted on the way.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) spans: u64,
    pub(super) rejected: u64,
    pub(super) reject_reason: Option<String>,
    pub(super) redacted: u64,
}

/// A finished walk.
pub(super) struct Walked {
    pub(super) editor: Editor,
    pub(super) tally: Tally,
}

pub(super) fn walk(body: &[u8], rules: &Rules) -> Result<Walked, Stop> {
    let mut walk = Walk {
        body,
        rules,
        editor: Editor::new(),
        tally: Tally::default(),
        seen: vec![false; rules.resource.len().max(rules.span.len())],
        place: Place::default(),
    };
    walk.request()?;
    Ok(Walked { editor: walk.editor, tally: walk.tally })
}

struct Walk<'w> {
    body: &'w [u8],
    rules: &'w Rules,
    editor: Editor,
    tally: Tally,
    /// Which of the keys that have actions the current resource or span has.
    seen: Vec<bool>,
    place: Place,
}

/// Which span the walk is at: indexes of the repeated fields.
#[derive(Default)]
struct Place {
    resource_spans: usize,
    scope_spans: usize,
    span: usize,
}

/// A nested message on the wire: its field number, where its tag begins in the body, its content.
#[derive(Clone, Copy)]
struct Nested<'w> {
    number: u32,
    start: usize,
    raw: &'w [u8],
}

/// The ids of a span as sent, and its name to tell it by.
#[derive(Default)]
struct Identity<'w> {
    trace_id: &'w [u8],
    span_id: &'w [u8],
    parent_span_id: &'w [u8],
    name: &'w str,
}

impl<'w> Walk<'w> {
    fn request(&mut self) -> Result<(), Stop> {
        self.each_field(self.body, |walk, field, start| {
            if field.number != 1 {
                return Ok(check::unknown(&field)?);
            }
            let nested = Nested { number: 1, start, raw: field.bytes("resource_spans")? };
            let frame = walk.open(nested);
            walk.resource_spans(nested.raw)?;
            walk.editor.close(frame);
            walk.place.resource_spans += 1;
            Ok(())
        })
    }

    fn resource_spans(&mut self, raw: &'w [u8]) -> Result<(), Stop> {
        let mut has_resource = false;
        self.place.scope_spans = 0;
        self.each_field(raw, |walk, field, start| {
            match field.number {
                1 if has_resource => return Err(Stop::Repeated),
                1 => {
                    has_resource = true;
                    walk.resource(Nested { number: 1, start, raw: field.bytes("resource")? })?;
                }
                2 => {
                    let nested = Nested { number: 2, start, raw: field.bytes("scope_spans")? };
                    let frame = walk.open(nested);
                    walk.scope_spans(nested.raw)?;
                    walk.editor.close(frame);
                    walk.place.scope_spans += 1;
                }
                3 => check::text(&field, "resource_spans.schema_url")?,
                _ => check::unknown(&field)?,
            }
            Ok(())
        })?;
        if !has_resource {
            self.add_resource(self.end_of(raw));
        }
        Ok(())
    }

    fn resource(&mut self, resource: Nested<'w>) -> Result<(), WireError> {
        let rules = self.rules;
        let frame = self.open(resource);
        self.seen.fill(false);
        self.each_field(resource.raw, |walk, field, start| {
            match field.number {
                RESOURCE_ATTRIBUTES => {
                    let nested = Nested { number: field.number, start, raw: field.bytes("an attribute")? };
                    walk.attribute_with(nested, &rules.resource)?;
                }
                2 => check::number(&field, "resource.dropped_attributes_count")?,
                3 => check::entity_ref(field.bytes("resource.entity_refs")?)?,
                _ => check::unknown(&field)?,
            }
            Ok(())
        })?;
        let end = self.end_of(resource.raw);
        append(&mut self.editor, end, &rules.resource, &self.seen);
        self.editor.close(frame);
        Ok(())
    }

    /// A resource for spans that came without one, if there is anything to put into it.
    fn add_resource(&mut self, at: usize) {
        self.seen.fill(false);
        let attributes: Vec<u8> = self.rules.resource.missing(&self.seen).flatten().copied().collect();
        if !attributes.is_empty() {
            self.editor.replace(at..at, |out| put_bytes_field(out, 1, &attributes));
        }
    }

    fn scope_spans(&mut self, raw: &'w [u8]) -> Result<(), Stop> {
        let mut has_scope = false;
        self.place.span = 0;
        self.each_field(raw, |walk, field, start| {
            match field.number {
                1 if has_scope => return Err(Stop::Repeated),
                1 => {
                    has_scope = true;
                    walk.scope(Nested { number: 1, start, raw: field.bytes("scope")? })?;
                }
                2 => {
                    walk.span(Nested { number: 2, start, raw: field.bytes("spans")? })?;
                    walk.place.span += 1;
                }
                3 => check::text(&field, "scope_spans.schema_url")?,
                _ => check::unknown(&field)?,
            }
            Ok(())
        })
    }

    fn scope(&mut self, scope: Nested<'w>) -> Result<(), WireError> {
        self.owner(scope, |walk, field, start| match field.number {
            1 => check::text(&field, "scope.name"),
            2 => check::text(&field, "scope.version"),
            3 => walk.attribute(Nested { number: 3, start, raw: field.bytes("an attribute")? }),
            4 => check::number(&field, "scope.dropped_attributes_count"),
            _ => check::unknown(&field),
        })
    }

    fn event(&mut self, event: Nested<'w>) -> Result<(), WireError> {
        self.owner(event, |walk, field, start| match field.number {
            1 => check::fixed64(&field, "event.time_unix_nano"),
            2 => check::text(&field, "event.name"),
            3 => walk.attribute(Nested { number: 3, start, raw: field.bytes("an attribute")? }),
            4 => check::number(&field, "event.dropped_attributes_count"),
            _ => check::unknown(&field),
        })
    }

    fn link(&mut self, link: Nested<'w>) -> Result<(), WireError> {
        self.owner(link, |walk, field, start| match field.number {
            1 => check::bytes(&field, "link.trace_id"),
            2 => check::bytes(&field, "link.span_id"),
            3 => check::text(&field, "link.trace_state"),
            4 => walk.attribute(Nested { number: 4, start, raw: field.bytes("an attribute")? }),
            5 => check::number(&field, "link.dropped_attributes_count"),
            6 => check::fixed32(&field, "link.flags"),
            _ => check::unknown(&field),
        })
    }

    fn span(&mut self, span: Nested<'w>) -> Result<(), WireError> {
        let frame = self.open(span);
        let redacted = self.tally.redacted;
        let identity = self.span_fields(span.raw)?;
        if let Some(problem) = identity.problem() {
            self.tally.redacted = redacted;
            self.editor.forget(frame);
            self.editor.remove(span.start..self.end_of(span.raw));
            self.reject(&identity, problem);
            return Ok(());
        }
        let end = self.end_of(span.raw);
        append(&mut self.editor, end, &self.rules.span, &self.seen);
        self.editor.close(frame);
        self.tally.spans += 1;
        Ok(())
    }

    fn span_fields(&mut self, raw: &'w [u8]) -> Result<Identity<'w>, WireError> {
        let mut identity = Identity::default();
        let programs = &self.rules.span;
        self.seen.fill(false);
        self.each_field(raw, |walk, field, start| {
            match field.number {
                1 => identity.trace_id = field.bytes("span.trace_id")?,
                2 => identity.span_id = field.bytes("span.span_id")?,
                3 => check::text(&field, "span.trace_state")?,
                4 => identity.parent_span_id = field.bytes("span.parent_span_id")?,
                5 => identity.name = field.text("span.name")?,
                6 => check::number(&field, "span.kind")?,
                7 => check::fixed64(&field, "span.start_time_unix_nano")?,
                8 => check::fixed64(&field, "span.end_time_unix_nano")?,
                SPAN_ATTRIBUTES => {
                    let nested = Nested { number: field.number, start, raw: field.bytes("an attribute")? };
                    walk.attribute_with(nested, programs)?;
                }
                10 => check::number(&field, "span.dropped_attributes_count")?,
                11 => walk.event(Nested { number: 11, start, raw: field.bytes("span.events")? })?,
                12 => check::number(&field, "span.dropped_events_count")?,
                13 => walk.link(Nested { number: 13, start, raw: field.bytes("span.links")? })?,
                14 => check::number(&field, "span.dropped_links_count")?,
                15 => check::status(field.bytes("span.status")?)?,
                16 => check::fixed32(&field, "span.flags")?,
                _ => check::unknown(&field)?,
            }
            Ok(())
        })?;
        Ok(identity)
    }

    /// An attribute of a scope that can have actions.
    #[inline]
    fn attribute_with(&mut self, nested: Nested<'w>, programs: &'w Programs) -> Result<(), WireError> {
        let attribute = check::attribute(nested.raw)?;
        let Some((index, program)) = programs.find(attribute.key) else {
            return self.redact_or_keep(nested, &attribute, DEPTH_MAX);
        };
        let is_repeated = std::mem::replace(&mut self.seen[index], true);
        if attribute.is_nested {
            self.check_value(nested)?;
        }
        match &program.present {
            Present::Keep => self.redact_or_keep(nested, &attribute, DEPTH_MAX)?,
            Present::Set(value) if !is_repeated => self.set(nested, &attribute, value),
            Present::Set(_) | Present::Remove => self.editor.remove(nested.start..self.end_of(nested.raw)),
            Present::Hash(times) => {
                let first = hash_value(attribute.any)?;
                let value = (1..*times).try_fold(first, |value, _| hash_value(&value))?;
                self.set(nested, &attribute, &value);
            }
        }
        Ok(())
    }

    /// An attribute without actions.
    #[inline]
    fn attribute(&mut self, nested: Nested<'w>) -> Result<(), WireError> {
        let attribute = check::attribute(nested.raw)?;
        self.redact_or_keep(nested, &attribute, DEPTH_MAX)
    }

    #[inline]
    fn redact_or_keep(
        &mut self,
        nested: Nested<'w>,
        attribute: &check::Attribute<'w>,
        levels: usize,
    ) -> Result<(), WireError> {
        if attribute.is_nested {
            let frame = self.open(nested);
            self.value_of(nested.raw, levels)?;
            if !self.rules.secrets.is_secret(attribute.key) {
                self.editor.close(frame);
                return Ok(());
            }
            self.editor.forget(frame);
        } else if !self.rules.secrets.is_secret(attribute.key) {
            return Ok(());
        }
        if attribute.any != REDACTED_VALUE {
            self.tally.redacted += 1;
            self.set(nested, attribute, REDACTED_VALUE);
        }
        Ok(())
    }

    /// Checks an array or a map that will not stay.
    fn check_value(&mut self, nested: Nested<'w>) -> Result<(), WireError> {
        let redacted = self.tally.redacted;
        let frame = self.open(nested);
        self.value_of(nested.raw, DEPTH_MAX)?;
        self.editor.forget(frame);
        self.tally.redacted = redacted;
        Ok(())
    }

    /// The array or map in a `KeyValue`, all the way down.
    fn value_of(&mut self, key_value: &'w [u8], levels: usize) -> Result<(), WireError> {
        self.each_field(key_value, |walk, field, start| match (field.number, field.kind) {
            (2, WireKind::Bytes(raw)) => walk.any_value(Nested { number: 2, start, raw }, levels),
            _ => Ok(()),
        })
    }

    fn any_value(&mut self, any: Nested<'w>, levels: usize) -> Result<(), WireError> {
        self.owner(any, |walk, field, start| match (field.number, field.kind) {
            (number @ (5 | 6), WireKind::Bytes(raw)) => {
                let levels = levels.checked_sub(1).ok_or(WireError::Depth { limit: DEPTH_MAX })?;
                walk.list(Nested { number, start, raw }, levels)
            }
            _ => Ok(()),
        })
    }

    /// An `ArrayValue` (the field 5 of its value) or a `KeyValueList`.
    fn list(&mut self, list: Nested<'w>, levels: usize) -> Result<(), WireError> {
        self.owner(list, |walk, field, start| {
            if field.number != 1 {
                return check::unknown(&field);
            }
            let item = Nested { number: 1, start, raw: field.bytes("an item of an array or map")? };
            if list.number == 6 {
                let attribute = check::attribute(item.raw)?;
                walk.redact_or_keep(item, &attribute, levels)
            } else if check::any_value(item.raw)? {
                walk.any_value(item, levels)
            } else {
                Ok(())
            }
        })
    }

    /// Gives an attribute another value.
    fn set(&mut self, nested: Nested<'w>, attribute: &check::Attribute<'w>, value: &[u8]) {
        if attribute.any != value {
            let whole = nested.start..self.end_of(nested.raw);
            self.editor.replace(whole, |out| put_attribute_raw(out, nested.number, attribute.key, value));
        }
    }

    fn reject(&mut self, identity: &Identity<'w>, problem: String) {
        self.tally.rejected += 1;
        let Place { resource_spans, scope_spans, span } = self.place;
        self.tally.reject_reason.get_or_insert_with(|| {
            let name: String = identity.name.chars().take(80).collect();
            format!(
                "{problem}: resource_spans[{resource_spans}].scope_spans[{scope_spans}].spans[{span}], named {name:?}"
            )
        });
    }

    /// Reads a nested message field by field, writing its length anew if something in it changes.
    #[inline]
    fn owner(
        &mut self,
        nested: Nested<'w>,
        on_field: impl FnMut(&mut Self, Field<'w>, usize) -> Result<(), WireError>,
    ) -> Result<(), WireError> {
        let frame = self.open(nested);
        self.each_field(nested.raw, on_field)?;
        self.editor.close(frame);
        Ok(())
    }

    /// Calls `on_field` with each field of a message and where its tag begins in the body.
    #[inline]
    fn each_field<E: From<WireError>>(
        &mut self,
        message: &'w [u8],
        mut on_field: impl FnMut(&mut Self, Field<'w>, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let base = offset_in(self.body, message);
        let mut fields = Fields::new(message);
        let mut start = base;
        while let Some(field) = fields.read()? {
            on_field(self, field, start)?;
            start = base + fields.offset();
        }
        Ok(())
    }

    #[inline]
    fn open(&mut self, nested: Nested<'w>) -> crate::wire::Frame {
        let content = offset_in(self.body, nested.raw);
        self.editor.open(nested.number, nested.start, content..content + nested.raw.len())
    }

    #[inline]
    fn end_of(&self, raw: &'w [u8]) -> usize {
        offset_in(self.body, raw) + raw.len()
    }
}

#[inline]
fn append(editor: &mut Editor, at: usize, programs: &Programs, seen: &[bool]) {
    for field in programs.missing(seen) {
        editor.replace(at..at, |out| out.extend_from_slice(field));
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
