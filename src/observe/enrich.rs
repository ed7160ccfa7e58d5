//! What enrich did, told: what was redacted, by rule and place, never what it was.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use serde_json::{Map, Value, json};

use crate::enrich::{EnrichStats, Redacted, Scope};

/// `redacted`, a list of `rule`, `place` and `count`, and `changed_attributes` by scope.
pub(super) fn status(stats: &EnrichStats) -> Value {
    let redacted = stats.redacted.iter().map(
        |redacted| json!({ "rule": redacted.rule, "place": redacted.place.name(), "count": redacted.count }),
    );
    let changed: Map<String, Value> =
        changed(stats).map(|(scope, count)| (scope.to_owned(), json!(count))).collect();
    json!({ "redacted": redacted.collect::<Vec<_>>(), "changed_attributes": changed })
}

/// The same as metrics.
pub(super) fn register(registry: &mut Registry, stats: &EnrichStats) {
    let help = "Values in which something was redacted";
    registry.register("tracewell_enrich_redactions", help, Redactions(stats.redacted.clone()));
    let help = "Attributes that actions and detectors added, changed or removed";
    registry.register("tracewell_enrich_changed_attributes", help, Changed(changed(stats).collect()));
}

fn changed(stats: &EnrichStats) -> impl Iterator<Item = (&'static str, u64)> {
    Scope::ALL.into_iter().zip(stats.changed).map(|(scope, count)| (scope.as_str(), count))
}

/// A counter by rule and place.
#[derive(Debug)]
struct Redactions(Vec<Redacted>);

impl EncodeMetric for Redactions {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for redacted in &self.0 {
            let labels = [("rule", redacted.rule.as_str()), ("place", redacted.place.name())];
            ConstCounter::new(redacted.count).encode(encoder.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

/// A counter by scope.
#[derive(Debug)]
struct Changed(Vec<(&'static str, u64)>);

impl EncodeMetric for Changed {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (scope, count) in &self.0 {
            ConstCounter::new(*count).encode(encoder.encode_family(&[("scope", *scope)])?)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
