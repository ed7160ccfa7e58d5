//! The healthy instances of a Consul service: `/v1/health/service/NAME?passing` as a blocking query
//! (<https://developer.hashicorp.com/consul/api-docs/features/blocking>): it is answered when something changes.

use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::forward::ring::{Member, Ring};

/// How long Consul may wait for a change before it answers all the same.
const WAIT: Duration = Duration::from_secs(55);
/// Consul adds up to a sixteenth to the wait; the rest is for the network.
const ANSWER_MAX: Duration = Duration::from_secs(65);
/// Instances of a service: each is some kilobytes of JSON.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// A service in Consul.
pub struct Consul {
    url: Url,
    token: Option<String>,
    client: Option<reqwest::Client>,
    /// What the last answer was as of; 0 before the first.
    index: u64,
}

/// One instance, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Instance {
    node: Node,
    service: Service,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Node {
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Service {
    /// Empty where it is that of the node.
    #[serde(default)]
    address: String,
    port: u16,
}

impl Consul {
    /// The service of this name at the Consul agent of this address. `token` is an ACL token.
    pub fn new(mut base: Url, service: &str, token: Option<String>) -> Self {
        if let Ok(mut path) = base.path_segments_mut() {
            path.clear().extend(["v1", "health", "service", service]);
        }
        base.set_query(Some("passing"));
        Self { url: base, token, client: None, index: 0 }
    }

    /// The members; after the first time, when they have changed, or nearly a minute later.
    pub(super) async fn look(&mut self) -> Result<Ring, String> {
        let looked = self.try_look().await;
        if looked.is_err() {
            // Whatever Consul counts by may have begun anew.
            self.index = 0;
        }
        looked.map_err(|error| format!("Consul at {}: {error}", self.url.authority()))
    }

    async fn try_look(&mut self) -> Result<Ring, String> {
        let mut url = self.url.clone();
        if self.index > 0 {
            let (index, wait) = (self.index.to_string(), format!("{}s", WAIT.as_secs()));
            url.query_pairs_mut().append_pair("index", &index).append_pair("wait", &wait);
        }
        let client = match &self.client {
            Some(client) => client.clone(),
            None => {
                let client = reqwest::Client::builder().timeout(ANSWER_MAX).build();
                self.client.insert(client.map_err(|error| error.to_string())?).clone()
            }
        };
        let mut request = client.get(url);
        if let Some(token) = &self.token {
            request = request.header("x-consul-token", token);
        }
        let mut response = request.send().await.map_err(|error| error.without_url().to_string())?;
        if !response.status().is_success() {
            return Err(format!("HTTP status {}", response.status()));
        }
        let index = response.headers().get("x-consul-index").and_then(|index| index.to_str().ok());
        let index = index.and_then(|index| index.parse::<u64>().ok()).unwrap_or(0);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| error.without_url().to_string())? {
            if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err("the answer is too long".into());
            }
            body.extend_from_slice(&chunk);
        }
        let instances: Vec<Instance> =
            serde_json::from_slice(&body).map_err(|error| format!("not understood: {error}"))?;
        // One that goes backwards has begun anew.
        self.index = if index < self.index { 0 } else { index };
        Ok(Ring::new(instances.iter().map(member)))
    }
}

fn member(instance: &Instance) -> Member {
    let Instance { node, service } = instance;
    let host = if service.address.is_empty() { &node.address } else { &service.address };
    let is_v6 = host.contains(':') && !host.starts_with('[');
    let host = if is_v6 { format!("[{host}]") } else { host.clone() };
    Member::new(&format!("{host}:{}", service.port))
}
