//! Asking the API server: a list of all pods, page by page, then a watch of what changes from there on. A watch that
//! ends goes on where it was; where the server has forgotten that place (410 Gone), all is listed again.
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use reqwest::{Certificate, Client, Response, StatusCode};
use serde::Deserialize;

use super::object::Object;
use super::{Pods, PodsConfig};
use crate::runtime::disk::{read_bounded, read_text};
use crate::runtime::{Disk, Random};

const PAGE_PODS: u32 = 200;
/// A page of pods, and an event, are not larger than this, in bytes.
const PAGE_BYTES_MAX: usize = 32 << 20;
const EVENT_BYTES_MAX: usize = 4 << 20;
const FILE_BYTES_MAX: u64 = 1 << 20;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const LIST_TIME_MAX: Duration = Duration::from_secs(60);
/// The server ends a watch after so long,
const WATCH_SECONDS: u64 = 240;
/// and where it does not, the connection is dead.
const SILENCE_MAX: Duration = Duration::from_secs(WATCH_SECONDS + 30);
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Where the API server is, and who asks it.
pub struct PodApi {
    http: Client,
    base: String,
    token_file: PathBuf,
    disk: Arc<dyn Disk>,
}

impl PodApi {
    /// The API server as configured; where it is not, that of the cluster this process is in. The error is a sentence for
    /// the person who configured it.
    pub fn new(
        config: &PodsConfig,
        env: &dyn Fn(&str) -> Option<String>,
        disk: Arc<dyn Disk>,
    ) -> Result<Self, String> {
        let base = match &config.api {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => in_cluster(env)?,
        };
        let mut http = Client::builder().no_proxy().connect_timeout(CONNECT_TIME_MAX);
        http = http.tcp_keepalive(Duration::from_secs(30)).redirect(reqwest::redirect::Policy::none());
        let certificates = match base.starts_with("https://") {
            true => certificates(config, disk.as_ref())?,
            false => Vec::new(),
        };
        let http = http.tls_certs_only(certificates).build().map_err(|error| error.to_string())?;
        Ok(Self { http, base, token_file: config.token_file.clone(), disk })
    }

    /// Asks for one pod, to see whether the API server answers. The error says in words why not.
    pub async fn reach(&self, config: &PodsConfig) -> Result<(), String> {
        let asked = tokio::time::timeout(CONNECT_TIME_MAX, self.get(config, &[("limit", "1")])).await;
        match asked {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(Problem::Failed(why))) => Err(why),
            Ok(Err(Problem::Gone)) => Err("the API server answers 410".into()),
            Err(_) => Err("the API server does not answer in time".into()),
        }
    }

    /// The URL of pods with this query, and the node's filter.
    fn url(&self, config: &PodsConfig, query: &[(&str, &str)]) -> String {
        let mut encoded = url::form_urlencoded::Serializer::new(String::new());
        encoded.extend_pairs(query);
        if let Some(node) = &config.node {
            encoded.append_pair("fieldSelector", &format!("spec.nodeName={node}"));
        }
        format!("{}/api/v1/pods?{}", self.base, encoded.finish())
    }

    async fn get(&self, config: &PodsConfig, query: &[(&str, &str)]) -> Result<Response, Problem> {
        let mut request = self.http.get(self.url(config, query)).header("accept", "application/json");
        // Without an account the server may still answer, if it lets anybody ask.
        if let Ok(token) = read_text(self.disk.as_ref(), &self.token_file, FILE_BYTES_MAX) {
            request = request.bearer_auth(token.trim());
        }
        let response = request.send().await.map_err(explain)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::GONE => Err(Problem::Gone),
            StatusCode::UNAUTHORIZED => {
                Err(Problem::Failed("the API server does not take the token (401)".into()))
            }
            StatusCode::FORBIDDEN => {
                Err(Problem::Failed("the service account may not list and watch pods (403)".into()))
            }
            status => Err(Problem::Failed(format!("the API server answers {status}"))),
        }
    }
}

