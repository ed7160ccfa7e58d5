//! `tracewell table compact`.

use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::output::table::{Align, Cell, render};
use super::output::units::bytes as size;
use super::output::{Canvas, print, text};
use super::table_source::{Progress, TableSource, TableSourceArgs};
use crate::runtime::{Clock, SystemClock, SystemRandom};
use crate::store::{Compacted, CompactionConfig, CompactionUnit, Compactor, Unpaced};

const EXAMPLES: &str = "\
Examples:
  tracewell table compact
      Merges the small files of ./tracewell-data/store, as the daemon does in the background
  tracewell table compact --store s3://traces/prod --dry-run
      Says what would be merged first, and changes nothing
  tracewell table compact --store s3://traces/prod --json | jq .total
      For scripts

It may run beside daemons that write: whoever comes second gives up, and nothing is lost or doubled. What was merged stays
on the store for an hour, for readers that are using it; the daemon then deletes it.

Exit codes: 0 done, or nothing to do, 2 wrong usage, or something failed.";

/// Flags of `table compact`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TableCompactArgs {
    /// Say what there is to do, and change nothing
    #[arg(long)]
    pub dry_run: bool,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Which store.
    #[command(flatten)]
    pub source: TableSourceArgs,
}

/// Runs the command.
pub async fn run(args: &TableCompactArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let source = TableSource::open(&args.source).await?;
    let clock = SystemClock::new();
    let compactor = Compactor::new(source.store, CompactionConfig::default(), Arc::new(SystemRandom));
    let (mut units, mut total) = (Vec::new(), Compacted::default());
    let mut progress = Progress::new();
    for tenant in &source.tenants {
        loop {
            let planned = compactor.plan(tenant, clock.now_unix_nano()).await?;
            if args.dry_run {
                units.extend(planned.into_iter().map(|unit| (unit, None)));
                break;
            }
            let before = total.units;
            for (at, unit) in planned.iter().enumerate() {
                let (files, bytes) = (text::count(unit.files(), "file", "files"), size(unit.bytes()));
                let (at, all) = (at + 1, planned.len());
                progress.line(format!("{at}/{all}: {}, {files} of {bytes}", name(unit)));
                let done = compactor.compact(unit, Box::new(Unpaced)).await;
                let done =
                    done.with_context(|| format!("cannot compact {}", name(unit)))?.unwrap_or_default();
                total.add(&done);
                units.push((unit.clone(), Some(done)));
            }
            // Units that were all given up are somebody else's.
            if total.units == before {
                break;
            }
        }
    }
    drop(progress);
    if args.json {
        print(&format!("{}\n", serde_json::to_string_pretty(&document(args, &units, &total))?))?;
    } else if units.is_empty() {
        eprintln!("nothing to compact");
    } else {
        print(&table(canvas, &units))?;
        if !args.dry_run {
            print(&summary(&total))?;
        }
    }
    Ok(Exit::Done)
}

fn name(unit: &CompactionUnit) -> String {
    let (table, retention) = (unit.table.folder(), text::clean(unit.retention()));
    format!("{}/{table} {retention} {}", text::clean(unit.tenant.as_str()), unit.date())
}

type Outcome = (CompactionUnit, Option<Compacted>);

fn table(canvas: &Canvas, units: &[Outcome]) -> String {
    let header = [
        ("TENANT", Align::Shrink),
        ("TABLE", Align::Left),
        ("CLASS", Align::Shrink),
        ("DAY", Align::Left),
        ("WHY", Align::Left),
        ("FILES", Align::Right),
        ("SIZE", Align::Right),
        ("ROWS", Align::Right),
        ("BECAME", Align::Right),
        ("SIZE", Align::Right),
    ];
    let rows: Vec<Vec<Cell>> = units.iter().map(row).collect();
    render(canvas, &header, &rows)
}

fn row((unit, done): &Outcome) -> Vec<Cell> {
    let (became, bytes) = match done {
        None => ("-".to_owned(), "-".to_owned()),
        Some(done) if done.units == 0 => ("taken".to_owned(), "-".to_owned()),
        Some(done) => (done.files_out.to_string(), size(done.bytes_out)),
    };
    vec![
        Cell::new(text::clean(unit.tenant.as_str())),
        Cell::new(unit.table.folder()),
        Cell::new(text::clean(unit.retention())),
        Cell::new(unit.date()),
        Cell::new(unit.reason().as_str()),
        Cell::new(unit.files().to_string()),
        Cell::new(size(unit.bytes())),
        Cell::new(unit.rows().to_string()),
        Cell::new(became),
        Cell::new(bytes),
    ]
}

fn summary(total: &Compacted) -> String {
    let (before, after) = (text::count(total.files_in, "file", "files"), total.files_out);
    let (bytes_in, bytes_out) = (size(total.bytes_in), size(total.bytes_out));
    let mut line = format!("{before} ({bytes_in}) became {after} ({bytes_out})");
    if total.given_up > 0 {
        let others = text::count(total.given_up, "group was", "groups were");
        line.push_str(&format!("; {others} taken by another compactor or expired"));
    }
    line + "\n"
}

fn document(args: &TableCompactArgs, units: &[Outcome], total: &Compacted) -> Value {
    let unit = |(unit, done): &Outcome| {
        json!({
            "tenant": unit.tenant.as_str(),
            "table": unit.table.folder(),
            "retention": unit.retention(),
            "date": unit.date(),
            "reason": unit.reason().as_str(),
            "files": unit.files(),
            "bytes": unit.bytes(),
            "rows": unit.rows(),
            "done": done.as_ref().map(counts),
        })
    };
    let units: Vec<Value> = units.iter().map(unit).collect();
    json!({ "dryRun": args.dry_run, "units": units, "total": counts(total) })
}

fn counts(done: &Compacted) -> Value {
    json!({
        "units": done.units,
        "givenUp": done.given_up,
        "filesIn": done.files_in,
        "filesOut": done.files_out,
        "bytesIn": done.bytes_in,
        "bytesOut": done.bytes_out,
        "rowsIn": done.rows_in,
        "joinedRows": done.joined,
    })
}

#[cfg(test)]
mod tests;
