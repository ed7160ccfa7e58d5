//! Who is let in, and who is not: TLS, credentials, tenants, listeners.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

#[path = "../support/mod.rs"]
mod support;

mod browsers;
mod credentials;
mod demo;
mod rates;
mod revocation;
mod secrets;
mod start;
mod tls;
mod web_tokens;

use std::path::Path;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_client::TraceServiceClient;
use prost::Message;
use serde_json::Value;
use support::certs::Ca;
use support::traffic::{self, Client, Shape};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

/// How long a changed file may take to come into force, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(20);

fn https(url: &str) -> String {
    url.replace("http://", "https://")
}

/// An OTLP/gRPC client that trusts a CA and shows a certificate.
async fn grpc(
    url: &str,
    ca: &str,
    pair: Option<&(String, String)>,
) -> Result<Client, tonic::transport::Error> {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(ca)).domain_name("localhost");
    if let Some((cert, key)) = pair {
        tls = tls.identity(Identity::from_pem(cert, key));
    }
    let channel = Channel::from_shared(https(url)).unwrap().tls_config(tls).unwrap().connect().await?;
    Ok(TraceServiceClient::new(channel))
}

/// An HTTP client that trusts a CA and shows a certificate, a new connection for each request.
fn http(ca: &str, pair: Option<&(String, String)>) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .pool_max_idle_per_host(0)
        .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()]);
    if let Some((cert, key)) = pair {
        builder = builder.identity(reqwest::Identity::from_pem(format!("{cert}{key}").as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

/// Sends one trace over OTLP/HTTP and gives the answer's status.
async fn post(
    client: &reqwest::Client,
    url: &str,
    number: u64,
    headers: &[(&str, &str)],
) -> reqwest::Response {
    let body = traffic::request(traffic::trace(number, Shape::Plain, 2), "shop").encode_to_vec();
    let mut request =
        client.post(format!("{url}/v1/traces")).header("content-type", "application/x-protobuf");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).send().await.unwrap()
}

async fn ask(client: &reqwest::Client, url: &str, token: &str) -> (u16, String) {
    let response = client.get(url).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Asks until the answer is as wanted.
async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < SOON, "not within {SOON:?}: {what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
}
