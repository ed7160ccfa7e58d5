//! What the tables hold, row by row, read with the daemon's reader from the objects as they are.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures::TryStreamExt;
use tracewell::runtime::Tenant;
use tracewell::store::{Projection, Reader, ScanRequest, SpanRows, StoreError, TraceRow, TracesRequest};
use tracewell::wire::{SpanId, TraceId};

use super::Breach;
use crate::load::{Load, TraceNumber};

/// A span's identity.
pub type SpanKey = (TraceNumber, SpanId, i32);

/// The rows of all tenants' tables.
#[derive(Default)]
pub struct Tables {
    /// For each span its rows in `spans`: the retention class of each.
    pub spans: HashMap<SpanKey, Vec<Arc<str>>>,
    /// The rows in `traces`.
    pub traces: HashMap<TraceNumber, Vec<TraceRow>>,
}

fn unreadable(error: StoreError) -> Breach {
    format!("the table cannot be read: {error}")
}

/// Reads all rows of a tenant: the ids of their spans, and their retention classes.
async fn spans(reader: &Reader, tenant: &Tenant) -> Result<Vec<(TraceId, SpanId, i32, Arc<str>)>, Breach> {
    let request = ScanRequest {
        start_unix_nano: 0..u64::MAX,
        projection: Projection::Columns(Vec::new()),
        hints: Vec::new(),
    };
    let scan = reader.scan(tenant, request).await.map_err(unreadable)?;
    let batches: Vec<_> = scan.try_collect().await.map_err(unreadable)?;
    let of_batch = |batch: &SpanRows| {
        let row =
            |row| (batch.trace_id(row), batch.span_id(row), batch.kind(row), Arc::clone(batch.retention()));
        (0..batch.len()).map(row).collect::<Vec<_>>()
    };
    Ok(batches.iter().flat_map(of_batch).collect())
}

/// The ids of all rows of a tenant.
pub async fn span_ids(reader: &Reader, tenant: &Tenant) -> Result<Vec<(TraceId, SpanId, i32)>, Breach> {
    Ok(spans(reader, tenant).await?.into_iter().map(|(trace, span, kind, _)| (trace, span, kind)).collect())
}

fn known(load: &Load, tenant: &Tenant, id: TraceId) -> Result<TraceNumber, Breach> {
    load.find(tenant, id).ok_or_else(|| format!("{tenant} has trace {id} in its table, which it never sent"))
}

impl Tables {
    /// Reads everything.
    pub async fn read(load: &Load, reader: &Reader) -> Result<Self, Breach> {
        let mut tables = Self::default();
        for tenant in load.tenants() {
            for (trace_id, span_id, kind, class) in spans(reader, tenant).await? {
                let key = (known(load, tenant, trace_id)?, span_id, kind);
                tables.spans.entry(key).or_default().push(class);
            }
            let rows = reader.traces_scan(tenant, TracesRequest::all()).await.map_err(unreadable)?;
            let rows: Vec<Vec<TraceRow>> = rows.try_collect().await.map_err(unreadable)?;
            for row in rows.into_iter().flatten() {
                tables.traces.entry(known(load, tenant, row.trace_id)?).or_default().push(row);
            }
        }
        Ok(tables)
    }

    /// How many rows a span has.
    pub fn count(&self, key: &SpanKey) -> u64 {
        self.spans.get(key).map_or(0, |rows| rows.len() as u64)
    }

    /// How many rows a trace has in `traces`, and the spans and errors that they count.
    pub fn counted(&self, trace: TraceNumber) -> (u64, u64, u64) {
        let rows = self.traces.get(&trace).into_iter().flatten();
        rows.fold((0, 0, 0), |(rows, spans, errors), row| {
            (rows + 1, spans + row.span_count, errors + row.error_count)
        })
    }
}

/// How many of these are of each class.
pub fn by_class<'a>(classes: impl Iterator<Item = &'a Arc<str>>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    classes.for_each(|class| *counts.entry(&**class).or_default() += 1);
    counts
}
