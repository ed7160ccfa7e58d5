//! Start: lock, rules, log and replay, store, listeners, loops. In this order, so that a mistake is found before
//! anything is received.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::admin::{NotStored, Operators, Remembered};
use super::checkpoint::{Covered, Keeping};
use super::compacting::Compacting;
use super::companion::Doorway;
use super::decider::Decider;
use super::enriching::Enriching;
use super::events::{Attachment, EVENTS_MAX, Event, Events, Gauges, Log, SharedGauges};
use super::explaining::{Explaining, RulesOfAllTime};
use super::exporting::{Exports, Surroundings};
use super::finder::Finder;
use super::fleet::InFleet;
use super::housekeeping::Housekeeping;
use super::ingest::Pipeline;
use super::joining::join;
use super::listeners::Listeners;
use super::memory::{Memory, NotesBudget, questions};
use super::noting;
use super::pin::Pinning;
use super::receiving::{receiver, serve};
use super::recording;
use super::replay::{replayed, resume};
use super::rescue::{Rescuing, WISHES_QUEUE};
use super::rules::{load_rules, spawn_rules};
use super::storing::Storing;
use super::trust::Trust;
use super::{StartError, checkpoint};
use crate::api::{Api, ApiConfig};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::log::{LogConfig, LogWriter, Opened, Recorder};
use crate::query::{Engine, Recent};
use crate::rules_source::{RulesHistory, RulesState};
use crate::runtime::{
    Clock, CpuPool, DirLock, Disk, Random, RealDisk, Shutdown, SystemRandom, TaskHandle, Tasks, cpu::cores,
};
use crate::sample::{BatchPolicy, Sampler, SamplerConfig};
use crate::store::schema::AddedColumn;
use crate::store::{
    CompactionConfig, Compactor, Index, LocalRuns, Location, Reader, ReaderConfig, Store, StoreConfig,
};

/// A trace larger than half a batch is decided at once, and its later spans go into batches of their own: so no batch is
/// much larger than it should be. But not so many bytes, however small batches are,
const TRACE_BYTES_MIN: u32 = 4 << 20;
/// and surely with so many, in bytes on the wire.
const TRACE_BYTES_MAX: u32 = 32 << 20;

/// A daemon at work, as its drain needs it.
pub struct Started {
    pub(super) doorway: Option<Doorway>,
    pub(super) trust: Arc<Trust>,
    pub(super) receiving: Shutdown,
    pub(super) everything: Shutdown,
    pub(super) receivers: Vec<TaskHandle<()>>,
    pub(super) others: Vec<TaskHandle<()>>,
    pub(super) log: Log,
    pub(super) log_writer: Option<TaskHandle<()>>,
    pub(super) events: Events,
    pub(super) fleet: Option<Arc<InFleet>>,
    pub(super) gauges: SharedGauges,
    pub(super) exports: Option<Exports>,
    _lock: DirLock,
}

