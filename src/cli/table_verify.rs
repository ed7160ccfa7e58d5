//! `tracewell table verify`.

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::output::{Canvas, DIM, ERROR, print, text, units};
use super::table_source::{Progress, TableSource, TableSourceArgs};
use crate::store::{Disagreement, Finding, Stray, Verified, VerifiedIndex};

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
    let (mut verified, mut indexes) = (Verified::default(), Vec::new());
    for tenant in &source.tenants {
        let mut progress = Progress::new();
        let what = text::clean(tenant.as_str());
        let of_tenant = source.store.verify(tenant, |done, all| progress.bytes(&what, done, all)).await?;
        // What cannot be read is no news to the index.
        if of_tenant.findings.is_empty() {
            indexes.push((what, source.store.verify_index(tenant).await?));
        }
        verified.add(of_tenant);
    }
    let text = match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&document(&verified, &indexes))?),
        false => report(canvas, &verified, &indexes),
    };
    print(&text)?;
    let is_index_right =
        indexes.iter().all(|(_, index)| index.damaged.is_empty() && index.disagreements.is_empty());
    let is_right = verified.findings.is_empty() && is_index_right && !source.tenants.is_empty();
    Ok(if is_right { Exit::Done } else { Exit::Nothing })
}

/// By tenant.
type Indexes = [(String, VerifiedIndex)];

fn document(verified: &Verified, indexes: &Indexes) -> Value {
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
        "findings": verified.findings.iter().map(finding_document).collect::<Vec<_>>(),
        "index": indexes.iter().map(|(tenant, index)| index_document(tenant, index)).collect::<Vec<_>>(),
        "strays": verified.strays.iter().map(stray).collect::<Vec<_>>(),
    })
}

/// A file that is not right.
pub fn finding_document(finding: &Finding) -> Value {
    json!({
        "tenant": finding.tenant.as_str(),
        "table": finding.table.folder(),
        "object": finding.object,
        "rows": finding.rows,
        "problem": finding.problem.code(),
        "message": finding.problem.to_string(),
    })
}

fn index_document(tenant: &str, index: &VerifiedIndex) -> Value {
    let disagreement = |found: &Disagreement| json!({ "run": found.run, "file": found.file, "inRun": found.in_run, "inData": found.in_data, "denied": found.denied });
    json!({
        "tenant": tenant,
        "files": index.files,
        "uncovered": index.uncovered,
        "damagedRuns": index.damaged,
        "disagreements": index.disagreements.iter().map(disagreement).collect::<Vec<_>>(),
    })
}

fn index_report(canvas: &Canvas, indexes: &Indexes) -> String {
    let mut out = String::new();
    let wrong = canvas.paint(ERROR, "✗");
    for (_, index) in indexes {
        for run in &index.damaged {
            out.push_str(&format!(
                "{wrong} index {} cannot be read; table rebuild makes it again\n",
                text::clean(run)
            ));
        }
        for Disagreement { run, file, in_run, in_data, denied } in &index.disagreements {
            let (run, file) = (text::clean(run), text::clean(file));
            let what = match denied {
                0 => format!("has {in_run} entries of {file}, which has {in_data}"),
                _ => format!("denies attributes that {denied} row groups of {file} have"),
            };
            out.push_str(&format!("{wrong} index {run} {what}; table rebuild makes it again\n"));
        }
        if !index.uncovered.is_empty() {
            let files = text::count(index.uncovered.len() as u64, "file is", "files are");
            let line = format!("{files} without an index: found by statistics; table rebuild makes one\n");
            out.push_str(&canvas.paint(DIM, &line));
        }
    }
    out
}

fn report(canvas: &Canvas, verified: &Verified, indexes: &Indexes) -> String {
    let mut out = String::new();
    for Finding { object, rows, problem, .. } in &verified.findings {
        let what = text::clean(&problem.to_string());
        let rows = text::count(*rows, "row", "rows");
        out.push_str(&format!("{} {} {what} ({rows})\n", canvas.paint(ERROR, "✗"), text::clean(object)));
    }
    out.push_str(&index_report(canvas, indexes));
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
