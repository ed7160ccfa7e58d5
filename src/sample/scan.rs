//! One look at every span of a request, before it is logged: what rules need to know of each trace becomes notes.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::compile::{Lengths, Scratch};
use super::probability::SamplingState;
use super::services::{ServiceSpans, Services, TraceServices};
use super::{Matches, Notes, RuleSet, Rulebook, TraceNote};
use crate::wire::{AnyView, KeyValueView, SpanView, TraceId, WireError, attributes_of, resource_spans};

const STATUS_ERROR: i32 = 2;

impl Rulebook {
    /// Scans an `ExportTraceServiceRequest`. Spans whose trace id is no id are passed over: they were refused before.
    pub fn scan(&self, body: &[u8]) -> Result<Notes, WireError> {
        self.scan_with(body, &self.in_use())
    }

    /// The same for a request that was received under these rules, as far as they are known.
    pub fn scan_again(&self, body: &[u8], rules_version: u32) -> Result<Notes, WireError> {
        let versions = self.in_use();
        let then = versions.partition_point(|rules| rules.version() <= rules_version).max(1);
        self.scan_with(body, versions.get(..then).unwrap_or(&versions))
    }

    fn scan_with(&self, body: &[u8], versions: &[Arc<RuleSet>]) -> Result<Notes, WireError> {
        let mut scan = Scan {
            services: self.services(),
            service: 0,
            scratch: versions.iter().map(|_| Scratch::default()).collect(),
            versions,
            lengths: versions.iter().fold(Lengths::default(), |all, v| all.and(v.program().key_lengths())),
            texts: versions.iter().any(|rules| rules.program().asks_texts()),
            notes: Notes { rules_version: versions.last().map_or(0, |v| v.version()), ..Notes::default() },
            places: HashMap::default(),
        };
        for resource_spans in resource_spans(body) {
            let resource_spans = resource_spans?;
            scan.begin_resource(resource_spans.resource()?)?;
            for scope_spans in resource_spans.scope_spans() {
                scope_spans?.spans().try_for_each(|span| scan.span(span?))?;
            }
        }
        Ok(scan.notes)
    }
}

/// A scan under way.
struct Scan<'v> {
    services: &'v Services,
    /// The number of the service whose spans come now.
    service: u16,
    versions: &'v [Arc<RuleSet>],
    /// How long the keys are that any of them asks about: most attributes are told apart by that alone.
    lengths: Lengths,
    /// Whether any of them asks for names and messages.
    texts: bool,
    scratch: SmallVec<[Scratch; 1]>,
    notes: Notes,
    /// Where in the notes a trace is.
    places: HashMap<TraceId, usize, foldhash::fast::RandomState>,
}

impl Scan<'_> {
    fn begin_resource(&mut self, resource: &[u8]) -> Result<(), WireError> {
        self.service = self.services.number(service_name(resource)?);
        for (rules, scratch) in self.versions.iter().zip(&mut self.scratch) {
            rules.program().begin_resource(resource, scratch)?;
        }
        Ok(())
    }

    fn span(&mut self, raw: &[u8]) -> Result<(), WireError> {
        let (versions, lengths, scratch) = (self.versions, self.lengths, &mut self.scratch);
        for (rules, scratch) in versions.iter().zip(scratch.iter_mut()) {
            rules.program().begin_span(scratch);
        }
        let view = SpanView::parse_with(raw, self.texts, |attribute| {
            if key_length(attribute).is_some_and(|length| !lengths.have(length)) {
                return Ok(());
            }
            ask(versions, attribute, scratch)
        })?;
        let Some(trace_id) = TraceId::from_slice(view.trace_id).filter(TraceId::is_valid) else {
            return Ok(());
        };
        let place = self.place_of(trace_id);
        let note = &mut self.notes.traces[place];
        add_span(note, &view, self.service);
        let matches = note.matches.iter_mut();
        for ((rules, scratch), matches) in self.versions.iter().zip(&mut self.scratch).zip(matches) {
            rules.program().end_span(&view, scratch, matches);
        }
        self.notes.spans += 1;
        Ok(())
    }

    /// The note of a trace. Spans of one trace mostly come one after the other.
    #[inline]
    fn place_of(&mut self, trace_id: TraceId) -> usize {
        match self.notes.traces.last() {
            Some(last) if last.trace_id == trace_id => self.notes.traces.len() - 1,
            _ => self.place_of_another(trace_id),
        }
    }

    fn place_of_another(&mut self, trace_id: TraceId) -> usize {
        let next = self.notes.traces.len();
        let place = *self.places.entry(trace_id).or_insert(next);
        if place == next {
            self.notes.traces.push(empty_note(trace_id, self.versions));
        }
        place
    }
}

fn empty_note(trace_id: TraceId, versions: &[Arc<RuleSet>]) -> TraceNote {
    let nothing = |rules: &Arc<RuleSet>| -> Matches { rules.program().no_matches(rules.version()) };
    TraceNote {
        trace_id,
        spans: 0,
        errors: 0,
        bytes: 0,
        start_unix_nano: u64::MAX,
        end_unix_nano: 0,
        has_root: false,
        randomness: None,
        services: TraceServices::new(),
        matches: versions.iter().map(nothing).collect(),
    }
}

#[inline]
fn add_span(note: &mut TraceNote, view: &SpanView<'_>, service: u16) {
    note.spans += 1;
    // A request's spans of one service come one after the other.
    match note.services.last_mut() {
        Some(last) if last.service == service => last.spans += 1,
        _ => match note.services.iter_mut().find(|known| known.service == service) {
            Some(known) => known.spans += 1,
            None => note.services.push(ServiceSpans { service, spans: 1 }),
        },
    }
    note.errors += u32::from(view.status_code == STATUS_ERROR);
    note.bytes = note.bytes.saturating_add(u32::try_from(view.raw.len()).unwrap_or(u32::MAX));
    note.start_unix_nano = note.start_unix_nano.min(view.start_time_unix_nano);
    note.end_unix_nano = note.end_unix_nano.max(view.end_time_unix_nano);
    note.has_root |= view.is_root();
    if note.randomness.is_none() && !view.trace_state.is_empty() {
        note.randomness = SamplingState::parse(view.trace_state).randomness;
    }
}

/// `service.name` of a raw `Resource`; empty where there is none.
fn service_name(resource: &[u8]) -> Result<&str, WireError> {
    const ATTRIBUTES: u32 = 1;
    for attribute in attributes_of(resource, ATTRIBUTES) {
        let attribute = attribute?;
        if attribute.key == "service.name" {
            return Ok(if let AnyView::Str(name) = attribute.value { name } else { "" });
        }
    }
    Ok("")
}

/// Asks the rules about an attribute.
fn ask(versions: &[Arc<RuleSet>], attribute: &[u8], scratch: &mut [Scratch]) -> Result<(), WireError> {
    let key = match key_length(attribute).and_then(|length| attribute.get(2..2 + length)) {
        Some(key) => key,
        None => KeyValueView::parse(attribute)?.key.as_bytes(),
    };
    for (rules, scratch) in versions.iter().zip(scratch) {
        rules.program().attribute(key, attribute, scratch)?;
    }
    Ok(())
}

/// The length of the key of a raw `KeyValue`, which nearly always is its first field, and short.
#[inline]
fn key_length(raw: &[u8]) -> Option<usize> {
    match raw {
        [0x0a, length @ ..0x80, ..] => Some(usize::from(*length)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
