//! `tracewell trace show`.

use clap::Args;

use super::Exit;
use super::client::{Source, SourceArgs, trace_id};
use super::output::waterfall::{Options, render};
use super::output::{Canvas, print};
use crate::query::{Document, Spelling};

const EXAMPLES: &str = "\
Examples:
  tracewell trace show 4bf92f3577b34da6a3ce929d0e0e4736
      The waterfall: tree, bars, durations; errors are red and marked ✗
  tracewell trace show -v 4bf92f3577b34da6a3ce929d0e0e4736
      With attributes, events, links and resources
  tracewell trace show --json 4bf92f3577b34da6a3ce929d0e0e4736 > trace.json
      As OTLP/JSON, exactly as it was sent; the field `tracewell` says what was decided
  tracewell trace show --store s3://traces/prod 4bf92f3577b34da6
      From the table, without a daemon; short ids are padded with zeros

A trace that was dropped is shown too, and by which rule, while the flight recorder has it; trace pin keeps it.

Exit codes: 0 shown, 1 no such trace, 2 wrong usage or unreachable.";

/// Flags of `trace show`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TraceShowArgs {
    /// The trace's id: up to 32 hexadecimal digits of either case
    #[arg(value_name = "ID")]
    pub id: String,

    /// Attributes, events, links and resources too
    #[arg(long, short)]
    pub verbose: bool,

    /// Print the trace as OTLP/JSON
    #[arg(long, conflicts_with = "verbose")]
    pub json: bool,

    /// Where to ask.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Runs the command.
pub async fn run(args: &TraceShowArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let id = trace_id(&args.id)?;
    let Some((trace, facts)) = Source::open(&args.source)?.trace(id).await? else {
        eprintln!("no trace {id} found");
        return Ok(Exit::Nothing);
    };
    let text = if args.json {
        let document = Document {
            facts: facts.as_ref(),
            field: "resourceSpans",
            resource_spans: &trace.resource_spans,
            spelling: Spelling::Otlp,
        };
        format!("{}\n", serde_json::to_string_pretty(&document)?)
    } else {
        render(canvas, &id.to_string(), &trace, Options { verbose: args.verbose, facts: facts.as_ref() })
    };
    print(&text)?;
    Ok(Exit::Done)
}
