//! The listeners, bound before anything is promised.

use super::StartError;
use crate::config::{Config, ListenAddress};
use crate::runtime::net::{Listener, ServerTls};

pub(super) struct Listeners {
    pub(super) grpc: Listener,
    pub(super) http: Listener,
    pub(super) api: Listener,
}

impl Listeners {
    /// Binds all three; `otlp` and `api` are the TLS that they speak.
    pub(super) async fn bind(
        config: &Config,
        otlp: Option<ServerTls>,
        api: Option<ServerTls>,
    ) -> Result<Self, StartError> {
        let mode = config.socket_mode;
        for (what, address, tls) in
            [("grpc", &config.grpc, &otlp), ("http", &config.http, &otlp), ("api", &config.api, &api)]
        {
            if config.auth.is_on() && tls.is_none() && !address.is_loopback() {
                tracing::warn!(what, %address, "credentials come over the network in plain text here: set `tls:`");
            }
        }
        Ok(Self {
            grpc: bind("grpc", &config.grpc, mode, otlp.clone()).await?,
            http: bind("http", &config.http, mode, otlp).await?,
            api: bind("api", &config.api, mode, api).await?,
        })
    }

    /// How OTLP/gRPC can be reached from here; `None` where that takes TLS.
    pub(super) fn grpc_endpoint(&self) -> Option<String> {
        let address = self.grpc.address();
        match (self.grpc.speaks_tls(), address.starts_with("unix:")) {
            (true, _) => None,
            (false, true) => Some(address),
            (false, false) => Some(format!("http://{address}")),
        }
    }
}

async fn bind(
    what: &'static str,
    address: &ListenAddress,
    mode: u32,
    tls: Option<ServerTls>,
) -> Result<Listener, StartError> {
    let bound = match address.socket() {
        Some(path) => Listener::unix(path, mode).await,
        None => Listener::tcp(&address.to_string()).await,
    };
    let wrong = |source| StartError::Listen { what, address: address.to_string(), source };
    let listener = bound.map_err(wrong)?.with_tls(tls);
    tracing::info!(what, address = listener.address(), tls = listener.speaks_tls(), "listening");
    Ok(listener)
}
