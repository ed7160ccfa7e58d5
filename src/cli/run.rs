//! `tracewell run`: configuration, logs, runtime, signals; everything else is the composition root's.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use futures::FutureExt;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::args::RunArgs;
use super::demo;
use crate::app::{self, Companion, Ended};
use crate::config::{Config, ConfigFile, Flags, LogFormat};
use crate::observe::logs;
use crate::runtime::cpu::cores;
use crate::runtime::disk::{RealDisk, read_text};
use crate::runtime::{Clock, SystemClock};

const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
const FAILED: u8 = 2;

/// Runs the daemon until a signal ends it. Exit codes: 0 drained, 1 a task died, 2 it could not start.
pub fn run(args: &RunArgs) -> ExitCode {
    let config = match configuration(&Flags::from(args)) {
        Ok((config, _)) => config,
        Err(problem) => return fail(&problem),
    };
    let format = match config.observe.logs {
        LogFormat::Auto => logs::LogFormat::Auto,
        LogFormat::Json => logs::LogFormat::Json,
        LogFormat::Text => logs::LogFormat::Text,
    };
    if let Err(problem) = logs::start(format, config.observe.level.as_str()) {
        return fail(&problem.to_string());
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(cores().get()).enable_all().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start the runtime: {error}")),
    };
    let ended = runtime.block_on(async {
        let stop = stop_signal()?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let companion = args.demo.then(|| demo(clock.clone()));
        app::run(config, clock, companion, stop).await.map_err(|e| e.to_string())
    });
    // Blocking reads still under way are not waited for: nothing acknowledged depends on them.
    runtime.shutdown_background();
    match ended {
        Ok(Ended::Cleanly) => ExitCode::SUCCESS,
        Ok(Ended::Uncleanly) => ExitCode::FAILURE,
        Err(problem) => fail(&problem),
    }
}

fn demo(clock: Arc<dyn Clock>) -> Companion {
    Box::new(|entrance, stop| demo::send(entrance, stop, clock).boxed())
}

fn fail(problem: &str) -> ExitCode {
    anstream::eprintln!("tracewell: {problem}");
    ExitCode::from(FAILED)
}

/// The configuration of these flags, the environment, and the file that they name, if they name one.
///
/// # Errors
/// In words: what cannot be read, or is wrong, and where.
pub(super) fn configuration(flags: &Flags) -> Result<(Config, Option<PathBuf>), String> {
    let env = |name: &str| std::env::var(name).ok();
    let machine_bytes = crate::runtime::memory::machine_bytes();
    let Some(path) = Config::file(flags, &env) else {
        let config = Config::load(flags, &env, None, machine_bytes).map_err(|e| e.to_string())?;
        return Ok((config, None));
    };
    let name = path.display().to_string();
    let text = read_text(&RealDisk, &path, CONFIG_BYTES_MAX)
        .map_err(|e| format!("cannot read the configuration file {name}: {e}"))?;
    let file = ConfigFile { name: &name, text: &text };
    let config = Config::load(flags, &env, Some(file), machine_bytes).map_err(|e| e.to_string())?;
    Ok((config, Some(path)))
}

/// Ends when SIGTERM or SIGINT comes. A second one ends the process at once: what was acknowledged is in the log.
fn stop_signal() -> Result<impl Future<Output = ()> + Send, String> {
    let listen = |kind| signal(kind).map_err(|e| format!("cannot listen for signals: {e}"));
    let (mut term, mut int) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        either(&mut term, &mut int).await;
        let again = async move {
            either(&mut term, &mut int).await;
            tracing::warn!("a second signal: leaving at once");
            std::process::exit(130);
        };
        app::in_background("second-signal", again);
    })
}

async fn either(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}
