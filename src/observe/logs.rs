//! Structured logs on standard error: JSON, or readable lines on a terminal.
//!
//! Every line that belongs to a request, a verdict or a commit carries its correlation id. No line carries the value
//! of an attribute, a header or a credential.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// Aligned text, coloured on a terminal.
    Text,
}

/// Starts logging to standard error. `level` is a level (`info`) of our own lines, or a list of directives
/// (`info,tracewell::log=debug`). With a level, libraries say what they warn of; but for the Delta kernel, which calls a
/// table that is not there yet an error, and whose errors come to us anyway.
///
/// # Errors
/// When `level` is neither. Does nothing when logging has been started already.
pub fn start(format: LogFormat, level: &str) -> Result<(), ParseError> {
    let plain = !level.contains([',', '=']);
    let directives =
        if plain { format!("warn,delta_kernel=off,tracewell={level}") } else { level.to_owned() };
    let filter = EnvFilter::builder().parse(directives)?;
    let terminal = std::io::stderr().is_terminal();
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Json => true,
        LogFormat::Text => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A second start (several daemons in one test process) keeps the first one's settings.
    let _already_started = if json {
        builder.json().flatten_event(true).with_current_span(false).try_init()
    } else {
        builder.with_ansi(terminal).with_target(false).compact().try_init()
    };
    Ok(())
}
