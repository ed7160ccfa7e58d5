//! Where each trace's spans lie in the log: also those of traces that sampling dropped and has forgotten.
//!
//! For each record and each trace in it there is an entry of 12 bytes: a fingerprint of tenant and trace id, and the
//! record's offset in its segment. A segment's entries gather in memory while it is being written; then they are sorted
//! and go into a file beside it ([`sidecar`]), which is deleted with the segment. What cannot be read, or was never
//! written, is made again from the segment.
//!
//! Fingerprints may be equal for different traces: whoever reads a record that was found looks for tenant and id in it.

mod entry;
mod rebuild;
pub mod sidecar;
mod state;

#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;

pub use state::RecorderStats;
pub(super) use state::State;

use self::entry::{Fingerprints, Gathered};
use self::sidecar::{Header, Sidecar, Unusable};
use self::state::{Job, Known};
use super::record::Position;
use super::segments::Segment;
use super::shared::Shared;
use crate::runtime::Tenant;
use crate::wire::TraceId;

/// The places found for one trace, at most.
pub const PLACES_MAX: usize = 65_536;

/// Knows where traces lie in the log. Cheap to clone.
///
/// Memory: a segment's entries take at most a quarter of what its records take on disk (usually a fiftieth), those of
/// segments that wait for their file as much again, and so does the one that is being sorted. What does not fit is left
/// out, and [`Recorded::complete`] says so.
#[derive(Clone)]
pub struct RecorderIndex {
    shared: Arc<Shared>,
}

/// Where a trace may have spans in the log.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Recorded {
    /// Records of spans, ascending, each once. Some may hold none of the trace.
    pub places: Vec<Position>,
    /// False while a part of the log is not indexed, or there are more than [`PLACES_MAX`].
    pub complete: bool,
}

impl RecorderIndex {
    /// The index of a log that was just opened; `next_base` is where it goes on.
    pub(super) fn open(shared: Arc<Shared>, next_base: u64) -> Self {
        let index = Self { shared };
        index.sweep();
        let segments: Vec<Segment> = index.shared.segments.lock().iter().copied().collect();
        let known = segments.iter().map(|segment| (segment.base, index.look(segment)));
        let known: Vec<_> = known.collect();
        index.shared.recorder.begin(next_base, known);
        index
    }

    /// Removes files whose segments are gone, and unfinished ones.
    fn sweep(&self) {
        let dir = &self.shared.config.dir;
        let Ok(names) = self.shared.disk.list(dir) else { return };
        for name in names {
            let Some(base) = sidecar::sidecar_of(&name) else { continue };
            if name.ends_with(".tmp") || !self.holds(base) {
                self.remove(&dir.join(name));
            }
        }
    }

