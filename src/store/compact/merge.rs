//! Many sorted files into few: rows by trace id, then as the writer orders spans; each span once, each trace in one file.
//!
//! Files are read a row group and written a row group at a time, and are opened when their first trace's turn has come.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use arrow_select::interleave::interleave_record_batch;

use super::Pace;
use super::failure::Failure;
use super::output::{Output, OutputFile, OutputPlan};
use super::plan::Unit;
use super::ranges::number_of;
use super::source::{Opening, Source};
use super::trace_rows;
use crate::store::error::{ErrorKind, StoreError};
use crate::store::schema::TableKind;
use crate::store::table::compacted_name;
use crate::wire::SpanId;

/// Memory of rows that wait to be written, in bytes.
/// Spans of one trace that are remembered, so that none comes twice. Beyond, only neighbours are compared.
const SPANS_SEEN_MAX: usize = 2 << 20;

/// How a unit is merged.
pub(super) struct MergePlan<'a> {
    pub(super) unit: &'a Unit,
    /// The inputs that are not sorted, by number.
    pub(super) unsorted: &'a HashSet<usize>,
    /// Size that outputs shall have, in bytes.
    pub(super) target: u64,
    /// Rows written at a time.
    pub(super) rows_at_once: usize,
    /// Bound of what all open files hold, in bytes. Two files are merged whatever they hold.
    pub(super) bytes_max: u64,
    /// Bound of the batches that rows to be written are in, in bytes; a batch may go beyond it.
    pub(super) held_max: usize,
    /// Told what all of it holds, in bytes.
    pub(super) holds: &'a AtomicU64,
    /// Names the outputs: no other attempt has it.
    pub(super) attempt: u64,
}

/// What a merge came to.
#[derive(Default)]
pub(super) struct Merged {
    pub(super) outputs: Vec<Output>,
    /// Rows of the inputs.
    pub(super) read: u64,
    /// Spans that were there more than once, or rows of `traces` that became part of others.
    pub(super) joined: u64,
}

/// Merges the inputs of a unit into files on the store. Blocks.
pub(super) fn merge(
    plan: &MergePlan<'_>,
    output: &OutputPlan<'_>,
    pace: &mut dyn Pace,
) -> Result<Merged, Failure> {
    let mut merge = Merge::new(plan, output, pace);
    let mut id = String::new();
    while merge.next_trace(&mut id)? {
        merge.end_file_before(&id)?;
        match output.table.kind {
            TableKind::Spans => merge.spans_of(&id)?,
            TableKind::Traces => merge.row_of(&id)?,
        }
        merge.last_id.clone_from(&id);
    }
    merge.end_file()?;
    Ok(merge.merged)
}

struct Merge<'a> {
    plan: &'a MergePlan<'a>,
    output: &'a OutputPlan<'a>,
    pace: &'a mut dyn Pace,
    /// Numbers of the inputs not opened yet, in the order of their first ids.
    waiting: VecDeque<usize>,
    open: Vec<Source>,
    file: Option<OutputFile<'a>>,
    /// Batches that rows to be written are in.
    held: Vec<RecordBatch>,
    held_bytes: usize,
    /// Rows to be written: which of the batches, which row.
    rows: Vec<(usize, usize)>,
    seen: HashSet<(SpanId, i32), foldhash::fast::RandomState>,
    last_id: String,
    /// The files that may still be begun because of their size.
    files_left: u64,
    file_bytes: u64,
    merged: Merged,
}

impl<'a> Merge<'a> {
    fn new(plan: &'a MergePlan<'a>, output: &'a OutputPlan<'a>, pace: &'a mut dyn Pace) -> Self {
        let bytes = plan.unit.bytes();
        // Where cuts are made, sizes come out of them.
        let files = if plan.unit.cuts.is_some() { 1 } else { bytes.div_ceil(plan.target.max(1)).max(1) };
        Self {
            plan,
            output,
            pace,
            waiting: (0..plan.unit.inputs.len()).collect(),
            open: Vec::new(),
            file: None,
            held: Vec::new(),
            held_bytes: 0,
            rows: Vec::new(),
            seen: HashSet::default(),
            last_id: String::new(),
            files_left: files - 1,
            file_bytes: bytes.div_ceil(files),
            merged: Merged::default(),
        }
    }

