//! `tracewell doctor`: reads the configuration, reaches each thing it names, and says what is wrong.

use std::sync::Arc;
use std::time::Duration;

use anstyle::{AnsiColor, Style};
use clap::Args;
use serde_json::json;

use super::output::{Canvas, DIM, ERROR, print, text, units};
use super::{Exit, rules_check};
use crate::app::exporting;
use crate::auth::{CREDENTIALS_BYTES_MAX, Credentials};
use crate::config::{Config, ExportTarget, Flags, RulesFrom};
use crate::runtime::disk::{RealDisk, read_text};
use crate::runtime::tls::server_identity;
use crate::runtime::{Disk, OpenMode, SystemClock};
use crate::sample::RuleSet;
use crate::store::{
    LifecycleState, Location, RetentionPolicy, Store, StoreConfig, apply_lifecycle, compare_lifecycle,
};

const EXAMPLES: &str = "\
Examples:
  tracewell doctor --config tracewell.yaml --store s3://traces/prod
      Is the configuration right, the rules file, the data folder, the bucket, its lifecycle rules, the daemon?
      Are the backends there that kept spans go on to?
  tracewell doctor --config tracewell.yaml --repair
      Also make the bucket's lifecycle rules what they should be; other people's rules stay

The flags and variables are those of tracewell run.

Exit codes: 0 all is right, 1 something is not, 2 wrong usage.";

/// With less room the log refuses spans soon.
const FREE_BYTES_MIN: u64 = 1 << 30;
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
const WARN: Style = AnsiColor::Yellow.on_default();
const GOOD: Style = AnsiColor::Green.on_default();

/// Flags of `doctor`.
#[derive(Clone, Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// Configuration file [env: TRACEWELL_CONFIG]
    #[arg(long, value_name = "FILE")]
    pub config: Option<String>,

    /// Sampling rules [env: TRACEWELL_RULES]
    #[arg(long, value_name = "FILE")]
    pub rules: Option<String>,

    /// The data directory [env: TRACEWELL_DATA]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,

    /// Where the table lies [env: TRACEWELL_STORE]
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,

    /// Make the bucket's lifecycle rules what they should be
    #[arg(long)]
    pub repair: bool,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// How something stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Good,
    /// It works, but should be looked at.
    Warning,
    Wrong,
}

/// One thing that was looked at.
struct Check {
    what: &'static str,
    state: State,
    says: String,
}

impl Check {
    fn new(what: &'static str, state: State, says: impl Into<String>) -> Self {
        Self { what, state, says: says.into() }
    }

    fn of(what: &'static str, result: Result<String, String>) -> Self {
        match result {
            Ok(says) => Self::new(what, State::Good, says),
            Err(says) => Self::new(what, State::Wrong, says),
        }
    }
}

/// Runs the command.
pub async fn run(args: &DoctorArgs, canvas: &Canvas) -> anyhow::Result<Exit> {
    let mut checks = Vec::new();
    match configuration(args) {
        Ok((config, says)) => {
            checks.push(Check::new("configuration", State::Good, says));
            examine(args, &config, &mut checks).await;
        }
        Err(says) => checks.push(Check::new("configuration", State::Wrong, says)),
    }
    let text = match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&document(&checks))?),
        false => report(canvas, &checks),
    };
    print(&text)?;
    let is_right = checks.iter().all(|check| check.state != State::Wrong);
    Ok(if is_right { Exit::Done } else { Exit::Nothing })
}

async fn examine(args: &DoctorArgs, config: &Config, checks: &mut Vec<Check>) {
    let rules = rules(config);
    let classes = rules.as_ref().map(|rules| rules.retention().clone()).unwrap_or_default();
    checks.push(Check::of(
        "rules",
        rules.map(|rules| {
            let names: Vec<String> = rules.rule_names().map(text::clean).collect();
            format!("{}: {}", text::count(names.len() as u64, "rule", "rules"), names.join(", "))
        }),
    ));
    checks.extend(trust(config));
    checks.push(data(config));
    let disk: Arc<dyn crate::runtime::Disk> = Arc::new(crate::runtime::RealDisk);
    let enrich = crate::app::examine_enrich(config, &disk).await;
    checks.extend(enrich.into_iter().map(|(what, result)| Check::of(what, result)));
    let location = match Location::configured(config.store.url.as_ref(), &config.data) {
        Ok(location) => location,
        Err(error) => return checks.push(Check::new("store", State::Wrong, error.to_string())),
    };
    checks.push(Check::of("store", store(&location).await));
    checks.extend(lifecycle(args, config, &location, &RetentionPolicy::new(classes)).await);
    for target in &config.export.targets {
        checks.push(Check::of("export", export(target).await));
    }
    checks.push(daemon(config).await);
}

