//! Follows the log while it is being written.

use std::io;
use std::sync::Arc;

use super::frame::{SEGMENT_HEADER_BYTES, segment_name};
use super::record::{Position, Record};
use super::scan::Scanner;
use super::segments::Segment;
use super::shared::Shared;
use crate::runtime::OpenMode;

/// The durable records from a position on, in order. What is damaged or released meanwhile is passed over. Blocks on the disk.
pub struct Tail {
    shared: Arc<Shared>,
    at: Position,
    open: Option<Open>,
}

struct Open {
    base: u64,
    end: u64,
    scanner: Scanner,
}

impl Tail {
    /// `from` is where a record begins or ended, or lies before the oldest one.
    pub(super) fn new(shared: Arc<Shared>, from: Position) -> Self {
        Self { shared, at: from, open: None }
    }

    /// Where it goes on: everything below was given, or is not there.
    pub fn position(&self) -> Position {
        self.at
    }

    /// The next record; `None` at the end of what is durable: to be asked again later.
    ///
    /// # Errors
    /// If a segment cannot be opened; the next call tries again.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        loop {
            if let Some(open) = &mut self.open {
                if let Some(record) = open.scanner.next_record() {
                    self.at = Position(open.base + open.scanner.good_end());
                    return Ok(Some(record));
                }
                // What was durable when the segment was opened is read; behind that there may be more by now.
                self.at = self.at.max(Position(open.end));
                self.open = None;
            }
            let Some(segment) = self.segment() else { return Ok(None) };
            self.open = self.open(segment)?;
        }
    }

    fn segment(&self) -> Option<Segment> {
        let segments = self.shared.segments.lock();
        let has_records = |segment: &&Segment| segment.end > segment.base + SEGMENT_HEADER_BYTES;
        let later = || segments.between(self.at.0, u64::MAX).find(has_records).copied();
        segments.holding(self.at).or_else(later)
    }

    fn open(&mut self, segment: Segment) -> io::Result<Option<Open>> {
        let path = self.shared.config.dir.join(segment_name(segment.base));
        let file = match self.shared.disk.open(&path, OpenMode::Read) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.at = Position(segment.end);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let begin = self.at.0.saturating_sub(segment.base).max(SEGMENT_HEADER_BYTES);
        let end = segment.end - segment.base;
        let scanner = Scanner::starting(file, segment.base, begin, end);
        Ok(Some(Open { base: segment.base, end: segment.end, scanner }))
    }
}