/// Starts everything.
pub(super) async fn start(
    config: Config,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
) -> Result<Started, StartError> {
    let started = clock.monotonic();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let data = config.data.clone();
    disk.create_dir_all(&data).map_err(|source| StartError::DataFile { path: data, source })?;
    let lock = DirLock::acquire(&config.data)?;
    let rules_state = RulesState::default();
    let history = RulesHistory::new(disk.clone(), config.data.join("rules"));
    let (rulebook, source) = load_rules(&config, &disk, &clock, &rules_state, &history)?;
    let location = Location::configured(config.store.url.as_ref(), &config.data)?;
    let enriching = Enriching::new(&config, &disk).await?;
    let trust = Trust::load(&config, &disk, &clock, tasks.runtime())?;
    let listeners = Listeners::bind(&config, trust.otlp.clone(), trust.api.clone()).await?;

    let opened = crate::log::Log::open::<Attachment>(disk.clone(), clock.clone(), log_config(&config))?;
    let Opened { handle: log, writer, reader: records, replay, recorder } = opened;
    // Batches are numbered by the log's positions: a log that begins anew must not meet the numbers of the one before.
    let app_id = data_id(disk.as_ref(), &SystemRandom, &config.data, log.stats().segments == 0)?;
    let ledger = noting::open(&config, &disk, &clock, &app_id);
    let mut sampler = Sampler::new(sampler_config(&config), rulebook.clone());
    let checkpoint = checkpoint::load(disk.as_ref(), &config.data, &app_id)?;
    let covered = Covered::by(checkpoint.as_ref());
    let (begin, noting) = resume(&mut sampler, checkpoint.as_ref(), &ledger, log.stats().oldest);
    let joined = join(&config, &disk, &clock, &tasks, &rulebook).await?;
    let fleet = joined.as_ref().map(|joined| joined.fleet.clone());
    let replay = replay.from(begin);
    let mut sampler = replayed(&tasks, sampler, replay, &rulebook, &clock, noting, fleet.clone()).await?;
    let unfinished = sampler.go_live();

    let around = Surroundings {
        disk: disk.clone(),
        clock: clock.clone(),
        tasks: tasks.clone(),
        records: records.clone(),
        data_id: app_id.clone(),
        rulebook: rulebook.clone(),
    };
    let exports = Exports::open(&config, around)?;
    let gauges = SharedGauges::new(Gauges::default());
    let to_drain = gauges.clone();
    let (events, inbox) = mpsc::channel(EVENTS_MAX);
    let log_writer = spawn_log_writer(&tasks, writer, events.clone())?;
    let (everything, receiving) = (Shutdown::new(), Shutdown::new());

    let mut store_config = StoreConfig::new(location.clone(), app_id.clone());
    store_config.tag_objects = config.store.lifecycle;
    store_config.storage_class.clone_from(&config.store.storage_class);
    let columns = config.store.columns.iter().map(|(attribute, kind)| AddedColumn::new(attribute, kind));
    store_config.columns = columns.collect::<Result<_, _>>()?;
    let runs = LocalRuns { disk: disk.clone(), dir: config.data.join("index") };
    let index = Index::open(location.clone(), Some(runs), config.query.index)
        .with_directories(config.memory.directories);
    store_config.index = Some(index.clone());
    let (checkpoints, to_keep) = mpsc::channel(1);
    let keeping = Keeping {
        disk: disk.clone(),
        data: config.data.clone(),
        log: app_id,
        clock: clock.clone(),
        covered: covered.clone(),
    };
    let keeping = tasks.thread("checkpoint", move || keeping.run(to_keep)).map_err(StartError::Thread)?;
    let store = Arc::new(Store::open(store_config, clock.clone())?);
    let reader_config = ReaderConfig {
        footer_cache_bytes: config.query.cache as usize,
        index: Some(index.clone()),
        ..ReaderConfig::default()
    };
    let reader = Reader::new(location, clock.clone(), reader_config);
    let (batches, to_store) = mpsc::unbounded_channel();
    for batch in unfinished {
        // The receiver is right here.
        let _ = batches.send(batch);
    }

    let notes = NotesBudget::new(config.memory.notes);
    let pipeline = Pipeline {
        enricher: enriching.enricher.clone(),
        rulebook: rulebook.clone(),
        log: log.clone(),
        gauges: gauges.clone(),
        notes: notes.clone(),
        fleet: fleet.clone(),
    };
    let receiver = receiver(&config, &clock, &tasks, pipeline, &trust)?;
    let (questions_max, engine_config) = questions(&config);
    let finder = Finder {
        recorder: recorder.clone(),
        records: records.clone(),
        rulebook: rulebook.clone(),
        pool: CpuPool::new(tasks.clone(), cores()),
    };
    let recent = recent(&events, &finder, &ledger);
    let engine = Engine::new(reader.clone(), Some(recent), clock.clone(), engine_config);
    let compacting = compacting(&config, &store, &clock, gauges.clone());
    let memory = Memory {
        config: Arc::new(config.clone()),
        admission: receiver.budget(),
        notes,
        reader: reader.clone(),
        engine: engine.clone(),
        gauges: gauges.clone(),
        ledger: ledger.clone(),
        index,
        compaction: compacting.compactor.held_bytes(),
        exports: exports.clone(),
    };
    let operators = Operators {
        clock: clock.clone(),
        started,
        receive: receiver.stats(),
        enricher: enriching.enricher.clone(),
        memory,
        log: log.clone(),
        gauges: gauges.clone(),
        ledger: ledger.clone(),
        rules: rules_state,
        trust: trust.clone(),
        fleet: fleet.clone(),
        exports: exports.clone(),
    };
    let explaining = Explaining {
        events: events.clone(),
        ledger: ledger.clone(),
        clock: clock.clone(),
        pool: CpuPool::new(tasks.clone(), cores()),
    };
    let rules_of_all_time = RulesOfAllTime { rulebook: rulebook.clone(), history: history.clone() };
    let api = api(&config, questions_max, engine, &finder, &events, &store, operators)
        .with_why(Arc::new(explaining), Arc::new(rules_of_all_time))
        .guarded(trust.gate.clone());
    let (rescues, wishes) = mpsc::channel(WISHES_QUEUE);
    let rescuing = Rescuing { finder, events: events.clone() };
    let decider = Decider {
        sampler,
        clock: clock.clone(),
        log: log.clone(),
        recorder: recorder.clone(),
        rescues,
        batches,
        policy: BatchPolicy { bytes: config.store.flush_bytes, age: config.store.flush_age },
        gauges: gauges.clone(),
        ledger: ledger.clone(),
        unwritten: Vec::new(),
        flushing: Vec::new(),
        released: Duration::ZERO,
        checkpoints,
        checkpointed: Duration::ZERO,
        covered,
        is_held: false,
    };
    let storing = Storing {
        store: store.clone(),
        reader: reader.clone(),
        records,
        clock: clock.clone(),
        random: Arc::new(SystemRandom),
        events: events.clone(),
        gauges: gauges.clone(),
        exports: exports.clone(),
    };
    let housekeeping = Housekeeping {
        store,
        reader,
        rulebook: rulebook.clone(),
        clock,
        lifecycle: config.store.lifecycle,
        events: events.clone(),
    };

    let mut others = vec![
        keeping,
        spawn_decider(&tasks, decider, inbox, everything.clone())?,
        tasks.spawn("recorder", recording::run(recorder, tasks.clone(), everything.clone())),
        tasks.spawn("rescue", rescuing.run(wishes, everything.clone())),
        tasks.spawn("store", storing.run(to_store, everything.clone())),
        tasks.spawn("ledger", noting::keep_flushing(ledger, tasks.clone(), everything.clone())),
        tasks.spawn("housekeeping", housekeeping.run(everything.clone())),
    ];
    others.extend(enriching.spawn(&tasks, &everything));
    others.extend(joined.into_iter().flat_map(|joined| joined.spawn(&tasks, &everything)));
    if config.compaction.enabled {
        others.push(tasks.spawn("compaction", compacting.run(everything.clone())));
    }
    if let Some(source) = source {
        others.push(spawn_rules(&tasks, source, rulebook, history, everything.clone())?);
    }
    others.extend(trust.follow(&tasks, disk, everything.clone())?);
    let api_token = everything.token();
    let doorway = Some(Doorway::new(&tasks, &receiver, &listeners, &receiving, &config.data));
    let Listeners { grpc, http, api: api_listener } = listeners;
    others.push(tasks.spawn("api", async move { api.serve(api_listener, api_token).await }));
    let receivers = serve(&tasks, receiver, (grpc, http), &receiving);
    Ok(Started {
        doorway,
        trust,
        receiving,
        everything,
        receivers,
        others,
        log,
        log_writer: Some(log_writer),
        events,
        fleet,
        gauges: to_drain,
        exports,
        _lock: lock,
    })
}

