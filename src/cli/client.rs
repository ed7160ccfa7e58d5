//! Where a command asks: a daemon over HTTP, or a store without one.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use http::StatusCode;
use http::header::ACCEPT;
use opentelemetry_proto::tonic::trace::v1::TracesData;
use prost::Message;
use url::Url;

use super::access::AccessArgs;
use crate::query::{
    Engine, EngineConfig, FACTS_HEADER, FIND_MEDIA_TYPE, FindDocument, PinDocument, SearchRequest,
    TraceFacts, WhyDocument, parse_trace_id,
};
use crate::runtime::{Clock, SystemClock, Tenant};
use crate::store::{Location, Reader, ReaderConfig};
use crate::traceql;
use crate::wire::TraceId;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// An answer larger than this is refused rather than held in memory.
const ANSWER_BYTES_MAX: usize = 512 << 20;

/// Flags of the commands that ask.
#[derive(Clone, Debug, Args)]
pub struct SourceArgs {
    /// The daemon to ask
    #[arg(long, env = "TRACEWELL_URL", value_name = "URL", default_value = "http://127.0.0.1:3200")]
    pub url: String,

    /// Read the table of this store instead, without a daemon: a folder, file:///…, s3://bucket/prefix, gs://…, az://…
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// Who asks.
    #[command(flatten)]
    pub access: Box<AccessArgs>,
}

/// A search as a command asks it.
#[derive(Clone, Debug)]
pub struct FindQuestion {
    /// TraceQL.
    pub query: String,
    /// Unix seconds; both or none.
    pub range: Option<(u64, u64)>,
    /// At most so many traces.
    pub limit: usize,
}

/// Something that answers.
pub enum Source {
    /// A daemon.
    Daemon(Daemon),
    /// A store.
    Store(Engine, Tenant),
}

impl Source {
    /// The source that the flags name. Nothing is asked yet.
    pub fn open(args: &SourceArgs) -> anyhow::Result<Self> {
        let Some(store) = &args.store else { return Ok(Self::Daemon(Daemon::new(&args.url, &args.access)?)) };
        let location = Location::parse(store).with_context(|| format!("cannot use --store {store}"))?;
        let clock = Arc::new(SystemClock::new());
        let reader = Reader::new(location, clock.clone(), ReaderConfig::default());
        let engine = Engine::new(reader, None, clock, EngineConfig::default());
        Ok(Self::Store(engine, args.access.tenant()))
    }

    /// The newest traces that match.
    pub async fn find(&self, question: &FindQuestion) -> anyhow::Result<FindDocument> {
        match self {
            Self::Daemon(daemon) => daemon.find(question).await,
            Self::Store(engine, tenant) => {
                let response = engine.search(tenant, question.to_request()?).await?;
                Ok(FindDocument::from(&response))
            }
        }
    }

    /// All spans of a trace, and what is known beside them; `None` when there is none.
    pub async fn trace(&self, id: TraceId) -> anyhow::Result<Option<(TracesData, Option<TraceFacts>)>> {
        match self {
            Self::Daemon(daemon) => daemon.trace(id).await,
            Self::Store(engine, tenant) => {
                let found = engine.trace(tenant, id).await?;
                Ok(found.map(|found| {
                    let facts = found.facts.clone();
                    (found.into_otlp(), Some(facts))
                }))
            }
        }
    }
}

/// How far ahead of ours a sender's clock may be and its traces still count as just now, in seconds.
const CLOCKS_APART_SECONDS: u64 = 3_600;

impl FindQuestion {
    /// The range of the last so long, in Unix seconds.
    pub fn last(last: Duration, clock: &dyn Clock) -> (u64, u64) {
        let now = clock.now_unix_nano() / 1_000_000_000;
        (now.saturating_sub(last.as_secs()).max(1), now + CLOCKS_APART_SECONDS)
    }

    fn to_request(&self) -> anyhow::Result<SearchRequest> {
        const NANOS: u64 = 1_000_000_000;
        let query = traceql::parse(&self.query).map_err(|error| anyhow!("invalid TraceQL query: {error}"))?;
        let mut request = SearchRequest::new(query);
        if let Some((start, end)) = self.range {
            request.start_unix_nano = start.saturating_mul(NANOS);
            request.end_unix_nano = end.saturating_mul(NANOS);
        }
        request.limit = self.limit;
        request.time_max = ANSWER_TIME_MAX;
        Ok(request)
    }
}

/// What a daemon said.
struct Answer {
    status: StatusCode,
    facts: Option<TraceFacts>,
    body: Vec<u8>,
}

/// A daemon, over HTTP.
pub struct Daemon {
    base: Url,
    http: reqwest::Client,
}

impl Daemon {
    /// The daemon at a URL. Nothing is asked yet.
    pub fn new(url: &str, access: &AccessArgs) -> anyhow::Result<Self> {
        let example = "write it like http://127.0.0.1:3200";
        let base = Url::parse(url).with_context(|| format!("`{url}` is not a URL; {example}"))?;
        if !matches!(base.scheme(), "http" | "https") || base.host().is_none() {
            bail!("`{url}` is not the URL of a daemon; {example}");
        }
        let mut http = reqwest::Client::builder().connect_timeout(CONNECT_TIME_MAX).timeout(ANSWER_TIME_MAX);
        if is_loopback(&base) {
            // What listens here is never behind a proxy.
            http = http.no_proxy();
        }
        Ok(Self { base, http: access.client(http)? })
    }

