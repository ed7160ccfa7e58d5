//! How long the writer lets records gather before it syncs.

use std::time::Duration;

use super::queue::More;

/// Gathering and syncing together take no longer than this, unless the disk alone does.
const ROUND_MAX: Duration = Duration::from_millis(6);
/// Nor once this much is there: a sync of more costs what is written, not the sync.
const BYTES_MAX: usize = 1 << 20;
/// The writer gathers at most so many times as long as it syncs.
const PARTS: u32 = 3;

/// Adapts to the disk. A sync costs processor time whatever it syncs, and on a fast disk it is over before a second request
/// has come: then one for each request is most of what the log costs. Where requests come side by side, waiting a few times
/// as long as a sync takes lets them share it. One that comes alone does not wait, and on a slow disk enough gathers by itself.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// What a commit takes, smoothed.
    commit: Duration,
    /// Whether the last commit had more than one record.
    is_shared: bool,
}

impl Pace {
    /// A commit of so many records took so long.
    pub(super) fn saw(&mut self, records: usize, took: Duration) {
        self.commit = (self.commit * 7 + took) / 8;
        self.is_shared = records > 1;
    }

    /// What to wait for before the next.
    pub(super) fn more(&self) -> More {
        match self.is_shared {
            true => {
                let time = (self.commit * PARTS).min(ROUND_MAX.saturating_sub(self.commit));
                More { time, bytes: BYTES_MAX }
            }
            false => More::default(),
        }
    }
}

#[cfg(test)]
mod tests;
