//! Spans as columns, straight from their wire bytes, in one pass over each.

use std::hint::black_box;

use parquet::errors::Result as ParquetResult;
use parquet::schema::types::ColumnDescPtr;

use super::file::{RowGroup, Rows};
use super::gather::{Gathered, SpanEntry};
use super::leaf::{Finished, Flat, Leaf, Press, Runs};
use super::maps::SpanAttributes;
use super::nested::{Items, raw_list};
use super::shared::{SharedAttributes, wire};
use super::span_fields::{Memos, Scalars, Words, edited_state, put_attribute, put_count, put_nonempty};
use super::text::{KINDS, STATUS_CODES, append_hex, micros};
use crate::sample::Fingerprint;
use crate::store::error::StoreError;
use crate::store::index::FileIndex;
use crate::store::other_types::OtherTypes;
use crate::store::schema::{ColumnType, TableKind, WellKnownScope};
use crate::wire::{Fields, Messages, SPAN_ATTRIBUTE_TAG, WireError};

const ZERO: &[u8] = &0u64.to_le_bytes();
/// What memory is fetched in, in bytes.
const CACHE_LINE: usize = 64;
/// So many are fetched of a span before it is read; of a longer one the processor then knows what comes next.
const LINES_MAX: usize = 24;
/// A row group ends when the dictionaries of resources and scopes take so many bytes.
const SHARED_BYTES_MAX: usize = 4 << 20;

/// Columns that have the same value in many rows in a row: put a stripe of rows at a time.
#[derive(Default)]
struct StripeRuns {
    verdicts: Runs,
    resources: Runs,
    scopes: Runs,
}

/// Builds row groups of `spans`.
pub(super) struct SpanRows<'a> {
    gathered: &'a Gathered<'a>,
    row: u32,
    /// The first row of the stripe.
    stripe: u32,
    runs: StripeRuns,
    /// The trace of `trace_hex`.
    trace: Option<u32>,
    trace_hex: Vec<u8>,
    /// The trace's number in the column's dictionary.
    trace_number: Option<u32>,
    hex: Vec<u8>,
    /// For each verdict the adjusted count of spans without a tracestate, and that tracestate.
    plain_states: Vec<Option<(f64, Vec<u8>)>>,
    /// For each verdict that count's number in the column's dictionary.
    plain_counts: Memos,
    trace_id: Flat,
    span_id: Flat,
    parent_span_id: Flat,
    start_time: Flat,
    start_time_unix_nano: Flat,
    end_time_unix_nano: Flat,
    duration_nano: Flat,
    name: Flat,
    kind: Words,
    status_code: Words,
    status_message: Flat,
    trace_state: Flat,
    flags: Flat,
    /// Attributes, events, links.
    dropped: [Flat; 3],
    adjusted_count: Flat,
    rule: Flat,
    rules_version: Flat,
    /// In the order of the layout, with the numbers of resources' values.
    typed: Vec<(Flat, Memos)>,
    /// Which of those have values elsewhere.
    other_types: OtherTypes,
    attributes: SpanAttributes,
    resource_attributes: SharedAttributes,
    /// Resources whose attributes are in the filter.
    resources_told: Vec<bool>,
    resource_raw: Flat,
    resource_dropped: Flat,
    resource_schema_url: Flat,
    scope_name: Flat,
    scope_version: Flat,
    scope_attributes: SharedAttributes,
    scope_raw: Flat,
    scope_dropped: Flat,
    scope_schema_url: Flat,
    events: Items,
    links: Items,
}

