//! What goes wrong, and when.

use super::World;
use crate::disk::{CALM, Weather};
use crate::journal::note;

impl World {
    /// Often back to fair weather: a storm that lasts teaches nothing new.
    pub fn change_weather(&mut self) {
        let disk = &self.machine.disk;
        let is_rotten = self.perils.rot;
        if is_rotten && self.dice.chance(0.3) {
            disk.flip_a_bit();
            self.oracle.suffers(&disk.damage());
        }
        let used = disk.used_bytes();
        let weather = match self.dice.below(9) {
            _ if !self.perils.storms => CALM,
            0..4 => CALM,
            4 => Weather { syncs: 0.1, writes: 0.05, names: 0.1, ..CALM },
            5 => Weather { capacity_bytes: used + self.dice.below(16 * 1024) as u64, ..CALM },
            6 => Weather {
                capacity_bytes: used + self.dice.below(4 * 1024) as u64,
                tells_space: false,
                writes: 0.05,
                ..CALM
            },
            7 => Weather { read_only: self.dice.chance(0.3), syncs: 0.3, ..CALM },
            _ => Weather { opens: 0.2, ..CALM },
        };
        let weather =
            Weather { misdirected: if is_rotten && self.dice.chance(0.1) { 0.1 } else { 0.0 }, ..weather };
        let failing = if self.dice.chance(0.5) { 0.0 } else { self.perils.store };
        note!(self.journal, "weather: {weather:?}, store {failing}");
        disk.set_weather(weather);
        self.machine.objects.set_failing(failing);
    }

    /// The machine will die in the middle of something.
    pub fn doom(&mut self) {
        let store = self.dice.chance(0.4);
        let operations = self.dice.between(0..=if store { 6 } else { 12 });
        note!(self.journal, "doom in {operations}, store: {store}");
        match store {
            true => self.machine.objects.die_in(operations),
            false => self.machine.disk.die_in(operations),
        }
    }

    pub fn calm_down(&mut self) {
        self.machine.disk.set_weather(CALM);
        self.machine.objects.set_failing(0.0);
    }
}