fn in_cluster(env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let host = env("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty());
    let host =
        host.ok_or("this is no pod (KUBERNETES_SERVICE_HOST is not set): name the API server in `api`")?;
    let port = env("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".into());
    Ok(match host.parse() {
        Ok(IpAddr::V6(host)) => format!("https://[{host}]:{port}"),
        _ => format!("https://{host}:{port}"),
    })
}

fn certificates(config: &PodsConfig, disk: &dyn Disk) -> Result<Vec<Certificate>, String> {
    let path = config.ca_file.display();
    let pem =
        read_bounded(disk, &config.ca_file, FILE_BYTES_MAX).map_err(|error| format!("{path}: {error}"))?;
    let certificates =
        Certificate::from_pem_bundle(&pem).map_err(|_| format!("{path} holds no certificates"))?;
    if certificates.is_empty() { Err(format!("{path} holds no certificates")) } else { Ok(certificates) }
}

/// Why a list or a watch came to nothing.
#[derive(Debug)]
enum Problem {
    /// The server does not know that version any more.
    Gone,
    /// Anything else, in words.
    Failed(String),
}

fn explain(error: reqwest::Error) -> Problem {
    let kind = match &error {
        error if error.is_timeout() => "does not answer in time",
        error if error.is_connect() => "cannot be reached",
        _ => "breaks off",
    };
    // What lies beneath names neither the URL nor the token.
    let source = std::error::Error::source(&error).map(|source| format!(": {source}"));
    Problem::Failed(format!("the API server {kind}{}", source.unwrap_or_default()))
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    // Of a server that writes null for none.
    items: Option<Vec<Object>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct PageMetadata {
    resource_version: String,
    r#continue: String,
}

/// An event's kind; its object depends on it.
#[derive(Deserialize)]
struct EventKind {
    r#type: String,
}

#[derive(Deserialize)]
struct PodEvent {
    object: Object,
}

#[derive(Deserialize)]
struct ErrorEvent {
    object: ErrorObject,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorObject {
    code: u16,
}

/// Keeps the pods known up to date, for as long as it runs.
pub struct PodWatch {
    /// What is kept up to date.
    pub pods: Pods,
    /// Who is asked.
    pub api: PodApi,
    /// For what.
    pub config: PodsConfig,
    /// So that not all daemons come back at once.
    pub random: Arc<dyn Random>,
}

impl PodWatch {
    /// Lists and watches until `stop`.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        tokio::select! {
            () = stop => {}
            () = self.keep_up() => {}
        }
    }

    async fn keep_up(&self) {
        let mut version = None;
        let mut wait = WAIT_MIN;
        loop {
            let step = match version.take() {
                None => self.list().await.map(|listed| (listed, true)),
                Some(from) => self.watch(from).await,
            };
            match step {
                Ok((next, progressed)) => {
                    version = Some(next);
                    wait = WAIT_MIN;
                    self.well();
                    if progressed {
                        continue;
                    }
                }
                Err((Problem::Gone, _)) => {
                    tracing::debug!(
                        "the API server has forgotten where the watch of pods was; listing them again"
                    );
                }
                Err((Problem::Failed(why), known)) => {
                    self.failed(&why);
                    version = known;
                }
            }
            tokio::time::sleep(self.random.jittered(wait)).await;
            wait = (wait * 2).min(WAIT_MAX);
        }
    }

    /// All pods; the version to watch from.
    async fn list(&self) -> Result<String, (Problem, Option<String>)> {
        self.pods.0.cache.write().begin_list();
        let mut token = String::new();
        loop {
            let limit = PAGE_PODS.to_string();
            let query = [("limit", limit.as_str()), ("continue", token.as_str())];
            let query = if token.is_empty() { &query[..1] } else { &query[..] };
            let page = tokio::time::timeout(LIST_TIME_MAX, self.page(query)).await;
            let late = || Problem::Failed("the API server does not finish its list in time".into());
            let page = page.unwrap_or_else(|_| Err(late())).map_err(|problem| (problem, None))?;
            let mut cache = self.pods.0.cache.write();
            let pods = page.items.into_iter().flatten().filter_map(|object| object.pod(&self.config));
            pods.for_each(|pod| cache.put(pod));
            if page.metadata.r#continue.is_empty() {
                cache.end_list();
                let (pods, refused) = (cache.len(), cache.refused());
                tracing::info!(pods, refused, "listed the cluster's pods");
                self.pods.0.lists.fetch_add(1, Ordering::Relaxed);
                return Ok(page.metadata.resource_version);
            }
            token = page.metadata.r#continue;
        }
    }

    async fn page(&self, query: &[(&str, &str)]) -> Result<Page, Problem> {
        let mut response = self.api.get(&self.config, query).await?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(explain)? {
            if body.len() + chunk.len() > PAGE_BYTES_MAX {
                return Err(Problem::Failed(format!("a page of pods is larger than {PAGE_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        serde_json::from_slice(&body)
            .map_err(|_| Problem::Failed("the API server's list is no list of pods".into()))
    }

    /// What changes from this version on, until the server ends it; the version to go on from, and whether anything came.
    /// A failure gives the version back to try again from.
    async fn watch(&self, from: String) -> Result<(String, bool), (Problem, Option<String>)> {
        let seconds = WATCH_SECONDS.to_string();
        let query = [
            ("watch", "1"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", from.as_str()),
            ("timeoutSeconds", seconds.as_str()),
        ];
        let response = tokio::time::timeout(LIST_TIME_MAX, self.api.get(&self.config, &query)).await;
        let late = || Problem::Failed("the API server does not begin to answer in time".into());
        let opened = response.unwrap_or_else(|_| Err(late()));
        let mut response = opened.map_err(|problem| (problem, Some(from.clone())))?;
        self.pods.0.watches.fetch_add(1, Ordering::Relaxed);
        self.well();
        let mut version = from;
        let mut buffer = Vec::new();
        let mut progressed = false;
        loop {
            let chunk = match tokio::time::timeout(SILENCE_MAX, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok((version, progressed)),
                // A connection that breaks loses nothing: it goes on from the last version.
                Ok(Err(_)) | Err(_) => return Ok((version, progressed)),
            };
            buffer.extend_from_slice(&chunk);
            let mut done = 0;
            while let Some(length) = memchr::memchr(b'\n', &buffer[done..]) {
                let line = &buffer[done..done + length];
                match self.event(line) {
                    Ok(Some(newer)) => version = newer,
                    Ok(None) => {}
                    Err(problem) => return Err((problem, None)),
                }
                progressed = true;
                done += length + 1;
            }
            buffer.drain(..done);
            if buffer.len() > EVENT_BYTES_MAX {
                let why = format!("an event is larger than {EVENT_BYTES_MAX} bytes");
                return Err((Problem::Failed(why), None));
            }
        }
    }

    /// Takes one event; the version it brings.
    fn event(&self, line: &[u8]) -> Result<Option<String>, Problem> {
        if line.trim_ascii().is_empty() {
            return Ok(None);
        }
        let broken = |_| Problem::Failed("the API server's watch sends what is no event".into());
        let kind: EventKind = serde_json::from_slice(line).map_err(broken)?;
        if kind.r#type == "ERROR" {
            let error: ErrorEvent = serde_json::from_slice(line).map_err(broken)?;
            return Err(match error.object.code {
                410 => Problem::Gone,
                code => Problem::Failed(format!("the API server ends the watch with code {code}")),
            });
        }
        let event: PodEvent = serde_json::from_slice(line).map_err(broken)?;
        let version = event.object.metadata.resource_version.clone();
        match kind.r#type.as_str() {
            "ADDED" | "MODIFIED" => {
                if let Some(pod) = event.object.pod(&self.config) {
                    self.pods.0.cache.write().put(pod);
                }
            }
            "DELETED" => {
                if let Some(pod) = event.object.pod(&self.config) {
                    self.pods.0.cache.write().remove(&pod.uid);
                }
            }
            // BOOKMARK brings the version only; others may come one day.
            _ => {}
        }
        Ok(Some(version).filter(|version| !version.is_empty()))
    }

    fn well(&self) {
        if self.pods.0.last_error.lock().take().is_some() {
            tracing::info!("the API server tells of pods again");
        }
    }

    fn failed(&self, why: &str) {
        self.pods.0.failures.fetch_add(1, Ordering::Relaxed);
        let before = self.pods.0.last_error.lock().replace(why.to_owned());
        if before.as_deref() != Some(why) {
            tracing::warn!(reason = why, "nothing new is known of pods; trying again");
        }
    }
}
