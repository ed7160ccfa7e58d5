//! The table against what was acknowledged, decided, and is still in the log.

use std::collections::HashMap;

use tracewell::store::Reader;

use super::rows::Tables;
use super::traces::key_of;
use super::{Breach, Oracle};
use crate::load::{Load, TraceNumber};

impl Oracle {
    /// Compares the table with what it must hold: at the end everything that is kept, before that, right after a start,
    /// what the log has let go of.
    pub fn checks_table(&mut self, load: &Load, tables: &Tables, is_end: bool) -> Result<(), Breach> {
        self.checks_trace_rows(load, tables, is_end)?;
        let mut rows: HashMap<_, _> =
            tables.spans.iter().map(|(key, rows)| (*key, rows.len() as u64)).collect();
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
                    let key = key_of(part.trace, span);
                    let count = rows.remove(&key).unwrap_or(0);
                    let what = || format!("span {} of trace {}, places {:?}", key.1, part.trace, sent.places);
                    let is_wanted = must && !self.expired.contains_key(&key);
                    if is_wanted && count == 0 && self.fate(part.trace) == Some(true) {
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
