//! One row a trace, from the spans of it that a batch has.

use std::collections::BTreeSet;
use std::ops::Range;

use parquet::bloom_filter::Sbbf;
use parquet::errors::Result as ParquetResult;
use parquet::schema::types::ColumnDescPtr;

use super::file::{RowGroup, Rows};
use super::gather::{Gathered, SpanEntry};
use super::leaf::{Flat, Leaf, Levels, PAGE_BYTES, Press, RowBits, Runs};
use super::text::{append_hex, micros};
use crate::store::error::StoreError;
use crate::store::index::FileIndex;
use crate::store::other_types::OtherTypes;
use crate::store::schema::TableKind;

/// The spans of one trace in a batch; never empty.
pub(super) struct TraceGroup {
    /// Where they are in the order of the spans.
    spans: Range<usize>,
    /// The day of its partition: of its earliest span.
    pub(super) day: i32,
    /// Index of the trace.
    pub(super) trace: u32,
}

/// The traces among the sorted spans.
pub(super) fn groups(gathered: &Gathered<'_>) -> Vec<TraceGroup> {
    let mut begin = 0;
    let of_trace = |at: &u32| gathered.span(*at).trace;
    let chunks = gathered.order.chunk_by(|a, b| of_trace(a) == of_trace(b));
    let group = |spans: &[u32]| {
        let group = TraceGroup {
            spans: begin..begin + spans.len(),
            day: spans.iter().map(|at| gathered.span(*at).day).min().unwrap_or(0),
            trace: of_trace(&spans[0]),
        };
        begin += spans.len();
        group
    };
    chunks.map(group).collect()
}

/// Builds row groups of `traces`.
pub(super) struct TraceRows<'a> {
    gathered: &'a Gathered<'a>,
    row: u32,
    hex: Vec<u8>,
    trace_id: Flat,
    start_time: Flat,
    start_time_unix_nano: Flat,
    duration_nano: Flat,
    root_service_name: Flat,
    root_name: Flat,
    span_count: Flat,
    error_count: Flat,
    services: Services,
    rule: Flat,
    rules_version: Flat,
    complete: Flat,
}

/// The column `services`: a list of strings.
struct Services {
    leaf: Leaf,
    rows: RowBits,
    definition: Runs,
    first: u32,
}

impl Services {
    fn put(&mut self, services: &BTreeSet<&str>) {
        services.iter().for_each(|service| self.leaf.put(service.as_bytes(), 1));
        let count = services.len() as u32;
        self.rows.push_row(count);
        self.definition.push(u32::from(count > 0), count.max(1));
    }

    fn end_page(&mut self, row: u32, press: &mut Press) -> ParquetResult<()> {
        if row == self.first {
            return Ok(());
        }
        let (mut repetition, mut definition) = (Vec::new(), Vec::new());
        let count = self.rows.len();
        self.rows.encode(&mut repetition);
        self.definition.encode(1, &mut definition);
        self.definition.clear();
        let levels = Levels { repetition: &repetition, definition: &definition, count };
        self.leaf.end_page(levels, row - self.first, press)?;
        self.first = row;
        Ok(())
    }
}

impl TraceRows<'_> {
    fn flats(&mut self) -> [&mut Flat; 8] {
        [
            &mut self.start_time_unix_nano,
            &mut self.root_service_name,
            &mut self.root_name,
            &mut self.span_count,
            &mut self.error_count,
            &mut self.rule,
            &mut self.rules_version,
            &mut self.complete,
        ]
    }
}

