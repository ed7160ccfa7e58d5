//! From what was written to what holds: parse the file, lay flags and environment over it, check each value.

use std::time::Duration;

use serde_saphyr::{Location, Spanned, UserMessageFormatter};

use super::address::{ListenAddress, RulesFrom, parse_store};
use super::auth::nobody_unasked;
use super::error::{ConfigError, Origin, Place, nearest};
use super::interpolate::{Interpolated, interpolate};
use super::memory::{self, Shares};
use super::raw::{Key, RawConfig, RawReceive, RawStore};
use super::units::{ByteSize, Period};
use super::{
    CompactionSection, Config, ConfigFile, DecisionsSection, Env, Flags, LogSection, MemorySection,
    ObserveSection, QuerySection, ReceiveSection, RecorderSection, SampleSection, ShutdownSection,
    StoreSection,
};

// What holds where nothing is configured; `config/tracewell.yaml` says the same.
const REQUEST_BYTES: u64 = 64 << 20;
const REQUEST_BYTES_MIN: u64 = 1 << 10;
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECTIONS: usize = 4096;
const FLUSH_AGE: Duration = Duration::from_secs(30);
const QUERY_TIMEOUT: Duration = Duration::from_secs(30);
const QUESTIONS_AT_ONCE: usize = 8;
const TRACES: usize = 20;
const TRACES_MAX: usize = 1000;
const INDEX_BYTES: u64 = 1 << 30;
const SOCKET_MODE: u32 = 0o660;

pub(super) fn load(
    flags: &Flags,
    env: Env<'_>,
    file: Option<ConfigFile<'_>>,
    machine_bytes: Option<u64>,
) -> Result<Config, ConfigError> {
    let Some(file) = file else {
        return Loader { flags, env, file: None, machine_bytes }.config(RawConfig::default());
    };
    let text = interpolate(file.name, file.text, env)?;
    let source = Source { name: file.name, text };
    let raw = source.parse()?;
    Loader { flags, env, file: Some(source), machine_bytes }.config(raw)
}

/// The file with its variables filled in.
struct Source<'a> {
    name: &'a str,
    text: Interpolated,
}

impl Source<'_> {
    fn parse(&self) -> Result<RawConfig, ConfigError> {
        // A file of comments only is no document; it is an empty configuration.
        let has_content = |line: &str| !matches!(line.trim_start().chars().next(), None | Some('#'));
        if !self.text.text.lines().any(has_content) {
            return Ok(RawConfig::default());
        }
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(&self.text.text, options).map_err(|error| self.explain(&error))
    }

    fn explain(&self, error: &serde_saphyr::Error) -> ConfigError {
        let error = error.without_snippet();
        let place = self.place(error.location().unwrap_or(Location::UNKNOWN));
        if let serde_saphyr::Error::SerdeUnknownField { field, expected, .. } = error {
            return ConfigError::UnknownKey {
                place,
                key: field.clone(),
                nearest: nearest(field, expected.iter().copied()).map(str::to_owned),
                known: expected.iter().map(|&key| key.to_owned()).collect(),
            };
        }
        let message = error.render_with_formatter(&UserMessageFormatter);
        // The place is already in front; the library appends it once more.
        let message = match message.split(" at line ").next().unwrap_or_default() {
            "expected mapping start" => "expected keys with values here, `key: value`",
            "expected string scalar" => "expected a single value here, not a list or keys",
            message => message,
        };
        ConfigError::Syntax { place, message: message.into() }
    }

    fn place(&self, location: Location) -> Place {
        let line = usize::try_from(location.line()).unwrap_or_default().max(1);
        let column = usize::try_from(location.column()).unwrap_or_default().max(1);
        Place { file: self.name.into(), line, column: self.text.original_column(line, column) }
    }
}

pub(super) struct Loader<'a> {
    pub(super) flags: &'a Flags,
    pub(super) env: Env<'a>,
    file: Option<Source<'a>>,
    machine_bytes: Option<u64>,
}

/// A flag and its environment variable.
type Names = (&'static str, &'static str);
const GRPC: Names = ("--grpc", "TRACEWELL_GRPC");
const HTTP: Names = ("--http", "TRACEWELL_HTTP");
const API: Names = ("--api", "TRACEWELL_API");

