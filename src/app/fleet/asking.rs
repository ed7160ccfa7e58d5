//! What a gateway asks others about traces: the arbiter, whose they are; and while it is young all of them, who has them.

use std::time::Duration;

use futures::future::join_all;

use super::{ByMember, InFleet};
use crate::app::forwarding::couriers::named;
use crate::forward::answer::{Belief, Outcome, of_grpc};
use crate::forward::fleet::{Answer, CLAIM, Claim, Claimed, Place};
use crate::forward::ring::Member;
use crate::forward::state::GatewayState;
use crate::runtime::Tenant;
use crate::sample::Fingerprint;
use crate::wire::TraceId;

/// How long a question to another gateway may take: somebody waits for it.
const ASK_MAX: Duration = Duration::from_secs(5);

impl InFleet {
    /// Claims traces from their arbiter; gives those that are elsewhere.
    pub(super) async fn ask(
        &self,
        tenant: &Tenant,
        arbiter: Member,
        trace_ids: Vec<TraceId>,
    ) -> Result<ByMember, String> {
        self.count_claimed(trace_ids.len());
        let (asker, tenant) = (self.own.clone(), tenant.clone());
        let claim = Claim { asker, tenant, trace_ids, only_asks: false };
        let answers = self.answer_of(&arbiter, &claim).await?;
        let seed = Fingerprint::seed(&claim.tenant);
        let mut elsewhere = ByMember::new();
        let has_left = |member: &Member| self.clients.states.has_left(member);
        let mut fleet = self.fleet.lock();
        for (id, answer) in claim.trace_ids.iter().zip(answers) {
            let place = fleet.answered(Fingerprint::seeded(seed, id), &arbiter, answer, has_left);
            if let Place::With(member) = place {
                elsewhere.entry(member).or_default().push(*id);
            }
        }
        Ok(elsewhere)
    }

    /// While this gateway is young: asks all others but one about those of these traces that it does not know. It may have
    /// given them away before it was killed. Who does not answer is not waited for: that one would have to have such a trace,
    /// and to have been killed in the same minute.
    pub(super) async fn look_around<'a>(
        &self,
        tenant: &Tenant,
        ids: impl Iterator<Item = &'a TraceId>,
        except: &Member,
    ) {
        let trace_ids = self.unknown(tenant, ids);
        if trace_ids.is_empty() {
            return;
        }
        let claim = Claim { asker: self.own.clone(), tenant: tenant.clone(), trace_ids, only_asks: true };
        let members = self.gateways.members.borrow().clone();
        let has_left = |member: &Member| self.clients.states.has_left(member);
        let is_other = |member: &&Member| **member != self.own && *member != except && !has_left(member);
        let others: Vec<_> = members.members().iter().filter(is_other).collect();
        let told = join_all(others.iter().map(|member| self.answer_of(member, &claim))).await;
        let seed = Fingerprint::seed(tenant);
        let mut fleet = self.fleet.lock();
        for (member, answers) in others.into_iter().zip(told) {
            for (id, answer) in claim.trace_ids.iter().zip(answers.unwrap_or_default()) {
                let who = match answer {
                    Answer::Mine => member.clone(),
                    Answer::Theirs(third) => third,
                    Answer::Yours => continue,
                };
                fleet.learn(Fingerprint::seeded(seed, id), who, has_left);
            }
        }
    }

    /// Of these traces those that a young gateway cannot say anything about.
    fn unknown<'a>(&self, tenant: &Tenant, ids: impl Iterator<Item = &'a TraceId>) -> Vec<TraceId> {
        let fleet = self.fleet.lock();
        if !fleet.is_young() {
            return Vec::new();
        }
        let (seed, states) = (Fingerprint::seed(tenant), &self.clients.states);
        let is_unknown = |id: &&TraceId| {
            fleet.tell(Fingerprint::seeded(seed, id), |member| states.has_left(member)).is_none()
        };
        ids.filter(is_unknown).copied().collect()
    }

    /// What another gateway answers, in the order of the question.
    async fn answer_of(&self, member: &Member, claim: &Claim) -> Result<Vec<Answer>, String> {
        let client = self.clients.of(member);
        let (metadata, message) = ([named(&claim.tenant)], [claim.encode()]);
        let called = tokio::time::timeout(ASK_MAX, client.call(CLAIM, &metadata, &message)).await;
        let answer = called.unwrap_or_else(|_| Err("no answer in time".into())).map_err(|error| {
            format!("gateway {member}, which may have some of these traces, does not answer: {error}")
        })?;
        self.clients.states.heard(member, GatewayState::in_headers(&answer.headers));
        let understood = Claimed::decode(&answer.message).ok();
        let answers = understood.filter(|Claimed(answers)| answers.len() == claim.trace_ids.len());
        let Claimed(answers) = answers.ok_or_else(|| {
            let why = match of_grpc(&answer.headers, &[], Belief::Gateway) {
                Outcome::Refused { reason } | Outcome::Later { reason, .. } => reason,
                Outcome::Taken { .. } => "its answer cannot be read".to_owned(),
            };
            format!("gateway {member} does not say whose these traces are: {why}")
        })?;
        Ok(answers)
    }

    fn count_claimed(&self, traces: usize) {
        self.counters.claimed.fetch_add(traces as u64, std::sync::atomic::Ordering::Relaxed);
    }
}
