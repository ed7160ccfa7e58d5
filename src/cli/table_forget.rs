//! `tracewell table forget`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};

use super::Exit;
use super::output::{print, text};
use super::table_source::{TableSource, TableSourceArgs};
use crate::query::{Engine, EngineConfig, SearchRequest, time_rfc3339};
use crate::runtime::disk::{RealDisk, write_atomic};
use crate::runtime::{Clock, SystemClock, SystemRandom, Tenant};
use crate::store::{Fate, RetentionPolicy, Rewritten, RewrittenFile};
use crate::traceql::{self, Query};
use crate::wire::TraceId;

const EXAMPLES: &str = "\
Examples:
  tracewell table forget --where '{ span.user.id = \"42\" }' --dry-run
      How many traces have a span of this user
  tracewell table forget --where '{ span.user.id = \"42\" }' --yes --receipt request-17.json
      Erase these traces, whole, and write down what was rewritten
  tracewell table forget --where '{ span.user.id = \"42\" }' --yes --at-once --store s3://traces/prod
      Delete the old files now, and not when readers cannot be using them any more

The traces leave the tables at once; the files they were in leave the store an hour later, or with --at-once. Not reached:
what a daemon has not stored yet (do it again after a minute), its flight recorder (`recorder: { age }`, 15 minutes), and
older versions of objects where the bucket keeps them.

Exit codes: 0 erased (or found, with --dry-run), 1 no trace matches, 2 wrong usage or unreachable.";

/// Traces erased at a time.
const TRACES_AT_ONCE: usize = 5_000;
/// How long one search may take.
const SEARCH_TIME_MAX: Duration = Duration::from_secs(3_600);
/// What a search may hold, in bytes.
const SEARCH_BYTES_MAX: usize = 512 << 20;

/// Flags of `table forget`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct TableForgetArgs {
    /// TraceQL: every trace that it finds is erased
    #[arg(long = "where", value_name = "TRACEQL")]
    pub query: String,

    /// Change nothing, and say what would go
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask
    #[arg(long)]
    pub yes: bool,

    /// Delete the old files from the store now: readers that are using them fail
    #[arg(long)]
    pub at_once: bool,

    /// Write what was done into this file, which must not exist yet; standard output without it
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,

    /// Which store.
    #[command(flatten)]
    pub source: TableSourceArgs,
}

/// What was done for one tenant.
#[derive(Default)]
struct Forgotten {
    traces: BTreeSet<TraceId>,
    rewritten: Rewritten,
    deleted: u64,
}

/// Runs the command.
pub async fn run(args: &TableForgetArgs) -> anyhow::Result<Exit> {
    let query = traceql::parse(&args.query).map_err(|error| anyhow!("invalid TraceQL query: {error}"))?;
    if let Some(path) = args.receipt.as_ref().filter(|path| path.exists()) {
        bail!("{} exists already; name another file with --receipt", path.display());
    }
    let source = TableSource::open(&args.source).await?;
    let clock = Arc::new(SystemClock::new());
    let begun = clock.now_unix_nano();
    let config = EngineConfig { bytes_max: SEARCH_BYTES_MAX, ..EngineConfig::default() };
    let forget = Forget {
        engine: Engine::new(source.reader.clone(), None, clock.clone(), config),
        source: &source,
        query,
        args,
        clock: clock.clone(),
    };
    let mut all = BTreeMap::new();
    for tenant in &source.tenants {
        let forgotten = forget.tenant(tenant).await?;
        if !forgotten.traces.is_empty() {
            all.insert(tenant.as_str(), forgotten);
        }
    }
    let traces = all.values().map(|forgotten| forgotten.traces.len()).sum::<usize>() as u64;
    if traces == 0 {
        eprintln!("no trace matches {}", text::clean(&args.query));
        return Ok(Exit::Nothing);
    }
    if args.dry_run {
        eprintln!("{} would be erased", text::count(traces, "trace", "traces"));
        return Ok(Exit::Done);
    }
    let receipt = receipt(args, &source.name, begun, clock.now_unix_nano(), &all);
    let receipt = format!("{}\n", serde_json::to_string_pretty(&receipt)?);
    match &args.receipt {
        Some(path) => {
            let whole = std::path::absolute(path)?;
            let written = write_atomic(&RealDisk, &whole, receipt.as_bytes());
            written.with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => print(&receipt)?,
    }
    let spans = all.values().map(|forgotten| forgotten.rewritten.spans).sum();
    eprintln!("erased {}, {}", text::count(traces, "trace", "traces"), text::count(spans, "span", "spans"));
    Ok(Exit::Done)
}

struct Forget<'a> {
    engine: Engine,
    source: &'a TableSource,
    query: Query,
    args: &'a TableForgetArgs,
    clock: Arc<SystemClock>,
}