fn configuration(args: &DoctorArgs) -> Result<(Config, String), String> {
    let flags = Flags {
        config: args.config.clone(),
        rules: args.rules.clone(),
        data: args.data.clone(),
        store: args.store.clone(),
        ..Flags::default()
    };
    let (config, file) = super::run::configuration(&flags)?;
    let says = file
        .map_or_else(|| "no file: defaults, flags and variables".into(), |file| file.display().to_string());
    Ok((config, says))
}

fn rules(config: &Config) -> Result<RuleSet, String> {
    match &config.rules {
        RulesFrom::BuiltIn => Ok(RuleSet::built_in()),
        RulesFrom::File(path) => rules_check::load(path).map_err(|error| format!("{error:#}")),
        other => Err(format!("rules from {other} are not available in this version")),
    }
}

/// Whether the files that say whom to let in can be used.
fn trust(config: &Config) -> Vec<Check> {
    let (disk, clock) = (RealDisk, SystemClock::new());
    let mut checks = Vec::new();
    let same = config.tls.api == config.tls.otlp;
    for files in config.tls.otlp.iter().chain(config.tls.api.iter().filter(|_| !same)) {
        let identity = server_identity(files, &disk, &clock).map_err(|error| error.to_string());
        checks.push(Check::of(
            "tls",
            identity.map(|identity| {
                let end = jiff::Timestamp::from_second(identity.validity.not_after);
                format!("{}, until {}", files.cert.display(), end.map_or("?".into(), |end| end.to_string()))
            }),
        ));
    }
    if let Some(path) = &config.auth.credentials {
        let text = read_text(&disk, path, CREDENTIALS_BYTES_MAX).map_err(|error| error.to_string());
        let known = text.and_then(|text| Credentials::parse(&text)).map(|known| known.counts());
        let name = path.display();
        checks.push(Check::of(
            "credentials",
            match known {
                Ok((tokens, users)) => Ok(format!("{name}: {tokens} tokens, {users} users")),
                Err(problem) => Err(format!("{name}: {problem}")),
            },
        ));
    }
    checks
}

/// Whether the data directory can be written, and has room.
fn data(config: &Config) -> Check {
    let folder = &config.data;
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    let disk = RealDisk;
    let written = disk.create_dir_all(folder).and_then(|()| disk.open(&probe, OpenMode::CreateNew));
    let written = written.and_then(|file| file.sync_data()).and_then(|()| disk.remove(&probe));
    if let Err(error) = written {
        return Check::new("data", State::Wrong, format!("cannot write {}: {error}", folder.display()));
    }
    match disk.space(folder) {
        Ok(space) if space.total > 0 => {
            let state = if space.free < FREE_BYTES_MIN { State::Warning } else { State::Good };
            let free = units::bytes(space.free);
            Check::new(
                "data",
                state,
                format!("{}, {free} of {} free", folder.display(), units::bytes(space.total)),
            )
        }
        _ => Check::new("data", State::Good, folder.display().to_string()),
    }
}

/// Whether the store answers, and the tables in it can be read.
async fn store(location: &Location) -> Result<String, String> {
    let of = |e: crate::store::StoreError| e.to_string();
    location.check().await.map_err(of)?;
    let clock = Arc::new(SystemClock::new());
    let store = Store::open(StoreConfig::new(location.clone(), "command"), clock).map_err(of)?;
    let (mut spans, mut bytes, mut tenants) = (0, 0, 0);
    for tenant in store.tenants().await.map_err(of)? {
        let inventory = store.inventory(&tenant, None).await.map_err(of)?;
        spans += inventory.spans.rows;
        bytes += inventory.spans.bytes + inventory.traces.bytes;
        tenants += 1;
    }
    let tenants = text::count(tenants, "tenant", "tenants");
    Ok(format!("answers; {spans} spans, {} of {tenants}", units::bytes(bytes)))
}

