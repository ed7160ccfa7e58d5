//! Deaths and starts.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tracewell::app::events::Event;
use tracewell::runtime::Clock;
use tracewell::store::{Location, Reader, ReaderConfig};

use super::World;
use crate::disk::{CALM, Weather};
use crate::journal::note;
use crate::oracle::Breach;
use crate::process::{Process, STORE};

/// Starts that may fail in a row before the weather has to clear up.
const FAILED_STARTS: usize = 4;
/// What a drain may take, in steps of each loop.
const DRAIN_STEPS: usize = 40;

impl World {
    /// The process dies, or the whole machine; and starts again.
    pub fn crash(&mut self) -> Result<(), Breach> {
        self.die(self.dice.chance(0.7));
        self.restart()
    }

    /// The process dies, and with `power` all that was not synced.
    pub fn die(&mut self, power: bool) {
        note!(self.journal, "crash, power cut: {power}");
        // Who waits for an answer gets none.
        for waiting in std::mem::take(&mut self.waiting) {
            if self.dice.chance(0.7) {
                self.again.push_back(waiting.sent);
            }
        }
        self.process = None;
        self.oracle.suffers(&self.machine.disk.damage());
        self.machine.objects.revive();
        if power {
            self.machine.disk.cut_power();
            if self.perils.rot && self.dice.chance(0.3) {
                self.machine.disk.flip_a_bit();
            }
        } else {
            self.machine.disk.revive();
        }
        if self.dice.chance(0.5) {
            self.machine.clock.advance(self.dice.millis(100..=20_000));
        }
        // Another machine, or the same: its monotonic clock begins somewhere.
        self.machine.clock.reboot(self.dice.millis(0..=100_000));
    }

    /// Starts until it has started.
    pub fn restart(&mut self) -> Result<(), Breach> {
        for failed in 0.. {
            if failed == FAILED_STARTS {
                self.calm_down();
            }
            if failed > FAILED_STARTS + 4 {
                return Err("the daemon does not start in fair weather".into());
            }
            if self.start()? {
                break;
            }
            self.die(self.dice.chance(0.7));
        }
        if self.dice.chance(0.3) {
            let tables = self.tables()?;
            self.oracle.checks_table(&self.load, &tables, false)?;
        }
        let accounts = self.process().decider.sampler.accounts();
        self.oracle.checks_received(&self.load, &accounts)
    }

    /// Starts once; `false` if that failed, as it may in bad weather.
    fn start(&mut self) -> Result<bool, Breach> {
        self.lives += 1;
        (self.turned, self.refused) = (None, Vec::new());
        let mut seen = Vec::new();
        let guard = self.runtime.enter();
        let started = Process::start(&self.machine, &self.settings, self.rules, &self.dice, |record| {
            seen.push(record.clone());
        });
        drop(guard);
        let process = match started {
            Ok(process) => process,
            Err(error) => {
                note!(self.journal, "start fails: {error}");
                let weather = self.machine.disk.weather();
                let fails = weather.writes + weather.syncs + weather.names + weather.opens;
                let is_full = weather.capacity_bytes != CALM.capacity_bytes;
                if fails == 0.0 && !is_full && !weather.read_only && !self.machine.disk.is_dead() {
                    return Err(format!("the daemon does not start: {error}"));
                }
                return Ok(false);
            }
        };
        let stats = process.stats();
        note!(
            self.journal,
            "life {}: {} records, {} damaged, torn {}, oldest {}, next {}",
            self.lives,
            seen.len(),
            stats.damaged,
            stats.torn_bytes,
            stats.oldest,
            stats.durable
        );
        let records = process.records.clone();
        self.process = Some(process);
        // The oracle looks at what is there, not at what can be opened right now.
        let disk = &self.machine.disk;
        let weather = disk.weather();
        disk.set_weather(Weather { opens: 0.0, ..weather.clone() });
        let checked = self.oracle.restarts(
            &self.load,
            &seen,
            &records,
            |position| disk.has_removed(position.0),
            &disk.damage(),
        );
        disk.set_weather(weather);
        checked?;
        if self.machine.disk.is_dead() {
            return Ok(false);
        }
        Ok(true)
    }

    /// The objects as they are, whatever the weather.
    pub fn reader(&self) -> Reader {
        let location = Location::custom(self.machine.objects.contents(), STORE).unwrap();
        let config = ReaderConfig { refresh_after: Duration::ZERO, ..ReaderConfig::default() };
        Reader::new(location, Arc::new(self.machine.clock.clone()) as Arc<dyn Clock>, config)
    }

    /// SIGTERM: what is in flight is answered, what is kept is stored as far as that goes, and the log is closed.
    pub fn drain(&mut self) -> Result<(), Breach> {
        note!(self.journal, "drain");
        let (done, mut flushed) = oneshot::channel();
        let mut done = Some(done);
        for _ in 0..DRAIN_STEPS {
            self.write_log()?;
            self.poll()?;
            if self.waiting.is_empty()
                && self.process().events.capacity() > 0
                && let Some(done) = done.take()
            {
                drop(self.process().events.try_send(Event::Flush(done)));
            }
            while self.hear_one() {}
            self.turn();
            self.store_batch();
            self.pass(Duration::from_millis(20));
            if self.machine.disk.is_dead() || self.machine.objects.is_dead() {
                return Ok(());
            }
            if flushed.try_recv().is_ok() {
                note!(self.journal, "flushed");
                break;
            }
        }
        self.process().log.close();
        self.write_log()?;
        self.poll()?;
        if self.machine.disk.is_dead() {
            return Ok(());
        }
        self.waiting.clear();
        self.process = None;
        self.machine.objects.revive();
        self.machine.disk.revive();
        self.restart()
    }
}
