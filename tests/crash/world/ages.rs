//! Days go by: what is stored becomes old, and goes. Behind everything else in a run, and with dice of its own, so that
//! seeds keep the course they had.

use std::time::Duration;

use tracewell::runtime::Clock;

use super::World;
use crate::journal::note;
use crate::oracle::Breach;

const SECOND: u64 = 1_000_000_000;
const DAY: u64 = 86_400 * SECOND;
/// Times that the clock leaps while spans come. Each is a few days: all together are less than what makes a span too late to
/// be filed under its own day.
const LEAPS: usize = 4;
/// Longer than any class is kept.
const AGES_DAYS: u64 = 60;
/// Rounds in which compaction must come to its end.
const ROUNDS: usize = 40;

impl World {
    /// Leaps over days, a few steps of the usual after each, and expiry in good weather and bad; in the end everything is
    /// compacted, and then everything is old.
    pub fn ages(&mut self, steps: usize) -> Result<(), Breach> {
        for _ in 0..LEAPS {
            for _ in 0..steps {
                self.step()?;
            }
            self.leap()?;
            self.expire_somehow()?;
        }
        self.rest()?;
        self.leap_by(AGES_DAYS * DAY);
        self.compact_all()?;
        self.expire()?;
        let left = self.tables()?;
        if !left.spans.is_empty() || !left.traces.is_empty() {
            let (spans, traces) = (left.spans.len(), left.traces.len());
            return Err(format!("after {AGES_DAYS} days {spans} spans and {traces} traces are left"));
        }
        Ok(())
    }

    fn leap_by(&mut self, nanos: u64) {
        note!(self.journal, "{} h go by", nanos / SECOND / 3600);
        self.machine.clock.jump((nanos / SECOND) as i64);
    }

    /// To just before or just behind a moment at which something stored is due; or over some days, if that is too far away.
    fn leap(&mut self) -> Result<(), Breach> {
        let classes = self.process().rulebook.current().retention().clone();
        let mut due: Vec<u64> = Vec::new();
        for row in self.tables()?.traces.values().flatten() {
            let Some(terms) = classes.get(&*row.kept.retention) else { continue };
            let start = row.start_unix_nano;
            let end_of_day = start - start % DAY + DAY;
            due.extend([start, end_of_day].map(|from| from + terms.age.as_nanos() as u64));
        }
        due.sort_unstable();
        let now = self.machine.clock.now_unix_nano();
        let near: Vec<u64> = due.into_iter().filter(|due| *due > now && *due < now + 5 * DAY).collect();
        let by = if near.is_empty() || self.ages.chance(0.2) {
            self.ages.between(1..=4) * DAY
        } else {
            let seconds = *self.ages.pick(&[1, 2, 60, 3600]) * SECOND;
            let at = *self.ages.pick(&near);
            (if self.ages.chance(0.4) { at.saturating_sub(seconds) } else { at + seconds })
                .saturating_sub(now)
        };
        self.leap_by(by);
        Ok(())
    }

    /// Expiry, sometimes of what is too much, sometimes with a store that fails, or a machine that dies in the middle: then
    /// it is done again by the next life.
    fn expire_somehow(&mut self) -> Result<(), Breach> {
        match self.ages.below(4) {
            0 => self.machine.objects.die_in(self.ages.between(0..=4)),
            1 => self.machine.objects.set_failing(self.perils.store),
            _ => {}
        }
        let thousandths = self.ages.chance(0.3).then(|| self.ages.between(100..=1500));
        let is_done = self.expire_once(thousandths)?;
        self.machine.objects.set_failing(0.0);
        if self.machine.objects.is_dead() {
            self.crash()?;
        }
        self.machine.objects.revive();
        if is_done {
            return Ok(());
        }
        self.calm_down();
        match self.expire_once(thousandths)? {
            true => Ok(()),
            false => Err("expiry fails in good weather".into()),
        }
    }

    fn expire_once(&mut self, thousandths: Option<u64>) -> Result<bool, Breach> {
        match thousandths {
            Some(thousandths) => self.expire_to(thousandths),
            None => self.expire(),
        }
    }

    /// Compacts until there is nothing left to do.
    fn compact_all(&mut self) -> Result<(), Breach> {
        for _ in 0..ROUNDS {
            self.pass(Duration::from_secs(1));
            if self.compact()? {
                return self.oracle.checks_compacted(&self.load, &self.tables()?);
            }
        }
        Err(format!("compaction does not end in {ROUNDS} rounds"))
    }
}
