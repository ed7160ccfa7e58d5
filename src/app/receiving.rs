//! The receivers, as the configuration wants them.

use std::sync::Arc;

use super::StartError;
use super::trust::Trust;
use crate::config::{Config, RateSection};
use crate::receive::{Ingest, OriginPattern, Protocol, Rate, Rates, ReceiveConfig, Receiver};
use crate::runtime::net::Listener;
use crate::runtime::{Clock, Shutdown, TaskHandle, Tasks};

/// Serves OTLP on both listeners until `receiving` stops.
pub(super) fn serve<I: Ingest>(
    tasks: &Tasks,
    receiver: Receiver<I>,
    (grpc, http): (Listener, Listener),
    receiving: &Shutdown,
) -> Vec<TaskHandle<()>> {
    vec![
        tasks.spawn("otlp-grpc", receiver.clone().serve(Protocol::Grpc, grpc, receiving.token())),
        tasks.spawn("otlp-http", receiver.serve(Protocol::Http, http, receiving.token())),
    ]
}

pub(super) fn receiver<I: Ingest>(
    config: &Config,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    pipeline: I,
    trust: &Trust,
) -> Result<Receiver<I>, StartError> {
    let section = &config.receive;
    let peers = &section.peers;
    let origin = |text: &String| {
        OriginPattern::parse(text).map_err(|e| StartError::Setting(format!("`receive.cors.origins`: {e}")))
    };
    let receive = ReceiveConfig {
        request_bytes_max: section.limit as usize,
        in_flight_bytes_max: section.budget as usize,
        connections_max: section.connections,
        header_timeout: section.header_timeout,
        body_timeout: section.body_timeout,
        streams_max: peers.streams,
        header_bytes_max: peers.header_bytes,
        keepalive_interval: peers.keepalive_interval,
        keepalive_timeout: peers.keepalive_timeout,
        open_to_others: [&config.grpc, &config.http].iter().any(|address| !address.is_loopback()),
        cors_origins: peers.cors_origins.iter().map(origin).collect::<Result<_, _>>()?,
        rates: rates(config),
        ..ReceiveConfig::default()
    };
    Receiver::guarded(receive, Arc::new(pipeline), clock.clone(), tasks.runtime(), trust.gate.clone())
        .map_err(|e| StartError::Setting(e.to_string()))
}

fn rates(config: &Config) -> Rates {
    let rate = |section: &RateSection| Rate {
        spans_per_second: section.spans_per_second,
        bytes_per_second: section.bytes_per_second,
        burst: section.burst,
    };
    let tenants = config.limits.tenants.iter();
    Rates {
        default: rate(&config.limits.default),
        tenants: tenants.map(|(tenant, section)| (tenant.clone(), rate(section))).collect(),
    }
}