impl<'a> SpanRows<'a> {
    fn new(gathered: &'a Gathered<'a>, trace_ids: parquet::bloom_filter::Sbbf) -> Self {
        let zeros = || Flat::with_default(Leaf::longs(), ZERO);
        let texts = || Flat::optional(Leaf::texts());
        let typed = gathered.layout.well_known().iter().map(|known| {
            let leaf = if known.kind == ColumnType::Long { Leaf::longs() } else { Leaf::texts() };
            (Flat::optional(leaf), vec![None; gathered.resources.len()])
        });
        Self {
            gathered,
            row: 0,
            stripe: 0,
            runs: StripeRuns::default(),
            trace: None,
            trace_hex: Vec::new(),
            trace_number: None,
            hex: Vec::new(),
            plain_states: vec![None; gathered.verdicts.len()],
            plain_counts: vec![None; gathered.verdicts.len()],
            trace_id: Flat::required(Leaf::sorted_texts(trace_ids)),
            span_id: Flat::required(Leaf::ids()),
            parent_span_id: Flat::optional(Leaf::ids()),
            start_time: Flat::required(Leaf::unique_longs(true)),
            start_time_unix_nano: Flat::required(Leaf::unique_longs(false)),
            end_time_unix_nano: Flat::optional(Leaf::unique_longs(false)),
            duration_nano: Flat::required(Leaf::unique_longs(true)),
            name: Flat::required(Leaf::texts()),
            kind: Words::new(&KINDS),
            status_code: Words::new(&STATUS_CODES),
            status_message: texts(),
            trace_state: texts(),
            flags: zeros(),
            dropped: [zeros(), zeros(), zeros()],
            adjusted_count: Flat::required(Leaf::doubles()),
            rule: Flat::required(Leaf::texts()),
            rules_version: zeros(),
            typed: typed.collect(),
            other_types: OtherTypes::default(),
            attributes: SpanAttributes::of_spans(gathered.layout),
            resource_attributes: SharedAttributes::default(),
            resources_told: vec![false; gathered.resources.len()],
            resource_raw: texts(),
            resource_dropped: zeros(),
            resource_schema_url: texts(),
            scope_name: Flat::required(Leaf::texts()),
            scope_version: texts(),
            scope_attributes: SharedAttributes::default(),
            scope_raw: texts(),
            scope_dropped: zeros(),
            scope_schema_url: texts(),
            events: Items::events(),
            links: Items::links(),
        }
    }

