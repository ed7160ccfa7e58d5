//! Attributes on the walk: what actions make of them, and what must not stay in them.

use std::ops::Range;

use super::{Nested, Scope, Walk, check};
use crate::enrich::actions::hash_value;
use crate::enrich::attributes::{Entry, EntryState};
use crate::enrich::program::{Present, Programs};
use crate::enrich::stats::Hit;
use crate::wire::{AnyView, DEPTH_MAX, WireError, WireKind, put_any, put_attribute_raw, put_bytes_field};

impl<'w> Walk<'w> {
    /// An attribute of a span without a script.
    #[inline(always)]
    pub(super) fn span_attribute(&mut self, nested: Nested<'w>) -> Result<(), WireError> {
        let rules = self.rules;
        match check::usual_attribute(nested.raw) {
            Some(attribute) if !rules.span_ends.may_have(attribute.key) => Ok(()),
            _ => self.attribute_with(Scope::Span, nested, &rules.span.programs),
        }
    }

    /// An attribute of a scope that can have actions.
    pub(super) fn attribute_with(
        &mut self,
        scope: Scope,
        nested: Nested<'w>,
        programs: &'w Programs,
    ) -> Result<(), WireError> {
        let attribute = check::attribute(nested.raw)?;
        let Some((index, program)) = programs.find(attribute.key) else {
            return self.redact_or_keep(nested, &attribute, DEPTH_MAX);
        };
        let is_repeated = std::mem::replace(&mut self.seen[index], true);
        if program.present == Present::Keep {
            return self.redact_or_keep(nested, &attribute, DEPTH_MAX);
        }
        if attribute.is_nested {
            self.check_value(nested)?;
        }
        self.tally.changed[scope as usize] += 1;
        match &program.present {
            Present::Keep => {}
            Present::Set(value) if !is_repeated => {
                self.tally.changed[scope as usize] -= u64::from(attribute.any == value);
                self.set(nested, &attribute, value);
            }
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
    pub(super) fn attribute(&mut self, nested: Nested<'w>) -> Result<(), WireError> {
        let attribute = check::attribute(nested.raw)?;
        if !attribute.is_nested && !self.rules.other_ends.may_have(attribute.key) {
            return Ok(());
        }
        self.redact_or_keep(nested, &attribute, DEPTH_MAX)
    }

    /// An attribute that a script may have looked at, number `index` of its message.
    #[inline]
    pub(super) fn attribute_or_scripted(
        &mut self,
        scripted: Option<Scope>,
        nested: Nested<'w>,
        index: usize,
    ) -> Result<(), WireError> {
        match scripted {
            Some(scope) => self.scripted(scope, nested, index),
            None => self.attribute(nested),
        }
    }

    /// An attribute that a script has looked at, number `index` of its message.
    #[inline(never)]
    pub(super) fn scripted(
        &mut self,
        scope: Scope,
        nested: Nested<'w>,
        index: usize,
    ) -> Result<(), WireError> {
        let attribute = check::attribute(nested.raw)?;
        let (state, chosen) = match self.facts.list(scope).sent(index) {
            Some(entry) => (entry.state, entry.chosen),
            None => (EntryState::Sent, false),
        };
        if state == EntryState::Sent && !chosen {
            return self.redact_or_keep(nested, &attribute, DEPTH_MAX);
        }
        if attribute.is_nested {
            self.check_value(nested)?;
        }
        let whole = nested.start..self.end_of(nested.raw);
        match state {
            EntryState::Sent => {}
            EntryState::Removed => self.editor.remove(whole),
            EntryState::Edited => {
                let field = self.facts.list(scope).sent(index).map(|entry| written(entry, nested.number));
                self.put_written(whole, field)?;
            }
        }
        Ok(())
    }

    /// What a script has added, at the end of its message.
    pub(super) fn append_scripted(&mut self, scope: Scope, number: u32, at: usize) -> Result<(), WireError> {
        let fields = self.added(scope, number)?;
        if !fields.is_empty() {
            self.editor.replace(at..at, |out| out.extend_from_slice(&fields));
        }
        Ok(())
    }

    /// What a script has added, as fields `number`.
    pub(super) fn added(&mut self, scope: Scope, number: u32) -> Result<Vec<u8>, WireError> {
        let added: Vec<_> = self.facts.list(scope).added().map(|entry| written(entry, number)).collect();
        let mut fields = Vec::new();
        for (field, chosen) in added {
            fields.extend(if chosen { field } else { self.redacted_field(field)? });
        }
        Ok(fields)
    }

    fn put_written(&mut self, at: Range<usize>, field: Option<(Vec<u8>, bool)>) -> Result<(), WireError> {
        let Some((field, chosen)) = field else { return Ok(()) };
        let field = if chosen { field } else { self.redacted_field(field)? };
        self.editor.replace(at, |out| out.extend_from_slice(&field));
        Ok(())
    }

    /// An attribute that an action has made of what was sent: it is no less secret than that was.
    fn redacted_field(&mut self, field: Vec<u8>) -> Result<Vec<u8>, WireError> {
        let mut inner = Walk::new(&field, self.rules, self.sender);
        inner.place = self.place;
        inner.each_field(&field, |walk, field, start| {
            let raw = field.bytes("an attribute")?;
            walk.attribute(Nested { number: field.number, start, raw })
        })?;
        let Walk { editor, tally, .. } = inner;
        self.tally.hits.extend(tally.hits);
        if editor.is_unchanged() {
            return Ok(field);
        }
        Ok(editor.finish(field.into()).into())
    }

    #[inline]
    fn redact_or_keep(
        &mut self,
        nested: Nested<'w>,
        attribute: &check::Attribute<'w>,
        levels: usize,
    ) -> Result<(), WireError> {
        let rule = self.rules.redactor.keys.find(attribute.key);
        if attribute.is_nested {
            let hits = self.tally.hits.len();
            let frame = self.open(nested);
            self.value_of(nested.raw, levels)?;
            if rule.is_none() {
                self.editor.close(frame);
                return Ok(());
            }
            self.tally.hits.truncate(hits);
            self.editor.forget(frame);
        }
        match rule {
            Some(rule) => self.redact(nested, attribute, rule),
            None if self.rules.redactor.reads_values => self.clean_attribute(nested, attribute),
            None => {}
        }
        Ok(())
    }

    /// Takes the whole value out, because of its key.
    #[cold]
    fn redact(&mut self, nested: Nested<'w>, attribute: &check::Attribute<'w>, rule: usize) {
        if let Some(value) = self.rules.redactor.replacement.of_value(attribute.any) {
            self.hit(rule);
            self.set(nested, attribute, &value);
        }
    }

    /// Takes out of a string value what must not be in it.
    #[inline(never)]
    fn clean_attribute(&mut self, nested: Nested<'w>, attribute: &check::Attribute<'w>) {
        let Some(text) = text_of(attribute.any) else { return };
        let (rules, place) = (self.rules, self.place);
        let hits = &mut self.tally.hits;
        let cleaned = rules.redactor.clean_value(attribute.key, text, |rule| hits.push(hit(rule, place)));
        if let Some(cleaned) = cleaned {
            self.set(nested, attribute, &string_value(&cleaned));
        }
    }

    /// A text that is no attribute's without what must not be in it; `None` if there is nothing.
    pub(super) fn cleaned(&mut self, text: &str) -> Option<String> {
        let (rules, place) = (self.rules, self.place);
        let hits = &mut self.tally.hits;
        rules.redactor.clean_text(text, |rule| hits.push(hit(rule, place)))
    }

    fn hit(&mut self, rule: usize) {
        self.tally.hits.push(hit(rule, self.place));
    }

    /// Checks an array or a map that will not stay.
    fn check_value(&mut self, nested: Nested<'w>) -> Result<(), WireError> {
        let hits = self.tally.hits.len();
        let frame = self.open(nested);
        self.value_of(nested.raw, DEPTH_MAX)?;
        self.editor.forget(frame);
        self.tally.hits.truncate(hits);
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
                walk.clean_item(item);
                Ok(())
            }
        })
    }

    /// A string in an array.
    fn clean_item(&mut self, item: Nested<'w>) {
        if !self.rules.redactor.reads_values {
            return;
        }
        if let Some(cleaned) = text_of(item.raw).and_then(|text| self.cleaned(text)) {
            let whole = item.start..self.end_of(item.raw);
            self.editor.replace(whole, |out| put_bytes_field(out, item.number, &string_value(&cleaned)));
        }
    }

    /// Gives an attribute another value.
    fn set(&mut self, nested: Nested<'w>, attribute: &check::Attribute<'w>, value: &[u8]) {
        if attribute.any != value {
            let whole = nested.start..self.end_of(nested.raw);
            self.editor.replace(whole, |out| put_attribute_raw(out, nested.number, attribute.key, value));
        }
    }
}

fn hit(rule: usize, place: crate::enrich::stats::Place) -> Hit {
    Hit { rule: u16::try_from(rule).unwrap_or(u16::MAX), place }
}

/// An attribute as field `number`, and whether its value was chosen.
fn written(entry: &Entry<'_>, number: u32) -> (Vec<u8>, bool) {
    let mut field = Vec::with_capacity(entry.key.len() + entry.any.len() + 16);
    put_attribute_raw(&mut field, number, &entry.key, &entry.any);
    (field, entry.chosen)
}

fn text_of(any: &[u8]) -> Option<&str> {
    match AnyView::parse(any) {
        Ok(AnyView::Str(text)) => Some(text),
        _ => None,
    }
}

fn string_value(text: &str) -> Vec<u8> {
    let mut any = Vec::with_capacity(text.len() + 4);
    put_any(&mut any, AnyView::Str(text));
    any
}
