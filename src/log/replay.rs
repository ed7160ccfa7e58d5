//! Reads the log again from its beginning.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::vec;

use parking_lot::Mutex;

use super::error::LogError;
use super::frame::segment_name;
use super::record::{Position, Record};
use super::scan::Scanner;
use super::segments::Segment;
use super::shared::Shared;
use crate::runtime::OpenMode;

/// Every record that was in the log when it was opened, from the oldest kept segment on, in order. What is damaged is
/// skipped, counted ([`LogStats::damaged`](super::LogStats::damaged)) and logged. Blocks on the disk.
pub struct Replay {
    shared: Arc<Shared>,
    segments: vec::IntoIter<Segment>,
    current: Option<(Segment, Scanner)>,
    from: Position,
    failure: Arc<Mutex<Option<LogError>>>,
}

/// Says afterwards whether a [`Replay`] came to the log's end; see [`Replay::outcome`].
pub struct ReplayOutcome(Arc<Mutex<Option<LogError>>>);

impl ReplayOutcome {
    /// # Errors
    /// If a segment could not be opened: the replay ended before it, and what follows is still there for another try.
    pub fn check(self) -> Result<(), LogError> {
        self.0.lock().take().map_or(Ok(()), Err)
    }
}

impl Replay {
    /// Only records at or behind the position; segments that end before it are not read.
    pub fn from(self, position: Position) -> Self {
        Self { from: position, ..self }
    }

    /// To be asked when the replay has ended.
    pub fn outcome(&self) -> ReplayOutcome {
        ReplayOutcome(Arc::clone(&self.failure))
    }

    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let segments: Vec<Segment> = shared.segments.lock().iter().copied().collect();
        Self {
            shared,
            segments: segments.into_iter(),
            current: None,
            from: Position(0),
            failure: Arc::default(),
        }
    }

    fn open_next(&mut self) -> Option<()> {
        let segment = self.segments.by_ref().find(|segment| segment.end > self.from.0)?;
        let path = self.shared.config.dir.join(segment_name(segment.base));
        match self.shared.disk.open(&path, OpenMode::Read) {
            Ok(file) => {
                self.current = Some((segment, Scanner::new(file, segment.base, segment.bytes())));
            }
            // Not damage: to go on without it would lose what was acknowledged.
            Err(source) => {
                *self.failure.lock() = Some(LogError::Io { path, source });
                self.segments = Vec::new().into_iter();
                return None;
            }
        }
        Some(())
    }

    fn finish(&mut self) {
        let Some((segment, scanner)) = self.current.take() else { return };
        let mut damage = scanner.damage();
        damage.add(scanner.tail());
        if damage.places > 0 {
            tracing::error!(
                segment = segment_name(segment.base),
                places = damage.places,
                bytes = damage.bytes,
                "skipped damaged records in the log"
            );
            self.shared.counters.count_damage(damage);
        }
    }
}

impl Iterator for Replay {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some((_, scanner)) = &mut self.current {
                if let Some(record) = scanner.next_record() {
                    if record.position < self.from {
                        continue;
                    }
                    self.shared.counters.replayed.fetch_add(1, Ordering::Relaxed);
                    return Some(record);
                }
                self.finish();
            }
            self.open_next()?;
        }
    }
}
