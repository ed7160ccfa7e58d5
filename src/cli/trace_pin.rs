//! `tracewell trace pin`.

use std::time::Duration;

use anyhow::bail;
use clap::Args;

use super::Exit;
use super::client::{Daemon, SourceArgs, trace_id};
use super::output::{print, text};
use crate::query::{PinDocument, PinOutcome, parse_duration, period_text};

const EXAMPLES: &str = "\
Examples:
  tracewell trace pin 4bf92f3577b34da6a3ce929d0e0e4736
      Keep it: a dropped trace is fetched back while the flight recorder has it
  tracewell trace pin 4bf92f3577b34da6a3ce929d0e0e4736 --for 30d
      The same, refused if it could not be kept for 30 days

A pinned trace is stored under the retention class `pinned`: 90 days, unless the rules say otherwise
(retention: { pinned: 180d }). One that is stored already is moved there, unless its class is kept for as long. Spans of
it that come later are stored under its first class.

Exit codes: 0 kept, 1 no such trace, 2 wrong usage or unreachable.";

/// Flags of `trace pin`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TracePinArgs {
    /// The trace's id: up to 32 hexadecimal digits of either case
    #[arg(value_name = "ID")]
    pub id: String,

    /// Keep it for at least so long from its start, like 30d; refused if the retention classes do not
    #[arg(long = "for", value_name = "DURATION", value_parser = duration_text)]
    pub keep_for: Option<String>,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Where to ask.
    #[command(flatten)]
    pub source: SourceArgs,
}

/// Checked here, so that a mistake is wrong usage; sent as it was written.
fn duration_text(text: &str) -> Result<String, crate::query::DurationError> {
    parse_duration(text).map(|_| text.to_owned())
}

/// Runs the command.
pub async fn run(args: &TracePinArgs) -> anyhow::Result<Exit> {
    let id = trace_id(&args.id)?;
    if args.source.store.is_some() {
        bail!(
            "a trace is pinned by the daemon, for that has the flight recorder: name it with --url, not --store"
        );
    }
    let Some(pinned) =
        Daemon::new(&args.source.url, &args.source.access)?.pin(id, args.keep_for.as_deref()).await?
    else {
        eprintln!(
            "no trace {id} found: nothing keeps it, and the flight recorder does not have it (any more)"
        );
        return Ok(Exit::Nothing);
    };
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&pinned)?)
    } else {
        format!("{}\n", sentence(&pinned))
    };
    print(&text)?;
    Ok(Exit::Done)
}

fn sentence(pinned: &PinDocument) -> String {
    let id = text::clean(&pinned.trace_id);
    let class = text::clean(&pinned.retention);
    let period = match pinned.retention_seconds {
        Some(seconds) => format!("for {}", period_text(Duration::from_secs(seconds))),
        None => "for ever: the rules do not name it".to_owned(),
    };
    let kept = format!("kept under retention class `{class}` ({period})");
    match pinned.outcome {
        PinOutcome::Decided => format!("pinned {id}: it waited for its verdict, and is {kept}"),
        PinOutcome::Rescued => {
            let dropped = pinned.dropped_by.as_deref();
            let dropped = dropped.map(|rule| format!(" by rule {}", text::clean(rule))).unwrap_or_default();
            let spans = text::count(pinned.spans.unwrap_or_default(), "span", "spans");
            let part =
                "\nnote: a part of the flight recorder could not be searched yet; there may be more spans";
            let part = if pinned.complete { "" } else { part };
            format!(
                "pinned {id}: it had been dropped{dropped}; {spans} came back from the flight recorder, {kept}{part}"
            )
        }
        PinOutcome::Moved => {
            let spans = text::count(pinned.spans.unwrap_or_default(), "span", "spans");
            format!("pinned {id}: its {spans} were moved from another class, and are {kept}")
        }
        PinOutcome::Kept => {
            let rule = text::clean(&pinned.rule);
            format!("{id} is kept already, by rule {rule}, {kept}; nothing was changed")
        }
    }
}

#[cfg(test)]
mod tests;
