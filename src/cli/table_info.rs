//! `tracewell table info`.

use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::output::table::{Align, Cell, render};
use super::output::{Canvas, DIM, STRONG, print, text, units};
use super::table_source::{TableSource, TableSourceArgs};
use crate::store::{Amount, Inventory};

const EXAMPLES: &str = "\
Examples:
  tracewell table info
      What the store in ./tracewell-data holds: by retention class and day, and by service
  tracewell table info --store s3://traces/prod --tenant acme --json
      One tenant's, for scripts

Exit codes: 0 done, 1 there are no tables, 2 wrong usage or unreachable.";

/// Flags of `table info`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TableInfoArgs {
    /// Do not count services: for that the table `traces` is read
    #[arg(long)]
    pub no_services: bool,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,

    /// Which store.
    #[command(flatten)]
    pub source: TableSourceArgs,
}

/// Runs the command.
pub async fn run(args: &TableInfoArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let source = TableSource::open(&args.source).await?;
    let mut inventories = Vec::new();
    for tenant in &source.tenants {
        let services = (!args.no_services).then_some(&source.reader);
        inventories.push(source.store.inventory(tenant, services).await?);
    }
    if args.json {
        let tenants: Vec<Value> = inventories.iter().map(document).collect();
        let document = json!({ "store": source.name, "tenants": tenants });
        print(&format!("{}\n", serde_json::to_string_pretty(&document)?))?;
    } else {
        let pages: Vec<String> = inventories.iter().map(|inventory| page(canvas, inventory)).collect();
        print(&pages.join("\n"))?;
    }
    Ok(if inventories.is_empty() { Exit::Nothing } else { Exit::Done })
}

fn document(inventory: &Inventory) -> Value {
    let amount =
        |amount: &Amount| json!({ "files": amount.files, "rows": amount.rows, "bytes": amount.bytes });
    let partitions = inventory.partitions.iter().map(|((retention, date), found)| {
        json!({ "retention": retention, "date": date, "files": found.files, "spans": found.rows, "bytes": found.bytes })
    });
    let services = inventory.services.iter().map(
        |(service, found)| json!({ "service": service, "traces": found.traces, "errors": found.errors }),
    );
    json!({
        "tenant": inventory.tenant.as_str(),
        "spans": amount(&inventory.spans),
        "traces": amount(&inventory.traces),
        "partitions": partitions.collect::<Vec<_>>(),
        "services": services.collect::<Vec<_>>(),
    })
}

fn page(canvas: &Canvas, inventory: &Inventory) -> String {
    let (spans, traces) = (&inventory.spans, &inventory.traces);
    let bytes = spans.bytes + traces.bytes;
    let mut page = format!(
        "{} {}\n",
        canvas.paint(STRONG, &format!("tenant {}", text::clean(inventory.tenant.as_str()))),
        canvas.paint(
            DIM,
            &format!(
                "{} spans, {} rows of traces, {} in {}, {} bytes a span",
                spans.rows,
                traces.rows,
                units::bytes(bytes),
                text::count(spans.files + traces.files, "file", "files"),
                bytes.checked_div(spans.rows).unwrap_or(0),
            )
        ),
    );
    let header = [
        ("CLASS", Align::Shrink),
        ("DAY (UTC)", Align::Left),
        ("SPANS", Align::Right),
        ("SIZE", Align::Right),
        ("FILES", Align::Right),
    ];
    let rows: Vec<Vec<Cell>> = inventory
        .partitions
        .iter()
        .map(|((class, day), found)| {
            let numbers = [found.rows.to_string(), units::bytes(found.bytes), found.files.to_string()];
            let mut row = vec![Cell::new(text::clean(class)), Cell::new(day.clone())];
            row.extend(numbers.map(Cell::new));
            row
        })
        .collect();
    page.push_str(&render(canvas, &header, &rows));
    if !inventory.services.is_empty() {
        let header = [("SERVICE", Align::Shrink), ("TRACES", Align::Right), ("WITH ERRORS", Align::Right)];
        let mut services: Vec<_> = inventory.services.iter().collect();
        services.sort_by_key(|(_, found)| std::cmp::Reverse(found.traces));
        let row = |(service, found): &(&String, &crate::store::ServiceAmount)| {
            vec![
                Cell::new(text::clean(service)),
                Cell::new(found.traces.to_string()),
                Cell::new(found.errors.to_string()),
            ]
        };
        let rows: Vec<Vec<Cell>> = services.iter().map(row).collect();
        page.push('\n');
        page.push_str(&render(canvas, &header, &rows));
    }
    page
}