impl<'a> Rows<'a> for TraceRows<'a> {
    type Item = TraceGroup;
    const TABLE: TableKind = TableKind::Traces;

    fn begin(gathered: &'a Gathered<'a>, trace_ids: Sbbf) -> Self {
        let services =
            Services { leaf: Leaf::texts(), rows: RowBits::default(), definition: Runs::default(), first: 0 };
        Self {
            gathered,
            row: 0,
            hex: Vec::new(),
            trace_id: Flat::required(Leaf::sorted_texts(trace_ids)),
            start_time: Flat::required(Leaf::unique_longs(true)),
            start_time_unix_nano: Flat::required(Leaf::unique_longs(false)),
            duration_nano: Flat::required(Leaf::unique_longs(true)),
            root_service_name: Flat::optional(Leaf::texts()),
            root_name: Flat::optional(Leaf::texts()),
            span_count: Flat::required(Leaf::longs()),
            error_count: Flat::required(Leaf::longs()),
            services,
            rule: Flat::required(Leaf::texts()),
            rules_version: Flat::required(Leaf::longs()),
            complete: Flat::required(Leaf::bools()),
        }
    }

    fn trace_ids(_: &Gathered<'_>, items: &[TraceGroup]) -> usize {
        items.len()
    }

    fn index(_: &Gathered<'_>, _: &[TraceGroup], _: &mut RowGroup, _: &mut FileIndex) {}

    fn append(&mut self, group: &TraceGroup) -> Result<usize, StoreError> {
        let (gathered, row) = (self.gathered, self.row);
        let spans = || gathered.order[group.spans.clone()].iter().map(|at| gathered.span(*at));
        let start = spans().map(|s| s.start_unix_nano).min().unwrap_or(0);
        let end = spans().map(|s| s.end_unix_nano).max().unwrap_or(0);
        let service = |s: &SpanEntry| gathered.resources[s.resource as usize].service_name();
        let root = spans().find(|s| s.is_root);
        let services = distinct(spans().map(|s| s.resource), |resource| {
            gathered.resources[resource as usize].services()
        });
        let mut bytes: usize = services.iter().map(|service| service.len()).sum();
        self.hex.clear();
        append_hex(&mut self.hex, &gathered.traces[group.trace as usize].trace_id.0);
        self.trace_id.put(row, &self.hex, 1);
        self.start_time.put_long(row, micros(start));
        self.start_time_unix_nano.put_long(row, start as i64);
        self.duration_nano.put_long(row, i64::try_from(end.saturating_sub(start)).unwrap_or(i64::MAX));
        if let Some(root) = root {
            if let Some(service) = service(root) {
                self.root_service_name.put(row, service.as_bytes(), 1);
            }
            let name = gathered.name(root);
            self.root_name.put(row, name, 1);
            bytes += name.len();
        }
        self.span_count.put_long(row, spans().len() as i64);
        self.error_count.put_long(row, spans().filter(|s| s.is_error).count() as i64);
        self.services.put(&services);
        let verdict = gathered.verdicts[gathered.verdict(group.trace) as usize];
        self.rule.put(row, verdict.rule.as_bytes(), 1);
        self.rules_version.put_long(row, i64::from(verdict.rules_version));
        self.complete.put_bool(row, root.is_some());
        self.row += 1;
        Ok(bytes)
    }

    fn end_stripe(&mut self, press: &mut Press) -> ParquetResult<()> {
        let row = self.row;
        for column in [&mut self.trace_id, &mut self.start_time, &mut self.duration_nano] {
            column.end_page(row, press)?;
        }
        for column in self.flats().into_iter().filter(|column| column.is_page_full()) {
            column.end_page(row, press)?;
        }
        if self.services.leaf.bytes() >= PAGE_BYTES { self.services.end_page(row, press) } else { Ok(()) }
    }

    fn rows(&self) -> u32 {
        self.row
    }

    fn is_full(&mut self) -> bool {
        false
    }

    /// In the order of the schema.
    fn finish(mut self, columns: &[ColumnDescPtr], press: &mut Press) -> ParquetResult<RowGroup> {
        let rows = self.row;
        let mut at = 0;
        let mut column = || {
            at += 1;
            ColumnDescPtr::clone(&columns[at - 1])
        };
        let mut chunks = Vec::new();
        for flat in [
            self.trace_id,
            self.start_time,
            self.start_time_unix_nano,
            self.duration_nano,
            self.root_service_name,
            self.root_name,
            self.span_count,
            self.error_count,
        ] {
            chunks.push(flat.finish(rows, column(), press)?);
        }
        self.services.end_page(rows, press)?;
        chunks.push(self.services.leaf.finish(column(), press)?);
        for flat in [self.rule, self.rules_version, self.complete] {
            chunks.push(flat.finish(rows, column(), press)?);
        }
        Ok(RowGroup { rows, chunks, filter: None, other_types: OtherTypes::default() })
    }
}

/// The names of these resources, sorted, each once. Most spans of a trace have the resource of the one before.
fn distinct<'n, N: Iterator<Item = &'n str>>(
    resources: impl Iterator<Item = u32>,
    names_of: impl Fn(u32) -> N,
) -> BTreeSet<&'n str> {
    let (mut names, mut last) = (BTreeSet::new(), None);
    for resource in resources {
        if last.replace(resource) != Some(resource) {
            names.extend(names_of(resource));
        }
    }
    names
}
