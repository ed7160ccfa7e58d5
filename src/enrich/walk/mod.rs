//! The one walk over a request: checks every field, and tells the editor what changes.

mod span;
mod values;

use super::check;
use super::config::Scope;
use super::facts::Facts;
use super::program::Programs;
use super::rules::Rules;
use super::sender::SenderValues;
use super::stats::{Hit, Place};
use crate::wire::{Editor, Field, Fields, Frame, WireError, offset_in, put_bytes_field};

/// The field number of a Resource's attributes.
const RESOURCE_ATTRIBUTES: u32 = 1;

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
    /// Every redaction.
    pub(super) hits: Vec<Hit>,
    /// Attributes changed, by scope.
    pub(super) changed: [u64; 4],
}

/// A finished walk.
pub(super) struct Walked {
    pub(super) editor: Editor,
    pub(super) tally: Tally,
}

pub(super) fn walk(body: &[u8], rules: &Rules, sender: &SenderValues) -> Result<Walked, Stop> {
    let mut walk = Walk::new(body, rules, sender);
    walk.seen = vec![false; rules.resource.programs.len().max(rules.span.programs.len())];
    walk.request()?;
    Ok(Walked { editor: walk.editor, tally: walk.tally })
}

struct Walk<'w> {
    body: &'w [u8],
    rules: &'w Rules,
    sender: &'w SenderValues,
    editor: Editor,
    tally: Tally,
    /// Which of the keys that have actions the current resource or span has.
    seen: Vec<bool>,
    /// What scripts know of the current place.
    facts: Facts<'w>,
    /// Which bits the current resource gives to the scripts of what is below it, by scope.
    resource_bits: [u64; 4],
    index: Index,
    place: Place,
}

/// Which span the walk is at: indexes of the repeated fields.
#[derive(Default)]
struct Index {
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

impl<'w> Walk<'w> {
    fn new(body: &'w [u8], rules: &'w Rules, sender: &'w SenderValues) -> Self {
        Self {
            body,
            rules,
            sender,
            editor: Editor::new(),
            tally: Tally::default(),
            seen: Vec::new(),
            facts: Facts::default(),
            resource_bits: [0; 4],
            index: Index::default(),
            place: Place::Span,
        }
    }

    fn request(&mut self) -> Result<(), Stop> {
        self.each_field(self.body, |walk, field, start| {
            if field.number != 1 {
                return Ok(check::unknown(&field)?);
            }
            let nested = Nested { number: 1, start, raw: field.bytes("resource_spans")? };
            let frame = walk.open(nested);
            walk.resource_spans(nested.raw)?;
            walk.editor.close(frame);
            walk.index.resource_spans += 1;
            Ok(())
        })
    }

