//! One life of the daemon, put together from its own parts, without its threads: the driver takes the place of the loops.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tracewell::app::checkpoint::{self, Covered, Keeping};
use tracewell::app::decider::Decider;
use tracewell::app::events::{Attachment, EVENTS_MAX, Event, Gauges, Log, SharedGauges};
use tracewell::app::finder::Finder;
use tracewell::app::ingest::Pipeline;
use tracewell::app::memory::NotesBudget;
use tracewell::app::replay::{replay_into, resume};
use tracewell::app::rescue::{Rescuing, WISHES_QUEUE};
use tracewell::app::rules::resumed;
use tracewell::app::start::data_id;
use tracewell::app::storing::Storing;
use tracewell::enrich::{EnrichConfig, Enricher};
use tracewell::ledger::{Ledger, LedgerConfig};
use tracewell::log::{LogConfig, LogReader, LogStats, LogWriter, Opened, Record, Recorder, RecorderIndex};
use tracewell::rules_source::RulesHistory;
use tracewell::runtime::{Clock, CpuPool, Disk, Tasks};
use tracewell::sample::{
    Batch, BatchPolicy, Checkpoint, Rescue, Rulebook, Sampler, SamplerConfig, parse_rules,
};
use tracewell::store::{Location, Reader, ReaderConfig, Store, StoreConfig};

use crate::clock::SimClock;
use crate::dice::Dice;
use crate::disk::SimDisk;
use crate::load::rules;
use crate::objects::SimObjects;

pub const DATA: &str = "/data";
pub const STORE: &str = "memory:///store";

/// How the daemon is set up, for all of a run.
#[derive(Clone, Debug)]
pub struct Settings {
    pub segment_bytes: u64,
    pub limit_bytes: u64,
    pub queue_bytes: usize,
    pub cache_bytes: usize,
    pub recorder: Recorder,
    pub index_bytes: usize,
    pub policy: BatchPolicy,
    pub checkpoint_every: u64,
}

impl Settings {
    pub fn log(&self) -> LogConfig {
        LogConfig {
            segment_bytes: self.segment_bytes,
            limit_bytes: self.limit_bytes,
            reserve_bytes: 8 * 1024,
            queue_bytes: self.queue_bytes,
            cache_bytes: self.cache_bytes,
            recorder: self.recorder,
            ..LogConfig::new(&PathBuf::from(DATA))
        }
    }
}

impl Settings {
    pub fn ledger(&self, app_id: &str) -> LedgerConfig {
        LedgerConfig {
            dir: PathBuf::from(DATA).join("decisions"),
            log: app_id.bytes().fold(7u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte))),
            keep: Duration::from_secs(24 * 3600),
            bytes_max: 64 << 20,
            memory_max: 8 << 20,
        }
    }
}

impl Default for Settings {
    /// Small enough that every bound is met.
    fn default() -> Self {
        Self {
            segment_bytes: 8 * 1024,
            limit_bytes: 1 << 20,
            queue_bytes: 64 * 1024,
            cache_bytes: 16 * 1024,
            recorder: Recorder { age: Duration::ZERO, size_bytes: 0 },
            index_bytes: 1 << 20,
            policy: BatchPolicy { bytes: 16 * 1024, age: Duration::from_millis(500) },
            checkpoint_every: 4,
        }
    }
}

/// What a life of the daemon finds.
#[derive(Clone)]
pub struct Machine {
    pub disk: SimDisk,
    pub clock: SimClock,
    pub objects: SimObjects,
}

/// The daemon.
pub struct Process {
    pub writer: LogWriter<Attachment>,
    pub log: Log,
    pub decider: Decider,
    pub events: mpsc::Sender<Event>,
    pub inbox: mpsc::Receiver<Event>,
    pub pipeline: Arc<Pipeline>,
    pub rulebook: Arc<Rulebook>,
    pub store: Arc<Store>,
    pub storing: Storing,
    pub batches: mpsc::UnboundedReceiver<Arc<Batch>>,
    /// The batch that is being written, and since when.
    pub batch: Option<(Arc<Batch>, Duration)>,
    pub records: LogReader,
    pub recorder: RecorderIndex,
    pub rescuing: Rescuing,
    pub wishes: mpsc::Receiver<Vec<Rescue>>,
    pub to_keep: mpsc::Receiver<Checkpoint>,
    pub keeping: Keeping,
    pub history: RulesHistory,
    pub ledger: Arc<Ledger>,
}

