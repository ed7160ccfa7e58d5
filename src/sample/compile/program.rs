//! The atoms of all rules of a set, laid out so that a scan asks each span about them once.
//!
//! A span's answers are bits: the resource's are worked out once and copied, intrinsics add theirs from small tables, each
//! attribute adds those of its key. Conjunctions are then only looked at where their rarest atom holds, so the cost of a
//! span grows with what matches it, not with the number of rules.

use super::atom::{Field, RootField, Test, Tests, set};
use super::build::{Atom, Builder, CaptureField};
use super::conjunctions::Conjunctions;
use super::durations::Durations;
use super::keys::{Keys, Lengths, Slot};
use crate::sample::notes::{Matches, merge_capture};
use crate::traceql::{BinaryOp, Kind, Literal, Status, Value, compares};
use crate::wire::{KeyValueView, SpanView, WireError, attributes_of};

const SERVICE_NAME: &str = "service.name";
const RESOURCE_ATTRIBUTES: u32 = 1;

/// See the module.
#[derive(Debug)]
pub(in crate::sample) struct Program {
    atom_words: usize,
    bit_words: usize,
    counters: usize,
    root_words: usize,
    captures: usize,
    /// By code: the atoms that hold. Empty where nobody asks.
    status: [Vec<u64>; 3],
    kind: [Vec<u64>; 6],
    durations_of_spans: Durations,
    name: Tests,
    name_captures: Vec<u32>,
    status_message: Tests,
    parent: Option<u32>,
    keys: Keys,
    resource: Vec<ResourceSlot>,
    root_name: Tests,
    root_service: Tests,
    root_captures: Vec<(RootField, u32)>,
    durations_of_traces: Vec<(BinaryOp, Literal)>,
    conjunctions: Conjunctions,
}

/// What is asked about one attribute key of a resource.
#[derive(Debug, Default)]
struct ResourceSlot {
    key: Box<str>,
    tests: Tests,
    captures: Vec<u32>,
}

/// The working memory of a scan for one program. Reused for every span.
#[derive(Debug, Default)]
pub(in crate::sample) struct Scratch {
    bits: Vec<u64>,
    of_resource: Vec<u64>,
    seen: Vec<u64>,
    captures: Vec<u64>,
    captures_of_resource: Vec<u64>,
    root_of_resource: Vec<u64>,
    service_hash: u64,
    counted: Vec<u32>,
}

impl Program {
    pub(super) fn new(builder: Builder) -> Self {
        let words = |count: usize| count.div_ceil(64);
        let atom_words = words(builder.atoms.len());
        let mut program = Self {
            atom_words,
            bit_words: words(builder.bits() as usize),
            counters: builder.counters as usize,
            root_words: words(builder.roots.len()),
            captures: builder.captures.len(),
            status: Default::default(),
            kind: Default::default(),
            durations_of_spans: Durations::default(),
            name: Tests::default(),
            name_captures: Vec::new(),
            status_message: Tests::default(),
            parent: None,
            keys: Keys::new(Vec::new()),
            resource: Vec::new(),
            root_name: Tests::default(),
            root_service: Tests::default(),
            root_captures: Vec::new(),
            conjunctions: Conjunctions::new(&builder.atoms, builder.conjunctions),
            durations_of_traces: builder.durations,
        };
        let mut slots = Vec::new();
        let mut durations = Vec::new();
        for (atom, Atom { field, test }) in (0u32..).zip(builder.atoms) {
            program.add_atom(atom, field, test, &mut slots, &mut durations);
        }
        for (atom, (field, test)) in (0u32..).zip(builder.roots) {
            match field {
                RootField::Name => program.root_name.add(atom, test),
                RootField::Service => program.root_service.add(atom, test),
            }
        }
        for (capture, field) in (0u32..).zip(builder.captures) {
            program.add_capture(capture, field, &mut slots);
        }
        program.keys = Keys::new(slots);
        program.durations_of_spans = Durations::new(&durations, atom_words);
        program
    }

