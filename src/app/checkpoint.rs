//! The checkpoint: where replay begins after a restart, and the loss ledger up to there. One small file, replaced whole.
//!
//! Without it, or with a damaged one, a restart reads the whole log and the loss ledger begins anew: no span depends on it.
//! So that the loss ledger misses nothing, the log forgets nothing that the last checkpoint would read again ([`Covered`]).

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use twox_hash::XxHash3_64;

use super::StartError;
use crate::log::Position;
use crate::runtime::disk::{read_bounded, write_atomic};
use crate::runtime::{Clock, Disk, Tenant};
use crate::sample::{Account, AccountOf, Checkpoint};

/// Its name in the data directory.
const NAME: &str = "checkpoint";
/// Services are bounded, and so is this.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
const FORMAT: u32 = 1;
/// Checkpoints that could not be written for this long do not hold the log any more.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Serialize, Deserialize)]
struct File {
    format: u32,
    /// The data directory's id: positions of another log mean nothing.
    log: String,
    counted: u64,
    replay_from: u64,
    next_batch: u64,
    accounts: Vec<Row>,
    expired: Vec<(String, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    tenant: String,
    service: String,
    received: u64,
    rescued: u64,
    stored: u64,
    duplicates: u64,
    early: u64,
    damaged: u64,
    dropped: Vec<(String, u64)>,
}

fn row(of: &AccountOf) -> Row {
    let account = &of.account;
    Row {
        tenant: of.tenant.to_string(),
        service: of.service.to_string(),
        received: account.received,
        rescued: account.rescued,
        stored: account.stored,
        duplicates: account.duplicates,
        early: account.early,
        damaged: account.damaged,
        dropped: account.dropped.iter().map(|(rule, spans)| (rule.to_string(), *spans)).collect(),
    }
}

fn account(row: Row) -> Option<AccountOf> {
    Some(AccountOf {
        tenant: Tenant::new(&row.tenant)?,
        service: row.service.into(),
        account: Account {
            received: row.received,
            rescued: row.rescued,
            stored: row.stored,
            duplicates: row.duplicates,
            early: row.early,
            damaged: row.damaged,
            dropped: row.dropped.into_iter().map(|(rule, spans)| (rule.into(), spans)).collect(),
        },
    })
}

/// A line with the checksum of what follows, in hexadecimal, then JSON.
fn encode(log: &str, checkpoint: &Checkpoint) -> Vec<u8> {
    let file = File {
        format: FORMAT,
        log: log.to_owned(),
        counted: checkpoint.counted.0,
        replay_from: checkpoint.replay_from.0,
        next_batch: checkpoint.next_batch,
        accounts: checkpoint.accounts.iter().map(row).collect(),
        expired: checkpoint.expired.iter().map(|(tenant, spans)| (tenant.to_string(), *spans)).collect(),
    };
    // Numbers and texts always can be written.
    let json = serde_json::to_vec(&file).unwrap_or_default();
    let mut bytes = format!("{:016x}\n", XxHash3_64::oneshot(&json)).into_bytes();
    bytes.extend_from_slice(&json);
    bytes
}

fn decode(log: &str, bytes: &[u8]) -> Option<Checkpoint> {
    let (checksum, json) = bytes.split_at_checked(17)?;
    if checksum != format!("{:016x}\n", XxHash3_64::oneshot(json)).as_bytes() {
        return None;
    }
    let file: File =
        serde_json::from_slice(json).ok().filter(|file: &File| file.format == FORMAT && file.log == log)?;
    let expired = file.expired.iter().map(|(tenant, spans)| Some((Tenant::new(tenant)?, *spans)));
    Some(Checkpoint {
        counted: Position(file.counted),
        replay_from: Position(file.replay_from),
        next_batch: file.next_batch,
        accounts: file.accounts.into_iter().map(account).collect::<Option<_>>()?,
        expired: expired.collect::<Option<_>>()?,
    })
}

/// What the last checkpoint lets the log forget. Shared by who writes checkpoints and who releases segments.
#[derive(Clone)]
pub struct Covered(Arc<Mutex<Last>>);

struct Last {
    replay_from: Position,
    /// Since when none can be written, monotonic.
    failing_since: Option<Duration>,
}

impl Covered {
    /// Nothing, or what the checkpoint that was found covers.
    pub fn by(checkpoint: Option<&Checkpoint>) -> Self {
        let replay_from = checkpoint.map_or(Position(0), |checkpoint| checkpoint.replay_from);
        Self(Arc::new(Mutex::new(Last { replay_from, failing_since: None })))
    }

    /// A checkpoint was written, or could not be, at `now` on the monotonic clock.
    pub fn kept(&self, checkpoint: &Checkpoint, is_written: bool, now: Duration) {
        let mut last = self.0.lock();
        if is_written {
            *last = Last { replay_from: checkpoint.replay_from, failing_since: None };
        } else {
            last.failing_since.get_or_insert(now);
        }
    }

    /// The log may forget what is below this: a restart would not read it. Everything, where checkpoints fail for too long:
    /// then a crash counts as damaged what was settled since.
    pub fn below(&self, now: Duration) -> Position {
        let last = self.0.lock();
        match last.failing_since {
            Some(since) if now.saturating_sub(since) >= PATIENCE => Position(u64::MAX),
            _ => last.replay_from,
        }
    }
}

/// The checkpoint in a data directory whose id is `log`; `None` if there is none, or it is damaged, which is logged.
///
/// # Errors
/// If there is one that the system does not give: the loss ledger is not begun anew for want of file descriptors.
pub fn load(disk: &dyn Disk, data: &Path, log: &str) -> Result<Option<Checkpoint>, StartError> {
    let path = data.join(NAME);
    let read = match read_bounded(disk, &path, BYTES_MAX) {
        Ok(bytes) => decode(log, &bytes),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == ErrorKind::FileTooLarge => None,
        Err(source) => return Err(StartError::DataFile { path, source }),
    };
    if read.is_none() {
        tracing::warn!(
            "there is no usable checkpoint: the whole log is read, and the loss ledger begins anew"
        );
    }
    Ok(read)
}

/// Replaces the checkpoint in a data directory.
pub fn save(disk: &dyn Disk, data: &Path, log: &str, checkpoint: &Checkpoint) -> std::io::Result<()> {
    write_atomic(disk, &data.join(NAME), &encode(log, checkpoint))
}

/// Who writes checkpoints.
pub struct Keeping {
    /// Where to.
    pub disk: Arc<dyn Disk>,
    /// The data directory.
    pub data: PathBuf,
    /// Its id.
    pub log: String,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Told what the log may forget.
    pub covered: Covered,
}

impl Keeping {
    /// Writes each checkpoint that comes, until there are no more to come. Blocks on the disk.
    pub fn run(self, mut checkpoints: mpsc::Receiver<Checkpoint>) {
        while let Some(checkpoint) = checkpoints.blocking_recv() {
            if let Err(error) = self.keep(&checkpoint) {
                tracing::warn!(%error, "the checkpoint cannot be written; a restart would read more of the log");
            }
        }
    }

    /// Writes one.
    ///
    /// # Errors
    /// If the disk does not take it: the one before holds.
    pub fn keep(&self, checkpoint: &Checkpoint) -> std::io::Result<()> {
        let written = save(&*self.disk, &self.data, &self.log, checkpoint);
        self.covered.kept(checkpoint, written.is_ok(), self.clock.monotonic());
        written
    }
}

#[cfg(test)]
mod tests;
