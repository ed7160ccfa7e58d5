//! One simulation: a machine, the daemon's lives on it, its senders, and the oracle that watches.

mod ages;
mod lives;
mod quiet;
mod steps;
mod storms;
mod table;

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::Duration;

use futures::Future;
use tracewell::app::events::Attachment;
use tracewell::log::Recorder;
use tracewell::receive::{Accepted, Refusal};
use tracewell::sample::BatchPolicy;

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::journal::Journal;
use crate::load::Load;
use crate::objects::SimObjects;
use crate::oracle::{Breach, Mark, Oracle};
use crate::process::{Machine, Process, Settings};

/// A request on its way, and the sender that waits for its answer.
struct Waiting {
    sent: usize,
    answer: Pin<Box<dyn Future<Output = Result<Accepted, Refusal>>>>,
}

/// Of a run's steps, so many are taken again between leaps over days.
const AGES_SHARE: usize = 20;

/// What can go wrong in a run.
#[derive(Clone, Debug)]
pub struct Perils {
    /// Bits flip and sectors go astray: losses are then expected, and counted as damage.
    pub rot: bool,
    /// The disk fails, fills up, is read-only for a while.
    pub storms: bool,
    /// The store fails, as a share of its requests at the worst of times.
    pub store: f64,
    /// Crashes in a thousand steps.
    pub crashes: usize,
}

impl Perils {
    /// Nothing goes wrong by itself.
    pub const NONE: Self = Self { rot: false, storms: false, store: 0.0, crashes: 0 };
}

pub struct World {
    pub dice: Dice,
    /// What happens when days go by.
    ages: Dice,
    pub journal: Journal,
    pub machine: Machine,
    pub settings: Settings,
    pub perils: Perils,
    pub load: Load,
    pub oracle: Oracle,
    pub process: Option<Process>,
    pub runtime: tokio::runtime::Runtime,
    rules: usize,
    waiting: Vec<Waiting>,
    /// Answers that senders were given: yes, and no.
    pub answers: (u64, u64),
    /// Requests that were not acknowledged, to be sent again.
    again: VecDeque<usize>,
    /// When the first turn since the log last wrote took place: verdicts that it writes next were not made before.
    turned: Option<Mark>,
    /// Verdicts that the log refused, by their address, and when they were made.
    refused: Vec<(usize, Mark)>,
    pub lives: u64,
    /// Groups of table files that became others.
    pub compacted: u64,
}

/// How a run went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub hash: u64,
    pub events: u64,
    pub lives: u64,
    pub summary: String,
}

impl World {
    pub fn new(seed: u64, settings: Settings, perils: Perils) -> Self {
        let journal = Journal::default();
        let clock = SimClock::new();
        let machine = Machine {
            disk: SimDisk::new(Dice::new(seed, "disk"), journal.clone()),
            objects: SimObjects::new(seed, clock.clone(), journal.clone()),
            clock,
        };
        Self {
            dice: Dice::new(seed, "driver"),
            ages: Dice::new(seed, "ages"),
            load: Load::new(Dice::new(seed, "load")),
            oracle: Oracle::default(),
            process: None,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .unwrap(),
            rules: 0,
            waiting: Vec::new(),
            answers: (0, 0),
            again: VecDeque::new(),
            turned: None,
            refused: Vec::new(),
            lives: 0,
            compacted: 0,
            journal,
            machine,
            settings,
            perils,
        }
    }

    /// A world drawn from its seed.
    pub fn of_seed(seed: u64) -> Self {
        let dice = Dice::new(seed, "settings");
        let second = Duration::from_secs(1);
        let recorders = [(Duration::ZERO, 0), (5 * second, 32 * 1024), (3600 * second, 256 * 1024)];
        let (age, size_bytes) = *dice.pick(&recorders);
        let settings = Settings {
            segment_bytes: *dice.pick(&[2 * 1024, 8 * 1024, 64 * 1024]),
            limit_bytes: *dice.pick(&[48 * 1024, 256 * 1024, 8 << 20]),
            queue_bytes: *dice.pick(&[4 * 1024, 64 * 1024]),
            cache_bytes: *dice.pick(&[0, 8 * 1024, 1 << 20]),
            recorder: Recorder { age, size_bytes },
            index_bytes: *dice.pick(&[8 * 1024, 1 << 20, 1 << 20]),
            policy: BatchPolicy {
                bytes: *dice.pick(&[2 * 1024, 16 * 1024, 1 << 20]),
                age: *dice.pick(&[second / 5, second, 3 * second]),
            },
            checkpoint_every: dice.between(2..=6),
        };
        let perils = Perils {
            rot: dice.chance(0.2),
            storms: dice.chance(0.8),
            store: *dice.pick(&[0.0, 0.05, 0.2]),
            crashes: *dice.pick(&[2, 6, 20]),
        };
        Self::new(seed, settings, perils)
    }

    /// Lives through so many steps, then brings the world to rest and looks at what is there; then days go by.
    pub fn run(&mut self, steps: usize) -> Result<Report, Breach> {
        self.restart()?;
        for _ in 0..steps {
            self.step()?;
        }
        self.rest()?;
        self.ages(steps / AGES_SHARE)?;
        Ok(Report {
            hash: self.journal.hash(),
            events: self.journal.events(),
            lives: self.lives,
            summary: format!("{:?}, {} compactions", self.oracle.totals, self.compacted),
        })
    }

    pub fn process(&mut self) -> &mut Process {
        self.process.as_mut().expect("a step begins with a daemon that runs")
    }
}

/// What tells one decision from another: its list of verdicts, which is shared by all that carry it.
fn address(attachment: &Attachment) -> Option<usize> {
    match attachment {
        Attachment::Verdicts(decided) => Some(std::sync::Arc::as_ptr(decided) as usize),
        _ => None,
    }
}