/// The bucket's lifecycle rules, a line each.
async fn lifecycle(
    args: &DoctorArgs,
    config: &Config,
    location: &Location,
    policy: &RetentionPolicy,
) -> Vec<Check> {
    const WHAT: &str = "lifecycle";
    if !config.store.lifecycle {
        return vec![Check::new(WHAT, State::Good, "left alone, as store.lifecycle says")];
    }
    if args.repair
        && let Err(error) = apply_lifecycle(location, policy).await
    {
        return vec![Check::new(WHAT, State::Wrong, error.to_string())];
    }
    let lines = match compare_lifecycle(location, policy).await {
        Ok(Some(lines)) => lines,
        Ok(None) => return vec![Check::new(WHAT, State::Good, "only buckets of S3 have such rules")],
        Err(error) => return vec![Check::new(WHAT, State::Wrong, error.to_string())],
    };
    let check = |line: &crate::store::LifecycleLine| {
        let (state, how) = match line.state {
            LifecycleState::Right => (State::Good, "right"),
            LifecycleState::Foreign => (State::Good, "somebody else's, left alone"),
            // Some stores take no rule that only aborts uploads; they sweep those by themselves.
            LifecycleState::Missing if line.id.ends_with("uploads") => {
                (State::Warning, "missing, or the store takes no such rule; --repair tries to set it")
            }
            LifecycleState::Missing => (State::Wrong, "missing; --repair sets it"),
            LifecycleState::Different => (State::Wrong, "has other terms; --repair sets it right"),
            LifecycleState::Leftover => (State::Wrong, "of a class that is no more; --repair removes it"),
        };
        Check::new(WHAT, state, format!("{} ({}): {how}", text::clean(&line.what), text::clean(&line.id)))
    };
    lines.iter().map(check).collect()
}

/// Whether what a backend is configured with can be used, and somebody is there. Nothing is sent.
async fn export(target: &ExportTarget) -> Result<String, String> {
    let name = &target.name;
    exporting::examine(target).map_err(|error| format!("export.{name}.{error}"))?;
    let address = exporting::address(target);
    let connected = tokio::time::timeout(ANSWER_TIME_MAX, tokio::net::TcpStream::connect(&address)).await;
    match connected {
        Ok(Ok(_)) => Ok(format!("{name}: {address} takes connections")),
        Ok(Err(error)) => Err(format!("{name}: cannot reach {address}: {error}")),
        Err(_) => Err(format!("{name}: {address} does not answer in time")),
    }
}

/// Whether a daemon answers where this configuration has its API.
async fn daemon(config: &Config) -> Check {
    if config.api.socket().is_some() {
        return Check::new("daemon", State::Good, format!("{}: a Unix socket, not asked", config.api));
    }
    let scheme = if config.tls.api.is_some() { "https" } else { "http" };
    let url = format!("{scheme}://{}/ready", config.api);
    // Nothing is shown to whoever answers, and its certificate is looked at by itself.
    let http = reqwest::Client::builder().no_proxy().tls_danger_accept_invalid_certs(true);
    let http = http.timeout(ANSWER_TIME_MAX).build();
    let answer = match http {
        Ok(http) => http.get(&url).send().await.map_err(|e| e.is_connect()),
        Err(_) => Err(false),
    };
    match answer {
        Ok(answer) if answer.status().is_success() => {
            Check::new("daemon", State::Good, format!("{url}: ready"))
        }
        Ok(answer) => {
            let status = answer.status();
            let why = answer.text().await.unwrap_or_default();
            Check::new("daemon", State::Wrong, format!("{url} answers {status}: {}", text::clean(why.trim())))
        }
        Err(true) => {
            Check::new("daemon", State::Warning, format!("nothing answers at {url}: it is not running"))
        }
        Err(false) => Check::new("daemon", State::Wrong, format!("{url} does not answer in time")),
    }
}

fn document(checks: &[Check]) -> serde_json::Value {
    let state = |state: State| match state {
        State::Good => "good",
        State::Warning => "warning",
        State::Wrong => "wrong",
    };
    let line =
        |check: &Check| json!({ "what": check.what, "state": state(check.state), "message": check.says });
    json!({ "checks": checks.iter().map(line).collect::<Vec<_>>() })
}

fn report(canvas: &Canvas, checks: &[Check]) -> String {
    let width = checks.iter().map(|check| check.what.len()).max().unwrap_or(0);
    let line = |check: &Check| {
        let (mark, style) = match check.state {
            State::Good => ("✓", GOOD),
            State::Warning => ("!", WARN),
            State::Wrong => ("✗", ERROR),
        };
        let what = canvas.paint(DIM, &text::fit(check.what, width));
        format!("{} {what}  {}\n", canvas.paint(style, mark), check.says.replace('\n', "\n    "))
    };
    checks.iter().map(line).collect()
}
