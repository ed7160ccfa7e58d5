//! How a gateway joins its fleet, and how it leaves.

use std::sync::Arc;
use std::time::Duration;

use super::StartError;
use super::connecting::client_options;
use super::events::SharedGauges;
use super::fleet::InFleet;
use super::forwarding::couriers::Clients;
use super::membership::{Membership, PING_EVERY, source};
use crate::config::Config;
use crate::forward::ring::Member;
use crate::forward::state::States;
use crate::runtime::{Clock, Disk, Shutdown, TaskHandle, Tasks};
use crate::sample::Rulebook;

/// How often a gateway that leaves looks whether it is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A gateway that is in a fleet now.
pub struct Joined {
    /// Its part.
    pub fleet: Arc<InFleet>,
    membership: Membership,
}

/// Joins the fleet that is configured; `None` if there is none.
///
/// # Errors
/// When what the configuration names cannot be used.
pub async fn join(
    config: &Config,
    disk: &Arc<dyn Disk>,
    clock: &Arc<dyn Clock>,
    tasks: &Tasks,
    rulebook: &Arc<Rulebook>,
) -> Result<Option<Joined>, StartError> {
    let section = &config.gateways;
    let wrong = |error: String| StartError::Setting(format!("gateways: {error}"));
    let (Some(source), Some(own)) = (source(section, disk), &section.own_name) else {
        return Ok(None);
    };
    let options =
        client_options(section.tls.as_ref(), section.token_file.as_ref(), &section.compression, disk, clock);
    let (own, states) = (Member::new(own), States::default());
    let clients = Clients::new(options.map_err(wrong)?, tasks.runtime(), states.clone());
    let (membership, gateways) =
        Membership::new(source, section.refresh, Some(own.clone()), states, clients.clone()).await;
    let parts = (clients, gateways);
    let bytes_max = section.memory as usize;
    let file = (disk.clone(), config.data.join("fleet"));
    let fleet = InFleet::new(own, parts, clock.clone(), rulebook.clone(), section.settle, bytes_max, file);
    Ok(Some(Joined { fleet, membership }))
}

impl Joined {
    /// Begins to follow the others.
    pub fn spawn(self, tasks: &Tasks, stop: &Shutdown) -> [TaskHandle<()>; 2] {
        [
            tasks.spawn("membership", self.membership.run(stop.clone())),
            tasks.spawn("fleet", self.fleet.run(tasks.clone(), stop.clone())),
        ]
    }
}

/// Leaves in order: whoever sends hears of it and goes elsewhere with new traces, those that are here are finished, late spans
/// included. What is still pending after `limit` stays in the log and is decided at the next start.
pub async fn leave(fleet: &InFleet, gauges: &SharedGauges, clock: &dyn Clock, limit: Option<Duration>) {
    fleet.drain();
    let begun = clock.monotonic();
    let limit = limit.unwrap_or_else(|| fleet.window());
    // Everybody has asked by then at least once, and no trace that was here before can still get spans in time.
    let least = fleet.wait().max(3 * PING_EVERY).min(limit);
    tracing::info!(seconds_min = least.as_secs(), seconds_max = limit.as_secs(), "leaving the fleet");
    loop {
        let pending = gauges.sampler.lock().pending_traces;
        let elapsed = clock.monotonic().saturating_sub(begun);
        if elapsed >= least && pending == 0 {
            tracing::info!(seconds = elapsed.as_secs(), "every trace of this gateway is decided");
            return;
        }
        if elapsed >= limit {
            tracing::warn!(pending, "traces are still pending; they stay in the log until the next start");
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
