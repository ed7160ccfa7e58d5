//! What the receivers refused of which tenant, as a metric.

use std::fmt;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use crate::receive::Metered;
use crate::runtime::Tenant;

/// A counter of requests over their tenant's rate, by tenant and by what there was too much of.
#[derive(Debug)]
pub(super) struct OverRate(pub(super) Vec<(Tenant, [u64; Metered::ALL.len()])>);

impl EncodeMetric for OverRate {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        for (tenant, counts) in &self.0 {
            for what in Metered::ALL {
                let labels = [("tenant", tenant.as_str()), ("what", what.name())];
                ConstCounter::new(counts[what as usize]).encode(encoder.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}