    fn add_atom(
        &mut self,
        atom: u32,
        field: Field,
        test: Test,
        slots: &mut Vec<Slot>,
        durations: &mut Vec<(u32, Test)>,
    ) {
        let words = self.atom_words;
        match field {
            Field::Name => self.name.add(atom, test),
            Field::StatusMessage => self.status_message.add(atom, test),
            Field::Status => {
                let value = |code| Value::Status(Status::from_otlp(code));
                answer_ahead(&mut self.status, words, atom, |code| test.holds(&value(code).into()));
            }
            Field::Kind => {
                let value = |code| Value::Kind(Kind::from_otlp(code));
                answer_ahead(&mut self.kind, words, atom, |code| test.holds(&value(code).into()));
            }
            Field::Duration => durations.push((atom, test)),
            Field::Parent => self.parent = Some(atom),
            Field::Span(key) => slot_of(slots, &key).span.add(atom, test),
            Field::Resource(key) => self.resource_slot(&key).tests.add(atom, test),
            Field::Unscoped(key) => {
                self.resource_slot(&key).tests.add(atom, test.clone());
                slot_of(slots, &key).add_unscoped(atom, test);
            }
        }
    }

    fn add_capture(&mut self, capture: u32, field: CaptureField, slots: &mut Vec<Slot>) {
        match field {
            CaptureField::Root(field) => self.root_captures.push((field, capture)),
            CaptureField::Span(Field::Span(key)) => slot_of(slots, &key).captures.push(capture),
            CaptureField::Span(Field::Resource(key)) => self.resource_slot(&key).captures.push(capture),
            CaptureField::Span(Field::Unscoped(key)) => {
                self.resource_slot(&key).captures.push(capture);
                slot_of(slots, &key).captures.push(capture);
            }
            CaptureField::Span(_) => self.name_captures.push(capture),
        }
    }

    fn resource_slot(&mut self, key: &str) -> &mut ResourceSlot {
        let index = self.resource.iter().position(|slot| *slot.key == *key).unwrap_or_else(|| {
            self.resource.push(ResourceSlot { key: key.into(), ..ResourceSlot::default() });
            self.resource.len() - 1
        });
        &mut self.resource[index]
    }

    /// Whether the comparison numbered `index` holds for a trace that lasts so long.
    pub fn duration_holds(&self, index: u32, duration_nano: u64) -> bool {
        self.durations_of_traces.get(index as usize).is_some_and(|(op, literal)| {
            compares(*op, &Value::duration(duration_nano).into(), &literal.as_value().into())
        })
    }

    /// Whether anything asks for the name of a span or the message of its status.
    pub fn asks_texts(&self) -> bool {
        let of_roots = !self.root_name.is_empty()
            || self.root_captures.iter().any(|(field, _)| matches!(field, RootField::Name));
        of_roots || !self.name.is_empty() || !self.name_captures.is_empty() || !self.status_message.is_empty()
    }

    /// Nothing matched yet.
    pub fn no_matches(&self, version: u32) -> Matches {
        Matches {
            version,
            bits: smallvec::smallvec![0; self.bit_words],
            counts: smallvec::smallvec![0; self.counters],
            root: smallvec::smallvec![0; self.root_words],
            root_start_unix_nano: None,
            captures: smallvec::smallvec![0; self.captures],
        }
    }

    /// Asks a raw `Resource`: holds for all spans until the next one.
    pub fn begin_resource(&self, resource: &[u8], scratch: &mut Scratch) -> Result<(), WireError> {
        refill(&mut scratch.of_resource, self.atom_words);
        refill(&mut scratch.root_of_resource, self.root_words);
        refill(&mut scratch.captures_of_resource, self.captures);
        refill(&mut scratch.bits, self.atom_words);
        scratch.service_hash = 0;
        self.ask_resource(resource, scratch)?;
        refill(&mut scratch.seen, self.keys.slots.len() / 64 + 1);
        Ok(())
    }