    /// The smallest trace id that is left, all files that may have it being open; false at the end.
    fn next_trace(&mut self, id: &mut String) -> Result<bool, Failure> {
        loop {
            let smallest = self.open.iter().map(Source::trace_id).min();
            let begins = self.waiting.front().map(|at| {
                // Without bounds it may begin with any.
                self.plan.unit.inputs[*at].trace_id_min.as_deref().unwrap_or_default()
            });
            match (smallest, begins) {
                (Some(smallest), begins) if begins.is_none_or(|begins| begins > smallest) => {
                    id.clear();
                    id.push_str(smallest);
                    break;
                }
                (None, None) => return Ok(false),
                _ => self.open_next()?,
            }
        }
        if *id <= self.last_id && !self.last_id.is_empty() {
            // A bound in the table's log is wrong: what should have come before is only seen now.
            let message = format!("the log's bounds of trace ids do not hold near {id}");
            return Err(StoreError::new(ErrorKind::Table, message).into());
        }
        Ok(true)
    }

    fn open_next(&mut self) -> Result<(), Failure> {
        let Some(input) = self.waiting.pop_front() else { return Ok(()) };
        let OutputPlan { table, layout, runtime, .. } = *self.output;
        let sort_within = self.plan.unsorted.contains(&input).then_some(self.plan.bytes_max);
        let file = &self.plan.unit.inputs[input];
        let opened = Source::open(&Opening { table, layout, runtime, file, input, sort_within })?;
        self.open.extend(opened);
        self.tell();
        let bytes: u64 = self.open.iter().map(|source| source.bytes).sum();
        let is_crowded =
            bytes > self.plan.bytes_max && self.open.len() > 2 && self.plan.unit.inputs.len() > 2;
        if is_crowded { Err(Failure::Crowded) } else { Ok(()) }
    }

    /// Says what all of it holds.
    fn tell(&self) {
        let open: u64 = self.open.iter().map(|source| source.bytes).sum();
        let file = self.file.as_ref().map_or(0, OutputFile::held_bytes);
        self.plan.holds.store(open + (self.held_bytes + file) as u64, Ordering::Relaxed);
    }

    /// Ends the file before this trace where it is large enough, or a cut is made.
    fn end_file_before(&mut self, id: &str) -> Result<(), Failure> {
        if self.file.is_none() && self.rows.is_empty() {
            return Ok(());
        }
        let piece = |id: &str| Some(self.plan.unit.cuts?.piece(number_of(id)?));
        if piece(id) != piece(&self.last_id) {
            return self.end_file();
        }
        let bytes = self.file.as_ref().map_or(0, OutputFile::bytes);
        if self.files_left > 0 && bytes >= self.file_bytes {
            self.files_left -= 1;
            return self.end_file();
        }
        Ok(())
    }

    /// All spans of a trace, each once.
    fn spans_of(&mut self, id: &str) -> Result<(), Failure> {
        self.seen.clear();
        let mut tied: Vec<usize> = self.sources_at(id);
        while let Some(at) = self.first_of(&tied) {
            self.merged.read += 1;
            let place = self.open[at].place();
            let span = (place.span_id.parse::<SpanId>(), place.kind);
            let is_new = match span {
                (Ok(span_id), kind) if self.seen.len() < SPANS_SEEN_MAX => self.seen.insert((span_id, kind)),
                (Ok(span_id), kind) => !self.seen.contains(&(span_id, kind)),
                // An id that is none identifies nothing.
                (Err(_), _) => true,
            };
            if is_new {
                let slot = self.slot_of(at);
                self.rows.push((slot, self.open[at].row));
            } else {
                self.merged.joined += 1;
            }
            if !self.open[at].advance(self.output.runtime)? {
                self.close(at);
                tied = self.sources_at(id);
            } else if self.open[at].trace_id() != id {
                tied.retain(|other| *other != at);
            }
            if self.rows.len() >= self.plan.rows_at_once || self.held_bytes >= self.plan.held_max {
                self.write_rows()?;
            }
        }
        Ok(())
    }

