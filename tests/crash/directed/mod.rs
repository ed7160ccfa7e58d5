//! One test for each row of the list of faults that the simulation can show. The table in README.md says where the
//! others are.

mod log;
mod sampling;
mod store;

use crate::oracle::Breach;
use crate::process::Settings;
use crate::world::{Perils, World};

/// A daemon that runs in fair weather.
fn world(seed: u64, settings: Settings) -> World {
    let mut world = World::new(seed, settings, Perils::NONE);
    world.restart().unwrap();
    world
}

impl World {
    /// So many requests are sent, and answered with one group commit; gives how many were acknowledged.
    fn exchange(&mut self, requests: usize) -> Result<u64, Breach> {
        let before = self.answers.0;
        for _ in 0..requests {
            self.send_new();
            self.poll()?;
        }
        self.write_log()?;
        self.poll()?;
        Ok(self.answers.0 - before)
    }

    /// Hears everything, lets every wait pass, decides, and plans a batch as far as it is time for one.
    fn decide(&mut self) -> Result<(), Breach> {
        for _ in 0..4 {
            while self.hear_one() {}
            self.pass(std::time::Duration::from_secs(5));
            self.turn();
            self.write_log()?;
        }
        while self.hear_one() {}
        Ok(())
    }
}
