//! The fleet: what this process does in it, who the gateways are, and where spans go on to.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_saphyr::Spanned;
use url::Url;

use super::error::{ConfigError, Origin};
use super::raw::{Key, section};
use super::units::{ByteSize, Period};
use super::validate::{Loader, invalid, or};

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Everything in one process.
    #[default]
    All,
    /// Receives, enriches, logs, and forwards to gateways.
    Agent,
    /// Everything, fed by agents.
    Gateway,
}

impl Role {
    /// Reads a role's name; the error says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "agent" => Ok(Self::Agent),
            "gateway" => Ok(Self::Gateway),
            _ => Err(format!("there is no role `{text}`; write all, agent or gateway")),
        }
    }
}

/// Who the gateways are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Members {
    /// Always these, each `HOST:PORT`.
    Static(Vec<String>),
    /// The lines of a file that is read again.
    File(PathBuf),
    /// The addresses (A and AAAA) of a name, each with the port: `HOST:PORT`.
    Dns(String, u16),
    /// The targets of an SRV record.
    Srv(String),
    /// The healthy instances of a Consul service: the agent's address and the service.
    Consul(Url, String),
}

/// TLS of a connection that we make.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClientTls {
    /// Who signs the servers' certificates (PEM); `None`: whom the system trusts.
    pub ca: Option<PathBuf>,
    /// Our own certificate and its key (PEM), for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name in the servers' certificates, where it is not the one they are called by.
    pub server_name: Option<String>,
}

/// The fleet of gateways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaysSection {
    /// Who they are; `None`: there is no fleet.
    pub members: Option<Members>,
    /// How often the members are looked for.
    pub refresh: Duration,
    /// On a gateway: which of them this one is.
    pub own_name: Option<String>,
    /// TLS to them.
    pub tls: Option<ClientTls>,
    /// A file with the bearer token that they ask for.
    pub token_file: Option<PathBuf>,
    /// `none`, `gzip` or `zstd`.
    pub compression: String,
    /// What waits for one gateway in memory, in bytes.
    pub queue: u64,
    /// How much longer than the decision wait a change of the members is kept in mind.
    pub settle: Duration,
    /// How long a gateway that leaves waits for what is pending; `None`: the decision wait and `settle`.
    pub drain: Option<Duration>,
    /// The most bytes of memory for the traces that were taken lately.
    pub memory: u64,
}

impl Default for GatewaysSection {
    fn default() -> Self {
        Self {
            members: None,
            refresh: Duration::from_secs(10),
            own_name: None,
            tls: None,
            token_file: None,
            compression: "none".into(),
            queue: 16 << 20,
            settle: Duration::from_secs(10),
            drain: None,
            memory: 32 << 20,
        }
    }
}

/// What an agent does before it forwards.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ForwardSection {
    /// The share of traces that go on, more than 0 and at most 1; `None`: all.
    pub sample: Option<f64>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawGateways {
    r#static: Option<Vec<Spanned<String>>>,
    file: Key<String>,
    dns: Key<String>,
    srv: Key<String>,
    consul: Key<String>,
    refresh: Key<Period>,
    #[serde(rename = "self")]
    own_name: Key<String>,
    #[serde(deserialize_with = "section")]
    tls: RawClientTls,
    token_file: Key<String>,
    compression: Key<String>,
    queue: Key<ByteSize>,
    settle: Key<Period>,
    drain: Key<Period>,
    memory: Key<ByteSize>,
}

#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawClientTls {
    enabled: Key<bool>,
    ca: Key<String>,
    cert: Key<String>,
    key: Key<String>,
    server_name: Key<String>,
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawForward {
    sample: Key<String>,
}

