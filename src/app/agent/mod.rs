//! The agent: receive → enrich → log → forward. No sampler, no store; what is acknowledged is in its log until a gateway has it.

mod operators;
mod pipeline;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};

use super::companion::{Companion, Doorway};
use super::connecting::client_options;
use super::enriching::Enriching;
use super::forwarding::couriers::{Clients, ToGateway};
use super::forwarding::{COMMITS_MAX, Couriers, Forwarding, ForwardingConfig, Outgoing, OutgoingLog};
use super::listeners::Listeners;
use super::membership::{Gateways, Membership, source};
use super::receiving::{receiver, serve};
use super::start::{data_id, log_config};
use super::trust::Trust;
use super::{Ended, StartError, died_before};
use crate::config::Config;
use crate::forward::head::HeadSampler;
use crate::forward::lane::{Courier, LaneConfig};
use crate::forward::ring::Member;
use crate::forward::state::States;
use crate::log::{Log, LogConfig, LogWriter, Opened, Recorder};
use crate::runtime::net::Listener;
use crate::runtime::{Clock, DirLock, Disk, Drain, RealDisk, Shutdown, SystemRandom, TaskHandle, Tasks};
use operators::AgentOperators;
use pipeline::AgentPipeline;

/// How often a draining agent looks whether everything is forwarded.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An agent at work, as its drain needs it.
struct Started {
    doorway: Option<Doorway>,
    trust: Arc<Trust>,
    receiving: Shutdown,
    everything: Shutdown,
    receivers: Vec<TaskHandle<()>>,
    others: Vec<TaskHandle<()>>,
    log: OutgoingLog,
    log_writer: TaskHandle<()>,
    splitter: TaskHandle<()>,
    forwarding: Forwarding,
    _lock: DirLock,
}

/// Starts the agent, runs until `stop` says so (or a task dies), and drains.
///
/// # Errors
/// When it cannot start.
pub async fn run(
    config: Config,
    clock: Arc<dyn Clock>,
    companion: Option<Companion>,
    stop: impl Future<Output = ()> + Send,
) -> Result<Ended, StartError> {
    let tasks = Tasks::new(tokio::runtime::Handle::current());
    let deadline = config.shutdown.deadline;
    let mut stop = std::pin::pin!(stop);
    let mut started = tokio::select! {
        started = start(config, clock, tasks.clone()) => started?,
        () = &mut stop => return Ok(Ended::Cleanly),
    };
    if let Some(doorway) = started.doorway.take() {
        let Started { trust, receiving, receivers, .. } = &mut started;
        doorway.let_in(companion, &tasks, trust, receiving, receivers).await?;
    }
    let died = died_before(&tasks, stop).await;
    tracing::info!("stopping");
    drain(started, deadline).await;
    Ok(if died { Ended::Uncleanly } else { Ended::Cleanly })
}

async fn start(config: Config, clock: Arc<dyn Clock>, tasks: Tasks) -> Result<Started, StartError> {
    let started = clock.monotonic();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let data = config.data.clone();
    disk.create_dir_all(&data).map_err(|source| StartError::DataFile { path: data.clone(), source })?;
    let lock = DirLock::acquire(&data)?;
    let clients = clients(&config, &disk, &clock, &tasks)?;
    let trust = Trust::load(&config, &disk, &clock, tasks.runtime())?;
    let enriching = Enriching::new(&config, &disk).await?;
    let listeners = Listeners::bind(&config, trust.otlp.clone(), trust.api.clone()).await?;

    let opened = Log::open::<Outgoing>(disk.clone(), clock.clone(), agent_log_config(&config))?;
    let Opened { handle: log, writer, reader: records, .. } = opened;
    let id = data_id(disk.as_ref(), &SystemRandom, &data, log.stats().segments == 0)?;
    let source = source(&config.gateways, &disk)
        .ok_or_else(|| StartError::Setting("no gateways are configured".into()))?;
    let states = clients.states.clone();
    let (membership, gateways) =
        Membership::new(source, config.gateways.refresh, None, states, clients.clone()).await;
    let forwarding = Forwarding::new(
        ForwardingConfig { data: data.clone(), id, lane: lane_config(&config) },
        disk.clone(),
        tasks.clone(),
        Arc::new(SystemRandom),
        (log.clone(), records),
        &gateways.ring.borrow().clone(),
        couriers(&clients, &gateways),
    );

    let (commits, to_split) = mpsc::channel(COMMITS_MAX);
    let log_writer = spawn_log_writer(&tasks, writer, commits)?;
    let room = Arc::new(Semaphore::new(config.memory.notes as usize));
    let sampled_out: Arc<AtomicU64> = Arc::default();
    let head = config.forward.sample.and_then(HeadSampler::new);
    let pipeline = AgentPipeline::new(enriching.enricher.clone(), log.clone(), room.clone());
    let pipeline = pipeline.sampled(head, sampled_out.clone());
    let receiver = receiver(&config, &clock, &tasks, pipeline, &trust)?;
    let operators = AgentOperators {
        config: Arc::new(config),
        clock,
        started,
        receive: receiver.stats(),
        admission: receiver.budget(),
        room,
        log: log.clone(),
        forwarding: forwarding.clone(),
        gateways: gateways.clone(),
        clients,
        trust: trust.clone(),
        enricher: enriching.enricher.clone(),
        sampled_out,
    };

    let (receiving, everything) = (Shutdown::new(), Shutdown::new());
    let doorway = Some(Doorway::new(&tasks, &receiver, &listeners, &receiving, &data));
    let Listeners { grpc, http, api } = listeners;
    let splitter = forwarding.splitter(to_split, gateways.ring);
    // Ends when the log has closed, not before: what was committed by then is settled or noted.
    let splitter = tasks.spawn("splitter", splitter.run(Shutdown::new()));
    let mut others = vec![
        tasks.spawn("membership", membership.run(everything.clone())),
        spawn_api(&tasks, operators, api, &everything)?,
    ];
    others.extend(enriching.spawn(&tasks, &everything));
    others.extend(trust.follow(&tasks, disk, everything.clone())?);
    let receivers = serve(&tasks, receiver, (grpc, http), &receiving);
    Ok(Started {
        doorway,
        trust,
        receiving,
        everything,
        receivers,
        others,
        log,
        log_writer,
        splitter,
        forwarding,
        _lock: lock,
    })
}

