//! The sampler's own records in the log: verdicts, flushes, and batches done.
//!
//! Compact and self-contained: a table of the distinct verdicts and tenants, then an entry for each trace. Integers are
//! protobuf varints, thresholds eight bytes little endian. The first byte is the format's version, 1.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use super::balance::StoredSpans;
use super::probability::Threshold;
use super::verdict::{Places, Rescued, Verdict};
use crate::log::Position;
use crate::runtime::Tenant;
use crate::wire::{TraceId, put_varint};

const FORMAT: u8 = 1;

/// A record whose payload is not what its kind promises, or comes from a later version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed {0} record")]
pub struct MalformedRecord(&'static str);

/// One trace in a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// Whose trace.
    pub tenant: Tenant,
    /// Which.
    pub trace_id: TraceId,
    /// What was decided.
    pub verdict: Arc<Verdict>,
    /// In a flush: the last record of the log that holds spans of it that are in the batch. 0 in verdicts.
    pub up_to: Position,
}

/// What a Flush record says: these traces, so far, go into this batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// The batch's id.
    pub batch: u64,
    /// Its traces.
    pub traces: Vec<Decided>,
}

/// The payload of a Verdicts record.
pub fn encode_verdicts(decided: &[Decided]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    encode_traces(&mut out, decided);
    out
}

/// Reads a Verdicts record's payload.
///
/// # Errors
/// When it is malformed.
pub fn decode_verdicts(payload: &[u8]) -> Result<Vec<Decided>, MalformedRecord> {
    let mut reader = Reader(payload);
    read_format(&mut reader).and_then(|()| decode_traces(&mut reader)).ok_or(MalformedRecord("Verdicts"))
}

/// The payload of a Flush record.
pub fn encode_flush(batch: u64, traces: &[Decided]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_varint(&mut out, batch);
    encode_traces(&mut out, traces);
    out
}

/// Reads a Flush record's payload.
///
/// # Errors
/// When it is malformed.
pub fn decode_flush(payload: &[u8]) -> Result<Flush, MalformedRecord> {
    let mut reader = Reader(payload);
    let mut read = || {
        read_format(&mut reader)?;
        Some(Flush { batch: reader.varint()?, traces: decode_traces(&mut reader)? })
    };
    read().ok_or(MalformedRecord("Flush"))
}

/// What a Done record says: this batch is in the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The batch's id.
    pub batch: u64,
    /// What was stored of it, by tenant and service.
    pub stored: Vec<StoredSpans>,
}

/// The payload of a Done record.
pub fn encode_done(done: &Done) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_varint(&mut out, done.batch);
    put_varint(&mut out, done.stored.len() as u64);
    for one in &done.stored {
        put_text(&mut out, one.tenant.as_str());
        put_text(&mut out, &one.service);
        put_varint(&mut out, one.stored);
        put_varint(&mut out, one.duplicates);
    }
    out
}

/// Reads a Done record's payload.
///
/// # Errors
/// When it is malformed.
pub fn decode_done(payload: &[u8]) -> Result<Done, MalformedRecord> {
    let mut reader = Reader(payload);
    let mut read = || {
        read_format(&mut reader)?;
        let batch = reader.varint()?;
        let stored = reader.many(|r| {
            Some(StoredSpans {
                tenant: Tenant::new(r.text()?)?,
                service: r.text()?.into(),
                stored: r.varint()?,
                duplicates: r.varint()?,
            })
        })?;
        Some(Done { batch, stored })
    };
    read().ok_or(MalformedRecord("Done"))
}

/// The payload of a Rescue record: as a Verdicts record, then for each trace its places (a count, then ascending
/// differences), spans, bytes, start, how much later it ends, and its services with their spans.
pub fn encode_rescue(rescued: &[Rescued]) -> Vec<u8> {
    let decided: Vec<_> = rescued
        .iter()
        .map(|r| Decided {
            tenant: r.tenant.clone(),
            trace_id: r.trace_id,
            verdict: r.verdict.clone(),
            up_to: r.places.last().copied().unwrap_or_default(),
        })
        .collect();
    let mut out = encode_verdicts(&decided);
    for trace in rescued {
        put_varint(&mut out, trace.places.len() as u64);
        let mut before = 0;
        for place in &trace.places {
            put_varint(&mut out, place.0.saturating_sub(before));
            before = place.0;
        }
        put_varint(&mut out, trace.spans.into());
        put_varint(&mut out, trace.bytes);
        put_varint(&mut out, trace.start_unix_nano);
        put_varint(&mut out, trace.end_unix_nano.saturating_sub(trace.start_unix_nano));
        put_varint(&mut out, trace.services.len() as u64);
        for (service, spans) in &trace.services {
            put_text(&mut out, service);
            put_varint(&mut out, (*spans).into());
        }
    }
    out
}

/// Reads a Rescue record's payload.
///
/// # Errors
/// When it is malformed.
pub fn decode_rescue(payload: &[u8]) -> Result<Vec<Rescued>, MalformedRecord> {
    let mut reader = Reader(payload);
    let mut read = || {
        read_format(&mut reader)?;
        let decided = decode_traces(&mut reader)?;
        decided.into_iter().map(|decided| decode_rescued(&mut reader, decided)).collect::<Option<Vec<_>>>()
    };
    read().ok_or(MalformedRecord("Rescue"))
}