    /// The row of a trace in `traces`.
    fn row_of(&mut self, id: &str) -> Result<(), Failure> {
        let mut rows = Vec::new();
        let mut tied: Vec<usize> = self.sources_at(id);
        while let Some(at) = self.first_of(&tied) {
            self.merged.read += 1;
            let slot = self.slot_of(at);
            rows.push((slot, self.open[at].row));
            if !self.open[at].advance(self.output.runtime)? {
                self.close(at);
                tied = self.sources_at(id);
            } else if self.open[at].trace_id() != id {
                tied.retain(|other| *other != at);
            }
        }
        if rows.len() > 1 {
            let parts: Vec<_> = rows.iter().map(|(slot, row)| (&self.held[*slot], *row)).collect();
            let whole = trace_rows::merged(&parts)?;
            self.merged.joined += rows.len() as u64 - 1;
            self.held.push(whole);
            rows = vec![(self.held.len() - 1, 0)];
        }
        self.rows.append(&mut rows);
        if self.rows.len() >= self.plan.rows_at_once || self.held_bytes >= self.plan.held_max {
            self.write_rows()?;
        }
        Ok(())
    }

    fn sources_at(&self, id: &str) -> Vec<usize> {
        let at_id = self.open.iter().enumerate().filter(|(_, source)| source.trace_id() == id);
        at_id.map(|(at, _)| at).collect()
    }

    /// Of these sources, which are at one trace, the one whose row comes first.
    fn first_of(&self, tied: &[usize]) -> Option<usize> {
        match tied {
            [] => None,
            [at] => Some(*at),
            _ => tied.iter().copied().min_by(|a, b| {
                let (a, b) = (&self.open[*a], &self.open[*b]);
                a.place().cmp(&b.place()).then(a.input.cmp(&b.input))
            }),
        }
    }

    /// Where the batch of a source is among those held.
    fn slot_of(&mut self, at: usize) -> usize {
        let source = &mut self.open[at];
        *source.slot.get_or_insert_with(|| {
            self.held_bytes += source.rows.batch.get_array_memory_size();
            self.held.push(source.rows.batch.clone());
            self.held.len() - 1
        })
    }

    /// A file is at its end. Others change their places among the open ones.
    fn close(&mut self, at: usize) {
        self.open.swap_remove(at);
    }

    fn write_rows(&mut self) -> Result<(), Failure> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let batches: Vec<&RecordBatch> = self.held.iter().collect();
        let rows = interleave_record_batch(&batches, &self.rows);
        let rows =
            rows.map_err(|e| StoreError::caused(ErrorKind::Internal, "cannot bring rows together", e))?;
        self.rows.clear();
        self.held.clear();
        self.held_bytes = 0;
        self.open.iter_mut().for_each(|source| source.slot = None);
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let name = compacted_name(self.plan.attempt, self.merged.outputs.len());
                self.file.insert(OutputFile::begin(self.output, &name)?)
            }
        };
        file.write(&rows)?;
        self.tell();
        if self.pace.rest() { Ok(()) } else { Err(Failure::Stopped) }
    }

    fn end_file(&mut self) -> Result<(), Failure> {
        self.write_rows()?;
        if let Some(file) = self.file.take() {
            self.merged.outputs.push(file.finish()?);
        }
        Ok(())
    }
}
