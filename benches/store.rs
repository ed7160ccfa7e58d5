//! What a batch of kept spans costs on its way into the table: gathered from records, encoded, committed. All in memory.
//!
//! `cargo bench --bench store -- --help`; benches/README.md says what the figures mean.
#![allow(clippy::disallowed_methods)] // A benchmark reads /proc.

#[allow(dead_code)]
#[path = "load/template.rs"]
mod template;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use parquet::file::metadata::ParquetMetaDataReader;
use template::{SPANS_PER_REQUEST, Shares, Templates};
use tracewell::log::{Position, ReadError, SpansMeta, SpansRecord};
use tracewell::runtime::{Clock, RequestId, SystemClock, SystemRandom, Tenant};
use tracewell::sample::{Batch, KeptTrace, Verdict};
use tracewell::store::schema::TableKind;
use tracewell::store::{
    AttributeScope, Compacted, CompactionConfig, Compactor, HintValue, Location, Projection, Reader,
    ReaderConfig, Records, ScanHint, ScanRequest, Store, StoreConfig, Unpaced,
};
use tracewell::wire::{SpanView, TraceId, resource_spans};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Writes batches of spans to a table in memory, and measures what they cost.
#[derive(Parser, Debug)]
#[command(name = "store")]
struct Options {
    /// Spans of a batch (rounded up to whole requests of 512).
    #[arg(long, default_value_t = 112_000)]
    spans: u64,
    /// Batches that are measured; the median counts. One more goes before them.
    #[arg(long, default_value_t = 9)]
    batches: u64,
    /// Services (resources) that the spans of one request come from: 1, 2, 4 or 8.
    #[arg(long, default_value_t = 1)]
    services: usize,
    /// Keep all batches, and then look up so many traces by id, and a tenth as many spans by an attribute of their own.
    #[arg(long, default_value_t = 0)]
    lookups: usize,
    /// Say what each column of the spans takes.
    #[arg(long)]
    columns: bool,
    /// Compact what the batches became, and measure that too.
    #[arg(long)]
    compact: bool,
    /// What `cargo bench` passes.
    #[arg(long, hide = true)]
    bench: bool,
}

/// Records of one batch, by position.
#[derive(Clone)]
struct InMemoryLog(Arc<Vec<Arc<SpansRecord>>>);

