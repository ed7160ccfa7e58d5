//! The section `limits`, and what `receive` says about browsers and HTTP/2.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::{ConfigError, Origin};
use super::raw::{Key, section};
use super::units::{ByteSize, Period};
use super::validate::{Loader, invalid};
use crate::runtime::Tenant;

const BURST: Duration = Duration::from_secs(2);

/// What a tenant may send, on average; `None` is without limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RateSection {
    /// Spans in a second.
    pub spans_per_second: Option<u64>,
    /// Bytes in a second, decompressed.
    pub bytes_per_second: Option<u64>,
    /// How much of it may come at once, as time.
    pub burst: Duration,
}

impl Default for RateSection {
    fn default() -> Self {
        Self { spans_per_second: None, bytes_per_second: None, burst: BURST }
    }
}

/// Rates of tenants.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LimitsSection {
    /// For each tenant that has no rate of its own.
    pub default: RateSection,
    /// Rates of their own.
    pub tenants: BTreeMap<Tenant, RateSection>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    #[serde(deserialize_with = "section")]
    default: RawRate,
    tenants: Option<BTreeMap<String, RawRate>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawRate {
    spans_per_second: Key<u64>,
    bytes_per_second: Key<ByteSize>,
    burst: Key<Period>,
}

impl Loader<'_> {
    pub(super) fn limits(&self, raw: RawLimits) -> Result<LimitsSection, ConfigError> {
        let default = self.rate("limits.default", raw.default, RateSection::default())?;
        let mut tenants = BTreeMap::new();
        for (name, rate) in raw.tenants.unwrap_or_default() {
            let key = format!("limits.tenants.{name}");
            let unnamed = || invalid(Origin::Default, &key, "this cannot be a tenant's name".into());
            let tenant = Tenant::new(&name).ok_or_else(unnamed)?;
            tenants.insert(tenant, self.rate(&key, rate, default)?);
        }
        Ok(LimitsSection { default, tenants })
    }

    /// What is not written is as for everybody.
    fn rate(&self, key: &str, raw: RawRate, default: RateSection) -> Result<RateSection, ConfigError> {
        let spans = self.positive(&format!("{key}.spans_per_second"), raw.spans_per_second, 0)?;
        let bytes = self.positive_bytes(&format!("{key}.bytes_per_second"), raw.bytes_per_second, 0)?;
        Ok(RateSection {
            spans_per_second: Some(spans).filter(|n| *n > 0).or(default.spans_per_second),
            bytes_per_second: Some(bytes).filter(|n| *n > 0).or(default.bytes_per_second),
            burst: self.positive(&format!("{key}.burst"), raw.burst, Period(default.burst))?.0,
        })
    }
}
