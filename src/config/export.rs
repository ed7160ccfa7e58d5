//! The section `export`: other backends that kept spans go on to, by name.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use url::Url;

use super::Role;
use super::error::{ConfigError, Origin};
use super::fleet::{ClientTls, RawClientTls};
use super::raw::{Key, section};
use super::units::{ByteSize, Period};
use super::validate::{Loader, invalid};
use crate::runtime::Tenant;

// What holds where nothing is configured; `config/tracewell.yaml` says the same.
const QUEUE_BYTES: u64 = 2 << 30;
const QUEUE_AGE: Duration = Duration::from_secs(24 * 3600);
const TIMEOUT: Duration = Duration::from_secs(30);
const REQUEST_BYTES: u64 = 1 << 20;
/// Each has a thread, a log and memory of its own.
pub(super) const TARGETS_MAX: usize = 16;
/// A log is let go of in pieces, of which there must be several.
const QUEUE_BYTES_MIN: u64 = 1 << 20;
const NAME_MAX: usize = 64;
/// What the protocol itself sets.
const RESERVED: [&str; 7] =
    ["content-type", "content-length", "content-encoding", "grpc-encoding", "host", "te", "user-agent"];

/// Other backends, and the memory for all of them together, in bytes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExportSection {
    /// By name, ascending.
    pub targets: Vec<ExportTarget>,
    /// Of the memory limit.
    pub memory: u64,
}

/// A value that nobody is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The value.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// One backend.
#[derive(Debug, Clone, PartialEq)]
pub struct ExportTarget {
    /// What it is called: a folder, and a label of metrics.
    pub name: String,
    /// Where it is: scheme, host and port; for HTTP the whole URL that spans are posted to.
    pub url: Url,
    /// Whether it is spoken to by gRPC; else by HTTP.
    pub grpc: bool,
    /// Sent with each request.
    pub headers: Vec<(String, Secret)>,
    /// The same, each value in a file that is read again when it changes.
    pub header_files: Vec<(String, PathBuf)>,
    /// The header that names the tenant; `None`: none does.
    pub tenant_header: Option<String>,
    /// TLS; `None`: in the clear.
    pub tls: Option<ClientTls>,
    /// `none`, `gzip` or `zstd`.
    pub compression: String,
    /// Only traces that match, TraceQL.
    pub filter: Option<String>,
    /// Only traces of these retention classes; empty: of all.
    pub classes: Vec<String>,
    /// Only these tenants' traces; empty: everybody's.
    pub tenants: Vec<Tenant>,
    /// What may wait on the disk, in bytes.
    pub queue_size: u64,
    /// How long anything may wait.
    pub queue_age: Duration,
    /// How long a request may take.
    pub timeout: Duration,
    /// About so much goes into one request, in bytes before compression.
    pub request: u64,
}

