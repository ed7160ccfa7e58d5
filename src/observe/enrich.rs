//! What enrich did, told: what was redacted, by rule and place, never what it was.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use serde_json::{Map, Value, json};

use crate::enrich::{EnrichStats, PodStats, Redacted, Scope};

/// `redacted`, a list of `rule`, `place` and `count`, and `changed_attributes` by scope, and `pods`, null
/// where nobody asks for them.
pub(super) fn status(stats: &EnrichStats) -> Value {
    let redacted = stats.redacted.iter().map(
        |redacted| json!({ "rule": redacted.rule, "place": redacted.place.name(), "count": redacted.count }),
    );
    let changed: Map<String, Value> =
        changed(stats).map(|(scope, count)| (scope.to_owned(), json!(count))).collect();
    let pods = stats.pods.as_ref().map(|pods| {
        json!({
            "known": pods.pods,
            "bytes": pods.bytes,
            "refused": pods.refused,
            "synced": pods.synced,
            "lists": pods.lists,
            "watches": pods.watches,
            "failures": pods.failures,
            "resources_found": pods.found,
            "resources_unknown": pods.unknown,
            "error": pods.error,
        })
    });
    json!({ "redacted": redacted.collect::<Vec<_>>(), "changed_attributes": changed, "pods": pods })
}

/// The same as metrics.
pub(super) fn register(registry: &mut Registry, stats: &EnrichStats) {
    let help = "Values in which something was redacted";
    registry.register("tracewell_enrich_redactions", help, Redactions(stats.redacted.clone()));
    let help = "Attributes that actions and detectors added, changed or removed";
    registry.register("tracewell_enrich_changed_attributes", help, Changed(changed(stats).collect()));
    if let Some(pods) = &stats.pods {
        register_pods(registry, pods);
    }
}

fn register_pods(registry: &mut Registry, pods: &PodStats) {
    let up_to_date = u64::from(pods.synced && pods.error.is_none());
    for (name, help, value) in [
        ("tracewell_enrich_pods", "Kubernetes pods known", pods.pods),
        (
            "tracewell_enrich_pods_synced",
            "Whether all pods were listed once (1) or not (0)",
            pods.synced.into(),
        ),
        (
            "tracewell_enrich_pods_up_to_date",
            "Whether the API server tells of pods (1) or not (0)",
            up_to_date,
        ),
    ] {
        registry.register(name, help, ConstGauge::new(value));
    }
    let help = "What the pods known take";
    registry.register_with_unit("tracewell_enrich_pods", help, Unit::Bytes, ConstGauge::new(pods.bytes));
    for (name, help, value) in [
        ("tracewell_enrich_pods_refused", "Changes of pods that did not fit", pods.refused),
        ("tracewell_enrich_pods_lists", "Complete lists of pods", pods.lists),
        ("tracewell_enrich_pods_watches", "Watches of pods begun", pods.watches),
        ("tracewell_enrich_pods_failures", "Lists and watches that failed", pods.failures),
        ("tracewell_enrich_resources_with_pod", "Resources whose pod was found", pods.found),
        ("tracewell_enrich_resources_without_pod", "Resources whose pod was not found", pods.unknown),
    ] {
        registry.register(name, help, ConstCounter::new(value));
    }
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