/// A value and who set it.
pub(super) struct Set<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl Loader<'_> {
    fn config(&self, raw: RawConfig) -> Result<Config, ConfigError> {
        let flags = self.flags;
        let (memory, shares) = self.memory(&raw)?;
        let export_memory = memory::for_exports(memory.limit, raw.export.len());
        let origins = self.listeners(&raw);
        let role = self.role(raw.role)?;
        let config = Config {
            role,
            gateways: self.gateways(raw.gateways, role)?,
            forward: self.forward(raw.forward)?,
            export: self.export(raw.export, role, export_memory)?,
            grpc: self.address("grpc", &flags.grpc, GRPC, raw.grpc, "127.0.0.1:4317")?,
            http: self.address("http", &flags.http, HTTP, raw.http, "127.0.0.1:4318")?,
            api: self.address("api", &flags.api, API, raw.api, "127.0.0.1:3200")?,
            data: self.data(raw.data)?.into(),
            rules: self.rules(raw.rules)?,
            debug: self.debug(raw.debug)?,
            memory,
            receive: self.receive(raw.receive, shares[memory::ADMISSION])?,
            enrich: self.enrich(raw.enrich)?,
            log: self.log(raw.log)?,
            recorder: self.recorder(raw.recorder),
            sample: SampleSection { index: shares[memory::INDEX], decisions: shares[memory::DECISIONS] },
            decisions: self.decisions(raw.decisions)?,
            store: self.store(raw.store, shares[memory::STORE])?,
            compaction: self.compaction(raw.compaction, shares[memory::COMPACTION])?,
            query: self.query(raw.query, shares[memory::QUERY_CACHE])?,
            observe: observe(raw.observe),
            shutdown: self.shutdown(raw.shutdown)?,
            tls: self.tls(raw.tls)?,
            auth: self.auth(raw.auth)?,
            limits: self.limits(raw.limits)?,
            insecure: self.insecure(raw.insecure)?,
            socket_mode: self.socket_mode(raw.socket_mode)?,
        };
        distinct_ports(&config)?;
        nobody_unasked(&config, origins)?;
        Ok(config)
    }

    /// The text that counts for one key with a flag and a variable. An empty variable counts as not set.
    pub(super) fn text(
        &self,
        flag: &Option<String>,
        (flag_name, env_name): Names,
        in_file: Key<String>,
    ) -> Option<Set<String>> {
        if let Some(value) = flag {
            return Some(Set { value: value.clone(), origin: Origin::Flag(flag_name) });
        }
        if let Some(value) = (self.env)(env_name).filter(|value| !value.is_empty()) {
            return Some(Set { value, origin: Origin::Env(env_name) });
        }
        in_file.map(|spanned| Set { origin: self.origin(&spanned), value: spanned.value })
    }

    pub(super) fn origin<T>(&self, spanned: &Spanned<T>) -> Origin {
        match &self.file {
            Some(file) => Origin::File(file.place(spanned.referenced)),
            None => Origin::Default,
        }
    }

    fn address(
        &self,
        key: &str,
        flag: &Option<String>,
        names: Names,
        in_file: Key<String>,
        default: &str,
    ) -> Result<ListenAddress, ConfigError> {
        let set = self.text(flag, names, in_file);
        let set = set.unwrap_or_else(|| Set { value: default.into(), origin: Origin::Default });
        ListenAddress::parse(&set.value).map_err(|message| invalid(set.origin, key, message))
    }

    /// Who says where each server listens.
    fn listeners(&self, raw: &RawConfig) -> [Origin; 3] {
        let flags = self.flags;
        let who = |flag, names, in_file: &Key<String>| {
            self.text(flag, names, in_file.clone()).map_or(Origin::Default, |set| set.origin)
        };
        [who(&flags.grpc, GRPC, &raw.grpc), who(&flags.http, HTTP, &raw.http), who(&flags.api, API, &raw.api)]
    }

    /// Octal, as for chmod.
    fn socket_mode(&self, in_file: Key<String>) -> Result<u32, ConfigError> {
        let Some(written) = in_file else { return Ok(SOCKET_MODE) };
        let mode = u32::from_str_radix(&written.value, 8).ok().filter(|mode| *mode <= 0o777);
        let message = "write it like \"0660\": who may connect, as for chmod".into();
        mode.ok_or_else(|| invalid(self.origin(&written), "socket_mode", message))
    }

    fn data(&self, in_file: Key<String>) -> Result<String, ConfigError> {
        match self.text(&self.flags.data, ("--data", "TRACEWELL_DATA"), in_file) {
            Some(set) if set.value.is_empty() => Err(invalid(set.origin, "data", "name a directory".into())),
            Some(set) => Ok(set.value),
            None => Ok("./tracewell-data".into()),
        }
    }

    fn rules(&self, in_file: Key<String>) -> Result<RulesFrom, ConfigError> {
        match self.text(&self.flags.rules, ("--rules", "TRACEWELL_RULES"), in_file) {
            Some(set) => {
                RulesFrom::parse(&set.value).map_err(|message| invalid(set.origin, "rules", message))
            }
            None => Ok(RulesFrom::BuiltIn),
        }
    }

    fn debug(&self, in_file: Key<bool>) -> Result<bool, ConfigError> {
        const NAME: &str = "TRACE_DEBUG";
        match (self.env)(NAME).as_deref().map(str::trim) {
            None | Some("") => Ok(in_file.is_some_and(|spanned| spanned.value)),
            Some("1" | "true" | "yes" | "on") => Ok(true),
            Some("0" | "false" | "no" | "off") => Ok(false),
            Some(_) => Err(invalid(Origin::Env(NAME), "debug", "write 1 or 0".into())),
        }
    }

    /// The limit, and what each part is given of it.
    fn memory(&self, raw: &RawConfig) -> Result<(MemorySection, Shares), ConfigError> {
        const KEY: &str = "memory.limit";
        let limit = match &raw.memory.limit {
            Some(limit) => Set { value: limit.value.0, origin: self.origin(limit) },
            None => Set { value: memory::limit_for(self.machine_bytes), origin: Origin::Default },
        };
        let mut set = [None; memory::PARTS.len()];
        for (part, key, may_be_zero) in [
            (memory::ADMISSION, &raw.receive.budget, false),
            (memory::INDEX, &raw.sample.index, false),
            (memory::DECISIONS, &raw.sample.decisions, false),
            (memory::STORE, &raw.store.flush.bytes, false),
            (memory::QUERY_CACHE, &raw.query.cache, true),
            (memory::COMPACTION, &raw.compaction.memory, false),
        ] {
            if let Some(zero) = key.as_ref().filter(|key| key.value.0 == 0 && !may_be_zero) {
                let message = "must be more than 0".into();
                return Err(invalid(self.origin(zero), memory::PARTS[part].key, message));
            }
            set[part] = key.as_ref().map(|key| key.value.0);
        }
        if raw.compaction.enabled.as_ref().is_some_and(|enabled| !enabled.value) {
            set[memory::COMPACTION] = Some(0);
        }
        let exports = memory::for_exports(limit.value, raw.export.len());
        let shares = memory::split(limit.value.saturating_sub(exports), &set).map_err(|why| {
            let beside =
                if exports > 0 { format!("; {} are for `export`", ByteSize(exports)) } else { String::new() };
            invalid(limit.origin, KEY, why + &beside)
        })?;
        let section = MemorySection {
            limit: limit.value,
            notes: shares[memory::NOTES],
            log_queue: shares[memory::LOG_QUEUE],
            log_cache: shares[memory::LOG_CACHE],
            questions: shares[memory::QUESTIONS],
            recorder: shares[memory::RECORDER],
            losses: shares[memory::LOSSES],
            ledger: shares[memory::LEDGER],
            directories: shares[memory::DIRECTORIES],
        };
        Ok((section, shares))
    }

    fn store(&self, raw: RawStore, flush_bytes: u64) -> Result<StoreSection, ConfigError> {
        let url = match self.text(&self.flags.store, ("--store", "TRACEWELL_STORE"), raw.url) {
            Some(set) => {
                Some(parse_store(&set.value).map_err(|message| invalid(set.origin, "store.url", message))?)
            }
            None => None,
        };
        Ok(StoreSection {
            url,
            flush_bytes,
            flush_age: self.positive("store.flush.age", raw.flush.age, Period(FLUSH_AGE))?.0,
            lifecycle: or(raw.lifecycle, true),
            storage_class: self.storage_class(raw.storage_class)?,
            columns: raw.columns.into_iter().map(|(attribute, kind)| (attribute, kind.value)).collect(),
        })
    }

    fn storage_class(&self, class: Key<String>) -> Result<Option<String>, ConfigError> {
        let Some(class) = class.filter(|class| !class.value.is_empty()) else { return Ok(None) };
        if class.value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) {
            return Ok(Some(class.value));
        }
        let message = format!("`{}` is no storage class such as STANDARD_IA", class.value);
        Err(invalid(self.origin(&class), "store.storage_class", message))
    }

    fn receive(&self, raw: RawReceive, budget: u64) -> Result<ReceiveSection, ConfigError> {
        let limit_origin = raw.limit.as_ref().map(|limit| self.origin(limit));
        let budget_origin = raw.budget.as_ref().map(|budget| self.origin(budget));
        let limit_default = (budget / 2).clamp(REQUEST_BYTES_MIN, REQUEST_BYTES);
        let section = ReceiveSection {
            limit: self.positive_bytes("receive.limit", raw.limit, limit_default)?,
            budget,
            header_timeout: self
                .positive("receive.header_timeout", raw.header_timeout, Period(HEADER_TIMEOUT))?
                .0,
            body_timeout: self.positive("receive.body_timeout", raw.body_timeout, Period(BODY_TIMEOUT))?.0,
            connections: self.positive("receive.connections", raw.connections, CONNECTIONS)?,
            peers: self.peers(raw.streams, raw.header_bytes, raw.keepalive, raw.cors)?,
        };
        if !(REQUEST_BYTES_MIN..=1 << 30).contains(&section.limit) {
            let message = "must be from 1KiB to 1GiB".into();
            return Err(invalid(limit_origin.unwrap_or(Origin::Default), "receive.limit", message));
        }
        // A request that is being decompressed is there twice.
        if section.budget / 2 < section.limit {
            let is_share = if budget_origin.is_some() { "" } else { ", its share of memory.limit," };
            let origin = budget_origin.or(limit_origin).unwrap_or(Origin::Default);
            let message = format!(
                "{}{is_share} is less than twice receive.limit ({}): the largest request would never fit",
                ByteSize(section.budget),
                ByteSize(section.limit)
            );
            return Err(invalid(origin, "receive.budget", message));
        }
        Ok(section)
    }

    fn log(&self, raw: super::raw::RawLog) -> Result<LogSection, ConfigError> {
        let default = LogSection::default();
        let origins = [&raw.limit, &raw.segment].map(|key| key.as_ref().map(|size| self.origin(size)));
        let section = LogSection {
            segment: self.positive_bytes("log.segment", raw.segment, default.segment)?,
            limit: self.positive_bytes("log.limit", raw.limit, default.limit)?,
        };
        if section.limit / 2 < section.segment {
            let origin = origins.into_iter().flatten().next().unwrap_or(Origin::Default);
            let message = format!(
                "{} is less than two segments ({} each)",
                ByteSize(section.limit),
                ByteSize(section.segment)
            );
            return Err(invalid(origin, "log.limit", message));
        }
        Ok(section)
    }

    fn recorder(&self, raw: super::raw::RawRecorder) -> RecorderSection {
        let default = RecorderSection::default();
        RecorderSection {
            age: or(raw.age, Period(default.age)).0,
            size: or(raw.size, ByteSize(default.size)).0,
        }
    }

    fn decisions(&self, raw: super::raw::RawDecisions) -> Result<DecisionsSection, ConfigError> {
        let default = DecisionsSection::default();
        Ok(DecisionsSection {
            keep: self.positive("decisions.keep", raw.keep, Period(default.keep))?.0,
            size: self.positive_bytes("decisions.size", raw.size, default.size)?,
        })
    }

    fn compaction(
        &self,
        raw: super::raw::RawCompaction,
        memory: u64,
    ) -> Result<CompactionSection, ConfigError> {
        let default = CompactionSection::default();
        if let Some(few) = raw.memory.as_ref().filter(|few| few.value.0 < memory::COMPACTION_MIN) {
            let message =
                format!("is too little to merge two files: at least {}", ByteSize(memory::COMPACTION_MIN));
            return Err(invalid(self.origin(few), "compaction.memory", message));
        }
        let origin = raw.cpu_share.as_ref().map_or(Origin::Default, |share| self.origin(share));
        let cpu_share = or(raw.cpu_share, default.cpu_share);
        if !(cpu_share > 0.0 && cpu_share <= 1.0) {
            let message = "is a part of one core: more than 0, at most 1".into();
            return Err(invalid(origin, "compaction.cpu_share", message));
        }
        Ok(CompactionSection {
            enabled: or(raw.enabled, default.enabled),
            cpu_share,
            target: self.positive_bytes("compaction.target", raw.target, default.target)?,
            gather: self.positive("compaction.gather", raw.gather, default.gather)?,
            settle: self.positive("compaction.settle", raw.settle, Period(default.settle))?.0,
            memory,
        })
    }

    fn query(&self, raw: super::raw::RawQuery, cache: u64) -> Result<QuerySection, ConfigError> {
        let origin = raw.limit.as_ref().or(raw.limit_max.as_ref()).map(|limit| self.origin(limit));
        let section = QuerySection {
            timeout: self.positive("query.timeout", raw.timeout, Period(QUERY_TIMEOUT))?.0,
            concurrency: self.positive("query.concurrency", raw.concurrency, QUESTIONS_AT_ONCE)?,
            limit: self.positive("query.limit", raw.limit, TRACES)?,
            limit_max: self.positive("query.limit_max", raw.limit_max, TRACES_MAX)?,
            cache,
            index: or(raw.index, ByteSize(INDEX_BYTES)).0,
        };
        if section.limit > section.limit_max {
            let message = format!("{} is more than query.limit_max ({})", section.limit, section.limit_max);
            return Err(invalid(origin.unwrap_or(Origin::Default), "query.limit", message));
        }
        Ok(section)
    }

    fn shutdown(&self, raw: super::raw::RawShutdown) -> Result<ShutdownSection, ConfigError> {
        let default = Period(ShutdownSection::default().deadline);
        Ok(ShutdownSection { deadline: self.positive("shutdown.deadline", raw.deadline, default)?.0 })
    }

    pub(super) fn positive<T>(&self, key: &str, written: Key<T>, default: T) -> Result<T, ConfigError>
    where
        T: Default + PartialEq,
    {
        match written {
            Some(zero) if zero.value == T::default() => {
                Err(invalid(self.origin(&zero), key, "must be more than 0".into()))
            }
            Some(spanned) => Ok(spanned.value),
            None => Ok(default),
        }
    }

    pub(super) fn positive_bytes(
        &self,
        key: &str,
        written: Key<ByteSize>,
        default: u64,
    ) -> Result<u64, ConfigError> {
        Ok(self.positive(key, written, ByteSize(default))?.0)
    }
}

fn observe(raw: super::raw::RawObserve) -> ObserveSection {
    ObserveSection { logs: raw.logs.unwrap_or_default(), level: raw.level.unwrap_or_default() }
}

/// Three servers cannot listen on one address.
fn distinct_ports(config: &Config) -> Result<(), ConfigError> {
    let servers = [("grpc", &config.grpc), ("http", &config.http), ("api", &config.api)];
    for (index, (key, address)) in servers.iter().enumerate() {
        let same = |(_, other): &&(&str, &ListenAddress)| other == address && address.port() != 0;
        if let Some((other, _)) = servers[..index].iter().find(same) {
            let message = format!("{address} is already that of `{other}`");
            return Err(invalid(Origin::Default, key, message));
        }
    }
    Ok(())
}

pub(super) fn or<T>(written: Key<T>, default: T) -> T {
    written.map_or(default, |spanned| spanned.value)
}

pub(super) fn invalid(origin: Origin, key: &str, message: String) -> ConfigError {
    ConfigError::Invalid { origin, key: key.into(), message }
}
