//! `tracewell trace import`.

use std::collections::BTreeSet;
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;
use url::Url;

use super::Exit;
use super::access::AccessArgs;
use super::client::Daemon;
use super::output::text;
use super::table_source::Progress;
use crate::query::parse_trace_id;
use crate::runtime::disk::{RealDisk, Sequential};
use crate::runtime::{Disk, OpenMode};
use crate::wire::TraceId;

const EXAMPLES: &str = "\
Examples:
  tracewell trace import incident.jsonl
      Send the traces of an export, and pin them: no rule drops them
  gunzip -c incident.jsonl.gz | tracewell trace import -
      From standard input
  tracewell trace import --no-pin incident.jsonl
      Let the rules decide, as over any spans

Each line is one OTLP/JSON document, as tracewell trace export and the Collector's file exporter write them. Spans that
are in the table already are there once to every reader.

Exit codes: 0 imported, 1 not all of it, 2 wrong usage or unreachable.";

/// A line longer than this is refused: the daemon would.
const LINE_BYTES_MAX: u64 = 64 << 20;
/// How often a line is sent when the daemon is busy.
const ATTEMPTS_MAX: u32 = 10;
/// A daemon is waited for no longer than this at a time, whatever it asks for.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long one line may take.
const LINE_TIME_MAX: Duration = Duration::from_secs(60);

/// Flags of `trace import`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TraceImportArgs {
    /// The file to read; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Where the spans are sent: the daemon's OTLP/HTTP listener
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:4318")]
    pub otlp: String,

    /// The daemon that pins them
    #[arg(long, env = "TRACEWELL_URL", value_name = "URL", default_value = "http://127.0.0.1:3200")]
    pub url: String,

    /// Do not pin the traces: the rules decide
    #[arg(long)]
    pub no_pin: bool,

    /// Who sends and pins.
    #[command(flatten)]
    pub access: Box<AccessArgs>,
}

/// What was imported.
#[derive(Default)]
struct Imported {
    lines: u64,
    spans: u64,
    rejected: u64,
    traces: BTreeSet<TraceId>,
}

/// Runs the command.
pub async fn run(args: &TraceImportArgs) -> anyhow::Result<Exit> {
    let daemon = Daemon::new(&args.url, &args.access)?;
    let sender = Sender::new(&args.otlp, &args.access)?;
    let mut lines = Lines::open(&args.file)?;
    let (mut imported, mut progress) = (Imported::default(), Progress::new());
    while let Some((number, line)) = lines.next()? {
        let outcome = import(&sender, line, &mut imported).await;
        outcome.with_context(|| {
            let done = text::count(imported.lines, "line", "lines");
            format!("{}, line {number} ({done} before it imported)", lines.name)
        })?;
        progress.line(format!("{} lines, {} spans", imported.lines, imported.spans));
    }
    drop(progress);
    let mut unpinned = 0;
    if !args.no_pin {
        for id in &imported.traces {
            unpinned += u64::from(daemon.pin(*id, None).await?.is_none());
        }
    }
    let (spans, traces) = (imported.spans - imported.rejected, imported.traces.len() as u64);
    eprintln!(
        "imported {} of {}",
        text::count(spans, "span", "spans"),
        text::count(traces, "trace", "traces")
    );
    if imported.rejected > 0 {
        eprintln!("{} rejected by the daemon", text::count(imported.rejected, "span was", "spans were"));
    }
    if unpinned > 0 {
        eprintln!(
            "{} not pinned: the daemon does not know them",
            text::count(unpinned, "trace is", "traces are")
        );
    }
    Ok(if spans > 0 && imported.rejected + unpinned == 0 { Exit::Done } else { Exit::Nothing })
}

async fn import(sender: &Sender, line: Vec<u8>, imported: &mut Imported) -> anyhow::Result<()> {
    let document: Value = serde_json::from_slice(&line).context("it is not JSON")?;
    let (spans, traces) = contents(&document)?;
    imported.rejected += sender.send(line).await?;
    imported.lines += 1;
    imported.spans += spans;
    imported.traces.extend(traces);
    Ok(())
}