    /// Reads a span's message; its attributes go into their columns on the way.
    fn read<'r>(&mut self, raw: &'r [u8]) -> Result<Scalars<'r>, WireError> {
        let mut scalars = Scalars::default();
        let (row, typed, layout) = (self.row, &mut self.typed, self.gathered.layout);
        let entries = &mut self.attributes.entries;
        entries.begin();
        let mut fields = Fields::new(raw);
        loop {
            while let Some(attribute) = fields.read_short(SPAN_ATTRIBUTE_TAG) {
                put_attribute(entries, typed, layout, row, attribute, &mut self.other_types)?;
            }
            let Some(field) = fields.read()? else { break };
            match field.number {
                1 => scalars.trace_id = field.bytes("span.trace_id")?,
                2 => scalars.span_id = field.bytes("span.span_id")?,
                3 => scalars.trace_state = field.text("span.trace_state")?,
                4 => scalars.parent_span_id = field.bytes("span.parent_span_id")?,
                9 => {
                    let raw = field.bytes("span.attributes")?;
                    put_attribute(entries, typed, layout, row, raw, &mut self.other_types)?;
                }
                10 => scalars.dropped[0] = field.varint("span.dropped_attributes_count")? as u32,
                11 => scalars.events.push(field.bytes("span.events")?),
                12 => scalars.dropped[1] = field.varint("span.dropped_events_count")? as u32,
                13 => scalars.links.push(field.bytes("span.links")?),
                14 => scalars.dropped[2] = field.varint("span.dropped_links_count")? as u32,
                15 => scalars.read_status(field.bytes("span.status")?)?,
                16 => scalars.flags = field.fixed32("span.flags")?,
                _ => {}
            }
        }
        if let Some(list) = raw_list(self.attributes.end_row(), Messages::new(raw, 9, "span.attributes"))? {
            self.attributes.raw.put(row, &list, 1);
        }
        Ok(scalars)
    }

    fn put_ids(&mut self, entry: &SpanEntry, scalars: &Scalars<'_>) {
        let row = self.row;
        if self.trace != Some(entry.trace) {
            self.trace = Some(entry.trace);
            self.trace_number = None;
            self.trace_hex.clear();
            append_hex(&mut self.trace_hex, scalars.trace_id);
        }
        self.trace_id.put_known(row, &self.trace_hex, 1, &mut self.trace_number);
        self.hex.clear();
        append_hex(&mut self.hex, scalars.span_id);
        self.span_id.put(row, &self.hex, 1);
        if !scalars.parent_span_id.is_empty() {
            self.hex.clear();
            append_hex(&mut self.hex, scalars.parent_span_id);
            self.parent_span_id.put(row, &self.hex, 1);
        }
    }

    fn put_times(&mut self, entry: &SpanEntry) {
        let (row, start, end) = (self.row, entry.start_unix_nano, entry.end_unix_nano);
        self.start_time.put_long(row, micros(start));
        self.start_time_unix_nano.put_long(row, start as i64);
        let duration = end.checked_sub(start).and_then(|nanos| i64::try_from(nanos).ok());
        if duration.is_none() {
            self.end_time_unix_nano.put_long(row, end as i64);
        }
        let cut = if end < start { 0 } else { i64::MAX };
        self.duration_nano.put_long(row, duration.unwrap_or(cut));
    }

    fn put_scalars(&mut self, entry: &SpanEntry, scalars: &Scalars<'_>) {
        let row = self.row;
        self.name.put(row, self.gathered.name(entry), 1);
        self.kind.put(row, entry.kind);
        self.status_code.put(row, scalars.status_code);
        if let Some(message) = scalars.status_message {
            self.status_message.put(row, message.as_bytes(), 1);
        }
        if scalars.flags != 0 {
            self.flags.put_long(row, i64::from(scalars.flags));
        }
        for (column, count) in self.dropped.iter_mut().zip(scalars.dropped) {
            if count != 0 {
                column.put_long(row, i64::from(count));
            }
        }
    }

    fn put_verdict(&mut self, entry: &SpanEntry, trace_state: &str) {
        let (row, number) = (self.row, self.gathered.verdict(entry.trace));
        let verdict = self.gathered.verdicts[number as usize];
        self.runs.verdicts.push(number, 1);
        let (edited, mut edited_count) = (&mut None, None);
        let (state, count) = match trace_state.is_empty() {
            true => (&mut self.plain_states[number as usize], &mut self.plain_counts[number as usize]),
            false => (edited, &mut edited_count),
        };
        let (adjusted_count, trace_state) = state.get_or_insert_with(|| edited_state(trace_state, verdict));
        if !trace_state.is_empty() {
            self.trace_state.put(row, trace_state, 1);
        }
        self.adjusted_count.put_known(row, &adjusted_count.to_le_bytes(), 1, count);
    }

    fn end_runs(&mut self) {
        let gathered = self.gathered;
        let mut row = self.stripe;
        for (number, rows) in self.runs.verdicts.iter() {
            let verdict = gathered.verdicts[number as usize];
            self.rule.put(row, verdict.rule.as_bytes(), rows);
            self.rules_version.put(row, &i64::from(verdict.rules_version).to_le_bytes(), rows);
            row += rows;
        }
        self.put_resources();
        self.put_scopes();
        self.runs.verdicts.clear();
        self.runs.resources.clear();
        self.runs.scopes.clear();
    }

    fn put_resources(&mut self) {
        let gathered = self.gathered;
        for (at, (column, memos)) in self.typed.iter_mut().enumerate() {
            if gathered.layout.well_known()[at].scope != WellKnownScope::Resource {
                continue;
            }
            let mut row = self.stripe;
            for (number, rows) in self.runs.resources.iter() {
                if let Some(text) = &gathered.resources[number as usize].well_known[at] {
                    column.put_known(row, text.as_bytes(), rows, &mut memos[number as usize]);
                }
                row += rows;
            }
        }
        let mut row = self.stripe;
        for (number, rows) in self.runs.resources.iter() {
            let resource = &gathered.resources[number as usize];
            self.other_types.join(resource.other_types);
            self.resource_attributes.put(number, &resource.attributes, rows);
            if let Some(filter) = self.attributes.filter()
                && !std::mem::replace(&mut self.resources_told[number as usize], true)
            {
                resource.tell(filter);
            }
            if let Some(raw) = &resource.raw {
                self.resource_raw.put(row, raw, rows);
            }
            put_count(&mut self.resource_dropped, row, resource.dropped_attributes_count, rows);
            put_nonempty(&mut self.resource_schema_url, row, &resource.schema_url, rows);
            row += rows;
        }
    }

    fn put_scopes(&mut self) {
        let mut row = self.stripe;
        for (number, rows) in self.runs.scopes.iter() {
            let scope = &self.gathered.scopes[number as usize];
            self.scope_name.put(row, scope.name.as_bytes(), rows);
            put_nonempty(&mut self.scope_version, row, &scope.version, rows);
            self.scope_attributes.put(number, &scope.attributes, rows);
            if let Some(raw) = &scope.raw {
                self.scope_raw.put(row, raw, rows);
            }
            put_count(&mut self.scope_dropped, row, scope.dropped_attributes_count, rows);
            put_nonempty(&mut self.scope_schema_url, row, &scope.schema_url, rows);
            row += rows;
        }
    }

    /// The columns whose pages end as they fill up.
    fn flats(&mut self) -> impl Iterator<Item = &mut Flat> {
        let scalars = [
            &mut self.span_id,
            &mut self.parent_span_id,
            &mut self.start_time_unix_nano,
            &mut self.end_time_unix_nano,
            &mut self.name,
            &mut self.kind.column,
            &mut self.status_code.column,
            &mut self.status_message,
            &mut self.trace_state,
            &mut self.flags,
            &mut self.adjusted_count,
            &mut self.rule,
            &mut self.rules_version,
            &mut self.resource_raw,
            &mut self.resource_dropped,
            &mut self.resource_schema_url,
            &mut self.scope_name,
            &mut self.scope_version,
            &mut self.scope_raw,
            &mut self.scope_dropped,
            &mut self.scope_schema_url,
        ];
        scalars.into_iter().chain(&mut self.dropped).chain(self.typed.iter_mut().map(|(column, _)| column))
    }
}