    fn remove(&self, path: &std::path::Path) {
        match self.shared.disk.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(path = %path.display(), %error, "cannot remove an index of the recorder");
            }
            _ => {}
        }
    }

    fn look(&self, segment: &Segment) -> Known {
        match self.sidecar(segment.base) {
            Ok(sidecar) if sidecar.header.end >= segment.end => Known::Written,
            _ => Known::Missing,
        }
    }

    fn sidecar(&self, base: u64) -> Result<Sidecar, Unusable> {
        Sidecar::open(&*self.shared.disk, &self.shared.config.dir, base)
    }

    fn holds(&self, base: u64) -> bool {
        self.shared.segments.lock().get(base).is_some()
    }

    /// Takes note of the traces in a committed record of spans. Records come in the order of the log.
    pub fn add<'a>(
        &self,
        position: Position,
        tenant: &Tenant,
        trace_ids: impl IntoIterator<Item = &'a TraceId>,
    ) {
        let fingerprints = Fingerprints::of(tenant);
        let traces = trace_ids.into_iter().map(|trace_id| fingerprints.trace(trace_id));
        self.shared.recorder.add(&self.shared, position, traces);
    }

    /// Where the trace has spans in the log. Blocks on the disk: a page or two for each segment.
    pub fn find(&self, tenant: &Tenant, trace_id: &TraceId) -> Recorded {
        let fingerprint = Fingerprints::of(tenant).trace(trace_id);
        let segments: Vec<Segment> = self.shared.segments.lock().iter().copied().collect();
        let snapshot = self.shared.recorder.snapshot();
        let mut found = Recorded { places: Vec::new(), complete: true };
        for segment in segments {
            let most = PLACES_MAX - found.places.len();
            let looked = match snapshot.of(segment.base) {
                Known::Gathered(gathered) => (gathered.offsets(fingerprint), !gathered.partial),
                Known::Written => self.look_up(segment.base, fingerprint, most + 1),
                // A segment that was released meanwhile is not missed.
                Known::Missing => (Vec::new(), !self.holds(segment.base)),
            };
            found.complete &= looked.1 && looked.0.len() <= most;
            let offsets = looked.0.into_iter().take(most);
            found.places.extend(offsets.map(|offset| Position(segment.base + u64::from(offset))));
        }
        found.places.dedup();
        found
    }

    /// The offsets in a sidecar, and whether they are all.
    fn look_up(&self, base: u64, fingerprint: u64, most: usize) -> (Vec<u32>, bool) {
        let sidecar = self.sidecar(base);
        let partial = sidecar.as_ref().is_ok_and(|sidecar| sidecar.header.partial);
        match sidecar.and_then(|sidecar| sidecar.offsets(fingerprint, most)) {
            Ok(offsets) => (offsets, !partial),
            // Released meanwhile.
            Err(_) if !self.holds(base) => (Vec::new(), true),
            Err(error) => {
                tracing::warn!(segment = base, %error, "an index of the recorder cannot be used; made again");
                self.shared.recorder.lost(base);
                (Vec::new(), false)
            }
        }
    }

    /// Waits until there may be something for [`RecorderIndex::step`] to do.
    pub async fn wanted(&self) {
        self.shared.recorder.wanted.notified().await;
    }

    /// Does a part of the work behind: sorts and writes the index of one segment, or makes one again, the newest first.
    /// Blocks; one caller at a time. `false` when there is nothing to do now: call again when [`RecorderIndex::wanted`]
    /// says so, or after a minute.
    pub fn step(&self) -> bool {
        let now = self.shared.clock.monotonic();
        if self.shared.refusing.now(now).is_some() {
            return false;
        }
        let segments: Vec<Segment> = self.shared.segments.lock().iter().copied().collect();
        let Some(job) = self.shared.recorder.job(now, &segments) else { return false };
        let (segment, done) = match job {
            Job::Write(segment, gathered) => (segment, self.write(segment, &gathered)),
            Job::Rebuild(segment) => {
                let rebuilt = rebuild::gather(&self.shared, segment);
                (segment, rebuilt.and_then(|gathered| self.write(segment, &gathered)))
            }
        };
        if let Err(error) = &done
            && self.holds(segment.base)
        {
            tracing::warn!(segment = segment.base, %error, "cannot write an index of the recorder; tried again");
        }
        self.shared.recorder.done(segment.base, done.is_ok(), now);
        true
    }

    fn write(&self, segment: Segment, gathered: &Gathered) -> io::Result<()> {
        let (base, end) = (segment.base, segment.end);
        let entries = gathered.sorted();
        let header = Header { base, end, entries: entries.len() as u64, partial: gathered.partial };
        sidecar::write(&*self.shared.disk, &self.shared.config.dir, header, &entries)?;
        if !self.holds(base) {
            // Released meanwhile, perhaps before the file had its name.
            self.remove(&sidecar::sidecar_path(&self.shared.config.dir, base));
        }
        Ok(())
    }

    /// The index in numbers.
    pub fn stats(&self) -> RecorderStats {
        self.shared.recorder.stats()
    }
}
