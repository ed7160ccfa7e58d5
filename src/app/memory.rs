//! Who takes how much of the memory limit, counted where it is taken, for operators to see; and the budget of notes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::events::SharedGauges;
use super::exporting::Exports;
use crate::config::{Config, LOSSES_PEAK, QUESTION_PEAK, STORE_PEAK};
use crate::ledger::Ledger;
use crate::log::LogStats;
use crate::observe::{MemoryPart, MemoryUse};
use crate::query::{Engine, EngineConfig};
use crate::receive::Budget;
use crate::sample::{Notes, SamplerStats};
use crate::store::{Index, Reader};

/// How long a request waits for room for its notes before its sender is told to come back.
const PATIENCE: Duration = Duration::from_secs(1);
/// More than this one question is not given, in bytes of spans as they are read, while others could run beside it.
const QUESTION_BYTES: u64 = 32 << 20;
/// What a candidate of a search costs, in bytes: its place in the log, in the lists, and in what was seen.
const CANDIDATE_BYTES: usize = 256;

/// Bytes of notes between the scan and the sampler. First come, first served: a large one is not starved by small ones.
#[derive(Clone, Debug)]
pub struct NotesBudget {
    room: Arc<Semaphore>,
    bytes_max: u32,
}

/// Room that notes have until the sampler has read them.
pub type NotesRoom = Arc<OwnedSemaphorePermit>;

impl NotesBudget {
    /// A budget of so many bytes.
    pub fn new(bytes_max: u64) -> Self {
        let bytes_max = u32::try_from(bytes_max).unwrap_or(u32::MAX).max(1);
        Self { room: Arc::new(Semaphore::new(bytes_max as usize)), bytes_max }
    }

    /// Room for these notes; for ones larger than the budget, all of it. None when there was none for a while.
    pub async fn room_for(&self, notes: &Notes) -> Option<NotesRoom> {
        let bytes = u32::try_from(notes.bytes()).unwrap_or(u32::MAX).min(self.bytes_max);
        let room = timeout(PATIENCE, Arc::clone(&self.room).acquire_many_owned(bytes)).await;
        room.ok()?.ok().map(Arc::new)
    }

    /// Bytes taken now.
    pub fn bytes_used(&self) -> u64 {
        u64::from(self.bytes_max).saturating_sub(self.room.available_permits() as u64)
    }
}

/// How many questions are answered at a time, and what each may hold: as many as were asked for, unless each would get too
/// little of the memory for that.
pub fn questions(config: &Config) -> (usize, EngineConfig) {
    let wanted = config.query.concurrency as u64;
    let at_once = (config.memory.questions / QUESTION_BYTES).clamp(1, wanted.max(1));
    let bytes_max = (config.memory.questions / at_once) as usize;
    let default = EngineConfig::default();
    let candidates_max = (bytes_max / CANDIDATE_BYTES).clamp(1000, default.candidates_max);
    let bytes_max = bytes_max.min(2 * QUESTION_BYTES as usize);
    (at_once as usize, EngineConfig { bytes_max, candidates_max, ..default })
}

/// Where each part's use can be read.
pub struct Memory {
    pub config: Arc<Config>,
    pub admission: Budget,
    pub notes: NotesBudget,
    pub reader: Reader,
    pub engine: Engine,
    pub gauges: SharedGauges,
    pub ledger: Arc<Ledger>,
    pub index: Index,
    /// What a merge of table files holds.
    pub compaction: Arc<AtomicU64>,
    /// Where kept spans go on to other backends.
    pub exports: Option<Exports>,
}

impl Memory {
    /// What each part takes now, and may take.
    pub fn now(&self, log: &LogStats, sampler: &SamplerStats) -> MemoryUse {
        let config = &self.config;
        let storing = self.gauges.storing_bytes.load(Ordering::Relaxed);
        let part = |name, used, bound| MemoryPart { name, used, bound };
        let mut parts = vec![
            part("admission", self.admission.bytes_used() as u64, self.admission.bytes_max() as u64),
            part("notes", self.notes.bytes_used(), config.memory.notes),
            part("log_queue", log.queue_bytes, 2 * config.memory.log_queue),
            part("log_cache", log.cache_bytes, config.memory.log_cache),
            part("index", sampler.index_bytes, config.sample.index),
            part("decisions", sampler.decisions_bytes, config.sample.decisions),
            part("store", storing * STORE_PEAK, config.store.flush_bytes.saturating_mul(STORE_PEAK)),
            part("query_cache", self.reader.cache_bytes() as u64, config.query.cache),
            part(
                "questions",
                self.engine.held_bytes() as u64 * QUESTION_PEAK,
                config.memory.questions.saturating_mul(QUESTION_PEAK),
            ),
            part("compaction", self.compaction.load(Ordering::Relaxed), config.compaction.memory),
            part("recorder", log.recorder.memory_bytes, config.memory.recorder),
            part(
                "losses",
                sampler.losses_bytes * LOSSES_PEAK,
                config.memory.losses.saturating_mul(LOSSES_PEAK),
            ),
            part("ledger", self.ledger.stats().memory_bytes, config.memory.ledger),
            part("table_index", self.index.directories_bytes(), config.memory.directories),
        ];
        let exports = self.exports.as_ref();
        parts.extend(exports.map(|exports| part("export", exports.memory_bytes(), config.export.memory)));
        MemoryUse { limit: config.memory.limit, parts }
    }
}

#[cfg(test)]
mod tests;
