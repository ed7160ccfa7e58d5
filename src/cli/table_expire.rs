//! `tracewell table expire`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::output::{Canvas, DIM, print, text, units};
use super::table_source::{TableSource, TableSourceArgs};
use super::{Exit, rules_check};
use crate::query::period_text;
use crate::runtime::{Clock, SystemClock};
use crate::sample::{RetentionClasses, RetentionTerms};
use crate::store::{Expired, RetentionPolicy};

const EXAMPLES: &str = "\
Examples:
  tracewell table expire --rules rules.yaml --dry-run
      What would go now, and what goes next
  tracewell table expire --rules rules.yaml --store s3://traces/prod
      Take it out of the tables, and delete what left them more than an hour ago

The daemon does this every hour by itself, by the rules in force. Ages and sizes are those of `retention:` in the rules file.

Exit codes: 0 something was due, 1 nothing was, 2 wrong usage or unreachable.";

/// Flags of `table expire`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TableExpireArgs {
    /// The rules file, for its `retention:`
    #[arg(long, env = "TRACEWELL_RULES", value_name = "FILE")]
    pub rules: PathBuf,

    /// Change nothing, and say what would go
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
pub async fn run(args: &TableExpireArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let rules = rules_check::load(&args.rules)?;
    let classes = rules.retention().clone();
    let source = TableSource::open(&args.source).await?;
    let policy = RetentionPolicy::new(classes.clone());
    let now = SystemClock::new().now_unix_nano();
    let mut all = Expired::default();
    for tenant in &source.tenants {
        let expired = match args.dry_run {
            true => source.store.expiry_plan(tenant, &policy, now).await?,
            false => source.store.expire_tenant(tenant, &policy, now).await?,
        };
        all.add(&expired);
    }
    let text = match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&document(&all, args.dry_run))?),
        false => report(canvas, &all, &classes, args.dry_run),
    };
    print(&text)?;
    Ok(if all.files + all.deleted > 0 { Exit::Done } else { Exit::Nothing })
}

fn document(expired: &Expired, dry_run: bool) -> serde_json::Value {
    let spans: BTreeMap<&str, u64> =
        expired.spans.iter().map(|(tenant, spans)| (tenant.as_str(), *spans)).collect();
    json!({
        "dryRun": dry_run,
        "files": expired.files,
        "rows": expired.rows,
        "bytes": expired.bytes,
        "deletedObjects": expired.deleted,
        "spansByTenant": spans,
    })
}

fn report(canvas: &Canvas, expired: &Expired, classes: &RetentionClasses, dry_run: bool) -> String {
    let kept = |(class, terms): (&String, &RetentionTerms)| {
        let size = terms.bytes_max.map(|bytes| format!(" and at most {}", units::bytes(bytes)));
        format!("{} {}{}", text::clean(class), period_text(terms.age), size.unwrap_or_default())
    };
    let classes: Vec<String> = classes.iter().map(kept).collect();
    let mut out = canvas.paint(DIM, &format!("kept: {}\n", classes.join(", ")));
    let spans: u64 = expired.spans.values().sum();
    let what = format!(
        "{} of {}, {}",
        text::count(expired.files, "file", "files"),
        text::count(spans, "span", "spans"),
        units::bytes(expired.bytes)
    );
    match (expired.files, dry_run) {
        (0, _) => out.push_str("nothing is past its age or size\n"),
        (_, true) => out.push_str(&format!("would go: {what}\n")),
        (_, false) => out.push_str(&format!("expired: {what}\n")),
    }
    if expired.deleted > 0 {
        let deleted = text::count(expired.deleted, "object", "objects");
        out.push_str(&format!("{deleted} that had left the tables before deleted from the store\n"));
    }
    out
}