impl Records for InMemoryLog {
    fn spans(&self, position: Position) -> Result<Arc<SpansRecord>, ReadError> {
        let at = usize::try_from(position.0).unwrap_or(usize::MAX);
        self.0.get(at).cloned().ok_or(ReadError::Unknown)
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(run(&options))
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let shares = Shares { errors: 0.01, slow: 0.01, login: 0.0 };
    let templates = Templates::new(1, shares, options.services);
    let objects: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let location = Location::custom(Arc::clone(&objects), "memory:///table")?;
    let store = Store::open(StoreConfig::new(location, "bench"), Arc::new(SystemClock::new()))?;
    let requests = options.spans.div_ceil(SPANS_PER_REQUEST);
    let spans = requests * SPANS_PER_REQUEST;
    let (mut costs, mut sizes, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let mut wire_bytes = 0;
    for id in 0..=options.batches {
        let (batch, log) = batch(id + 1, requests, &templates)?;
        wire_bytes = batch.bytes();
        ids.extend(batch.traces.iter().step_by(batch.traces.len() / 64 + 1).map(|trace| trace.trace_id));
        reset_peak();
        let before = (cpu_nanos()?, resident("VmRSS:")?);
        let written = store.write(&batch, &log).await?;
        let after = cpu_nanos()?;
        anyhow::ensure!(written.spans == spans, "{} spans of {spans} written", written.spans);
        if id > 0 {
            costs.push(after - before.0);
            sizes.push(resident("VmHWM:")?.saturating_sub(before.1));
        }
        if id == options.batches || options.compact {
            if id < options.batches {
                continue;
            }
            println!("bytes a span        {:>10.1}", written.bytes as f64 / spans as f64);
        } else if options.lookups == 0 {
            forget(&objects).await?;
        }
    }
    let cost = median(&mut costs) as f64 / spans as f64;
    println!("wire bytes a span   {:>10.1}", wire_bytes as f64 / spans as f64);
    println!("CPU, ns a span      {cost:>10.0}");
    println!("spans / CPU second  {:>10.0}", 1e9 / cost);
    println!("peak memory / wire  {:>10.2}", median(&mut sizes) as f64 / wire_bytes as f64);
    let runs: Vec<_> = objects.list(None).try_collect().await?;
    let runs: Vec<_> = runs.iter().filter(|o| o.location.as_ref().ends_with(".idx")).collect();
    let run_bytes = runs.iter().map(|o| o.size).sum::<u64>() as f64 / runs.len().max(1) as f64;
    println!("index bytes a span  {:>10.1}", run_bytes / spans as f64);
    if options.lookups > 0 {
        lookups(&objects, &ids, options.lookups).await?;
    }
    if options.columns {
        columns(&objects, spans).await?;
    }
    if options.compact {
        compact(store).await?;
    }
    Ok(())
}

/// Merges all files, as if their hour were over.
async fn compact(store: Store) -> anyhow::Result<()> {
    const HOUR: u64 = 3_600_000_000_000;
    let config = CompactionConfig::default();
    let compactor = Compactor::new(Arc::new(store), config, Arc::new(SystemRandom));
    let later = SystemClock::new().now_unix_nano() + HOUR;
    reset_peak();
    let (begun, resident_before) = (cpu_nanos()?, resident("VmRSS:")?);
    let mut done = Compacted::default();
    for unit in compactor.plan(&Tenant::default(), later).await? {
        if unit.table == TableKind::Spans {
            done.add(&compactor.compact(&unit, Box::new(Unpaced)).await?.unwrap_or_default());
        }
    }
    let rate = done.rows_in as f64 / ((cpu_nanos()? - begun) as f64 / 1e9);
    println!("compacted files     {:>7} to {}", done.files_in, done.files_out);
    println!("bytes a span before {:>10.1}", done.bytes_in as f64 / done.rows_in as f64);
    println!("bytes a span after  {:>10.1}", done.bytes_out as f64 / (done.rows_in - done.joined) as f64);
    println!("spans / CPU second  {rate:>10.0}");
    println!("peak memory, MiB    {:>10}", resident("VmHWM:")?.saturating_sub(resident_before) >> 20);
    Ok(())
}

/// What questions cost where requests cost nothing: the store is memory. The first ones, which fetch runs and footers, count.
async fn lookups(objects: &Arc<dyn ObjectStore>, ids: &[TraceId], count: usize) -> anyhow::Result<()> {
    let location = Location::custom(Arc::clone(objects), "memory:///table")?;
    let clock = Arc::new(SystemClock::new());
    let config = ReaderConfig { refresh_after: Duration::from_secs(3600), ..ReaderConfig::default() };
    let reader = Reader::new(location, Arc::clone(&clock) as Arc<dyn Clock>, config);
    let (tenant, mut by_id, mut needles) = (Tenant::default(), Vec::new(), Vec::new());
    for (number, id) in ids.iter().cycle().step_by(7).take(count).enumerate() {
        let begun = clock.monotonic();
        let spans = reader.by_id(&tenant, *id).await?;
        by_id.push((clock.monotonic() - begun).as_micros() as u64);
        anyhow::ensure!(!spans.is_empty(), "trace {id} is not found");
        if number % 10 > 0 {
            continue;
        }
        let own = spans[0].span.attributes.iter().find(|a| a.key == "request.id");
        let value = own.and_then(|a| a.value.as_ref()?.value.clone()).context("no request.id")?;
        let Value::StringValue(value) = value else { anyhow::bail!("request.id is not a text") };
        let hint = ScanHint::AttributeEquals {
            scope: AttributeScope::Span,
            key: "request.id".into(),
            value: HintValue::Str(value),
        };
        let projection = Projection::Columns(vec!["name".into()]);
        let request = ScanRequest { start_unix_nano: 0..u64::MAX, projection, hints: vec![hint] };
        let begun = clock.monotonic();
        let rows: Vec<_> = reader.scan(&tenant, request).await?.try_collect().await?;
        needles.push((clock.monotonic() - begun).as_micros() as u64);
        anyhow::ensure!(rows.iter().any(|rows| !rows.is_empty()), "a span is not found by its request.id");
    }
    for (name, times) in [("by id, µs", &mut by_id), ("needle, µs", &mut needles)] {
        let median = median(times);
        println!("{name:<19} {median:>10} (median; worst {})", times.last().copied().unwrap_or_default());
    }
    Ok(())
}

fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}

/// A batch of everything in so many requests.
fn batch(id: u64, requests: u64, templates: &Templates) -> anyhow::Result<(Batch, InMemoryLog)> {
    let verdict = Arc::new(Verdict {
        keep: true,
        rule: "all".into(),
        rules_version: 1,
        retention: "default".into(),
        threshold: None,
        erase_threshold: false,
        early: false,
        late: false,
        debug: false,
    });
    let mut traces: BTreeMap<TraceId, KeptTrace> = BTreeMap::new();
    let mut records = Vec::new();
    for at in 0..requests {
        let number = id * requests + at;
        let mut body = templates.start(number);
        templates.write(number, &mut body);
        let body = body.freeze();
        for spans in resource_spans(&body) {
            for spans in spans?.scope_spans() {
                for raw in spans?.spans() {
                    let raw = raw?;
                    let view = SpanView::parse(raw)?;
                    let trace_id = TraceId::from_slice(view.trace_id).context("a trace id")?;
                    let trace = traces.entry(trace_id).or_insert_with(|| KeptTrace {
                        tenant: Tenant::default(),
                        trace_id,
                        places: [Position(at)].into_iter().collect(),
                        spans: 0,
                        bytes: 0,
                        start_unix_nano: view.start_time_unix_nano,
                        end_unix_nano: view.end_time_unix_nano,
                        services: Default::default(),
                        verdict: Arc::clone(&verdict),
                    });
                    trace.spans += 1;
                    trace.bytes += raw.len() as u64;
                }
            }
        }
        let meta = SpansMeta {
            tenant: Tenant::default(),
            request_id: RequestId(number),
            received_unix_nano: template::now_unix_nano(),
            rules_version: 1,
        };
        records.push(Arc::new(SpansRecord { meta, body }));
    }
    Ok((Batch { id, traces: traces.into_values().collect() }, InMemoryLog(Arc::new(records))))
}

/// Deletes the data files, so that memory is the batch's.
async fn forget(objects: &Arc<dyn ObjectStore>) -> anyhow::Result<()> {
    let all: Vec<_> = objects.list(None).try_collect().await?;
    for object in all.iter().filter(|o| o.location.as_ref().ends_with(".zstd.parquet")) {
        objects.delete(&object.location).await?;
    }
    Ok(())
}

/// User and system time of all threads that live, in nanoseconds.
fn cpu_nanos() -> anyhow::Result<u64> {
    let mut sum = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        sum += text.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or(0);
    }
    Ok(sum)
}

/// Begins the peak anew. Where that is not allowed the figure is that of the whole run.
fn reset_peak() {
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

fn resident(key: &str) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
}

async fn columns(objects: &Arc<dyn ObjectStore>, spans: u64) -> anyhow::Result<()> {
    let mut sums: BTreeMap<String, (i64, i64)> = BTreeMap::new();
    let all: Vec<_> = objects.list(None).try_collect().await?;
    for object in all.iter().filter(|o| o.location.as_ref().ends_with(".zstd.parquet")) {
        let bytes = objects.get(&object.location).await?.bytes().await?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&bytes)?;
        for column in metadata.row_groups().iter().flat_map(|g| g.columns()) {
            let sum = sums.entry(column.column_path().string()).or_default();
            sum.0 += column.compressed_size();
            sum.1 += column.uncompressed_size();
        }
    }
    for (name, (compressed, plain)) in sums {
        println!("{:>8.2} {:>8.2}  {name}", compressed as f64 / spans as f64, plain as f64 / spans as f64);
    }
    Ok(())
}