/// How many spans a document has, and of which traces. What else is wrong with it the daemon says.
fn contents(document: &Value) -> anyhow::Result<(u64, Vec<TraceId>)> {
    let resources = document.get("resourceSpans").and_then(Value::as_array);
    let resources = resources.ok_or_else(|| {
        anyhow!("it has no list `resourceSpans`: it is not an OTLP/JSON document of traces")
    })?;
    let inside =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let scopes = resources.iter().flat_map(|resource| inside(resource, "scopeSpans"));
    let (mut spans, mut traces) = (0, BTreeSet::new());
    for span in scopes.flat_map(|scope| inside(&scope, "spans")) {
        spans += 1;
        let id = span.get("traceId").and_then(Value::as_str).and_then(|id| parse_trace_id(id).ok());
        traces.extend(id);
    }
    if spans == 0 {
        bail!("there is no span in it");
    }
    Ok((spans, traces.into_iter().collect()))
}

/// Sends documents over OTLP/HTTP.
struct Sender {
    endpoint: Url,
    http: reqwest::Client,
}

impl Sender {
    fn new(otlp: &str, access: &AccessArgs) -> anyhow::Result<Self> {
        let base = Url::parse(otlp)
            .with_context(|| format!("`{otlp}` is not a URL; write it like http://127.0.0.1:4318"))?;
        let mut endpoint = base.clone();
        endpoint.set_path(&format!("{}/v1/traces", base.path().trim_end_matches('/')));
        let mut http = reqwest::Client::builder().timeout(LINE_TIME_MAX);
        if super::client::is_loopback(&base) {
            http = http.no_proxy();
        }
        Ok(Self { endpoint, http: access.client(http)? })
    }

    /// Sends one document, again while the daemon is busy; gives how many of its spans were rejected.
    async fn send(&self, document: Vec<u8>) -> anyhow::Result<u64> {
        let document = bytes::Bytes::from(document);
        for _ in 0..ATTEMPTS_MAX {
            let request = self.http.post(self.endpoint.clone()).header(CONTENT_TYPE, "application/json");
            let response = request.body(document.clone()).send().await;
            let response = response.with_context(|| format!("cannot send to {}", self.endpoint))?;
            let status = response.status();
            let pause =
                response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            let body = response.bytes().await.context("the answer broke off")?;
            match status {
                StatusCode::OK => return Ok(rejected(&body)),
                StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                    let pause =
                        Duration::from_secs(pause.unwrap_or(1)).clamp(Duration::from_millis(200), PAUSE_MAX);
                    tokio::time::sleep(pause).await;
                }
                _ => {
                    let said = String::from_utf8_lossy(&body[..body.len().min(2_000)]);
                    bail!("{} answers {status}: {}", self.endpoint, text::clean(said.trim()));
                }
            }
        }
        bail!("{} was busy {ATTEMPTS_MAX} times; import the rest later", self.endpoint)
    }
}

/// `partialSuccess.rejectedSpans` of an answer: a 64-bit integer, so text in JSON.
fn rejected(body: &[u8]) -> u64 {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    let rejected = &answer["partialSuccess"]["rejectedSpans"];
    rejected.as_u64().or_else(|| rejected.as_str()?.parse().ok()).unwrap_or(0)
}

/// The lines of the file that are not empty.
struct Lines {
    name: String,
    input: Box<dyn BufRead>,
    number: u64,
}

impl Lines {
    fn open(path: &std::path::Path) -> anyhow::Result<Self> {
        let (name, input): (_, Box<dyn BufRead>) = if path.as_os_str() == "-" {
            ("standard input".to_owned(), Box::new(BufReader::new(io::stdin())))
        } else {
            let file = RealDisk.open(path, OpenMode::Read);
            let file = file.with_context(|| format!("cannot read {}", path.display()))?;
            (path.display().to_string(), Box::new(BufReader::new(Sequential::new(file))))
        };
        Ok(Self { name, input, number: 0 })
    }

    fn next(&mut self) -> anyhow::Result<Option<(u64, Vec<u8>)>> {
        loop {
            let mut line = Vec::new();
            let read = self.input.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
            self.number += 1;
            if read.with_context(|| format!("cannot read {}", self.name))? == 0 {
                return Ok(None);
            }
            if line.len() as u64 > LINE_BYTES_MAX {
                bail!("{}, line {}: it is longer than {} MiB", self.name, self.number, LINE_BYTES_MAX >> 20);
            }
            if !line.trim_ascii().is_empty() {
                return Ok(Some((self.number, line)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
