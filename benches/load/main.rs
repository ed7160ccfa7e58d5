//! End-to-end load benchmark of any OTLP/gRPC server: acknowledged spans, latency, and the server's CPU and memory.
//!
//! `cargo bench --bench load -- --help`; benches/README.md says what the figures mean.
#![allow(clippy::disallowed_methods)] // A benchmark reads the real clock.

mod process;
mod report;
mod sender;
mod template;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Parser;

use process::{Server, Usage};
use report::Report;
use sender::Plan;
use template::Shares;

/// Sends spans to an OTLP/gRPC server and measures what they cost it.
#[derive(Parser, Debug)]
#[command(name = "load")]
struct Options {
    /// The server: http://host:port.
    #[arg(long, default_value = "http://127.0.0.1:4317")]
    endpoint: String,
    /// Spans to send in all (rounded up to whole requests of 512).
    #[arg(long, default_value_t = 1_500_000)]
    spans: u64,
    /// Connections.
    #[arg(long, default_value_t = 2)]
    connections: usize,
    /// Requests in flight on each connection.
    #[arg(long, default_value_t = 4)]
    in_flight: usize,
    /// Spans a second, from all connections together; 0 sends as fast as acknowledgements come back.
    #[arg(long, default_value_t = 0)]
    rate: u64,
    /// Share of traces with an error, 0 to 1.
    #[arg(long, default_value_t = 0.01)]
    errors: f64,
    /// Share of traces slower than 500 ms, 0 to 1.
    #[arg(long, default_value_t = 0.01)]
    slow: f64,
    /// Share of traces on the route /login, 0 to 1.
    #[arg(long, default_value_t = 0.0)]
    login: f64,
    /// Services (resources) that the spans of one request come from: 1, 2, 4 or 8.
    #[arg(long, default_value_t = 1)]
    services: usize,
    /// Process id of the server, for its CPU and memory.
    #[arg(long, conflicts_with = "start")]
    pid: Option<u32>,
    /// Command that starts the server; it is ended by SIGTERM afterwards.
    #[arg(long)]
    start: Option<String>,
    /// Seconds to wait after the last acknowledgement before the server's CPU and memory are read: what it put off
    /// (decisions of tail sampling, writing) belongs to the bill.
    #[arg(long, default_value_t = 0.0)]
    settle: f64,
    /// Seed of the ids; the same seed sends the same traces. Default: the time.
    #[arg(long)]
    seed: Option<u64>,
    /// Threads of the sender.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Give up after so many seconds.
    #[arg(long, default_value_t = 600)]
    deadline: u64,
    /// What this run is called in the output.
    #[arg(long, default_value = "load")]
    label: String,
    /// Print one JSON document instead of a table.
    #[arg(long)]
    json: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(options.threads).enable_all().build()?;
    runtime.block_on(run(options))
}

async fn run(options: Options) -> anyhow::Result<()> {
    let server = match (&options.pid, &options.start) {
        (Some(pid), _) => Some(Server::running(*pid)),
        (None, Some(command)) => Some(Server::start(command)?),
        (None, None) => None,
    };
    let result = measure(&options, server.as_ref()).await;
    if let Some(server) = server {
        server.stop().await?;
    }
    let report = result?;
    if options.json {
        report.print_json()
    } else {
        report.print_table()
    }
    if report.outcome.failed > 0 {
        bail!("{} requests failed: {}", report.outcome.failed, report.outcome.last_error);
    }
    Ok(())
}

async fn measure(options: &Options, server: Option<&Server>) -> anyhow::Result<Report> {
    let seed = options.seed.unwrap_or_else(template::now_unix_nano);
    let shares = Shares { errors: options.errors, slow: options.slow, login: options.login };
    if ![1, 2, 4, 8].contains(&options.services) {
        bail!("--services is 1, 2, 4 or 8");
    }
    let templates = Arc::new(template::Templates::new(seed, shares, options.services));
    templates.check().context("the sender's own requests are not what they should be")?;
    sender::wait_until_reachable(&options.endpoint, Duration::from_secs(60)).await?;
    let plan = Plan {
        endpoint: options.endpoint.clone(),
        requests: options.spans.div_ceil(template::SPANS_PER_REQUEST),
        connections: options.connections.max(1),
        in_flight: options.in_flight.max(1),
        spans_per_second: options.rate,
        deadline: Duration::from_secs(options.deadline),
    };

    let usage = |server: Option<&Server>| server.map(Server::usage).transpose();
    let before = usage(server)?;
    let sender_before = Usage::of_self()?;
    let started = Instant::now();
    let outcome = sender::send(&plan, templates.clone()).await?;
    let wall = started.elapsed();
    let acknowledged = usage(server)?;
    let sender_cpu = Usage::of_self()?.cpu_seconds - sender_before.cpu_seconds;
    tokio::time::sleep(Duration::from_secs_f64(options.settle)).await;
    let settled = usage(server)?;
    Ok(Report {
        label: options.label.clone(),
        seed,
        request_bytes: templates.request_bytes(),
        sent: templates.kinds(outcome.requests),
        outcome,
        wall,
        sender_cpu,
        settle: options.settle,
        server: before.zip(acknowledged).zip(settled),
    })
}
