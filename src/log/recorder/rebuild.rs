//! Makes a segment's index again by reading the segment.

use std::io;

use super::entry::{Fingerprints, Gathered};
use super::state::Gatherer;
use crate::log::frame::segment_name;
use crate::log::record::RecordKind;
use crate::log::scan::Scanner;
use crate::log::segments::Segment;
use crate::log::shared::Shared;
use crate::runtime::OpenMode;
use crate::wire::{Messages, TraceId, WireError, resource_spans};

/// The entries of all records of spans in the segment. What is damaged is passed over: nobody can read it anyway.
pub(super) fn gather(shared: &Shared, segment: Segment) -> io::Result<Gathered> {
    let path = shared.config.dir.join(segment_name(segment.base));
    let file = shared.disk.open(&path, OpenMode::Read)?;
    let mut scanner = Scanner::new(file, segment.base, segment.bytes());
    let mut gatherer = Gatherer::new(shared);
    while let Some(record) = scanner.next_record() {
        if record.kind != RecordKind::Spans {
            continue;
        }
        let Ok(spans) = record.spans() else { continue };
        let fingerprints = Fingerprints::of(&spans.meta.tenant);
        // A body that ends in the middle gives what is before.
        let mut traces = Vec::new();
        let _ = trace_ids(&spans.body, &mut traces);
        traces.sort_unstable();
        traces.dedup();
        for trace_id in &traces {
            gatherer.push(fingerprints.trace(trace_id), record.position.0 - segment.base);
        }
    }
    Ok(gatherer.gathered)
}

/// The traces of a request's spans. One that repeats at once is given once.
fn trace_ids(body: &[u8], traces: &mut Vec<TraceId>) -> Result<(), WireError> {
    for resource_spans in resource_spans(body) {
        for scope_spans in resource_spans?.scope_spans() {
            for span in scope_spans?.spans() {
                let mut trace_id = None;
                for bytes in Messages::new(span?, 1, "span.trace_id") {
                    trace_id = TraceId::from_slice(bytes?);
                }
                traces.extend(trace_id.filter(|trace_id| traces.last() != Some(trace_id)));
            }
        }
    }
    Ok(())
}
