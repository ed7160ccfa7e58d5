//! `tracewell table verify`.

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::output::{Canvas, DIM, ERROR, print, text, units};
use super::table_source::{Progress, TableSource, TableSourceArgs};
use crate::store::{Finding, Stray, Verified};

const EXAMPLES: &str = "\
Examples:
  tracewell table verify
      Read every file of the store in ./tracewell-data and compare it with the tables' logs
  tracewell table verify --store s3://traces/prod --json | jq -r '.findings[].object'
      For scripts

Nothing is changed. It reads everything: on a remote store that costs requests and traffic.

Exit codes: 0 all is right, 1 something is not (or there are no tables), 2 wrong usage or unreachable.";

/// Flags of `table verify`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TableVerifyArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Which store.
    #[command(flatten)]
    pub source: TableSourceArgs,
}

/// Runs the command.
pub async fn run(args: &TableVerifyArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let source = TableSource::open(&args.source).await?;
    let mut verified = Verified::default();
    for tenant in &source.tenants {
        let mut progress = Progress::new();
        let what = text::clean(tenant.as_str());
        verified.add(source.store.verify(tenant, |done, all| progress.bytes(&what, done, all)).await?);
    }
    let text = match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&document(&verified))?),
        false => report(canvas, &verified),
    };
    print(&text)?;
    let is_right = verified.findings.is_empty() && !source.tenants.is_empty();
    Ok(if is_right { Exit::Done } else { Exit::Nothing })
}

fn document(verified: &Verified) -> Value {
    let finding = |finding: &Finding| {
        json!({
            "tenant": finding.tenant.as_str(),
            "table": finding.table.folder(),
            "object": finding.object,
            "rows": finding.rows,
            "problem": finding.problem.code(),
            "message": finding.problem.to_string(),
        })
    };
    let stray = |stray: &Stray| {
        json!({
            "tenant": stray.tenant.as_str(),
            "table": stray.table.folder(),
            "object": stray.object,
            "bytes": stray.bytes,
            "writtenUnixMs": stray.written_unix_ms,
            "removedUnixMs": stray.removed_unix_ms,
        })
    };
    json!({
        "files": verified.files,
        "rows": verified.rows,
        "bytes": verified.bytes,
        "findings": verified.findings.iter().map(finding).collect::<Vec<_>>(),
        "strays": verified.strays.iter().map(stray).collect::<Vec<_>>(),
    })
}

fn report(canvas: &Canvas, verified: &Verified) -> String {
    let mut out = String::new();
    for Finding { object, rows, problem, .. } in &verified.findings {
        let what = text::clean(&problem.to_string());
        let rows = text::count(*rows, "row", "rows");
        out.push_str(&format!("{} {} {what} ({rows})\n", canvas.paint(ERROR, "✗"), text::clean(object)));
    }
    let (files, findings) = (verified.files, verified.findings.len() as u64);
    let checked = format!(
        "{} of {} rows, {}",
        text::count(files, "file", "files"),
        verified.rows,
        units::bytes(verified.bytes)
    );
    match findings {
        0 => out.push_str(&format!("{checked}: all right\n")),
        _ => {
            out.push_str(&format!("{checked}: {} not right\n", text::count(findings, "file is", "files are")))
        }
    }
    let never: Vec<&Stray> = verified.strays.iter().filter(|stray| stray.removed_unix_ms.is_none()).collect();
    let left = verified.strays.len() - never.len();
    let bytes =
        |strays: &mut dyn Iterator<Item = &Stray>| units::bytes(strays.map(|stray| stray.bytes).sum());
    if left > 0 {
        let sum = bytes(&mut verified.strays.iter().filter(|stray| stray.removed_unix_ms.is_some()));
        let left = text::count(left as u64, "file", "files");
        out.push_str(&canvas.paint(
            DIM,
            &format!("{left} ({sum}) left the tables, and the store when their grace is over\n"),
        ));
    }
    if !never.is_empty() {
        let sum = bytes(&mut never.iter().copied());
        let count = text::count(never.len() as u64, "file", "files");
        out.push_str(&canvas.paint(
            DIM,
            &format!(
                "{count} ({sum}) no table names: on the way in, or swept a day after they were written\n"
            ),
        ));
    }
    out
}
