//! The table against what was acknowledged, decided, and is still in the log.

use std::collections::HashMap;

use futures::TryStreamExt;
use tracewell::runtime::Tenant;
use tracewell::store::{Projection, Reader, ScanRequest, SpanRows, StoreError};
use tracewell::wire::{SpanId, TraceId};

use super::{Breach, Oracle};
use crate::load::{Load, TraceNumber};

/// A span's identity, and how many rows have it.
type Rows = HashMap<(TraceNumber, SpanId, i32), u64>;

/// Reads all rows of a tenant.
pub async fn span_ids(reader: &Reader, tenant: &Tenant) -> Result<Vec<(TraceId, SpanId, i32)>, Breach> {
    let request = ScanRequest {
        start_unix_nano: 0..u64::MAX,
        projection: Projection::Columns(Vec::new()),
        hints: Vec::new(),
    };
    let unreadable = |error: StoreError| format!("the table cannot be read: {error}");
    let scan = reader.scan(tenant, request).await.map_err(unreadable)?;
    let batches: Vec<_> = scan.try_collect().await.map_err(unreadable)?;
    let of_batch = |batch: &SpanRows| {
        let row = |row| (batch.trace_id(row), batch.span_id(row), batch.kind(row));
        (0..batch.len()).map(row).collect::<Vec<_>>()
    };
    Ok(batches.iter().flat_map(of_batch).collect())
}

/// Reads all rows of all tenants.
async fn rows(load: &Load, reader: &Reader) -> Result<Rows, Breach> {
    let mut found = Rows::new();
    for tenant in load.tenants() {
        for (trace_id, span_id, kind) in span_ids(reader, tenant).await? {
            *found.entry((known(load, tenant, trace_id)?, span_id, kind)).or_default() += 1;
        }
    }
    Ok(found)
}

fn known(load: &Load, tenant: &Tenant, id: TraceId) -> Result<TraceNumber, Breach> {
    load.find(tenant, id).ok_or_else(|| format!("{tenant} has trace {id} in its table, which it never sent"))
}

impl Oracle {
    /// Compares the table with what it must hold: at the end everything that is kept, before that, right after a start,
    /// what the log has let go of.
    pub async fn checks_table(&mut self, load: &Load, reader: &Reader, is_end: bool) -> Result<(), Breach> {
        let mut rows = rows(load, reader).await?;
        self.totals.rows = rows.len() as u64;
        for sent in &self.sent {
            let in_log = sent.places.iter().any(|place| self.durable.contains_key(place));
            let hurt =
                !sent.places.is_empty() && sent.places.iter().all(|place| self.damaged.contains(place));
            for part in &sent.request.parts {
                let must = sent.acknowledged && !hurt && (is_end || !in_log);
                if must && !self.was_decided(part.trace) {
                    return Err(format!("trace {} of {:?} was let go of undecided", part.trace, sent.places));
                }
                for span in &part.spans {
                    let id = SpanId::from_slice(&span.span_id).unwrap();
                    let count = rows.remove(&(part.trace, id, span.kind)).unwrap_or(0);
                    let what = || format!("span {id} of trace {}, places {:?}", part.trace, sent.places);
                    if must && count == 0 && self.fate(part.trace) == Some(true) {
                        return Err(format!("{} is kept, and not in the table", what()));
                    }
                    if count > 0 && !self.was_ever_kept(part.trace) {
                        return Err(format!("{} is in the table, and was never kept", what()));
                    }
                    if count > sent.places.len() as u64 && !self.forgetful {
                        return Err(format!("{} is in the table {count} times", what()));
                    }
                }
            }
        }
        match rows.into_keys().next() {
            Some((trace, span, _)) => {
                Err(format!("the table has span {span} of trace {trace}, which nobody sent"))
            }
            None => Ok(()),
        }
    }

    /// Reads these traces by their ids: each span once, and as it was sent.
    pub async fn checks_traces(
        &self,
        load: &Load,
        reader: &Reader,
        traces: impl Iterator<Item = TraceNumber>,
    ) -> Result<(), Breach> {
        let mut sent = HashMap::new();
        for span in self.sent.iter().flat_map(|s| &s.request.parts).flat_map(|part| &part.spans) {
            sent.insert((span.trace_id.clone(), span.span_id.clone()), span);
        }
        for trace in traces {
            let info = &load.traces[trace];
            let found = reader.by_id(&info.tenant, info.id).await.map_err(|e| e.to_string())?;
            let mut seen = std::collections::HashSet::new();
            for found in &found {
                let key = (found.span.trace_id.clone(), found.span.span_id.clone());
                let mut span = found.span.clone();
                span.trace_state.clear();
                if sent.get(&key).is_none_or(|sent| **sent != span) {
                    return Err(format!("trace {trace} has a span that is not what was sent: {span:?}"));
                }
                if !seen.insert(key) {
                    return Err(format!("trace {trace} has a span twice: {span:?}"));
                }
            }
        }
        Ok(())
    }
}
