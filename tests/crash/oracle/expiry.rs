//! Expiry: what is due goes, and nothing else, from both tables.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tracewell::runtime::Tenant;
use tracewell::sample::RetentionClasses;

use super::rows::{SpanKey, Tables, by_class};
use super::{Breach, Oracle};
use crate::load::{Load, TraceNumber};

const NANOS_PER_DAY: u64 = 86_400_000_000_000;
/// Spans that come later than this are filed under the day of their receipt.
const LATE_DAYS_MAX: u64 = 30;

/// What a tenant has of a class in both tables, in bytes.
pub type ClassBytes = BTreeMap<(Tenant, String), u64>;

/// An expiry that took place, at least in part.
pub struct Expiry {
    pub classes: RetentionClasses,
    pub now_unix_nano: u64,
    /// It said that it is done.
    pub is_done: bool,
    pub before: ClassBytes,
    pub after: ClassBytes,
}

/// When a row may go, and when it must.
#[derive(Clone, Copy)]
struct Times {
    /// Its start: no file that holds it is older.
    start: u64,
    /// The end of the last day that it can be filed under.
    day_end: u64,
}

impl Times {
    fn of(start: u64, received: u64) -> Self {
        let (start_day, received_day) = (start / NANOS_PER_DAY, received / NANOS_PER_DAY);
        let day = if start_day + LATE_DAYS_MAX < received_day { received_day } else { start_day };
        Self { start, day_end: (day + 1) * NANOS_PER_DAY }
    }
}

impl Expiry {
    /// What of rows with these classes is gone, if it may be.
    fn gone<'a>(
        &self,
        times: Times,
        before: &BTreeMap<&'a str, u64>,
        after: &BTreeMap<&str, u64>,
    ) -> Result<Vec<(&'a str, u64)>, Breach> {
        let mut gone = Vec::new();
        for (class, rows) in before {
            let left = after.get(class).copied().unwrap_or(0);
            let Some(terms) = self.classes.get(*class) else {
                return Err(format!("has a class that no rule names: {class}"));
            };
            let age = terms.age.as_nanos() as u64;
            let may = terms.bytes_max.is_some() || times.start + age < self.now_unix_nano;
            let must = self.is_done && times.day_end + age < self.now_unix_nano;
            if left > *rows || (left < *rows && !may) {
                return Err(format!("of {class} had {rows} rows, and has {left}, before its time"));
            }
            if must && left > 0 {
                return Err(format!("of {class} has {left} rows, and is due"));
            }
            if left < *rows {
                gone.push((*class, rows - left));
            }
        }
        Ok(gone)
    }
}

impl Oracle {
    /// An expiry took place, between these two looks at the tables.
    pub fn expires(
        &mut self,
        load: &Load,
        expiry: &Expiry,
        before: &Tables,
        after: &Tables,
    ) -> Result<(), Breach> {
        let received = self.last_received();
        let sent = self.spans();
        let mut gone: Vec<(SpanKey, u64)> = Vec::new();
        let mut newest: BTreeMap<(Tenant, &str), (u64, u64)> = BTreeMap::new();
        for (key, rows) in &before.spans {
            let start = sent.get(key).ok_or("a span that nobody sent")?.start_time_unix_nano;
            let none = Vec::new();
            let left = by_class(after.spans.get(key).unwrap_or(&none).iter());
            let of_span = expiry.gone(Times::of(start, received[&key.0]), &by_class(rows.iter()), &left);
            let of_span = of_span.map_err(|why| format!("span {key:?}, started at {start}, {why}"))?;
            gone.extend(of_span.iter().map(|(_, rows)| (*key, *rows)));
            let tenant = || load.traces[key.0].tenant.clone();
            for (class, _) in of_span {
                let newest = newest.entry((tenant(), class)).or_default();
                newest.0 = newest.0.max(start);
            }
            for class in left.into_keys() {
                let class = rows.iter().find(|known| ***known == *class).map_or("", |known| known);
                let newest = newest.entry((tenant(), class)).or_default();
                newest.1 = newest.1.max(start);
            }
        }
        for (trace, rows) in &before.traces {
            let start = rows.iter().map(|row| row.start_unix_nano).min().unwrap_or(0);
            let last = rows.iter().map(|row| row.start_unix_nano + row.duration_nano).max().unwrap_or(0);
            let mut times = Times::of(start, received[trace]);
            // Rows of one trace may lie in several days.
            times.day_end = times.day_end.max(Times::of(last, received[trace]).day_end);
            let none = Vec::new();
            let left = after.traces.get(trace).unwrap_or(&none);
            let classes = |rows: &[tracewell::store::TraceRow]| -> Vec<Arc<str>> {
                rows.iter().map(|row| Arc::clone(&row.kept.retention)).collect()
            };
            let (rows, left) = (classes(rows), classes(left));
            let of_trace = expiry.gone(times, &by_class(rows.iter()), &by_class(left.iter()));
            if !of_trace.map_err(|why| format!("trace {trace} {why}"))?.is_empty() {
                self.expired_traces.insert(*trace);
            }
        }
        for ((tenant, class), (gone, left)) in newest {
            if left > 0 && gone > left {
                return Err(format!("{tenant} lost what is newer than all that it has left of {class}"));
            }
        }
        for (key, rows) in gone {
            *self.expired.entry(key).or_default() += rows;
            self.expired_traces.insert(key.0);
        }
        expiry.checks_bytes()
    }

    /// When each trace's spans were last sent.
    fn last_received(&self) -> HashMap<TraceNumber, u64> {
        let mut last = HashMap::new();
        for sent in &self.sent {
            let received = sent.received_unix_nano.iter().max().copied().unwrap_or(0);
            for part in &sent.request.parts {
                let last = last.entry(part.trace).or_insert(0);
                *last = received.max(*last);
            }
        }
        last
    }
}

impl Expiry {
    /// A class with a bound is within it; one that was within it has lost nothing to it.
    fn checks_bytes(&self) -> Result<(), Breach> {
        for ((tenant, class), before) in &self.before {
            let terms = &self.classes[class];
            let after = self.after.get(&(tenant.clone(), class.clone())).copied().unwrap_or(0);
            let Some(bytes_max) = terms.bytes_max else { continue };
            if self.is_done && after > bytes_max {
                return Err(format!("{tenant} has {after} bytes of {class}, which may have {bytes_max}"));
            }
            // Of the ages that the simulation has, none is over.
            let is_young = terms.age.as_nanos() as u64 > self.now_unix_nano;
            if *before <= bytes_max && after < *before && is_young {
                return Err(format!(
                    "{class} fits into {bytes_max}, and {tenant} lost of its {before} bytes"
                ));
            }
        }
        Ok(())
    }
}
