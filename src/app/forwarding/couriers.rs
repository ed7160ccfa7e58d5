//! Who carries parcels: to the gateway whose lane it is, or, when that has left, to whoever has its traces now.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::forward::answer::{Belief, Outcome, of_grpc};
use crate::forward::client::{Client, ClientOptions, EXPORT};
use crate::forward::lane::Courier;
use crate::forward::queue::Parcel;
use crate::forward::ring::{Member, Ring};
use crate::forward::split::split;
use crate::forward::state::{GatewayState, States};
use crate::runtime::Tenant;

/// The header that names the tenant, as Tempo, Loki and Mimir have it.
pub const TENANT: HeaderName = HeaderName::from_static("x-scope-orgid");

/// The header for a call on a tenant's behalf.
pub fn named(tenant: &Tenant) -> (HeaderName, HeaderValue) {
    // Tenants' names are letters, digits and a few signs.
    let name = HeaderValue::from_str(tenant.as_str()).unwrap_or(HeaderValue::from_static("default"));
    (TENANT, name)
}

/// One client a gateway, made when it is first needed. Cheap to clone.
#[derive(Clone)]
pub struct Clients {
    clients: Arc<Mutex<HashMap<Member, Arc<Client>>>>,
    options: ClientOptions,
    tasks: Handle,
    /// What the gateways say of themselves.
    pub states: States,
}

impl Clients {
    /// Clients with these options; their connections run as tasks of `tasks`.
    pub fn new(options: ClientOptions, tasks: Handle, states: States) -> Self {
        Self { clients: Arc::default(), options, tasks, states }
    }

    /// The client of a gateway.
    pub fn of(&self, member: &Member) -> Arc<Client> {
        let mut clients = self.clients.lock();
        let new = || Arc::new(Client::new(member.as_str(), self.options.clone(), self.tasks.clone()));
        clients.entry(member.clone()).or_insert_with(new).clone()
    }

    /// Closes the connections to all others.
    pub fn keep_only(&self, needed: impl Fn(&Member) -> bool) {
        self.clients.lock().retain(|member, _| needed(member));
    }

    /// Exports a request in pieces, and hears what the gateway says of itself. The default tenant is not named, unless `more`
    /// does: it is whoever the credential says.
    pub async fn export(
        &self,
        member: &Member,
        tenant: &Tenant,
        more: &[(HeaderName, HeaderValue)],
        pieces: &[Bytes],
    ) -> Outcome {
        let mut metadata = more.to_vec();
        if *tenant != Tenant::default() && !metadata.iter().any(|(name, _)| *name == TENANT) {
            metadata.push(named(tenant));
        }
        match self.of(member).call(EXPORT, &metadata, pieces).await {
            Ok(answer) => {
                self.states.heard(member, GatewayState::in_headers(&answer.headers));
                of_grpc(&answer.headers, &answer.message, Belief::Gateway)
            }
            Err(reason) => {
                self.states.silent(member);
                Outcome::unreachable(reason)
            }
        }
    }
}

/// Carries the parcels of one gateway's lane.
pub struct ToGateway {
    /// Whose lane.
    pub member: Member,
    /// How gateways are reached.
    pub clients: Clients,
    /// The ring in force.
    pub ring: watch::Receiver<Arc<Ring>>,
}

impl Courier for ToGateway {
    fn send<'a>(&'a self, parcels: &'a [Parcel]) -> BoxFuture<'a, Outcome> {
        async move {
            let ring = self.ring.borrow().clone();
            let Some(first) = parcels.first() else {
                return Outcome::Taken { rejected: 0, message: String::new() };
            };
            if ring.has(&self.member) {
                let pieces: Vec<_> = parcels.iter().map(|parcel| parcel.body.clone()).collect();
                return self.clients.export(&self.member, &first.tenant, &[], &pieces).await;
            }
            scatter(&self.clients, &ring, &first.tenant, parcels).await
        }
        .boxed()
    }
}

/// Sends each span to its owner by this ring. Done when all of them have taken what is theirs; what some took before another
/// did not is sent again, and counted once there.
async fn scatter(clients: &Clients, ring: &Ring, tenant: &Tenant, parcels: &[Parcel]) -> Outcome {
    if ring.members().is_empty() {
        return Outcome::unreachable("no gateway is known");
    }
    let mut pieces: BTreeMap<usize, Vec<Bytes>> = BTreeMap::new();
    for parcel in parcels {
        match split(&parcel.body, |trace_id| ring.owner_index(trace_id)) {
            Ok(parts) => {
                parts.into_iter().for_each(|part| pieces.entry(part.owner).or_default().push(part.body));
            }
            Err(error) => return Outcome::Refused { reason: error.to_string() },
        }
    }
    let sent = pieces.iter().map(|(owner, pieces)| async move {
        let member = &ring.members()[*owner];
        clients.export(member, tenant, &[], pieces).await
    });
    join_all(sent).await.into_iter().fold(Outcome::Taken { rejected: 0, message: String::new() }, both)
}

/// What two halves of a request amount to: whatever is not settled decides.
fn both(one: Outcome, other: Outcome) -> Outcome {
    match (one, other) {
        (Outcome::Taken { rejected: a, message: first }, Outcome::Taken { rejected: b, message: second }) => {
            let message = if first.is_empty() { second } else { first };
            Outcome::Taken { rejected: a + b, message }
        }
        (Outcome::Later { after: a, reason }, Outcome::Later { after: b, .. }) => {
            Outcome::Later { after: a.max(b), reason }
        }
        (later @ Outcome::Later { .. }, _) | (_, later @ Outcome::Later { .. }) => later,
        (refused @ Outcome::Refused { .. }, _) | (_, refused @ Outcome::Refused { .. }) => refused,
    }
}
