//! `tracewell trace find`.

use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::Args;

use super::client::{FindQuestion, Source, SourceArgs};
use super::output::table::{Align, Cell, render};
use super::output::{Canvas, DIM, ERROR, print, text, units};
use super::{Exit, output};
use crate::query::{Filter, FindDocument, FoundLine, ROOT_MISSING, parse_duration};
use crate::runtime::{Clock, SystemClock};
use crate::traceql;

const EXAMPLES: &str = "\
Examples:
  tracewell trace find --last 30m
      The newest traces of the last half hour
  tracewell trace find --service checkout --status error
      Where a span of checkout failed
  tracewell trace find --route /login --min-duration 500ms --limit 5
      The five newest slow logins
  tracewell trace find --attr user.id=42 --attr span.retry=true
      By any attribute of the span or its resource
  tracewell trace find --query '{ span.http.response.status_code >= 500 } >> { kind = client }'
      With TraceQL
  tracewell trace find --last 1h --json | jq -r '.traces[].traceId'
      For scripts

Exit codes: 0 found, 1 nothing found, 2 wrong usage or unreachable.";

/// Flags of `trace find`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TraceFindArgs {
    /// A service that took part (resource.service.name)
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,

    /// A route (span.http.route)
    #[arg(long, value_name = "ROUTE")]
    pub route: Option<String>,

    /// A status: error, ok or unset
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,

    /// The least duration of the whole trace, like 500ms or 2s
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub min_duration: Option<Duration>,

    /// An attribute of the span or its resource; span.KEY and resource.KEY say which. Again for more, all must hold
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    pub attr: Vec<(String, String)>,

    /// A TraceQL query; the other conditions must hold in the same trace
    #[arg(long, short, value_name = "TRACEQL")]
    pub query: Option<String>,

    /// Only traces of the last so long, like 30m, 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub last: Option<Duration>,

    /// At most so many traces
    #[arg(long, short = 'n', value_name = "N", default_value_t = 20, value_parser = limit)]
    pub limit: usize,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Where to ask.
    #[command(flatten)]
    pub source: SourceArgs,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as KEY=VALUE".to_owned()),
    }
}

fn limit(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("it is a number greater than zero".to_owned()),
        Ok(n) => Ok(n),
    }
}

/// Runs the command.
pub async fn run(args: &TraceFindArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let question = args.question(&SystemClock::new())?;
    let document = Source::open(&args.source)?.find(&question).await?;
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    } else if !document.traces.is_empty() {
        print(&table(canvas, &document))?;
    }
    if !document.complete {
        eprintln!(
            "note: time or memory ran out before all was seen; a shorter --last or a narrower query sees it"
        );
    }
    if document.traces.is_empty() {
        let since = args.last.map(|last| format!(" in the last {}", output::units::duration(nanos(last))));
        eprintln!("no traces found{} for {}", since.unwrap_or_default(), question.query);
        return Ok(Exit::Nothing);
    }
    Ok(Exit::Done)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl TraceFindArgs {
    /// What to ask. A query that does not parse is refused here, before anybody is asked.
    fn question(&self, clock: &dyn Clock) -> anyhow::Result<FindQuestion> {
        let query = self.traceql()?;
        let range = self.last.map(|last| FindQuestion::last(last, clock));
        Ok(FindQuestion { query, range, limit: self.limit })
    }

    fn traceql(&self) -> anyhow::Result<String> {
        let filter = Filter {
            service: self.service.clone(),
            route: self.route.clone(),
            status: self.status.clone(),
            trace_duration_min: self.min_duration,
            attributes: self.attr.clone(),
            ..Filter::default()
        };
        let short = filter.to_traceql()?;
        let Some(own) = &self.query else { return Ok(short) };
        let parsed = traceql::parse(own).map_err(|error| anyhow!("invalid TraceQL query: {error}"))?;
        if filter.is_empty() {
            return Ok(own.clone());
        }
        if !matches!(parsed.pipeline[..], [traceql::Stage::Spansets(_)]) || !parsed.hints.is_empty() {
            bail!("a --query with `|` cannot be combined with other conditions; write them into the query");
        }
        Ok(format!("({own}) && {short}"))
    }
}

fn table(canvas: &Canvas, document: &FindDocument) -> String {
    let header = [
        ("TIME (UTC)", Align::Left),
        ("DURATION", Align::Right),
        ("SERVICE", Align::Shrink),
        ("NAME", Align::Shrink),
        ("SPANS", Align::Right),
        ("ERRORS", Align::Right),
        ("TRACE ID", Align::Left),
    ];
    let rows: Vec<Vec<Cell>> = document.traces.iter().map(row).collect();
    render(canvas, &header, &rows)
}

fn row(trace: &FoundLine) -> Vec<Cell> {
    let start = trace.start_time_unix_nano.parse().unwrap_or(0);
    let name = match &trace.root_name {
        Some(name) => Cell::new(text::clean(name)),
        None => Cell::styled(ROOT_MISSING, DIM),
    };
    let errors = trace.error_count.to_string();
    vec![
        Cell::new(units::time(start)),
        Cell::new(units::duration(trace.duration_nano)),
        Cell::new(text::clean(trace.root_service.as_deref().unwrap_or("-"))),
        name,
        Cell::new(trace.span_count.to_string()),
        if trace.error_count > 0 { Cell::styled(errors, ERROR) } else { Cell::styled(errors, DIM) },
        Cell::new(text::clean(&trace.trace_id)),
    ]
}

#[cfg(test)]
mod tests;