impl Forget<'_> {
    /// Finds and erases, until nothing is found any more.
    async fn tenant(&self, tenant: &Tenant) -> anyhow::Result<Forgotten> {
        let mut forgotten = Forgotten::default();
        let mut is_allowed = self.args.yes;
        loop {
            let found = self.find(tenant).await?;
            if found.is_empty() || self.args.dry_run {
                forgotten.traces.extend(found);
                break;
            }
            if !is_allowed {
                self.ask(tenant, found.len())?;
                is_allowed = true;
            }
            let (store, reader) = (&self.source.store, &self.source.reader);
            let done = store.rewrite(reader, tenant, &found, &Fate::Erased, &SystemRandom).await?;
            if done.files.is_empty() {
                let id = found.first().map(ToString::to_string).unwrap_or_default();
                bail!(
                    "trace {id} is found, but no file of the table has it: `tracewell table verify` says more"
                );
            }
            forgotten.rewritten.spans += done.spans;
            forgotten.rewritten.traces += done.traces;
            forgotten.rewritten.files.extend(done.files);
            forgotten.traces.extend(found);
        }
        if self.args.at_once && !forgotten.rewritten.files.is_empty() {
            let policy = RetentionPolicy { grace: Duration::ZERO, ..RetentionPolicy::new(BTreeMap::new()) };
            // A moment that what was just taken out is not younger than.
            let now = self.clock.now_unix_nano() + 1_000_000;
            let expired = self.source.store.expire_tenant(tenant, &policy, now).await?;
            forgotten.deleted = expired.deleted;
        }
        Ok(forgotten)
    }

    async fn find(&self, tenant: &Tenant) -> anyhow::Result<BTreeSet<TraceId>> {
        self.source.reader.forget_versions();
        let mut request = SearchRequest::new(self.query.clone());
        (request.limit, request.spans_per_set) = (TRACES_AT_ONCE, 1);
        request.time_max = SEARCH_TIME_MAX;
        let response = self.engine.search(tenant, request).await?;
        if response.hits.is_empty() && !response.complete {
            bail!(
                "time or memory ran out before all was seen; nothing (more) is erased. A narrower --where sees all"
            );
        }
        Ok(response.hits.iter().map(|hit| hit.summary.trace_id).collect())
    }

    /// # Errors
    /// If the answer is not yes.
    fn ask(&self, tenant: &Tenant, found: usize) -> anyhow::Result<()> {
        let stdin = std::io::stdin();
        if !stdin.is_terminal() {
            bail!("nothing is erased without --yes where nobody can be asked");
        }
        let at_least = if found == TRACES_AT_ONCE { "at least " } else { "" };
        let traces = text::count(found as u64, "trace", "traces");
        eprint!("erase {at_least}{traces} of tenant {}? [y/N] ", text::clean(tenant.as_str()));
        std::io::stderr().flush()?;
        let mut answer = String::new();
        stdin.lock().read_line(&mut answer)?;
        match answer.trim() {
            "y" | "yes" => Ok(()),
            _ => bail!("nothing was erased"),
        }
    }
}

fn receipt(
    args: &TableForgetArgs,
    store: &str,
    begun: u64,
    ended: u64,
    all: &BTreeMap<&str, Forgotten>,
) -> Value {
    let file = |file: &RewrittenFile| {
        json!({
            "table": file.table.folder(),
            "object": file.object,
            "became": file.became,
            "rows": file.rows,
            "rowsErased": file.rows_of_traces,
        })
    };
    let tenants = all.iter().map(|(tenant, forgotten)| {
        json!({
            "tenant": tenant,
            "traces": forgotten.traces.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "spansErased": forgotten.rewritten.spans,
            "traceRowsErased": forgotten.rewritten.traces,
            "files": forgotten.rewritten.files.iter().map(file).collect::<Vec<_>>(),
            "deletedObjects": forgotten.deleted,
        })
    });
    json!({
        "where": args.query,
        "store": store,
        "begunAt": time_rfc3339(begun),
        "endedAt": time_rfc3339(ended),
        "oldFilesDeleted": args.at_once,
        "tenants": tenants.collect::<Vec<_>>(),
    })
}