    fn ask_resource(&self, resource: &[u8], scratch: &mut Scratch) -> Result<(), WireError> {
        if self.resource.is_empty() && self.root_service.is_empty() && self.root_captures.is_empty() {
            return Ok(());
        }
        refill(&mut scratch.seen, self.resource.len() / 64 + 1);
        let mut service_seen = false;
        for attribute in attributes_of(resource, RESOURCE_ATTRIBUTES) {
            let attribute = attribute?;
            if attribute.key == SERVICE_NAME && !service_seen {
                service_seen = true;
                self.read_service(&attribute, scratch);
            }
            let Some(index) = self.resource.iter().position(|slot| *slot.key == *attribute.key) else {
                continue;
            };
            if first_time(&mut scratch.seen, index) {
                let slot = &self.resource[index];
                slot.tests.ask(attribute.value, &mut scratch.of_resource)?;
                capture(&slot.captures, hash(attribute.raw), &mut scratch.captures_of_resource);
            }
        }
        Ok(())
    }

    fn read_service(&self, attribute: &KeyValueView<'_>, scratch: &mut Scratch) {
        if let crate::wire::AnyView::Str(name) = attribute.value {
            self.root_service.ask_text(name, &mut scratch.root_of_resource);
            scratch.service_hash = hash(name.as_bytes());
        }
    }

    /// Starts a span.
    #[inline]
    pub fn begin_span(&self, scratch: &mut Scratch) {
        scratch.bits.copy_from_slice(&scratch.of_resource);
        scratch.seen.fill(0);
        if self.captures > 0 {
            scratch.captures.clone_from(&scratch.captures_of_resource);
        }
    }

    /// How long the keys are that anything is asked about.
    pub fn key_lengths(&self) -> Lengths {
        self.keys.lengths
    }

    /// Asks an attribute of the span: its key, and the whole raw `KeyValue`.
    #[inline]
    pub fn attribute(&self, key: &[u8], raw: &[u8], scratch: &mut Scratch) -> Result<(), WireError> {
        match self.keys.find(key) {
            Some(index) => self.asked_attribute(index, raw, scratch),
            None => Ok(()),
        }
    }

    fn asked_attribute(&self, index: usize, raw: &[u8], scratch: &mut Scratch) -> Result<(), WireError> {
        // Of a key that comes twice the first counts, as for every reader.
        if !first_time(&mut scratch.seen, index) {
            return Ok(());
        }
        let slot = &self.keys.slots[index];
        if let Some(text) = plain_text(raw, &slot.key)
            && slot.is_only_texts()
        {
            slot.span.ask_equal(text, &mut scratch.bits);
            return Ok(());
        }
        let value = KeyValueView::parse(raw)?.value;
        slot.span.ask(value, &mut scratch.bits)?;
        // A value that compares with nothing is not there: the resource's stays.
        let is_there = !matches!(
            value,
            crate::wire::AnyView::Empty | crate::wire::AnyView::Bytes(_) | crate::wire::AnyView::Kvlist(_)
        );
        if is_there && !slot.unscoped.is_empty() {
            for (word, mask) in &slot.unscoped_mask {
                scratch.bits[*word] &= !mask;
            }
            slot.unscoped.ask(value, &mut scratch.bits)?;
        }
        if is_there {
            capture(&slot.captures, hash(raw), &mut scratch.captures);
        }
        Ok(())
    }

