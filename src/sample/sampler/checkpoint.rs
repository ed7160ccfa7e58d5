//! What a restart need not read the log for: where replay begins, and what is counted already.

use std::collections::BTreeMap;

use super::Sampler;
use crate::log::Position;
use crate::runtime::Tenant;
use crate::sample::balance::AccountOf;

/// The sampler at a position of the log, as far as the log behind [`Checkpoint::replay_from`] cannot tell it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Every record up to here is counted in the accounts.
    pub counted: Position,
    /// Nothing before this is pending, kept, wished for, or in a batch under way: replay begins here.
    pub replay_from: Position,
    /// Above every id that was given to a batch.
    pub next_batch: u64,
    /// The loss ledger.
    pub accounts: Vec<AccountOf>,
    /// The spans that retention took out of the table, by tenant.
    pub expired: BTreeMap<Tenant, u64>,
}

impl Sampler {
    /// What there is to keep now.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            counted: self.applied,
            replay_from: self.low_watermark(),
            next_batch: self.next_batch_id,
            accounts: self.accounts(),
            expired: self.expired(),
        }
    }

    /// Goes on from a checkpoint. For an empty sampler, before replay.
    pub fn resume(&mut self, checkpoint: &Checkpoint) {
        self.balance.begin(checkpoint.counted);
        self.next_batch_id = self.next_batch_id.max(checkpoint.next_batch);
        for (tenant, spans) in &checkpoint.expired {
            self.count_expired(tenant, *spans);
        }
        for one in &checkpoint.accounts {
            let tenant = self.tenants.number(&one.tenant);
            self.balance.set(tenant, self.rulebook.services().number(&one.service), &one.account);
        }
    }
}
