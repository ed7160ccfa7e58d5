//! The end of a run: faults end, everything comes to rest within bounded steps, and is looked at.

use std::time::Duration;

use super::World;
use crate::journal::note;
use crate::oracle::{Breach, Tables};

/// Rounds in which everything must have come to rest.
const ROUNDS: usize = 400;
/// Traces that are read by their ids at the end.
const LOOKED_UP: usize = 12;

impl World {
    pub fn rest(&mut self) -> Result<(), Breach> {
        self.idle()?;

        let reader = self.reader();
        self.checks_all()?;
        let traces = self.load.traces.len();
        let some = (0..LOOKED_UP.min(traces)).map(|_| self.dice.below(traces)).collect::<Vec<_>>();
        self.runtime.block_on(self.oracle.checks_traces(&self.load, &reader, some.into_iter()))?;
        // What this life had in memory is not enough: the last start sees what is on the disk.
        self.crash()?;
        self.checks_all()
    }

    /// Looks at everything, at rest.
    fn checks_all(&mut self) -> Result<(), Breach> {
        let tables = self.tables()?;
        self.oracle.checks_table(&self.load, &tables, true)?;
        self.checks_accounts(&tables)
    }

    fn checks_accounts(&mut self, tables: &Tables) -> Result<(), Breach> {
        let sampler = &self.process.as_ref().unwrap().decider.sampler;
        let stats = sampler.stats();
        let is_settled = stats.pending_traces == 0 && stats.kept_traces_not_stored == 0;
        self.oracle.checks_losses(&self.load, &sampler.accounts(), tables, is_settled)?;
        self.oracle.checks_expired(&self.load, &sampler.expired())
    }

    /// Nobody sends for a while: the log runs empty, and forgets all it knew.
    pub fn idle(&mut self) -> Result<(), Breach> {
        if self.machine.disk.is_dead() || self.machine.objects.is_dead() {
            return Ok(());
        }
        note!(self.journal, "nobody sends");
        self.calm_down();
        self.machine.disk.revive();
        self.machine.objects.revive();
        self.answer_all()?;
        self.store_all()?;
        self.release_all()?;
        let tables = self.tables()?;
        self.checks_accounts(&tables)
    }

    fn round(&mut self) -> Result<(), Breach> {
        self.write_log()?;
        self.poll()?;
        while self.hear_one() {}
        self.turn();
        self.rescue();
        self.keep_checkpoint();
        self.store_batch();
        self.pass(Duration::from_millis(300));
        Ok(())
    }

    /// Every sender gets an answer, also those that come again.
    fn answer_all(&mut self) -> Result<(), Breach> {
        for _ in 0..ROUNDS {
            if self.waiting.is_empty() && self.again.is_empty() {
                return Ok(());
            }
            for _ in 0..8 {
                let Some(sent) = self.again.pop_front() else { break };
                self.try_sending(sent);
                self.poll()?;
            }
            self.round()?;
        }
        Err(format!("{} requests are not answered", self.waiting.len()))
    }

    /// Everything is decided, and what is kept is stored.
    fn store_all(&mut self) -> Result<(), Breach> {
        for _ in 0..ROUNDS {
            self.round()?;
            let stats = self.process().decider.sampler.stats();
            if stats.pending_traces == 0
                && stats.kept_traces_not_stored == 0
                && self.process().decider.unwritten.is_empty()
            {
                return Ok(());
            }
        }
        let stats = self.process().decider.sampler.stats();
        Err(format!(
            "{} pending, {} kept do not get stored",
            stats.pending_traces, stats.kept_traces_not_stored
        ))
    }

    /// Nothing needs the log any more: but for its last segment it goes.
    fn release_all(&mut self) -> Result<(), Breach> {
        self.pass(self.settings.recorder.age + Duration::from_secs(1));
        for _ in 0..3 {
            self.round()?;
            self.pass(Duration::from_secs(1));
        }
        let stats = self.process().stats();
        if stats.segments > 2 {
            return Err(format!("{} segments of the log stay when nothing needs them", stats.segments));
        }
        Ok(())
    }
}
