//! The commands.
//!
//! `tracewell run` is the daemon: the composition root builds it from [`args::RunArgs`]. Every other command asks a daemon
//! or reads a store, prints, and tells by its exit code how it went ([`Exit`]): [`execute`] runs those.

mod access;
pub mod args;
mod client;
pub mod demo;
mod doctor;
pub mod output;
mod rules_check;
mod run;
mod table_compact;
mod table_expire;
mod table_forget;
mod table_info;
mod table_rebuild;
mod table_source;
mod table_verify;
mod token;
mod trace_export;
mod trace_find;
mod trace_import;
mod trace_pin;
mod trace_show;
mod trace_why;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use access::AccessArgs;
pub use client::SourceArgs;
pub use doctor::DoctorArgs;
pub use rules_check::RulesCheckArgs;
pub use table_compact::TableCompactArgs;
pub use table_expire::TableExpireArgs;
pub use table_forget::TableForgetArgs;
pub use table_info::TableInfoArgs;
pub use table_rebuild::TableRebuildArgs;
pub use table_verify::TableVerifyArgs;
pub use token::{OwnerArgs, TokenCommand, TokenNewArgs, TokenPasswordArgs};
pub use trace_export::TraceExportArgs;
pub use trace_find::TraceFindArgs;
pub use trace_import::TraceImportArgs;
pub use trace_pin::TracePinArgs;
pub use trace_show::TraceShowArgs;
pub use trace_why::TraceWhyArgs;

use self::args::{GlobalArgs, RunArgs};
use self::output::Canvas;

/// Receives traces over OTLP, keeps what matters, and finds it again.
#[derive(Debug, Parser)]
#[command(name = "tracewell", version, propagate_version = true, max_term_width = 110)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Receive, sample, store and answer
    Run(Box<RunArgs>),
    /// Find and read traces
    #[command(subcommand)]
    Trace(TraceCommand),
    /// Check sampling rules
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Look into the tables, and care for them
    #[command(subcommand)]
    Table(TableCommand),
    /// Make credentials
    #[command(subcommand)]
    Token(TokenCommand),
    /// Look whether everything that the configuration names is there and right
    Doctor(DoctorArgs),
}

/// What is done with tables.
#[derive(Debug, Subcommand)]
pub enum TableCommand {
    /// Say what the tables hold, by class, day and service
    Info(TableInfoArgs),
    /// Merge small files into large ones
    Compact(TableCompactArgs),
    /// Take out what is past its retention
    Expire(TableExpireArgs),
    /// Erase traces, and write down what was rewritten
    Forget(TableForgetArgs),
    /// Read everything, and say what is wrong
    Verify(TableVerifyArgs),
    /// Index what has no index, and take out what cannot be read
    Rebuild(TableRebuildArgs),
}

/// What is done with traces.
#[derive(Debug, Subcommand)]
pub enum TraceCommand {
    /// Find traces, the newest first
    Find(TraceFindArgs),
    /// Show one trace as a waterfall
    Show(TraceShowArgs),
    /// Keep a trace, whatever the rules say
    Pin(TracePinArgs),
    /// Tell why a trace was kept or dropped
    Why(TraceWhyArgs),
    /// Write traces into a file, as OTLP/JSON lines
    Export(TraceExportArgs),
    /// Send the traces of such a file
    Import(TraceImportArgs),
}

/// What is done with rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// Check a rules file, and say where it is wrong
    Check(RulesCheckArgs),
}

/// How a command went, as its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: nothing was found, or a check failed.
    Nothing,
    /// 2: wrong usage, or something could not be reached.
    Failed,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Done => Self::SUCCESS,
            Exit::Nothing => Self::from(1),
            Exit::Failed => Self::from(2),
        }
    }
}

/// A command that asks or checks something: everything but `run`.
#[derive(Debug)]
pub enum Question {
    /// `trace …`
    Trace(TraceCommand),
    /// `rules …`
    Rules(RulesCommand),
    /// `table …`
    Table(TableCommand),
    /// `token …`
    Token(TokenCommand),
    /// `doctor`
    Doctor(DoctorArgs),
}

/// Runs a command to its end. Its answer goes to standard output, what went wrong to standard error.
pub async fn execute(question: Question, global: &GlobalArgs) -> Exit {
    let canvas = Canvas::of_stdout(global.color);
    let result = match question {
        Question::Trace(TraceCommand::Find(args)) => trace_find::run(&args, &canvas).await,
        Question::Trace(TraceCommand::Show(args)) => trace_show::run(&args, &canvas).await,
        Question::Trace(TraceCommand::Pin(args)) => trace_pin::run(&args).await,
        Question::Trace(TraceCommand::Why(args)) => trace_why::run(&args, &canvas).await,
        Question::Trace(TraceCommand::Export(args)) => trace_export::run(&args).await,
        Question::Trace(TraceCommand::Import(args)) => trace_import::run(&args).await,
        Question::Rules(RulesCommand::Check(args)) => rules_check::run(&args),
        Question::Token(command) => token::run(&command),
        Question::Doctor(args) => doctor::run(&args, &canvas).await,
        Question::Table(TableCommand::Info(args)) => table_info::run(&args, &canvas).await,
        Question::Table(TableCommand::Expire(args)) => table_expire::run(&args, &canvas).await,
        Question::Table(TableCommand::Forget(args)) => table_forget::run(&args).await,
        Question::Table(TableCommand::Rebuild(args)) => table_rebuild::run(&args).await,
        Question::Table(TableCommand::Verify(args)) => table_verify::run(&args, &canvas).await,
        Question::Table(TableCommand::Compact(args)) => table_compact::run(&args, &canvas).await,
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        Exit::Failed
    })
}

#[cfg(test)]
mod tests;

/// Parses the command line and does what it says.
pub fn main() -> ExitCode {
    // One provider for every TLS connection of the process; a second start in one process finds it there.
    let _there_already = rustls::crypto::ring::default_provider().install_default();
    let Cli { global, command } = Cli::parse();
    let question = match command {
        Command::Run(args) => return run::run(&args),
        Command::Trace(command) => Question::Trace(command),
        Command::Rules(command) => Question::Rules(command),
        Command::Table(command) => Question::Table(command),
        Command::Token(command) => Question::Token(command),
        Command::Doctor(args) => Question::Doctor(args),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: cannot start the runtime: {error}");
            return Exit::Failed.into();
        }
    };
    let exit = runtime.block_on(execute(question, &global));
    runtime.shutdown_background();
    exit.into()
}