    async fn find(&self, question: &FindQuestion) -> anyhow::Result<FindDocument> {
        let mut url = self.endpoint("api/search");
        url.query_pairs_mut()
            .append_pair("q", &question.query)
            .append_pair("limit", &question.limit.to_string());
        if let Some((start, end)) = question.range {
            url.query_pairs_mut()
                .append_pair("start", &start.to_string())
                .append_pair("end", &end.to_string());
        }
        let Answer { status, body, .. } = self.get(url, FIND_MEDIA_TYPE).await?;
        if status != StatusCode::OK {
            return Err(self.refusal(status, &body));
        }
        self.document(&body)
    }

    async fn trace(&self, id: TraceId) -> anyhow::Result<Option<(TracesData, Option<TraceFacts>)>> {
        let url = self.endpoint(&format!("api/traces/{id}"));
        let Answer { status, facts, body } = self.get(url, "application/protobuf").await?;
        match status {
            StatusCode::OK => {
                let trace = TracesData::decode(&body[..]);
                let trace = trace.with_context(|| format!("{} answers, but not with a trace", self.base))?;
                Ok(Some((trace, facts)))
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(status, &body)),
        }
    }

    /// What was decided about a trace, and why; `None` when nothing is known of it.
    pub async fn why(&self, id: TraceId) -> anyhow::Result<Option<WhyDocument>> {
        let url = self.endpoint(&format!("api/traces/{id}/why"));
        let Answer { status, body, .. } = self.get(url, "application/json").await?;
        match status {
            StatusCode::OK => Ok(Some(self.document(&body)?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(status, &body)),
        }
    }

    /// Pins a trace, if given for at least so long, as people write it; `None` when nobody has it.
    pub async fn pin(&self, id: TraceId, keep_for: Option<&str>) -> anyhow::Result<Option<PinDocument>> {
        let mut url = self.endpoint(&format!("api/traces/{id}/pin"));
        if let Some(keep_for) = keep_for {
            url.query_pairs_mut().append_pair("for", keep_for);
        }
        let Answer { status, body, .. } = self.ask(self.http.post(url)).await?;
        match status {
            StatusCode::OK => Ok(Some(self.document(&body)?)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(status, &body)),
        }
    }

    fn document<T: serde::de::DeserializeOwned>(&self, body: &[u8]) -> anyhow::Result<T> {
        serde_json::from_slice(body)
            .with_context(|| format!("{} answers, but not as tracewell does", self.base))
    }

    fn endpoint(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/{path}", self.base.path().trim_end_matches('/')));
        url.set_query(None);
        url
    }

    async fn get(&self, url: Url, accept: &str) -> anyhow::Result<Answer> {
        self.ask(self.http.get(url).header(ACCEPT, accept)).await
    }

    async fn ask(&self, request: reqwest::RequestBuilder) -> anyhow::Result<Answer> {
        let mut response = request.send().await.map_err(|e| self.unreachable(&e))?;
        let status = response.status();
        let facts = response.headers().get(FACTS_HEADER).and_then(|value| value.to_str().ok());
        let facts = facts.and_then(TraceFacts::from_header);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| self.unreachable(&e))? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                bail!("the answer of {} is larger than {} MiB", self.base, ANSWER_BYTES_MAX >> 20);
            }
        }
        Ok(Answer { status, facts, body })
    }

    fn unreachable(&self, error: &reqwest::Error) -> anyhow::Error {
        let base = self.base.as_str().trim_end_matches('/');
        if error.is_connect() {
            let hint = "is tracewell running? Start it with `tracewell run`, or name another with --url";
            anyhow!("cannot reach {base}: {}; {hint}", innermost(error))
        } else if error.is_timeout() {
            anyhow!("{base} did not answer within {} s", ANSWER_TIME_MAX.as_secs())
        } else {
            anyhow!("cannot read the answer of {base}: {}", innermost(error))
        }
    }

    fn refusal(&self, status: StatusCode, body: &[u8]) -> anyhow::Error {
        let text = String::from_utf8_lossy(&body[..body.len().min(2_000)]);
        let text = super::output::text::clean(text.trim());
        match status {
            StatusCode::BAD_REQUEST | StatusCode::CONFLICT => anyhow!("{text}"),
            StatusCode::UNAUTHORIZED => {
                anyhow!(
                    "{} does not let us in: {text}; show a token with --token-file or TRACEWELL_TOKEN",
                    self.base
                )
            }
            _ => anyhow!("{} answers {status}: {text}", self.base.as_str().trim_end_matches('/')),
        }
    }
}

/// The trace id that somebody wrote.
pub fn trace_id(text: &str) -> anyhow::Result<TraceId> {
    parse_trace_id(text)
        .map_err(|error| anyhow!("`{}` is not a trace id: {error}", super::output::text::clean(text)))
}

/// Whether a URL names this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// The cause at the bottom says most: `Connection refused`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
