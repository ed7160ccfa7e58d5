//! `tracewell trace export`.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;

use super::Exit;
use super::client::{FindQuestion, Source, SourceArgs, trace_id};
use super::output::text;
use crate::query::{Document, Spelling, parse_duration};
use crate::runtime::disk::{RealDisk, Sequential};
use crate::runtime::{Clock, Disk, OpenMode, SystemClock};
use crate::traceql;

const EXAMPLES: &str = "\
Examples:
  tracewell trace export 4bf92f3577b34da6a3ce929d0e0e4736 -o incident.jsonl
      One trace into a file
  tracewell trace export --query '{ span.user.id = \"42\" }' --last 24h -o user-42.jsonl
      Everything the search finds
  tracewell trace export --store s3://traces/prod 4bf92f3577b34da6a3ce929d0e0e4736 | gzip > incident.jsonl.gz
      From the table, without a daemon

One line a trace, each an OTLP/JSON document of its own: tracewell trace import reads it, and so does the Collector's
otlpjsonfile receiver.

Exit codes: 0 exported, 1 nothing found (or not all of it), 2 wrong usage or unreachable.";

/// Flags of `trace export`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TraceExportArgs {
    /// The traces' ids: up to 32 hexadecimal digits of either case
    #[arg(value_name = "ID", required_unless_present = "query")]
    pub ids: Vec<String>,

    /// Export what this TraceQL query finds, the newest first
    #[arg(long, short, value_name = "TRACEQL")]
    pub query: Option<String>,

    /// With --query: only traces of the last so long, like 30m, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, requires = "query")]
    pub last: Option<Duration>,

    /// With --query: at most so many traces
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100, requires = "query")]
    pub limit: usize,

    /// Write into this file, which must not exist yet; standard output without it
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Where to ask.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Runs the command.
pub async fn run(args: &TraceExportArgs) -> anyhow::Result<Exit> {
    let source = Source::open(&args.source)?;
    let mut ids = args.ids.iter().map(|id| trace_id(id)).collect::<Result<Vec<_>, _>>()?;
    let mut is_complete = true;
    if let Some(question) = args.question(&SystemClock::new())? {
        let found = source.find(&question).await?;
        is_complete = found.complete;
        ids.extend(
            found.traces.iter().map(|trace| trace_id(&trace.trace_id)).collect::<Result<Vec<_>, _>>()?,
        );
    }
    if !is_complete {
        eprintln!(
            "note: time or memory ran out before all was seen; a shorter --last or a narrower query sees it"
        );
    }
    let mut out = Destination::open(args.output.as_deref())?;
    let mut exported = 0;
    for id in &ids {
        let Some((trace, _)) = source.trace(*id).await? else {
            eprintln!("no trace {id} found");
            continue;
        };
        let document = Document {
            facts: None,
            field: "resourceSpans",
            resource_spans: &trace.resource_spans,
            spelling: Spelling::Otlp,
        };
        out.line(&serde_json::to_string(&document)?)?;
        exported += 1;
    }
    out.finish(exported)?;
    let all = exported > 0 && exported == ids.len() && is_complete;
    Ok(if all { Exit::Done } else { Exit::Nothing })
}

impl TraceExportArgs {
    fn question(&self, clock: &dyn Clock) -> anyhow::Result<Option<FindQuestion>> {
        let Some(query) = &self.query else { return Ok(None) };
        traceql::parse(query).map_err(|error| anyhow!("invalid TraceQL query: {error}"))?;
        if self.limit == 0 {
            bail!("--limit is a number greater than zero");
        }
        let range = self.last.map(|last| FindQuestion::last(last, clock));
        Ok(Some(FindQuestion { query: query.clone(), range, limit: self.limit }))
    }
}

/// Where the lines go. A file has its name only when it is whole.
struct Destination {
    out: BufWriter<Box<dyn Write>>,
    file: Option<(PathBuf, PathBuf)>,
}

impl Destination {
    fn open(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else {
            return Ok(Self { out: BufWriter::new(Box::new(io::stdout().lock())), file: None });
        };
        if path.exists() {
            bail!("{} exists already; name another file with -o", path.display());
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        // Left behind by an export that was cut off.
        let _ = RealDisk.remove(&partial);
        let file = RealDisk.open(&partial, OpenMode::CreateNew);
        let file = file.with_context(|| format!("cannot write {}", partial.display()))?;
        let out = BufWriter::new(Box::new(Sequential::new(file)) as Box<dyn Write>);
        Ok(Self { out, file: Some((partial, path.to_owned())) })
    }

    fn line(&mut self, line: &str) -> anyhow::Result<()> {
        self.out
            .write_all(line.as_bytes())
            .and_then(|()| self.out.write_all(b"\n"))
            .context("cannot write the export")
    }

    fn finish(mut self, traces: usize) -> anyhow::Result<()> {
        self.out.flush().context("cannot write the export")?;
        let Some((partial, path)) = self.file else { return Ok(()) };
        if traces == 0 {
            return RealDisk.remove(&partial).context("cannot take the empty export away");
        }
        RealDisk
            .rename(&partial, &path)
            .with_context(|| format!("cannot name the export {}", path.display()))?;
        eprintln!("exported {} to {}", text::count(traces as u64, "trace", "traces"), path.display());
        Ok(())
    }
}
