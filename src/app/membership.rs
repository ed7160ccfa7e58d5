//! Who the gateways are, as this process sees it at any moment: their source asked again and again, and each of them what it is
//! doing.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::watch;

use super::forwarding::couriers::Clients;
use crate::config::{GatewaysSection, Members};
use crate::forward::members::{Consul, Dns, Question, Source};
use crate::forward::ring::{Member, Ring};
use crate::forward::state::States;
use crate::runtime::{Disk, Shutdown, Tenant};

/// How often each gateway is asked what it is doing: who leaves waits for several of these.
pub const PING_EVERY: Duration = Duration::from_secs(1);
/// After a failure the source is asked again this soon, at the latest.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// The gateways. Cheap to clone.
#[derive(Clone)]
pub struct Gateways {
    /// All members.
    pub members: watch::Receiver<Arc<Ring>>,
    /// Those that new traces go to: the members without those that are leaving.
    pub ring: watch::Receiver<Arc<Ring>>,
}

/// Keeps [`Gateways`] up to date.
pub struct Membership {
    source: Source,
    refresh: Duration,
    own: Option<Member>,
    states: States,
    clients: Clients,
    members: watch::Sender<Arc<Ring>>,
    ring: watch::Sender<Arc<Ring>>,
}

/// The source that a configuration names; `None` without one. Consul's token is where its own tools look for it, in the
/// environment.
pub fn source(section: &GatewaysSection, disk: &Arc<dyn Disk>) -> Option<Source> {
    Some(match section.members.as_ref()? {
        Members::Static(names) => Source::fixed(names),
        Members::File(path) => Source::File(disk.clone(), path.clone()),
        Members::Dns(name, port) => Source::Dns(Box::new(Dns::new(Question::Addresses(name.clone(), *port)))),
        Members::Srv(name) => Source::Dns(Box::new(Dns::new(Question::Services(name.clone())))),
        Members::Consul(base, service) => {
            let token = std::env::var("CONSUL_HTTP_TOKEN").ok().filter(|token| !token.is_empty());
            Source::Consul(Consul::new(base.clone(), service, token))
        }
    })
}

impl Membership {
    /// Asks the source once. Without an answer nobody is known, for now.
    pub async fn new(
        mut source: Source,
        refresh: Duration,
        own: Option<Member>,
        states: States,
        clients: Clients,
    ) -> (Self, Gateways) {
        let first = source.look().await.unwrap_or_else(|error| {
            tracing::warn!(error, "cannot tell who the gateways are; tried again");
            Ring::default()
        });
        let first = Arc::new(first);
        let (members, to_members) = watch::channel(first.clone());
        let (ring, to_ring) = watch::channel(first);
        let gateways = Gateways { members: to_members, ring: to_ring };
        (Self { source, refresh, own, states, clients, members, ring }, gateways)
    }

    /// Runs until shutdown.
    pub async fn run(self, stop: Shutdown) {
        let Self { source, refresh, own, states, clients, members, ring } = self;
        let to_members = members.subscribe();
        tokio::select! {
            () = follow(source, refresh, members) => {}
            () = ask(&clients, own.as_ref(), &to_members) => {}
            () = narrow(&states, &clients, to_members.clone(), ring) => {}
            () = stop.begun() => {}
        }
    }
}

/// Asks the source again and again.
async fn follow(mut source: Source, refresh: Duration, members: watch::Sender<Arc<Ring>>) {
    loop {
        let looked = source.look().await;
        let rest = match looked {
            // Nobody at all is more likely a mistake than the truth, and would help nobody.
            Ok(found) if found.members().is_empty() => {
                tracing::warn!("the source of the gateways names none; those known stay");
                Some(refresh.min(TRY_AGAIN))
            }
            Ok(found) => {
                members.send_if_modified(|known| {
                    let is_other = **known != found;
                    if is_other {
                        *known = Arc::new(found);
                    }
                    is_other
                });
                source.rest(refresh)
            }
            Err(error) => {
                tracing::warn!(error, "cannot tell who the gateways are; those known stay");
                Some(refresh.min(TRY_AGAIN))
            }
        };
        match rest {
            Some(rest) => tokio::time::sleep(rest).await,
            None => std::future::pending().await,
        }
    }
}

/// Asks each member what it is doing. An export without spans is answered by whoever speaks OTLP.
async fn ask(clients: &Clients, own: Option<&Member>, members: &watch::Receiver<Arc<Ring>>) {
    let nobody = Tenant::default();
    loop {
        tokio::time::sleep(PING_EVERY).await;
        let all = members.borrow().clone();
        // Those that leave are listened for until they are gone, on the list or not.
        let leaving = clients.states.leaving();
        let off_the_list = leaving.iter().filter(|member| !all.has(member));
        let others = all.members().iter().chain(off_the_list).filter(|member| Some(*member) != own);
        let nobody = &nobody;
        let asked = others.map(|member| async move {
            let ping = clients.export(member, nobody, &[], &[]);
            if tokio::time::timeout(2 * PING_EVERY, ping).await.is_err() {
                clients.states.silent(member);
            }
        });
        join_all(asked).await;
    }
}

/// Leaves those out that are leaving.
async fn narrow(
    states: &States,
    clients: &Clients,
    mut members: watch::Receiver<Arc<Ring>>,
    ring: watch::Sender<Arc<Ring>>,
) {
    let mut changes = states.changes();
    loop {
        let all = members.borrow_and_update().clone();
        changes.mark_unchanged();
        states.keep_only(&all);
        clients.keep_only(|member| all.has(member));
        let staying = states.staying(&all);
        ring.send_if_modified(|known| {
            let is_other = **known != staying;
            if is_other {
                *known = Arc::new(staying);
            }
            is_other
        });
        tokio::select! {
            changed = members.changed() => if changed.is_err() { return },
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}
