//! Configuration: what a person wrote (flags, environment, a YAML file) → what the stages are given, validated.
//!
//! A flag counts before its environment variable, that before the file, that before the default. Nothing here reads a
//! file, the environment or the machine: all come in as parameters.

mod address;
mod auth;
mod enrich;
mod error;
mod export;
mod fleet;
mod interpolate;
mod limits;
mod memory;
mod raw;
mod sections;
mod tls;
mod units;
mod validate;

use std::path::PathBuf;

pub use address::{ListenAddress, RulesFrom};
pub use error::{ConfigError, Origin, Place};
pub use export::{ExportSection, ExportTarget, Secret};
pub use fleet::{ClientTls, ForwardSection, GatewaysSection, Members, Role};
pub use limits::{LimitsSection, PeersSection, RateSection};
pub use memory::{LOSSES_PEAK, QUESTION_PEAK, STORE_PEAK};
pub use sections::{
    CompactionSection, DecisionsSection, LogFormat, LogLevel, LogSection, MemorySection, ObserveSection,
    QuerySection, ReceiveSection, RecorderSection, SampleSection, ShutdownSection, StoreSection,
};
pub use tls::TlsSection;
pub use units::{ByteSize, Period, UnitError};

use crate::auth::AuthConfig;
use crate::enrich::EnrichConfig;

/// A validated configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// What this process does.
    pub role: Role,
    /// The fleet of gateways.
    pub gateways: GatewaysSection,
    /// What an agent does before it forwards.
    pub forward: ForwardSection,
    /// Where kept spans go on to.
    pub export: ExportSection,
    /// Where OTLP over gRPC is received.
    pub grpc: ListenAddress,
    /// Where OTLP over HTTP is received.
    pub http: ListenAddress,
    /// Where questions are answered.
    pub api: ListenAddress,
    /// The directory of the log, and of the table where no store is named.
    pub data: PathBuf,
    /// Where the sampling rules come from.
    pub rules: RulesFrom,
    /// Keep everything, whatever the rules say (`TRACE_DEBUG=1`).
    pub debug: bool,
    /// Memory, all in all.
    pub memory: MemorySection,
    /// The receivers.
    pub receive: ReceiveSection,
    /// Attribute actions, detectors, redaction.
    pub enrich: EnrichConfig,
    /// The log.
    pub log: LogSection,
    /// The flight recorder.
    pub recorder: RecorderSection,
    /// The index of traces.
    pub sample: SampleSection,
    /// The ledger of decisions.
    pub decisions: DecisionsSection,
    /// The table.
    pub store: StoreSection,
    /// Compaction of the table.
    pub compaction: CompactionSection,
    /// Questions.
    pub query: QuerySection,
    /// The daemon's own logs.
    pub observe: ObserveSection,
    /// The end.
    pub shutdown: ShutdownSection,
    /// Which listeners speak TLS.
    pub tls: TlsSection,
    /// Who is let in.
    pub auth: AuthConfig,
    /// What each tenant may send.
    pub limits: LimitsSection,
    /// Whether everybody may reach listeners that ask nobody who they are.
    pub insecure: bool,
    /// The permissions of Unix sockets.
    pub socket_mode: u32,
}

/// What was given on the command line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--role`
    pub role: Option<String>,
    /// `--grpc`
    pub grpc: Option<String>,
    /// `--http`
    pub http: Option<String>,
    /// `--api`
    pub api: Option<String>,
    /// `--data`
    pub data: Option<String>,
    /// `--store`
    pub store: Option<String>,
    /// `--rules`
    pub rules: Option<String>,
    /// `--config`
    pub config: Option<String>,
    /// `--insecure`
    pub insecure: bool,
}

/// A configuration file that has been read.
#[derive(Debug, Clone, Copy)]
pub struct ConfigFile<'a> {
    /// Its name, for errors.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// Looks up an environment variable.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Config {
    /// Which configuration file to read, if any: `--config`, or `TRACEWELL_CONFIG`.
    pub fn file(flags: &Flags, env: Env<'_>) -> Option<PathBuf> {
        let named = flags.config.clone().or_else(|| env("TRACEWELL_CONFIG"));
        named.filter(|name| !name.is_empty()).map(PathBuf::from)
    }

    /// The configuration that holds for these flags, this environment and this file, on a machine with so many bytes of
    /// memory (`None`: nobody knows).
    ///
    /// # Errors
    /// The first key that cannot be used, with its place.
    pub fn load(
        flags: &Flags,
        env: Env<'_>,
        file: Option<ConfigFile<'_>>,
        machine_bytes: Option<u64>,
    ) -> Result<Self, ConfigError> {
        validate::load(flags, env, file, machine_bytes)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::load(&Flags::default(), &|_| None, None, None)
            .expect("the defaults are valid: a test loads them")
    }
}

#[cfg(test)]
mod tests;
