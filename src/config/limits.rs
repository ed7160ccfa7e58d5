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
const STREAMS: u32 = 256;
const HEADER_BYTES: u64 = 32 << 10;
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(60);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

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

/// What holds for each connection to the receivers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeersSection {
    /// HTTP/2 streams of one connection at a time.
    pub streams: u32,
    /// Bytes of one request's headers.
    pub header_bytes: u32,
    /// Quiet time after which an HTTP/2 connection is pinged,
    pub keepalive_interval: Duration,
    /// and how long the answer may take.
    pub keepalive_timeout: Duration,
    /// Whose pages may send from browsers, as they are written.
    pub cors_origins: Vec<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawKeepalive {
    interval: Key<Period>,
    timeout: Key<Period>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCors {
    origins: Option<Vec<String>>,
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

    pub(super) fn peers(
        &self,
        streams: Key<u32>,
        header_bytes: Key<ByteSize>,
        keepalive: RawKeepalive,
        cors: RawCors,
    ) -> Result<PeersSection, ConfigError> {
        let origin = header_bytes.as_ref().map_or(Origin::Default, |written| self.origin(written));
        let bytes = self.positive_bytes("receive.header_bytes", header_bytes, HEADER_BYTES)?;
        if !(8 << 10..=1 << 20).contains(&bytes) {
            return Err(invalid(origin, "receive.header_bytes", "must be from 8KiB to 1MiB".into()));
        }
        let (interval, timeout) = ("receive.keepalive.interval", "receive.keepalive.timeout");
        Ok(PeersSection {
            streams: self.positive("receive.streams", streams, STREAMS)?,
            header_bytes: u32::try_from(bytes).unwrap_or(u32::MAX),
            keepalive_interval: self.positive(interval, keepalive.interval, Period(KEEPALIVE_INTERVAL))?.0,
            keepalive_timeout: self.positive(timeout, keepalive.timeout, Period(KEEPALIVE_TIMEOUT))?.0,
            cors_origins: cors.origins.unwrap_or_default(),
        })
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