/// What questions see of the log.
fn recent(events: &Events, finder: &Finder, ledger: &Arc<Ledger>) -> Recent {
    let pool = finder.pool.clone();
    Recent {
        traces: Arc::new(NotStored(events.clone())),
        records: Arc::new(finder.records.clone()),
        recorder: Arc::new(finder.recorder.clone()),
        verdicts: Arc::new(Remembered { events: events.clone(), ledger: ledger.clone(), pool: pool.clone() }),
        pool,
    }
}

fn api(
    config: &Config,
    queries_max: usize,
    engine: Engine,
    finder: &Finder,
    events: &Events,
    store: &Arc<Store>,
    operators: Operators,
) -> Api {
    let api_config = ApiConfig {
        queries_max,
        search_time_max: config.query.timeout,
        trace_time_max: config.query.timeout,
        limit: config.query.limit,
        limit_max: config.query.limit_max,
        ..ApiConfig::default()
    };
    let pins = Pinning {
        engine: engine.clone(),
        finder: finder.clone(),
        events: events.clone(),
        store: Arc::clone(store),
        reader: operators.memory.reader.clone(),
        random: Arc::new(SystemRandom),
    };
    Api::new(engine, Arc::new(operators), Arc::new(pins), api_config)
}

fn spawn_log_writer(
    tasks: &Tasks,
    writer: LogWriter<Attachment>,
    events: Events,
) -> Result<TaskHandle<()>, StartError> {
    let refused = events.clone();
    let run = move || {
        // The sampler's loop outlives the log, but for a panic, which stops the daemon.
        writer.run_with(
            |committed| drop(events.blocking_send(Event::Committed(committed))),
            |records| drop(refused.blocking_send(Event::Refused(records))),
        );
    };
    tasks.thread("log", run).map_err(StartError::Thread)
}

