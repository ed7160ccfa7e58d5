//! The store that the `table` commands work on, without a daemon.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;

use super::output::{text, units};
use crate::runtime::{SystemClock, Tenant};
use crate::store::{Location, Reader, ReaderConfig, Store, StoreConfig};

/// Flags of the commands that work on tables.
#[derive(Clone, Debug, Args)]
pub struct TableSourceArgs {
    /// The store: a folder, file:///…, s3://bucket/prefix, gs://…, az://…; without it, the one in the data folder
    #[arg(long, env = "TRACEWELL_STORE", value_name = "URL")]
    pub store: Option<String>,

    /// The daemon's data folder
    #[arg(long, env = "TRACEWELL_DATA", value_name = "DIR", default_value = "./tracewell-data")]
    pub data: PathBuf,

    /// Only this tenant; all of them without it
    #[arg(long, value_name = "NAME", value_parser = tenant)]
    pub tenant: Option<Tenant>,
}

fn tenant(name: &str) -> Result<Tenant, String> {
    Tenant::new(name).ok_or_else(|| "it is not a tenant's name".to_owned())
}

/// A store that is there, and whose tables of it.
pub struct TableSource {
    /// As people write it.
    pub name: String,
    /// It.
    pub store: Arc<Store>,
    /// Reads it.
    pub reader: Reader,
    /// Whose tables, in order.
    pub tenants: Vec<Tenant>,
}

impl TableSource {
    /// The store that the flags name.
    ///
    /// # Errors
    /// If it cannot be reached, or is not there.
    pub async fn open(args: &TableSourceArgs) -> anyhow::Result<Self> {
        let name = match &args.store {
            Some(store) => store.clone(),
            None => args.data.join("store").display().to_string(),
        };
        let location = Location::parse(&name).with_context(|| format!("cannot use the store {name}"))?;
        let clock = Arc::new(SystemClock::new());
        // Nothing is written under this name: whoever commits signs with an id of its own.
        let store = Store::open(StoreConfig::new(location.clone(), "command"), clock.clone())?;
        let reader = Reader::new(location, clock, ReaderConfig::default());
        let found = store.tenants().await.with_context(|| format!("cannot read the store {name}"))?;
        let wanted = |tenant: &Tenant| args.tenant.as_ref().is_none_or(|wanted| wanted == tenant);
        let mut tenants: Vec<Tenant> = found.into_iter().filter(wanted).collect();
        tenants.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        if tenants.is_empty() {
            match &args.tenant {
                Some(tenant) => eprintln!("{name} has no tables of tenant {}", text::clean(tenant.as_str())),
                None => eprintln!("{name} has no tables"),
            }
        }
        Ok(Self { name, store: Arc::new(store), reader, tenants })
    }
}

/// A line on standard error that is written over and over; on a terminal only.
pub struct Progress {
    shows: bool,
    last: String,
}

impl Progress {
    /// Nothing shown yet.
    pub fn new() -> Self {
        Self { shows: std::io::stderr().is_terminal(), last: String::new() }
    }

    /// So much of all is done, in bytes.
    pub fn bytes(&mut self, what: &str, done: u64, all: u64) {
        let percent = (done * 100).checked_div(all).unwrap_or(100);
        self.line(format!("{what}: {percent:3} % of {}", units::bytes(all)));
    }

    /// What is being done, in words.
    pub fn line(&mut self, line: String) {
        if self.shows && line != self.last {
            // A terminal that is gone needs no progress.
            let _ = write!(std::io::stderr(), "\r\x1b[K{line}");
            self.last = line;
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if !self.last.is_empty() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
