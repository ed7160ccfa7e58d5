//! `tracewell table rebuild`.

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::output::{print, text};
use super::table_source::{Progress, TableSource, TableSourceArgs};
use super::table_verify::finding_document;
use crate::store::{Finding, Rebuilt};

const EXAMPLES: &str = "\
Examples:
  tracewell table rebuild
      Index the files that have no index, or one that cannot be read or is wrong
  tracewell table rebuild --lost
      Also read every file, and take those out of the tables that are missing, cut short or damaged: SQL engines stop
      failing on them. What was in them is lost, and is said

Exit codes: 0 all is as it should be now, 1 there are no tables, 2 wrong usage or unreachable.";

/// Flags of `table rebuild`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TableRebuildArgs {
    /// Take files out of the tables that cannot be read
    #[arg(long)]
    pub lost: bool,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Which store.
    #[command(flatten)]
    pub source: TableSourceArgs,
}

/// Runs the command.
pub async fn run(args: &TableRebuildArgs) -> anyhow::Result<Exit> {
    let source = TableSource::open(&args.source).await?;
    let (mut lost, mut rebuilt) = (Vec::new(), Rebuilt::default());
    for tenant in &source.tenants {
        if args.lost {
            let mut progress = Progress::new();
            let what = text::clean(tenant.as_str());
            let verified = source.store.verify(tenant, |done, all| progress.bytes(&what, done, all)).await?;
            lost.extend(source.store.take_out_lost(tenant, verified.findings).await?);
        }
        // Whatever of the index cannot be read is forgotten by this, and made again, as is what tells something else.
        let verified = source.store.verify_index(tenant).await?;
        source.store.delete_wrong_runs(tenant, &verified).await?;
        let of_tenant = source.store.rebuild_index(tenant).await?;
        rebuilt.files += of_tenant.files;
        rebuilt.runs += of_tenant.runs;
        source.store.merge_index(tenant).await?;
    }
    let text = match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&document(&lost, &rebuilt))?),
        false => report(&lost, &rebuilt),
    };
    print(&text)?;
    Ok(if source.tenants.is_empty() { Exit::Nothing } else { Exit::Done })
}

fn document(lost: &[Finding], rebuilt: &Rebuilt) -> Value {
    json!({ "takenOut": lost.iter().map(finding_document).collect::<Vec<_>>(), "indexedFiles": rebuilt.files })
}

fn report(lost: &[Finding], rebuilt: &Rebuilt) -> String {
    let mut out = String::new();
    for Finding { object, rows, problem, .. } in lost {
        let why = text::clean(&problem.to_string());
        let rows = text::count(*rows, "row is", "rows are");
        out.push_str(&format!("taken out: {} {why}; {rows} lost\n", text::clean(object)));
    }
    match rebuilt.files {
        0 => out.push_str("every file has its index\n"),
        files => out.push_str(&format!("indexed {}\n", text::count(files, "file", "files"))),
    }
    out
}
