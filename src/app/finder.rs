//! Looks whole traces up in the log by the flight recorder's index, whatever became of them.

#[cfg(test)]
pub(super) mod tests;

use std::sync::Arc;

use crate::log::{LogReader, ReadError, RecorderIndex};
use crate::runtime::{CpuPool, Panicked, Tenant};
use crate::sample::services::add_services;
use crate::sample::{Places, Rescued, Rulebook, Verdict};
use crate::wire::TraceId;

/// A trace that has more spans than this is found in part: what is kept at once must fit into a batch. Bytes on the wire.
const TRACE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// The same for one that is spread over more records than this.
const PLACES_MAX: usize = 10_000;

/// Finds traces in the log. Cheap to clone.
#[derive(Clone)]
pub struct Finder {
    pub recorder: RecorderIndex,
    pub records: LogReader,
    pub rulebook: Arc<Rulebook>,
    pub pool: CpuPool,
}

/// A trace as the log has it.
pub struct Found {
    /// With the verdict that it was looked for with.
    pub trace: Rescued,
    /// False when there may be more of it.
    pub complete: bool,
}

/// Why a trace was not found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// The log has nothing of it; `searched` is false when a part of the log could not be searched.
    #[error("the flight recorder does not have it (any more)")]
    NotThere {
        /// Whether all of the log was searched.
        searched: bool,
    },
    /// The disk fails.
    #[error("cannot read the log: {0}")]
    Io(std::io::Error),
    /// A mistake in this program.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl Finder {
    /// The whole trace, to be kept by this verdict.
    pub async fn find(
        &self,
        tenant: &Tenant,
        trace_id: TraceId,
        verdict: Arc<Verdict>,
    ) -> Result<Found, FindError> {
        let (finder, tenant) = (self.clone(), tenant.clone());
        self.pool.run("find a trace in the log", move || finder.look(tenant, trace_id, verdict)).await?
    }

    fn look(&self, tenant: Tenant, trace_id: TraceId, verdict: Arc<Verdict>) -> Result<Found, FindError> {
        let recorded = self.recorder.find(&tenant, &trace_id);
        let mut complete = recorded.complete;
        let mut trace = Rescued {
            tenant,
            trace_id,
            verdict,
            places: Places::new(),
            spans: 0,
            bytes: 0,
            start_unix_nano: u64::MAX,
            end_unix_nano: 0,
            services: Vec::new(),
        };
        let mut services = Vec::new();
        for position in recorded.places {
            let record = match self.records.spans(position) {
                Ok(record) => record,
                Err(ReadError::Io(error)) => return Err(FindError::Io(error)),
                // Released meanwhile, or damaged: there is no more of it.
                Err(_) => continue,
            };
            if record.meta.tenant != trace.tenant {
                continue;
            }
            let Ok(notes) = self.rulebook.scan(&record.body) else { continue };
            let Some(note) = notes.traces.iter().find(|note| note.trace_id == trace_id) else { continue };
            if trace.bytes + u64::from(note.bytes) > TRACE_BYTES_MAX || trace.places.len() >= PLACES_MAX {
                complete = false;
                break;
            }
            trace.places.push(position);
            add_services(&mut services, &note.services);
            trace.spans = trace.spans.saturating_add(note.spans);
            trace.bytes += u64::from(note.bytes);
            trace.start_unix_nano = trace.start_unix_nano.min(note.start_unix_nano);
            trace.end_unix_nano = trace.end_unix_nano.max(note.end_unix_nano);
        }
        if trace.places.is_empty() {
            return Err(FindError::NotThere { searched: recorded.complete });
        }
        let names = self.rulebook.services();
        trace.services = services.iter().map(|one| (names.name(one.service), one.spans)).collect();
        Ok(Found { trace, complete })
    }
}
