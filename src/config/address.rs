//! Things a configuration points at: addresses to listen on, the store, the rules.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use url::Url;

/// An address to listen on, `HOST:PORT`: `127.0.0.1:4317`, `[::1]:4317`, `localhost:4317`; or a Unix socket,
/// `unix:///run/tracewell/otlp.sock`. Port 0 lets the system choose.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListenAddress(Kind);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Kind {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
}

/// How a Unix socket's address begins.
const UNIX: &str = "unix://";
/// The longest path of a socket (unix(7)), without its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

impl ListenAddress {
    /// Reads `HOST:PORT` or `unix://PATH`; the error says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return Self::unix_socket(path);
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(format!("`{text}` has no port; write HOST:PORT, for example `127.0.0.1:4317`"));
        };
        let port =
            port.parse::<u16>().map_err(|_| format!("`{port}` is not a port: a number up to 65535"))?;
        let bare_v6 = host.contains(':') && !(host.starts_with('[') && host.ends_with(']'));
        if host.is_empty() {
            return Err(format!(
                "`{text}` has no host; `0.0.0.0:{port}` listens on every interface, `127.0.0.1:{port}` on this machine only"
            ));
        }
        if text.contains("://") {
            return Err(format!("`{text}` is a URL; write HOST:PORT, for example `127.0.0.1:4317`"));
        }
        if bare_v6 {
            return Err(format!("an IPv6 address stands in brackets: `[{host}]:{port}`"));
        }
        Ok(Self(Kind::Tcp { host: host.into(), port }))
    }

    fn unix_socket(path: &str) -> Result<Self, String> {
        if !path.starts_with('/') || path.ends_with('/') {
            return Err(format!(
                "`{path}` is not the path of a socket; write `unix:///run/tracewell/otlp.sock`"
            ));
        }
        if path.len() > SOCKET_PATH_BYTES_MAX {
            return Err(format!("a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes"));
        }
        Ok(Self(Kind::Unix(path.into())))
    }

    /// The port; 0 lets the system choose, and is what a Unix socket has.
    pub fn port(&self) -> u16 {
        match self.0 {
            Kind::Tcp { port, .. } => port,
            Kind::Unix(_) => 0,
        }
    }

    /// The path, if it is a Unix socket.
    pub fn socket(&self) -> Option<&Path> {
        match &self.0 {
            Kind::Tcp { .. } => None,
            Kind::Unix(path) => Some(path),
        }
    }

    /// Whether only this machine can reach it. Names other than `localhost` may be anybody's.
    pub fn is_loopback(&self) -> bool {
        match &self.0 {
            Kind::Unix(_) => true,
            Kind::Tcp { host, .. } => {
                let bare = host.trim_start_matches('[').trim_end_matches(']');
                host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Tcp { host, port } => write!(f, "{host}:{port}"),
            Kind::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// The schemes a store can have.
const STORES: [&str; 4] = ["file", "s3", "gs", "az"];

/// Reads the URL of a store: `file:///…`, `s3://bucket/prefix`, `gs://…`, `az://…`.
pub(super) fn parse_store(text: &str) -> Result<Url, String> {
    const EXPECTED: &str =
        "write file:///PATH, s3://BUCKET/PREFIX, gs://BUCKET/PREFIX or az://CONTAINER/PREFIX";
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(_) if text.starts_with('/') => return Err(format!("`{text}` is a path; write `file://{text}`")),
        Err(_) => return Err(format!("`{text}` is not a URL; {EXPECTED}")),
    };
    if !STORES.contains(&url.scheme()) {
        return Err(format!("there is no store for `{}://`; {EXPECTED}", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "credentials do not belong into the store's URL; set AWS_ACCESS_KEY_ID and the like".into()
        );
    }
    match (url.scheme(), url.host_str()) {
        ("file", Some(host)) if !host.is_empty() => {
            Err(format!("a file URL has three slashes: `file:///{host}{}`", url.path()))
        }
        ("file", _) => Ok(url),
        (_, None | Some("")) => Err(format!("`{text}` names no bucket; {EXPECTED}")),
        _ => Ok(url),
    }
}

/// Where the sampling rules come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum RulesFrom {
    /// Those that are built in.
    #[default]
    BuiltIn,
    /// A file, watched for changes.
    File(PathBuf),
    /// A key in Consul, `consul://host:port/key`.
    Consul(Url),
}

impl RulesFrom {
    /// Reads a path or a `consul://` URL.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("this is empty; name a file, or leave the key out for the built-in rules".into());
        }
        if !text.contains("://") {
            return Ok(Self::File(text.into()));
        }
        let expected = "write a path, or consul://HOST:PORT/KEY";
        let url = Url::parse(text).map_err(|_| format!("`{text}` is not a URL; {expected}"))?;
        match url.scheme() {
            "file" => {
                url.to_file_path().map(Self::File).map_err(|()| format!("`{text}` is not a path; {expected}"))
            }
            "consul" if url.host_str().is_some_and(|h| !h.is_empty()) && url.path().len() > 1 => {
                Ok(Self::Consul(url))
            }
            "consul" => Err(format!("`{text}` lacks a host or a key; {expected}")),
            scheme => Err(format!("rules cannot come from `{scheme}://`; {expected}")),
        }
    }
}

impl fmt::Display for RulesFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in"),
            Self::File(path) => path.display().fmt(f),
            Self::Consul(url) => url.fmt(f),
        }
    }
}
