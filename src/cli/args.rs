//! The command line of `tracewell run`, and the flags that every command has.
//!
//! Values are taken as text here: [`crate::config::Config::load`] checks them, together with what the environment and
//! the configuration file say, so that a wrong value is explained in one way wherever it comes from.

use clap::{Args, ColorChoice};

use crate::config::Flags;

/// Flags of every command.
#[derive(Debug, Clone, Args)]
pub struct GlobalArgs {
    /// Colour the output: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", hide_possible_values = true)]
    pub color: ColorChoice,
}

/// Receive, sample, store and answer
///
/// With no flags at all it listens on 127.0.0.1 and keeps its data in ./tracewell-data. Each flag has an environment
/// variable; a flag counts before its variable, that before the configuration file.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = RUN_EXAMPLES)]
pub struct RunArgs {
    /// What this process does: all, agent or gateway [env: TRACEWELL_ROLE] [default: all]
    ///
    /// all: everything in one process. agent: receives, enriches, logs, and forwards to the gateways that the configuration
    /// names. gateway: as all, fed by agents.
    #[arg(long, value_name = "ROLE")]
    pub role: Option<String>,

    /// Send itself realistic traffic over OTLP
    #[arg(long)]
    pub demo: bool,

    /// Where OTLP over gRPC is received [env: TRACEWELL_GRPC] [default: 127.0.0.1:4317]
    #[arg(long, value_name = "HOST:PORT")]
    pub grpc: Option<String>,

    /// Where OTLP over HTTP is received [env: TRACEWELL_HTTP] [default: 127.0.0.1:4318]
    #[arg(long, value_name = "HOST:PORT")]
    pub http: Option<String>,

    /// Where questions are answered: API, UI, metrics [env: TRACEWELL_API] [default: 127.0.0.1:3200]
    #[arg(long, value_name = "HOST:PORT")]
    pub api: Option<String>,

    /// The directory of the log, and of the table where no store is named [env: TRACEWELL_DATA] [default: ./tracewell-data]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,

    /// Where the table lies: file:///…, s3://bucket/prefix, gs://… or az://… [env: TRACEWELL_STORE] [default: DATA/store]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// Sampling rules: a file, or consul://host:port/key [env: TRACEWELL_RULES] [default: built in]
    #[arg(long, value_name = "FILE")]
    pub rules: Option<String>,

    /// Configuration file [env: TRACEWELL_CONFIG] [default: none needed]
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,

    /// Let everybody in who can reach a listener, from other machines too, unasked [env: TRACEWELL_INSECURE]
    #[arg(long)]
    pub insecure: bool,
}

const RUN_EXAMPLES: &str = "\
Examples:
  tracewell run
      Receive on 127.0.0.1:4317 (gRPC) and :4318 (HTTP), answer on :3200
  tracewell run --demo
      The same, with traffic of its own to look at
  tracewell run --grpc 0.0.0.0:4317 --http 0.0.0.0:4318 --insecure
      Receive from other machines too, whoever they are; better say whom to let in: `auth:` in the configuration
  tracewell run --rules rules.yaml --store s3://traces/prod
      Own rules, the table in a bucket (AWS_* variables as usual)
  TRACE_DEBUG=1 tracewell run
      Keep every trace, whatever the rules say";

impl From<&RunArgs> for Flags {
    fn from(args: &RunArgs) -> Self {
        Self {
            role: args.role.clone(),
            grpc: args.grpc.clone(),
            http: args.http.clone(),
            api: args.api.clone(),
            data: args.data.clone(),
            store: args.store.clone(),
            rules: args.rules.clone(),
            config: args.config.clone(),
            insecure: args.insecure,
        }
    }
}

#[cfg(test)]
mod tests;
