//! `tracewell token`: makes credentials, and the entries for the file that knows them.

use std::io::Read;
use std::num::NonZeroU32;
use std::time::Duration;

use anyhow::{anyhow, bail};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use serde_json::json;

use super::Exit;
use super::output::print;
use crate::auth::{ITERATIONS, Identity, PasswordHash, TOKEN_BYTES, new_token, token_hash};
use crate::runtime::{Clock, SystemClock};

const NEW_EXAMPLES: &str = "\
Examples:
  tracewell token new --name ci --tenant home --scope write
      A token that sends spans of the tenant home, and what to put under `tokens:` of the file that auth.credentials names
  tracewell token new --name grafana --tenant home --scope read --expires 90d
      One that asks questions for ninety days
  tracewell token new --name agents --scope write --may-name '*'
      One that sends for every tenant: the one in X-Scope-OrgID

The token is shown once; the file has its hash only.";

const PASSWORD_EXAMPLES: &str = "\
Examples:
  tracewell token password --name grafana --tenant home --scope read < password.txt
      Reads the password from standard input, and prints what to put under `users:`";

/// What a password may have, in bytes.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// The commands that make credentials.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token
    New(TokenNewArgs),
    /// Hash a password
    Password(TokenPasswordArgs),
}

/// Whom a credential belongs to.
#[derive(Clone, Debug, Args)]
pub struct OwnerArgs {
    /// What people call it
    #[arg(long, value_name = "NAME")]
    pub name: String,

    /// Whose spans it sends and sees
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub tenant: String,

    /// What it may do: write, read, admin; again for more
    #[arg(long = "scope", value_name = "SCOPE", required = true)]
    pub scopes: Vec<String>,

    /// Another tenant that it may name in X-Scope-OrgID; again for more, * for all
    #[arg(long = "may-name", value_name = "NAME")]
    pub may_name: Vec<String>,

    /// When it ends, like 90d from now; without it, never
    #[arg(long, value_name = "DURATION", value_parser = crate::query::parse_duration)]
    pub expires: Option<Duration>,

    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// Flags of `token new`.
#[derive(Clone, Debug, Args)]
#[command(after_help = NEW_EXAMPLES)]
pub struct TokenNewArgs {
    /// Whom it belongs to.
    #[command(flatten)]
    pub owner: OwnerArgs,
}

/// Flags of `token password`.
#[derive(Clone, Debug, Args)]
#[command(after_help = PASSWORD_EXAMPLES)]
pub struct TokenPasswordArgs {
    /// Whom it belongs to.
    #[command(flatten)]
    pub owner: OwnerArgs,
}

/// Runs the command.
pub fn run(command: &TokenCommand) -> anyhow::Result<Exit> {
    match command {
        TokenCommand::New(args) => new(&args.owner),
        TokenCommand::Password(args) => password(&args.owner),
    }
}

fn new(owner: &OwnerArgs) -> anyhow::Result<Exit> {
    let token = new_token(&random::<TOKEN_BYTES>()?);
    let entry = entry(owner, "sha256", &hex::encode(token_hash(&token)))?;
    print(&match owner.json {
        true => format!("{}\n", json!({ "token": token, "entry": entry })),
        false => format!(
            "{token}\n\n# shown only this once. For the file that auth.credentials names:\ntokens:\n  - {entry}\n"
        ),
    })?;
    Ok(Exit::Done)
}

fn password(owner: &OwnerArgs) -> anyhow::Result<Exit> {
    let mut text = String::new();
    std::io::stdin().lock().take(PASSWORD_BYTES_MAX + 1).read_to_string(&mut text)?;
    let password = text.trim_end_matches(['\r', '\n']);
    if password.is_empty() || text.len() as u64 > PASSWORD_BYTES_MAX {
        bail!("the password comes on standard input, 1 to {PASSWORD_BYTES_MAX} bytes");
    }
    let iterations = NonZeroU32::new(ITERATIONS).ok_or_else(|| anyhow!("no iterations"))?;
    let hash = PasswordHash::new(password, &random::<16>()?, iterations);
    let entry = entry(owner, "password", &hash.to_string())?;
    print(&match owner.json {
        true => format!("{}\n", json!({ "entry": entry })),
        false => format!("# For the file that auth.credentials names:\nusers:\n  - {entry}\n"),
    })?;
    Ok(Exit::Done)
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow!("the system gives no random numbers"))?;
    Ok(bytes)
}

/// The entry as one line; JSON is YAML too.
fn entry(owner: &OwnerArgs, hash_key: &str, hash: &str) -> anyhow::Result<serde_json::Value> {
    let OwnerArgs { name, tenant, scopes, may_name, expires, .. } = owner;
    Identity::written(name, Some(tenant.clone()), scopes, may_name).map_err(|problem| anyhow!(problem))?;
    let mut entry = json!({ "name": name, hash_key: hash, "tenant": tenant, "scopes": scopes });
    if !may_name.is_empty() {
        entry["tenants"] = json!(may_name);
    }
    if let Some(expires) = expires {
        let now = SystemClock::new().now_unix_nano() / 1_000_000_000;
        let end = i64::try_from(now.saturating_add(expires.as_secs())).unwrap_or(i64::MAX);
        let end = Timestamp::from_second(end).map_err(|_| anyhow!("that is too far in the future"))?;
        entry["expires"] = json!(end.to_string());
    }
    Ok(entry)
}