    fn resource_spans(&mut self, raw: &'w [u8]) -> Result<(), Stop> {
        let mut has_resource = false;
        self.index.scope_spans = 0;
        if self.rules.has_scripts() {
            self.run_resource_script(raw)?;
        }
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
                    walk.index.scope_spans += 1;
                }
                3 => check::text(&field, "resource_spans.schema_url")?,
                _ => check::unknown(&field)?,
            }
            Ok(())
        })?;
        if !has_resource {
            self.add_resource(self.end_of(raw))?;
        }
        Ok(())
    }

    /// Applies the actions on the resource, wherever it stands, so that everything below it can be asked of it.
    fn run_resource_script(&mut self, resource_spans: &'w [u8]) -> Result<(), Stop> {
        let resource = only_field(resource_spans, 1, "resource")?.unwrap_or_default();
        self.facts.list_mut(Scope::Resource).read(resource, RESOURCE_ATTRIBUTES)?;
        self.facts.begin_scope(&[]);
        self.facts.list_mut(Scope::Scope).clear();
        self.run_script(Scope::Resource, resource)?;
        for scope in [Scope::Span, Scope::Scope, Scope::Event] {
            let bits = self.rules.script(scope).map(|script| script.bits_of_resource(&self.facts));
            self.resource_bits[scope as usize] = bits.unwrap_or_default();
        }
        Ok(())
    }

    /// Applies the actions on one scope to the list of its message's attributes.
    fn run_script(&mut self, scope: Scope, message: &[u8]) -> Result<(), WireError> {
        if let Some(script) = self.rules.script(scope)
            && let Some(bits) = script.look(message, self.resource_bits[scope as usize])?
        {
            script.run(&mut self.facts, bits, self.sender);
            self.tally.changed[scope as usize] += self.facts.list(scope).changes() as u64;
        }
        Ok(())
    }

    fn resource(&mut self, resource: Nested<'w>) -> Result<(), WireError> {
        let programs = &self.rules.resource.programs;
        let is_scripted = self.rules.resource.script.is_some();
        let frame = self.open(resource);
        self.seen.fill(false);
        self.place = Place::Resource;
        let mut index = 0;
        self.each_field(resource.raw, |walk, field, start| {
            match field.number {
                RESOURCE_ATTRIBUTES => {
                    let nested = Nested { number: field.number, start, raw: field.bytes("an attribute")? };
                    if is_scripted {
                        walk.scripted(Scope::Resource, nested, index)?;
                        index += 1;
                    } else {
                        walk.attribute_with(Scope::Resource, nested, programs)?;
                    }
                }
                2 => check::number(&field, "resource.dropped_attributes_count")?,
                3 => check::entity_ref(field.bytes("resource.entity_refs")?)?,
                _ => check::unknown(&field)?,
            }
            Ok(())
        })?;
        let end = self.end_of(resource.raw);
        if is_scripted {
            self.append_scripted(Scope::Resource, RESOURCE_ATTRIBUTES, end)?;
        } else {
            self.append(Scope::Resource, end, programs);
        }
        self.editor.close(frame);
        Ok(())
    }

    /// A resource for spans that came without one, if there is anything to put into it.
    fn add_resource(&mut self, at: usize) -> Result<(), WireError> {
        self.place = Place::Resource;
        let mut attributes = Vec::new();
        self.seen.fill(false);
        for field in self.rules.resource.programs.missing(&self.seen) {
            attributes.extend_from_slice(field);
            self.tally.changed[Scope::Resource as usize] += 1;
        }
        if self.rules.resource.script.is_some() {
            attributes = self.added(Scope::Resource, RESOURCE_ATTRIBUTES)?;
        }
        if !attributes.is_empty() {
            self.editor.replace(at..at, |out| put_bytes_field(out, 1, &attributes));
        }
        Ok(())
    }

    fn scope_spans(&mut self, raw: &'w [u8]) -> Result<(), Stop> {
        let mut has_scope = false;
        self.index.span = 0;
        if self.rules.has_scripts() {
            self.run_scope_script(raw)?;
        }
        self.each_field(raw, |walk, field, start| {
            match field.number {
                1 if has_scope => return Err(Stop::Repeated),
                1 => {
                    has_scope = true;
                    walk.scope(Nested { number: 1, start, raw: field.bytes("scope")? })?;
                }
                2 => {
                    walk.span(Nested { number: 2, start, raw: field.bytes("spans")? })?;
                    walk.index.span += 1;
                }
                3 => check::text(&field, "scope_spans.schema_url")?,
                _ => check::unknown(&field)?,
            }
            Ok(())
        })?;
        if !has_scope && self.rules.scope.is_some() {
            self.place = Place::Scope;
            let attributes = self.added(Scope::Scope, Scope::Scope.attributes_field())?;
            if !attributes.is_empty() {
                let at = self.end_of(raw);
                self.editor.replace(at..at, |out| put_bytes_field(out, 1, &attributes));
            }
        }
        Ok(())
    }

    fn run_scope_script(&mut self, scope_spans: &'w [u8]) -> Result<(), Stop> {
        let scope = only_field(scope_spans, 1, "scope")?.unwrap_or_default();
        self.facts.list_mut(Scope::Scope).read(scope, Scope::Scope.attributes_field())?;
        self.facts.begin_scope(scope);
        Ok(self.run_script(Scope::Scope, scope)?)
    }

    fn scope(&mut self, scope: Nested<'w>) -> Result<(), WireError> {
        self.place = Place::Scope;
        let is_scripted = self.rules.scope.is_some();
        let frame = self.open(scope);
        let mut index = 0;
        self.each_field(scope.raw, |walk, field, start| match field.number {
            1 => check::text(&field, "scope.name"),
            2 => check::text(&field, "scope.version"),
            3 => {
                let nested = Nested { number: 3, start, raw: field.bytes("an attribute")? };
                index += 1;
                walk.attribute_or_scripted(is_scripted.then_some(Scope::Scope), nested, index - 1)
            }
            4 => check::number(&field, "scope.dropped_attributes_count"),
            _ => check::unknown(&field),
        })?;
        if is_scripted {
            self.append_scripted(Scope::Scope, 3, self.end_of(scope.raw))?;
        }
        self.editor.close(frame);
        Ok(())
    }

    /// What programs add where their keys are missing.
    #[inline]
    fn append(&mut self, scope: Scope, at: usize, programs: &Programs) {
        for field in programs.missing(&self.seen) {
            self.editor.replace(at..at, |out| out.extend_from_slice(field));
            self.tally.changed[scope as usize] += 1;
        }
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
    fn open(&mut self, nested: Nested<'w>) -> Frame {
        let content = offset_in(self.body, nested.raw);
        self.editor.open(nested.number, nested.start, content..content + nested.raw.len())
    }

    #[inline]
    fn end_of(&self, raw: &'w [u8]) -> usize {
        offset_in(self.body, raw) + raw.len()
    }
}

/// The content of a field that occurs at most once.
fn only_field<'w>(message: &'w [u8], number: u32, what: &'static str) -> Result<Option<&'w [u8]>, Stop> {
    let mut found = None;
    let mut fields = Fields::new(message);
    while let Some(field) = fields.read()? {
        if field.number == number && found.replace(field.bytes(what)?).is_some() {
            return Err(Stop::Repeated);
        }
    }
    Ok(found)
}