    /// Ends a span: adds what it fulfils to its trace.
    #[inline]
    pub fn end_span(&self, view: &SpanView<'_>, scratch: &mut Scratch, matches: &mut Matches) {
        let bits = &mut scratch.bits;
        add(bits, &self.status[Status::from_otlp(view.status_code) as usize]);
        add(bits, &self.kind[Kind::from_otlp(view.kind) as usize]);
        if !self.name.is_empty() {
            self.name.ask_text(view.name, bits);
        }
        if !self.status_message.is_empty() {
            self.status_message.ask_text(view.status_message, bits);
        }
        add(bits, self.durations_of_spans.holding(view.duration_nano()));
        let is_root = view.is_root();
        if let (Some(atom), false) = (self.parent, is_root) {
            set(bits, atom);
        }
        self.conjunctions.conclude(bits, &mut scratch.counted, matches);
        if is_root && self.root_words > 0 {
            self.ask_root(view, scratch, matches);
        }
        if self.captures > 0 {
            self.keep_captures(view, is_root, scratch, matches);
        }
    }

    fn ask_root(&self, view: &SpanView<'_>, scratch: &Scratch, matches: &mut Matches) {
        let start = view.start_time_unix_nano;
        if matches.root_start_unix_nano.is_none_or(|known| start < known) {
            matches.root_start_unix_nano = Some(start);
            matches.root.copy_from_slice(&scratch.root_of_resource);
            self.root_name.ask_text(view.name, &mut matches.root);
        }
    }

    fn keep_captures(
        &self,
        view: &SpanView<'_>,
        is_root: bool,
        scratch: &mut Scratch,
        matches: &mut Matches,
    ) {
        if !self.name_captures.is_empty() {
            capture(&self.name_captures, hash(view.name.as_bytes()), &mut scratch.captures);
        }
        for (field, index) in self.root_captures.iter().filter(|_| is_root) {
            scratch.captures[*index as usize] = match field {
                RootField::Name => hash(view.name.as_bytes()),
                RootField::Service => scratch.service_hash,
            };
        }
        for (kept, found) in matches.captures.iter_mut().zip(&scratch.captures) {
            merge_capture(kept, if *found == 0 { 0 } else { found | u64::from(is_root) });
        }
    }
}

/// Notes, for each code of a small enumeration, whether an atom holds.
fn answer_ahead(tables: &mut [Vec<u64>], words: usize, atom: u32, holds: impl Fn(i32) -> bool) {
    for (code, table) in (0i32..).zip(tables) {
        table.resize(words, 0);
        if holds(code) {
            set(table, atom);
        }
    }
}

fn slot_of<'a>(slots: &'a mut Vec<Slot>, key: &str) -> &'a mut Slot {
    let index = slots.iter().position(|slot| *slot.key == *key).unwrap_or_else(|| {
        slots.push(Slot { key: key.into(), ..Slot::default() });
        slots.len() - 1
    });
    &mut slots[index]
}

#[inline]
fn refill(words: &mut Vec<u64>, length: usize) {
    words.clear();
    words.resize(length, 0);
}

#[inline]
fn add(bits: &mut [u64], more: &[u64]) {
    bits.iter_mut().zip(more).for_each(|(bits, more)| *bits |= more);
}

#[inline]
fn first_time(seen: &mut [u64], index: usize) -> bool {
    let bit = 1u64 << (index % 64);
    let word = &mut seen[index / 64];
    let first = *word & bit == 0;
    *word |= bit;
    first
}

fn capture(captures: &[u32], hash: u64, values: &mut [u64]) {
    captures.iter().for_each(|index| values[*index as usize] = hash);
}

/// The string value of a `KeyValue` written the usual way: the key, then a value that is one string, lengths in a byte each.
/// UTF-8 is not checked: enough for comparing.
#[inline]
fn plain_text<'a>(raw: &'a [u8], key: &str) -> Option<&'a [u8]> {
    match raw.get(2 + key.len()..)? {
        [0x12, outer, 0x0a, inner, text @ ..]
            if usize::from(*inner) == text.len() && *inner < 0x7e && *outer == inner + 2 =>
        {
            Some(text)
        }
        _ => None,
    }
}

/// Never 0, and the lowest bit free.
fn hash(bytes: &[u8]) -> u64 {
    (twox_hash::XxHash3_64::oneshot(bytes) | 2) & !1
}
