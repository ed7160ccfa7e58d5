//! The configuration, compiled.

use super::actions::Op;
use super::condition::Condition;
use super::config::{Action, AttributeValue, EnrichConfig, Put, Scope, Source};
use super::detectors::Detected;
use super::ends::Ends;
use super::pods::Pods;
use super::program::Programs;
use super::redact::{REDACTED, Redactor};
use super::script::Script;
use super::sender::SenderKeys;

/// All that is done to requests.
#[derive(Debug)]
pub(super) struct Rules {
    pub(super) resource: ScopeRules,
    pub(super) span: ScopeRules,
    pub(super) scope: Option<Script>,
    pub(super) event: Option<Script>,
    /// What actions want to know of senders.
    pub(super) senders: SenderKeys,
    pub(super) redactor: Redactor,
    /// Keys that an attribute of a span without a script may have for anything to be done to it,
    pub(super) span_ends: Ends,
    /// and one of an event, a link, a scope.
    pub(super) other_ends: Ends,
}

/// What is done to the attributes of one scope.
#[derive(Debug, Default)]
pub(super) struct ScopeRules {
    /// Key by key; empty where there is a script.
    pub(super) programs: Programs,
    /// One after the other.
    pub(super) script: Option<Script>,
}

impl Rules {
    pub(super) fn compile(config: &EnrichConfig, detected: &[Detected], pods: Option<Pods>) -> Self {
        let redactor = Redactor::compile(&config.redact);
        let mut senders = SenderKeys::default();
        let mut actions_on = |scope| -> Vec<(Option<Condition>, Op)> {
            let actions = config.actions.iter().filter(|action| action.scope == scope);
            actions.map(|action| (action.when.clone(), Op::compile(&action.action, &mut senders))).collect()
        };
        let put = if config.override_sent { Put::Upsert } else { Put::Insert };
        let detected = detected.iter().map(|(key, value)| {
            let is_secret = redactor.keys.find(key.as_bytes()).is_some();
            let value = if is_secret { AttributeValue::Str(REDACTED.into()) } else { value.clone() };
            let action = Action::Put { put, key: key.clone(), value: Source::Fixed(value) };
            (None, Op::compile(&action, &mut SenderKeys::default()))
        });
        let of_pods = pods.map(|pods| (None, Op::Pods(pods)));
        let resource = of_pods.into_iter().chain(detected).chain(actions_on(Scope::Resource)).collect();
        let mut span = actions_on(Scope::Span);
        if config.http_route.enabled {
            span.push((None, Op::Route { name: config.http_route.name }));
        }
        let [scope, event] = [Scope::Scope, Scope::Event].map(|scope| {
            let actions = actions_on(scope);
            (!actions.is_empty()).then(|| Script::compile(scope, actions))
        });
        // A condition sees what the actions on the scopes around it have left there.
        let asks = |owner: Scope| {
            let mut below = config.actions.iter().filter(|action| action.scope.is_below(owner));
            below.any(|action| action.when.is_some() || action.action.takes_from() == Some(owner))
        };
        let resource_is_asked = asks(Scope::Resource);
        let span = ScopeRules::compile(Scope::Span, span, asks(Scope::Span));
        let other_ends = if redactor.reads_values { Ends::all() } else { redactor.keys.ends().clone() };
        let mut span_ends = other_ends.clone();
        span.programs.keys().for_each(|key| span_ends.add(key));
        Self {
            resource: ScopeRules::compile(Scope::Resource, resource, resource_is_asked),
            span,
            span_ends,
            other_ends,
            scope,
            event,
            senders,
            redactor,
        }
    }

    /// Whether the resource and the scope have to be looked at before what is below them.
    pub(super) fn has_scripts(&self) -> bool {
        let scripts = [&self.resource.script, &self.span.script, &self.scope, &self.event];
        scripts.into_iter().any(Option::is_some)
    }

    /// Whether the attributes of a span are asked for although no action on it is possible.
    pub(super) fn events_ask_span(&self) -> bool {
        self.event.as_ref().is_some_and(Script::asks_span)
    }

    /// The script of one scope.
    pub(super) fn script(&self, scope: Scope) -> Option<&Script> {
        match scope {
            Scope::Span => self.span.script.as_ref(),
            Scope::Resource => self.resource.script.as_ref(),
            Scope::Scope => self.scope.as_ref(),
            Scope::Event => self.event.as_ref(),
        }
    }
}

impl ScopeRules {
    /// `is_asked`: a condition elsewhere asks for these attributes.
    fn compile(scope: Scope, actions: Vec<(Option<Condition>, Op)>, is_asked: bool) -> Self {
        if actions.is_empty() {
            return Self::default();
        }
        if !is_asked && actions.iter().all(|(when, _)| when.is_none()) {
            let ops: Vec<&Op> = actions.iter().map(|(_, op)| op).collect();
            if let Some(programs) = Programs::compile(&ops, scope.attributes_field()) {
                return Self { programs, script: None };
            }
        }
        Self { programs: Programs::default(), script: Some(Script::compile(scope, actions)) }
    }
}