fn decode_rescued(reader: &mut Reader<'_>, decided: Decided) -> Option<Rescued> {
    let mut before = 0u64;
    let places = reader.many(|r| {
        before = before.checked_add(r.varint()?)?;
        Some(Position(before))
    })?;
    let (spans, bytes) = (u32::try_from(reader.varint()?).ok()?, reader.varint()?);
    let start_unix_nano = reader.varint()?;
    Some(Rescued {
        tenant: decided.tenant,
        trace_id: decided.trace_id,
        verdict: decided.verdict,
        places: Places::from_vec(places),
        spans,
        bytes,
        start_unix_nano,
        end_unix_nano: start_unix_nano.checked_add(reader.varint()?)?,
        services: reader.many(|r| Some((r.text()?.into(), u32::try_from(r.varint()?).ok()?)))?,
    })
}

/// A list of verdicts, for records of other stages that number them.
pub fn encode_verdict_list(verdicts: &[Arc<Verdict>]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    put_varint(&mut out, verdicts.len() as u64);
    verdicts.iter().for_each(|verdict| encode_verdict(&mut out, verdict));
    out
}

/// Reads such a list.
///
/// # Errors
/// When it is malformed.
pub fn decode_verdict_list(bytes: &[u8]) -> Result<Vec<Arc<Verdict>>, MalformedRecord> {
    let mut reader = Reader(bytes);
    let list = read_format(&mut reader).and_then(|()| reader.many(|r| decode_verdict(r).map(Arc::new)));
    list.ok_or(MalformedRecord("verdict list"))
}

/// Gives each distinct value a number, in order of appearance.
struct Table<T>(Vec<T>, HashMap<T, usize, foldhash::fast::RandomState>);

impl<T: Clone + Eq + Hash> Table<T> {
    fn new() -> Self {
        Self(Vec::new(), HashMap::default())
    }

    fn number(&mut self, value: &T) -> usize {
        if let Some(number) = self.1.get(value) {
            return *number;
        }
        self.0.push(value.clone());
        self.1.insert(value.clone(), self.0.len() - 1);
        self.0.len() - 1
    }
}

fn encode_traces(out: &mut Vec<u8>, traces: &[Decided]) {
    let (mut verdicts, mut tenants) = (Table::new(), Table::new());
    let numbers: Vec<_> =
        traces.iter().map(|t| (tenants.number(&t.tenant), verdicts.number(&t.verdict))).collect();
    put_varint(out, verdicts.0.len() as u64);
    for verdict in &verdicts.0 {
        encode_verdict(out, verdict);
    }
    put_varint(out, tenants.0.len() as u64);
    for tenant in &tenants.0 {
        put_text(out, tenant.as_str());
    }
    put_varint(out, traces.len() as u64);
    for (trace, (tenant, verdict)) in traces.iter().zip(numbers) {
        put_varint(out, tenant as u64);
        put_varint(out, verdict as u64);
        put_varint(out, trace.up_to.0);
        out.extend_from_slice(&trace.trace_id.0);
    }
}

fn decode_traces(reader: &mut Reader<'_>) -> Option<Vec<Decided>> {
    let verdicts: Vec<_> = reader.many(|r| decode_verdict(r).map(Arc::new))?;
    let tenants: Vec<_> = reader.many(|r| Tenant::new(r.text()?))?;
    reader.many(|r| {
        Some(Decided {
            tenant: tenants.get(r.index()?)?.clone(),
            verdict: verdicts.get(r.index()?)?.clone(),
            up_to: Position(r.varint()?),
            trace_id: TraceId(r.array()?),
        })
    })
}

const KEEP: u8 = 1;
const ERASE: u8 = 2;
const EARLY: u8 = 4;
const LATE: u8 = 8;
const DEBUG: u8 = 16;
const THRESHOLD: u8 = 32;

fn encode_verdict(out: &mut Vec<u8>, verdict: &Verdict) {
    let flag = |on: bool, bit: u8| if on { bit } else { 0 };
    out.push(
        flag(verdict.keep, KEEP)
            | flag(verdict.erase_threshold, ERASE)
            | flag(verdict.early, EARLY)
            | flag(verdict.late, LATE)
            | flag(verdict.debug, DEBUG)
            | flag(verdict.threshold.is_some(), THRESHOLD),
    );
    put_varint(out, u64::from(verdict.rules_version));
    put_text(out, &verdict.rule);
    put_text(out, &verdict.retention);
    if let Some(threshold) = verdict.threshold {
        out.extend_from_slice(&threshold.value().to_le_bytes());
    }
}

fn decode_verdict(reader: &mut Reader<'_>) -> Option<Verdict> {
    let [flags] = reader.array()?;
    let rules_version = u32::try_from(reader.varint()?).ok()?;
    let (rule, retention) = (reader.text()?.into(), reader.text()?.into());
    let threshold = match flags & THRESHOLD {
        0 => None,
        _ => Some(Threshold::new(u64::from_le_bytes(reader.array()?))?),
    };
    Some(Verdict {
        keep: flags & KEEP != 0,
        rule,
        rules_version,
        retention,
        threshold,
        erase_threshold: flags & ERASE != 0,
        early: flags & EARLY != 0,
        late: flags & LATE != 0,
        debug: flags & DEBUG != 0,
    })
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

struct Reader<'a>(&'a [u8]);

fn read_format(reader: &mut Reader<'_>) -> Option<()> {
    (reader.array()? == [FORMAT]).then_some(())
}

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn index(&mut self) -> Option<usize> {
        usize::try_from(self.varint()?).ok()
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = self.index()?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// A count, then so many. The count is not trusted with an allocation: an item takes at least a byte.
    fn many<T>(&mut self, mut item: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.index().filter(|count| *count <= self.0.len())?;
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Some(items)
    }
}
