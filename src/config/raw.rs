//! The configuration file as it is written: every key optional, every value with its place.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_saphyr::Spanned;

use super::auth::RawAuth;
use super::enrich::RawEnrich;
use super::export::RawExport;
use super::fleet::{RawForward, RawGateways};
use super::limits::{RawCors, RawKeepalive, RawLimits};
use super::sections::{LogFormat, LogLevel};
use super::tls::RawTls;
use super::units::{ByteSize, Period};

/// A value that may be left out, and its place.
pub(super) type Key<T> = Option<Spanned<T>>;

/// The whole file.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) grpc: Key<String>,
    pub(super) http: Key<String>,
    pub(super) api: Key<String>,
    pub(super) data: Key<String>,
    #[serde(deserialize_with = "section")]
    pub(super) store: RawStore,
    pub(super) rules: Key<String>,
    #[serde(deserialize_with = "section")]
    pub(super) memory: RawMemory,
    #[serde(deserialize_with = "section")]
    pub(super) receive: RawReceive,
    #[serde(deserialize_with = "section")]
    pub(super) enrich: RawEnrich,
    #[serde(deserialize_with = "section")]
    pub(super) log: RawLog,
    #[serde(deserialize_with = "section")]
    pub(super) recorder: RawRecorder,
    #[serde(deserialize_with = "section")]
    pub(super) sample: RawSample,
    #[serde(deserialize_with = "section")]
    pub(super) decisions: RawDecisions,
    #[serde(deserialize_with = "section")]
    pub(super) compaction: RawCompaction,
    #[serde(deserialize_with = "section")]
    pub(super) query: RawQuery,
    #[serde(deserialize_with = "section")]
    pub(super) observe: RawObserve,
    #[serde(deserialize_with = "section")]
    pub(super) shutdown: RawShutdown,
    pub(super) debug: Key<bool>,
    #[serde(deserialize_with = "section")]
    pub(super) tls: RawTls,
    #[serde(deserialize_with = "section")]
    pub(super) auth: RawAuth,
    #[serde(deserialize_with = "section")]
    pub(super) limits: RawLimits,
    pub(super) insecure: Key<bool>,
    pub(super) socket_mode: Key<String>,
    pub(super) role: Key<String>,
    #[serde(deserialize_with = "section")]
    pub(super) gateways: RawGateways,
    #[serde(deserialize_with = "section")]
    pub(super) forward: RawForward,
    #[serde(deserialize_with = "section")]
    pub(super) export: RawExport,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawStore {
    pub(super) url: Key<String>,
    #[serde(deserialize_with = "section")]
    pub(super) flush: RawFlush,
    pub(super) lifecycle: Key<bool>,
    pub(super) storage_class: Key<String>,
    pub(super) columns: BTreeMap<String, Spanned<String>>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawFlush {
    pub(super) bytes: Key<ByteSize>,
    pub(super) age: Key<Period>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawMemory {
    pub(super) limit: Key<ByteSize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawReceive {
    pub(super) limit: Key<ByteSize>,
    pub(super) budget: Key<ByteSize>,
    pub(super) header_timeout: Key<Period>,
    pub(super) body_timeout: Key<Period>,
    pub(super) connections: Key<usize>,
    pub(super) streams: Key<u32>,
    pub(super) header_bytes: Key<ByteSize>,
    #[serde(deserialize_with = "section")]
    pub(super) keepalive: RawKeepalive,
    #[serde(deserialize_with = "section")]
    pub(super) cors: RawCors,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLog {
    pub(super) segment: Key<ByteSize>,
    pub(super) limit: Key<ByteSize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRecorder {
    pub(super) age: Key<Period>,
    pub(super) size: Key<ByteSize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawSample {
    pub(super) index: Key<ByteSize>,
    pub(super) decisions: Key<ByteSize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawDecisions {
    pub(super) keep: Key<Period>,
    pub(super) size: Key<ByteSize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawCompaction {
    pub(super) enabled: Key<bool>,
    pub(super) cpu_share: Key<f64>,
    pub(super) target: Key<ByteSize>,
    pub(super) gather: Key<usize>,
    pub(super) settle: Key<Period>,
    pub(super) memory: Key<ByteSize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawQuery {
    pub(super) timeout: Key<Period>,
    pub(super) concurrency: Key<usize>,
    pub(super) limit: Key<usize>,
    pub(super) limit_max: Key<usize>,
    pub(super) cache: Key<ByteSize>,
    pub(super) index: Key<ByteSize>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawObserve {
    pub(super) logs: Option<LogFormat>,
    pub(super) level: Option<LogLevel>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawShutdown {
    pub(super) deadline: Key<Period>,
}

/// A section whose keys are all commented out reads as null; that is an empty section.
pub(super) fn section<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}