impl Loader<'_> {
    pub(super) fn role(&self, in_file: Key<String>) -> Result<Role, ConfigError> {
        match self.text(&self.flags.role, ("--role", "TRACEWELL_ROLE"), in_file) {
            Some(set) => Role::parse(&set.value).map_err(|message| invalid(set.origin, "role", message)),
            None => Ok(Role::All),
        }
    }

    pub(super) fn gateways(&self, raw: RawGateways, role: Role) -> Result<GatewaysSection, ConfigError> {
        let default = GatewaysSection::default();
        let section = GatewaysSection {
            members: self.members(&raw)?,
            refresh: self.positive("gateways.refresh", raw.refresh, Period(default.refresh))?.0,
            own_name: self.own_name(raw.own_name)?,
            tls: self.client_tls("gateways.tls", raw.tls)?,
            token_file: self.path(raw.token_file),
            compression: self.compression("gateways.compression", raw.compression)?,
            queue: self.positive_bytes("gateways.queue", raw.queue, default.queue)?,
            settle: self.positive("gateways.settle", raw.settle, Period(default.settle))?.0,
            drain: raw.drain.map(|drain| drain.value.0),
            memory: self.positive_bytes("gateways.memory", raw.memory, default.memory)?,
        };
        let missing = |key: &str, message: &str| Err(invalid(Origin::Default, key, message.into()));
        if role == Role::Agent && section.members.is_none() {
            return missing(
                "gateways",
                "an agent needs to know them: name `static`, `file`, `dns`, `srv` or `consul`",
            );
        }
        if role != Role::Agent && section.members.is_some() && section.own_name.is_none() {
            return missing(
                "gateways.self",
                "a gateway needs to know which of them it is: HOST:PORT as agents call it",
            );
        }
        Ok(section)
    }

    /// One source at most.
    fn members(&self, raw: &RawGateways) -> Result<Option<Members>, ConfigError> {
        let key = "gateways";
        let text = |source: &Key<String>| source.as_ref().map(|s| (s.value.clone(), self.origin(s)));
        let mut found = Vec::new();
        if let Some(list) = raw.r#static.as_ref().filter(|list| !list.is_empty()) {
            for name in list {
                host_port(&name.value).map_err(|why| invalid(self.origin(name), "gateways.static", why))?;
            }
            found.push(Members::Static(list.iter().map(|name| name.value.clone()).collect()));
        }
        found.extend(text(&raw.file).map(|(path, _)| Members::File(path.into())));
        if let Some((name, origin)) = text(&raw.dns) {
            let (host, port) = host_port(&name).map_err(|why| invalid(origin, "gateways.dns", why))?;
            found.push(Members::Dns(host, port));
        }
        found.extend(text(&raw.srv).map(|(name, _)| Members::Srv(name)));
        if let Some((url, origin)) = text(&raw.consul) {
            found.push(consul(&url).map_err(|why| invalid(origin, "gateways.consul", why))?);
        }
        if found.len() > 1 {
            let message = "name one of `static`, `file`, `dns`, `srv` and `consul`".into();
            return Err(invalid(Origin::Default, key, message));
        }
        Ok(found.pop())
    }

    fn own_name(&self, own: Key<String>) -> Result<Option<String>, ConfigError> {
        let Some(own) = own else { return Ok(None) };
        host_port(&own.value).map_err(|why| invalid(self.origin(&own), "gateways.self", why))?;
        Ok(Some(own.value))
    }

    fn path(&self, path: Key<String>) -> Option<PathBuf> {
        path.map(|path| path.value).filter(|path| !path.is_empty()).map(PathBuf::from)
    }

    pub(super) fn compression(&self, key: &str, name: Key<String>) -> Result<String, ConfigError> {
        let Some(name) = name else { return Ok("none".into()) };
        if ["none", "gzip", "zstd"].contains(&name.value.as_str()) {
            return Ok(name.value);
        }
        Err(invalid(self.origin(&name), key, "write none, gzip or zstd".into()))
    }

    pub(super) fn client_tls(&self, key: &str, raw: RawClientTls) -> Result<Option<ClientTls>, ConfigError> {
        let origin = [&raw.cert, &raw.key].into_iter().flatten().next().map(|key| self.origin(key));
        let (ca, cert, private) = (self.path(raw.ca), self.path(raw.cert), self.path(raw.key));
        let named = ca.is_some() || cert.is_some() || private.is_some() || raw.server_name.is_some();
        let identity = match (cert, private) {
            (Some(cert), Some(private)) => Some((cert, private)),
            (None, None) => None,
            _ => {
                let message = "a certificate and its key come together: name `cert` and `key`".into();
                return Err(invalid(origin.unwrap_or(Origin::Default), key, message));
            }
        };
        let server_name = raw.server_name.map(|name| name.value);
        Ok(or(raw.enabled, named).then_some(ClientTls { ca, identity, server_name }))
    }

    pub(super) fn forward(&self, raw: RawForward) -> Result<ForwardSection, ConfigError> {
        let Some(sample) = raw.sample else { return Ok(ForwardSection::default()) };
        let percent =
            sample.value.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match percent.map(|percent| percent / 100.0).filter(|share| *share > 0.0 && *share <= 1.0) {
            Some(share) => Ok(ForwardSection { sample: Some(share) }),
            None => {
                let message = "is a percentage above 0% and up to 100%, for example 10%".into();
                Err(invalid(self.origin(&sample), "forward.sample", message))
            }
        }
    }
}

/// Reads `HOST:PORT`.
fn host_port(text: &str) -> Result<(String, u16), String> {
    let port = |port: &str| port.parse::<u16>().ok().filter(|port| *port > 0);
    match text.rsplit_once(':').and_then(|(host, number)| Some((host, port(number)?))) {
        Some((host, port)) if !host.is_empty() && !text.contains("://") => Ok((host.into(), port)),
        _ => {
            Err(format!("`{text}` is no address of a gateway; write HOST:PORT, for example `10.0.0.7:4317`"))
        }
    }
}

/// Reads `consul://HOST:PORT/SERVICE`.
fn consul(text: &str) -> Result<Members, String> {
    let expected =
        "write consul://HOST:PORT/SERVICE, for example `consul://127.0.0.1:8500/tracewell-gateway`";
    let url = Url::parse(text).map_err(|_| format!("`{text}` is not a URL; {expected}"))?;
    let service = url.path().trim_matches('/').to_owned();
    let scheme = match url.scheme() {
        "consul" | "http" => "http",
        "https" => "https",
        other => return Err(format!("no Consul is reached by `{other}://`; {expected}")),
    };
    let host =
        url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| format!("names no host; {expected}"))?;
    if service.is_empty() || service.contains('/') {
        return Err(format!("names no service; {expected}"));
    }
    let base = format!("{scheme}://{host}:{}", url.port().unwrap_or(8500));
    Url::parse(&base).map(|base| Members::Consul(base, service)).map_err(|_| expected.into())
}
