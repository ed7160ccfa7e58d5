//! Kept spans on their way to another backend: which traces of a batch it gets, cut out of the log's requests on the wire.

use std::collections::HashMap;

use bytes::Bytes;

use super::fates::{Fate, edit_spans};
use super::filter::Filter;
use super::split::{Part, pick_pieces};
use crate::log::Position;
use crate::runtime::Tenant;
use crate::sample::KeptTrace;
use crate::sample::probability::ThresholdEdit;
use crate::wire::{TraceId, WireError};

/// What a backend is given.
#[derive(Debug, Default)]
pub struct Choice {
    /// Only traces of these retention classes; empty: of all.
    pub classes: Vec<String>,
    /// Only these tenants' traces; empty: everybody's.
    pub tenants: Vec<Tenant>,
    /// Only traces that match.
    pub filter: Option<Filter>,
}

impl Choice {
    /// Of one tenant's part of a batch, the traces that the backend may get. Where there is a filter, it is still to be asked.
    pub fn going<'b>(&self, traces: &'b [KeptTrace]) -> Going<'b> {
        let of_tenant = |trace: &&KeptTrace| self.tenants.is_empty() || self.tenants.contains(&trace.tenant);
        let of_class = |trace: &&KeptTrace| {
            self.classes.is_empty() || self.classes.iter().any(|class| **class == *trace.verdict.retention)
        };
        let chosen = traces.iter().filter(of_tenant).filter(of_class);
        Going(chosen.map(|trace| (trace.trace_id, trace)).collect())
    }
}

/// Traces of one tenant that go on.
#[derive(Debug, Default)]
pub struct Going<'b>(HashMap<TraceId, &'b KeptTrace, foldhash::fast::RandomState>);

impl<'b> Going<'b> {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The log's records that hold spans of them, ascending.
    pub fn positions(&self) -> Vec<Position> {
        let mut positions: Vec<_> = self.0.values().flat_map(|trace| trace.places.iter().copied()).collect();
        positions.sort_unstable();
        positions.dedup();
        positions
    }

    /// The trace, if its spans in the record at this position are meant. Late spans of a trace that went before are, what
    /// went before is not.
    pub fn trace(&self, trace_id: &TraceId, position: Position) -> Option<&'b KeptTrace> {
        self.0.get(trace_id).copied().filter(|trace| trace.places.binary_search(&position).is_ok())
    }

    /// Leaves those that pass.
    pub fn retain(&mut self, mut passes: impl FnMut(&KeptTrace) -> bool) {
        self.0.retain(|_, trace| passes(trace));
    }

    /// Their spans in the request that is recorded at this position, in pieces of about `bytes_max` bytes at most, with the
    /// sampling threshold of their verdicts in their tracestates, as it is in the table.
    ///
    /// # Errors
    /// If the body is not a request.
    pub fn cut(&self, position: Position, body: &Bytes, bytes_max: usize) -> Result<Vec<Part>, WireError> {
        let find = |id: &[u8]| TraceId::from_slice(id).and_then(|id| self.trace(&id, position));
        let mut is_sampled = false;
        let is_mine = |id: &[u8]| {
            let trace = find(id);
            is_sampled |= trace.is_some_and(|trace| edit_of(trace) != ThresholdEdit::Leave);
            trace.is_some()
        };
        let mut parts = pick_pieces(body, is_mine, bytes_max)?;
        if is_sampled {
            for part in &mut parts {
                part.body = edit_spans(std::mem::take(&mut part.body), &mut |span| {
                    let edit = find(span.trace_id).map_or(ThresholdEdit::Leave, edit_of);
                    Fate::with_state(span.trace_state, edit)
                })?;
            }
        }
        Ok(parts)
    }
}

fn edit_of(trace: &KeptTrace) -> ThresholdEdit {
    trace.verdict.threshold_edit()
}

#[cfg(test)]
mod tests;
