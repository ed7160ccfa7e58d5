//! The checkpoint: where replay begins after a restart, and the loss ledger up to there. One small file, replaced whole.
//!
//! Without it, or with a damaged one, a restart reads the whole log and the loss ledger begins anew: no span depends on it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use twox_hash::XxHash3_64;

use crate::log::Position;
use crate::runtime::disk::{read_bounded, write_atomic};
use crate::runtime::{Disk, Tenant};
use crate::sample::{Account, AccountOf, Checkpoint};

/// Its name in the data directory.
const NAME: &str = "checkpoint";
/// Services are bounded, and so is this.
const BYTES_MAX: u64 = 256 * 1024 * 1024;
const FORMAT: u32 = 1;

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

/// The checkpoint in a data directory whose id is `log`; `None` if there is none, or it is damaged, which is logged.
pub fn load(disk: &dyn Disk, data: &Path, log: &str) -> Option<Checkpoint> {
    let read = match read_bounded(disk, &data.join(NAME), BYTES_MAX) {
        Ok(bytes) => decode(log, &bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(%error, "the checkpoint cannot be read");
            None
        }
    };
    if read.is_none() {
        tracing::warn!(
            "there is no usable checkpoint: the whole log is read, and the loss ledger begins anew"
        );
    }
    read
}

/// Replaces the checkpoint in a data directory.
pub fn save(disk: &dyn Disk, data: &Path, log: &str, checkpoint: &Checkpoint) -> std::io::Result<()> {
    write_atomic(disk, &data.join(NAME), &encode(log, checkpoint))
}

/// Writes each checkpoint that comes, until there are no more to come. Blocks on the disk.
pub fn keep(disk: Arc<dyn Disk>, data: PathBuf, log: String, mut checkpoints: mpsc::Receiver<Checkpoint>) {
    while let Some(checkpoint) = checkpoints.blocking_recv() {
        if let Err(error) = save(&*disk, &data, &log, &checkpoint) {
            tracing::warn!(%error, "the checkpoint cannot be written; a restart would read more of the log");
        }
    }
}

#[cfg(test)]
mod tests;