impl<'a> Rows<'a> for SpanRows<'a> {
    type Item = u32;
    const TABLE: TableKind = TableKind::Spans;

    fn begin(gathered: &'a Gathered<'a>, trace_ids: parquet::bloom_filter::Sbbf) -> Self {
        Self::new(gathered, trace_ids)
    }

    fn trace_ids(gathered: &Gathered<'_>, items: &[u32]) -> usize {
        let trace = |at: &u32| gathered.span(*at).trace;
        items.chunk_by(|a, b| trace(a) == trace(b)).count()
    }

    fn index(gathered: &Gathered<'_>, items: &[u32], group: &mut RowGroup, index: &mut FileIndex) {
        let trace = |at: &u32| gathered.span(*at).trace;
        let Some(first) = gathered.traces.first() else { return };
        let seed = Fingerprint::seed(&first.tenant);
        let traces = items.chunk_by(|a, b| trace(a) == trace(b)).map(|spans| trace(&spans[0]));
        let of_trace = |at: u32| Fingerprint::seeded(seed, &gathered.traces[at as usize].trace_id).0;
        let bytes = group.chunks.iter().map(|chunk| chunk.bytes.len()).sum();
        index.push_group(traces.map(of_trace), group.filter.take().map(|filter| filter.finish(bytes)));
    }

    fn fetch(&self, items: &[u32]) {
        let gathered = self.gathered;
        // Entries first: where the bytes are stands there.
        let ends = items.iter().fold(0, |all, at| all ^ gathered.raw_len(gathered.span(*at)));
        let lines = |at: &u32| gathered.raw(gathered.span(*at)).chunks(CACHE_LINE).take(LINES_MAX);
        let lines = items.iter().flat_map(lines);
        black_box((ends, lines.fold(0, |all, line| all ^ line[0])));
    }

    fn append(&mut self, at: &u32) -> Result<usize, StoreError> {
        let gathered = self.gathered;
        let entry = gathered.span(*at);
        let raw = gathered.raw(entry);
        let scalars = self.read(raw).map_err(wire)?;
        self.put_ids(entry, &scalars);
        self.put_times(entry);
        self.put_scalars(entry, &scalars);
        self.put_verdict(entry, scalars.trace_state);
        for event in &scalars.events {
            self.events.put_event(self.row, event).map_err(wire)?;
        }
        for link in &scalars.links {
            self.links.put_link(self.row, link).map_err(wire)?;
        }
        self.runs.resources.push(entry.resource, 1);
        self.runs.scopes.push(entry.scope, 1);
        self.row += 1;
        Ok(raw.len())
    }

    fn end_stripe(&mut self, press: &mut Press) -> ParquetResult<()> {
        self.end_runs();
        let row = self.row;
        self.stripe = row;
        for column in [&mut self.trace_id, &mut self.start_time, &mut self.duration_nano] {
            column.end_page(row, press)?;
        }
        for column in self.flats().filter(|column| column.is_page_full()) {
            column.end_page(row, press)?;
        }
        self.attributes.end_pages(row, press)?;
        self.resource_attributes.end_pages(press)?;
        self.scope_attributes.end_pages(press)?;
        self.events.end_pages(row, press)?;
        self.links.end_pages(row, press)
    }

    fn rows(&self) -> u32 {
        self.row
    }

    fn is_full(&mut self) -> bool {
        let shared = self.resource_attributes.dictionary_bytes() + self.scope_attributes.dictionary_bytes();
        shared > SHARED_BYTES_MAX
            || self.attributes.entries.is_full()
            || self.events.is_full()
            || self.links.is_full()
    }

    /// In the order of the schema.
    fn finish(mut self, columns: &[ColumnDescPtr], press: &mut Press) -> ParquetResult<RowGroup> {
        let rows = self.row;
        let (filter, other_types) = (self.attributes.entries.filter.take(), self.other_types);
        let mut at = 0;
        let mut column = || {
            at += 1;
            ColumnDescPtr::clone(&columns[at - 1])
        };
        let mut chunks: Vec<Finished> = Vec::new();
        let mut typed = self.typed.into_iter().map(|(column, _)| column);
        let service_name = typed.next();
        let scalars = [
            self.trace_id,
            self.span_id,
            self.parent_span_id,
            self.start_time,
            self.start_time_unix_nano,
            self.end_time_unix_nano,
            self.duration_nano,
            self.name,
            self.kind.column,
            self.status_code.column,
            self.status_message,
        ];
        let after = [self.trace_state, self.flags].into_iter().chain(self.dropped);
        let after = after.chain([self.adjusted_count, self.rule, self.rules_version]);
        for flat in scalars.into_iter().chain(service_name).chain(after).chain(typed) {
            chunks.push(flat.finish(rows, column(), press)?);
        }
        chunks.extend(self.attributes.finish(rows, &mut column, press)?);
        chunks.extend(self.resource_attributes.finish(&mut column, press)?);
        for flat in [
            self.resource_raw,
            self.resource_dropped,
            self.resource_schema_url,
            self.scope_name,
            self.scope_version,
        ] {
            chunks.push(flat.finish(rows, column(), press)?);
        }
        chunks.extend(self.scope_attributes.finish(&mut column, press)?);
        for flat in [self.scope_raw, self.scope_dropped, self.scope_schema_url] {
            chunks.push(flat.finish(rows, column(), press)?);
        }
        chunks.extend(self.events.finish(rows, &mut column, press)?);
        chunks.extend(self.links.finish(rows, &mut column, press)?);
        Ok(RowGroup { rows, chunks, filter, other_types })
    }
}