impl Process {
    /// Starts as the daemon does; `seen` is shown what the log holds. Wants a tokio runtime around it.
    pub fn start(
        machine: &Machine,
        settings: &Settings,
        rules_number: usize,
        random: &Dice,
        mut seen: impl FnMut(&Record),
    ) -> Result<Self, String> {
        let clock: Arc<dyn Clock> = Arc::new(machine.clock.clone());
        let disk: Arc<dyn Disk> = Arc::new(machine.disk.clone());
        let data = PathBuf::from(DATA);
        let history = RulesHistory::new(disk.clone(), data.join("rules"));
        let rulebook = Arc::new(resumed(parse_rules(&rules(rules_number)).unwrap(), false, &history));
        let opened = tracewell::log::Log::open::<Attachment>(disk.clone(), clock.clone(), settings.log());
        let Opened { handle: log, writer, reader: records, replay, recorder } =
            opened.map_err(|e| e.to_string())?;
        let app_id = data_id(disk.as_ref(), random, &data, log.stats().segments == 0);
        let app_id = app_id.map_err(|e| e.to_string())?;
        let config = SamplerConfig { index_bytes_max: settings.index_bytes, ..SamplerConfig::default() };
        let mut sampler = Sampler::new(config, rulebook.clone());
        let ledger = Arc::new(Ledger::open(disk.clone(), clock.clone(), settings.ledger(&app_id)));
        let checkpoint = checkpoint::load(disk.as_ref(), &data, &app_id).map_err(|e| e.to_string())?;
        let covered = Covered::by(checkpoint.as_ref());
        let (begin, mut noting) = resume(&mut sampler, checkpoint.as_ref(), &ledger, log.stats().oldest);
        noting.seed(&mut sampler);
        let told = |record: &Record| {
            seen(record);
            noting.note(record);
        };
        let outcome = replay.outcome();
        replay_into(&mut sampler, replay.from(begin).inspect(told), &rulebook, clock.as_ref());
        outcome.check().map_err(|e| e.to_string())?;
        let unfinished = sampler.go_live();

        let gauges = SharedGauges::new(Gauges::default());
        let (events, inbox) = mpsc::channel(EVENTS_MAX);
        let location = Location::custom(Arc::new(machine.objects.clone()), STORE).unwrap();
        let store_config = StoreConfig {
            checkpoint_every: settings.checkpoint_every,
            keep_log: Duration::from_secs(30),
            ..StoreConfig::new(location.clone(), app_id.clone())
        };
        let store = Arc::new(Store::open(store_config, clock.clone()).map_err(|e| e.to_string())?);
        let reader = Reader::new(location, clock.clone(), ReaderConfig::default());
        let (to_store, batches) = mpsc::unbounded_channel();
        for batch in unfinished {
            to_store.send(batch).unwrap();
        }
        let pipeline = Arc::new(Pipeline {
            enricher: Arc::new(Enricher::new(&EnrichConfig::default(), &[])),
            rulebook: rulebook.clone(),
            log: log.clone(),
            gauges: gauges.clone(),
            notes: NotesBudget::new(u64::from(u32::MAX)),
            fleet: None,
        });
        let tasks = Tasks::new(tokio::runtime::Handle::current());
        let pool = CpuPool::new(tasks, std::num::NonZero::<usize>::MIN);
        let finder =
            Finder { recorder: recorder.clone(), records: records.clone(), rulebook: rulebook.clone(), pool };
        let rescuing = Rescuing { finder, events: events.clone() };
        let (rescues, wishes) = mpsc::channel(WISHES_QUEUE);
        let (checkpoints, to_keep) = mpsc::channel(1);
        let decider = Decider {
            sampler,
            clock: clock.clone(),
            log: log.clone(),
            recorder: recorder.clone(),
            rescues,
            batches: to_store,
            policy: settings.policy,
            gauges: gauges.clone(),
            ledger: ledger.clone(),
            unwritten: Vec::new(),
            flushing: Vec::new(),
            released: Duration::ZERO,
            checkpoints,
            checkpointed: Duration::ZERO,
            covered: covered.clone(),
            is_held: false,
        };
        let keeping = Keeping { disk, data, log: app_id, clock: clock.clone(), covered };
        let storing = Storing {
            exports: None,
            store: store.clone(),
            reader,
            records: records.clone(),
            clock,
            random: Arc::new(Dice::new(0, "backoff")),
            events: events.clone(),
            gauges,
        };
        Ok(Self {
            writer,
            log,
            decider,
            events,
            inbox,
            pipeline,
            rulebook,
            store,
            storing,
            batches,
            batch: None,
            records,
            recorder,
            rescuing,
            wishes,
            to_keep,
            keeping,
            history,
            ledger,
        })
    }

    pub fn stats(&self) -> LogStats {
        self.log.stats()
    }
}