fn clients(
    config: &Config,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
) -> Result<Clients, StartError> {
    let section = &config.gateways;
    let options =
        client_options(section.tls.as_ref(), section.token_file.as_ref(), &section.compression, disk, clock);
    let options = options.map_err(|error| StartError::Setting(format!("gateways: {error}")))?;
    Ok(Clients::new(options, tasks.runtime(), States::default()))
}

fn couriers(clients: &Clients, gateways: &Gateways) -> Couriers {
    let (clients, ring) = (clients.clone(), gateways.ring.clone());
    Arc::new(move |member: &Member| -> Arc<dyn Courier> {
        Arc::new(ToGateway { member: member.clone(), clients: clients.clone(), ring: ring.clone() })
    })
}

fn lane_config(config: &Config) -> LaneConfig {
    let queue_bytes = config.gateways.queue as usize;
    let default = LaneConfig::default();
    LaneConfig { queue_bytes, request_bytes: default.request_bytes.min(queue_bytes / 4).max(1), ..default }
}

/// Nobody looks back into an agent's log: what is forwarded goes.
fn agent_log_config(config: &Config) -> LogConfig {
    LogConfig { recorder: Recorder { age: Duration::ZERO, size_bytes: 0 }, ..log_config(config) }
}

fn spawn_log_writer(
    tasks: &Tasks,
    writer: LogWriter<Outgoing>,
    commits: super::forwarding::ToSplit,
) -> Result<TaskHandle<()>, StartError> {
    let run = move || {
        // The splitter outlives the log, but for a panic, which stops the daemon.
        writer.run(|committed| drop(commits.blocking_send(committed)));
    };
    tasks.thread("log", run).map_err(StartError::Thread)
}

fn spawn_api(
    tasks: &Tasks,
    operators: AgentOperators,
    listener: Listener,
    everything: &Shutdown,
) -> Result<TaskHandle<()>, StartError> {
    let (api, stop) = (operators.api()?, everything.token());
    Ok(tasks.spawn("api", async move { api.serve(listener, stop).await }))
}

/// Stops receiving, forwards what can be forwarded, writes down how far that came. The rest is in the log for the next start.
async fn drain(started: Started, deadline: Duration) {
    let Started { receiving, everything, receivers, others, log, log_writer, splitter, forwarding, .. } =
        started;
    let mut steps = Drain::new();
    receiving.begin();
    steps.step("receivers", async move {
        let finished = tokio::time::timeout(deadline / 4, all(receivers)).await;
        finished.unwrap_or_else(|_| Err("some senders did not finish their requests in time".into()))
    });
    steps.step("log", async move {
        log.close();
        all(vec![log_writer, splitter]).await
    });
    let left = forwarding.clone();
    steps.step("forward", async move {
        let done = async {
            while !left.is_done() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        // Whoever is down now may stay so: the log keeps it.
        let done = tokio::time::timeout(deadline / 2, done).await;
        done.map_err(|_| "some gateways did not take everything in time; the log keeps it for the next start")
    });
    steps.step("lanes", async move {
        forwarding.stop().await;
        Ok::<(), String>(())
    });
    steps.step("rest", async move {
        everything.begin();
        all(others).await
    });
    steps.run(deadline).await;
}

async fn all(tasks: Vec<TaskHandle<()>>) -> Result<(), String> {
    let mut outcome = Ok(());
    for task in tasks {
        outcome = outcome.and(task.await.map(drop));
    }
    outcome.map_err(|died| died.to_string())
}