pub(super) type RawExport = BTreeMap<String, Spanned<RawTarget>>;

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTarget {
    endpoint: Key<String>,
    protocol: Key<String>,
    path: Key<String>,
    headers: BTreeMap<String, Spanned<String>>,
    header_files: BTreeMap<String, Spanned<String>>,
    tenant_header: Key<String>,
    #[serde(deserialize_with = "section")]
    tls: RawClientTls,
    compression: Key<String>,
    filter: Key<String>,
    classes: Option<Vec<String>>,
    tenants: Option<Vec<Spanned<String>>>,
    #[serde(deserialize_with = "section")]
    queue: RawQueue,
    timeout: Key<Period>,
    request: Key<ByteSize>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
struct RawQueue {
    size: Key<ByteSize>,
    age: Key<Period>,
}

impl Loader<'_> {
    pub(super) fn export(
        &self,
        raw: RawExport,
        role: Role,
        memory: u64,
    ) -> Result<ExportSection, ConfigError> {
        let first = raw.values().next().map_or(Origin::Default, |target| self.origin(target));
        if role == Role::Agent && !raw.is_empty() {
            let message = "an agent keeps no traces; name this where its gateways are configured".into();
            return Err(invalid(first, "export", message));
        }
        if raw.len() > TARGETS_MAX {
            let message = format!("there are {}; at most {TARGETS_MAX} backends can be named", raw.len());
            return Err(invalid(first, "export", message));
        }
        let targets = raw.into_iter().map(|(name, target)| self.target(name, target));
        Ok(ExportSection { targets: targets.collect::<Result<_, _>>()?, memory })
    }

    fn target(&self, name: String, written: Spanned<RawTarget>) -> Result<ExportTarget, ConfigError> {
        let place = self.origin(&written);
        let key = |inner: &str| format!("export.{name}.{inner}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > NAME_MAX || !name.chars().all(is_plain) {
            let message = format!(
                "`{}` cannot be a name: write up to {NAME_MAX} of A-Z a-z 0-9 - _, as it becomes a folder",
                name.escape_debug()
            );
            return Err(invalid(place, "export", message));
        }
        let raw = written.value;
        let grpc = match raw.protocol.as_ref().map(|protocol| protocol.value.as_str()) {
            None | Some("grpc") => true,
            Some("http/protobuf") => false,
            Some(_) => {
                let origin = raw.protocol.as_ref().map_or(place, |protocol| self.origin(protocol));
                return Err(invalid(origin, &key("protocol"), "write grpc or http/protobuf".into()));
            }
        };
        let url = self.url(&key("endpoint"), place.clone(), raw.endpoint, raw.path, grpc)?;
        let tls = self.client_tls(&key("tls"), raw.tls)?;
        let tls = match (url.scheme(), tls) {
            ("https", tls) => Some(tls.unwrap_or_default()),
            (_, None) => None,
            (_, Some(_)) => {
                let message = "is set, but the endpoint says http://: write https://".into();
                return Err(invalid(place, &key("tls"), message));
            }
        };
        let tenants = raw.tenants.unwrap_or_default().into_iter().map(|tenant| {
            let message = || format!("`{}` is not a tenant's name", tenant.value.escape_debug());
            let name = Tenant::new(&tenant.value);
            name.ok_or_else(|| invalid(self.origin(&tenant), &key("tenants"), message()))
        });
        let queue_origin = raw.queue.size.as_ref().map_or(Origin::Default, |size| self.origin(size));
        let target = ExportTarget {
            url,
            grpc,
            headers: self.headers(&key("headers"), raw.headers, |value| {
                HeaderValue::from_str(&value).is_ok().then_some(Secret(value))
            })?,
            header_files: self.headers(&key("header_files"), raw.header_files, |path| {
                (!path.is_empty()).then(|| PathBuf::from(path))
            })?,
            tenant_header: self.tenant_header(&key("tenant_header"), raw.tenant_header)?,
            tls,
            compression: self.compression(&key("compression"), raw.compression)?,
            filter: raw.filter.map(|filter| filter.value).filter(|filter| !filter.trim().is_empty()),
            classes: raw.classes.unwrap_or_default(),
            tenants: tenants.collect::<Result<_, _>>()?,
            queue_size: self.positive_bytes(&key("queue.size"), raw.queue.size, QUEUE_BYTES)?,
            queue_age: self.positive(&key("queue.age"), raw.queue.age, Period(QUEUE_AGE))?.0,
            timeout: self.positive(&key("timeout"), raw.timeout, Period(TIMEOUT))?.0,
            request: self.positive_bytes(&key("request"), raw.request, REQUEST_BYTES)?,
            name: String::new(),
        };
        if target.queue_size < QUEUE_BYTES_MIN {
            let message = format!("must be at least {}", ByteSize(QUEUE_BYTES_MIN));
            return Err(invalid(queue_origin, &key("queue.size"), message));
        }
        Ok(ExportTarget { name, ..target })
    }

    /// For gRPC a server, for HTTP what is posted to.
    fn url(
        &self,
        key: &str,
        place: Origin,
        endpoint: Key<String>,
        path: Key<String>,
        grpc: bool,
    ) -> Result<Url, ConfigError> {
        const EXPECTED: &str = "write http://HOST:PORT or https://HOST:PORT";
        let Some(endpoint) = endpoint.filter(|endpoint| !endpoint.value.is_empty()) else {
            return Err(invalid(place, key, format!("must be set: {EXPECTED}")));
        };
        let wrong = |message: String| invalid(self.origin(&endpoint), key, message);
        // A URL may hold a password: it is not shown.
        let mut url = Url::parse(&endpoint.value).map_err(|_| wrong(format!("is no URL; {EXPECTED}")))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
            return Err(wrong(EXPECTED.into()));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(wrong("has credentials or a query; credentials belong into `headers`".into()));
        }
        if grpc {
            if path.is_some() || url.path() != "/" {
                return Err(wrong("gRPC has no path; write http/protobuf in `protocol` for one".into()));
            }
            return Ok(url);
        }
        let base = url.path().trim_end_matches('/').to_owned();
        let path = match path.map(|path| path.value) {
            Some(path) if path.starts_with('/') => format!("{base}{path}"),
            Some(_) => return Err(wrong("needs a `path` that begins with a slash".into())),
            None if base.ends_with("/v1/traces") => base,
            None => format!("{base}/v1/traces"),
        };
        url.set_path(&path);
        Ok(url)
    }

    fn headers<T>(
        &self,
        key: &str,
        raw: BTreeMap<String, Spanned<String>>,
        read: impl Fn(String) -> Option<T>,
    ) -> Result<Vec<(String, T)>, ConfigError> {
        let header = |(name, value): (String, Spanned<String>)| {
            let origin = self.origin(&value);
            header_name(&name).map_err(|message| invalid(origin.clone(), key, message))?;
            let message =
                || format!("the value of `{name}` is empty, or has characters that no header may have");
            let value = read(value.value).ok_or_else(|| invalid(origin, key, message()))?;
            Ok((name, value))
        };
        raw.into_iter().map(header).collect()
    }

    fn tenant_header(&self, key: &str, name: Key<String>) -> Result<Option<String>, ConfigError> {
        let Some(name) = name.filter(|name| !name.value.is_empty()) else { return Ok(None) };
        header_name(&name.value).map_err(|message| invalid(self.origin(&name), key, message))?;
        Ok(Some(name.value))
    }
}

fn header_name(name: &str) -> Result<(), String> {
    let shown = name.escape_debug();
    let parsed =
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("`{shown}` is no header's name"))?;
    if RESERVED.contains(&parsed.as_str()) {
        return Err(format!("`{shown}` is set by the protocol itself"));
    }
    Ok(())
}