fn spawn_decider(
    tasks: &Tasks,
    decider: Decider,
    inbox: mpsc::Receiver<Event>,
    stop: Shutdown,
) -> Result<TaskHandle<()>, StartError> {
    let runtime = tasks.runtime();
    let run = move || runtime.block_on(decider.run(inbox, stop));
    tasks.thread("sampler", run).map_err(StartError::Thread)
}

/// The log's bounds.
pub(super) fn log_config(config: &Config) -> LogConfig {
    LogConfig {
        segment_bytes: config.log.segment,
        limit_bytes: config.log.limit,
        queue_bytes: config.memory.log_queue as usize,
        cache_bytes: config.memory.log_cache as usize,
        recorder: Recorder { age: config.recorder.age, size_bytes: config.recorder.size },
        recorder_bytes: config.memory.recorder as usize,
        ..LogConfig::new(&config.data)
    }
}

/// In bytes on the wire.
fn trace_bytes_max(config: &Config) -> u32 {
    u32::try_from(config.store.flush_bytes / 2).unwrap_or(u32::MAX).clamp(TRACE_BYTES_MIN, TRACE_BYTES_MAX)
}

fn sampler_config(config: &Config) -> SamplerConfig {
    SamplerConfig {
        index_bytes_max: config.sample.index as usize,
        decisions_bytes_max: config.sample.decisions as usize,
        trace_bytes_max: trace_bytes_max(config),
        losses_bytes_max: config.memory.losses as usize,
        debug: config.debug,
        ..SamplerConfig::default()
    }
}

/// The data directory's id, made where the log begins: the table knows by it which batches it has.
pub fn data_id(
    disk: &dyn Disk,
    random: &dyn Random,
    data: &Path,
    log_is_new: bool,
) -> Result<String, StartError> {
    let path = data.join("id");
    let wrong = |source| StartError::DataFile { path: path.clone(), source };
    if log_is_new {
        return new_id(disk, random, &path).map_err(wrong);
    }
    match crate::runtime::disk::read_text(disk, &path, 256) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Ok(_) => new_id(disk, random, &path).map_err(wrong),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            new_id(disk, random, &path).map_err(wrong)
        }
        Err(error) => Err(wrong(error)),
    }
}

fn new_id(disk: &dyn Disk, random: &dyn Random, path: &Path) -> std::io::Result<String> {
    let id = random.uuid();
    crate::runtime::disk::write_atomic(disk, path, format!("{id}\n").as_bytes())?;
    Ok(id)
}

fn compacting(
    config: &Config,
    store: &Arc<Store>,
    clock: &Arc<dyn Clock>,
    gauges: SharedGauges,
) -> Compacting {
    let section = &config.compaction;
    let how = CompactionConfig {
        target: section.target,
        gather: section.gather,
        settle: section.settle,
        memory: section.memory,
        ..CompactionConfig::default()
    };
    let random: Arc<dyn crate::runtime::Random> = Arc::new(SystemRandom);
    Compacting {
        compactor: Compactor::new(Arc::clone(store), how, Arc::clone(&random)),
        store: Arc::clone(store),
        cpu_share: section.cpu_share,
        clock: Arc::clone(clock),
        random,
        gauges,
    }
}
