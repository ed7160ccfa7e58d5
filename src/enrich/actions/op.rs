//! An action, ready to be applied to a list of attributes.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{State, convert, delete, extract, hash, insert, rename, route, truncate, update, upsert};
use crate::enrich::attributes::Attributes;
use crate::enrich::config::{Action, ExtractPattern, Put, Scope, Source, ValueType};
use crate::enrich::facts::Facts;
use crate::enrich::pods::Pods;
use crate::enrich::sender::{SenderKey, SenderKeys, SenderValues};

/// One action.
#[derive(Debug)]
pub(in crate::enrich) enum Op {
    Put {
        put: Put,
        key: Key,
        value: Value,
    },
    Delete(Key),
    Hash(Key),
    Extract {
        key: Key,
        pattern: ExtractPattern,
    },
    Convert {
        key: Key,
        to: ValueType,
    },
    Rename(HashMap<Key, Key, foldhash::fast::FixedState>),
    Truncate {
        key: Key,
        bytes: usize,
    },
    /// `http.route` of a server span without, and maybe its name.
    Route {
        name: bool,
    },
    /// What is known of the resource's pod.
    Pods(Pods),
}

/// A key, UTF-8.
pub(in crate::enrich) type Key = Vec<u8>;

/// Where a value comes from.
#[derive(Debug)]
pub(in crate::enrich) enum Value {
    /// An encoded `AnyValue`.
    Fixed(Vec<u8>),
    /// The attribute with this key.
    Attribute(Key),
    /// The attribute with this key of what it belongs to.
    Of(Scope, Key),
    /// The request.
    Sender(SenderKey),
}

impl Op {
    /// The action; what it wants to know of senders is noted in `senders`.
    pub(in crate::enrich) fn compile(action: &Action, senders: &mut SenderKeys) -> Self {
        let bytes = |key: &String| key.clone().into_bytes();
        match action {
            Action::Put { put, key, value } => {
                let value = match value {
                    Source::Fixed(value) => Value::Fixed(value.encode()),
                    Source::Attribute(from) => Value::Attribute(bytes(from)),
                    Source::Of { scope, key } => Value::Of(*scope, bytes(key)),
                    Source::Header(name) => Value::Sender(senders.header(name)),
                    Source::Client => Value::Sender(senders.client()),
                };
                Self::Put { put: *put, key: bytes(key), value }
            }
            Action::Delete { key } => Self::Delete(bytes(key)),
            Action::Hash { key } => Self::Hash(bytes(key)),
            Action::Extract { key, pattern } => Self::Extract { key: bytes(key), pattern: pattern.clone() },
            Action::Convert { key, to } => Self::Convert { key: bytes(key), to: *to },
            Action::Rename { keys } => {
                Self::Rename(keys.iter().map(|(old, new)| (bytes(old), bytes(new))).collect())
            }
            Action::Truncate { key, bytes: most } => Self::Truncate { key: bytes(key), bytes: *most },
        }
    }

    /// The keys of which one must be there for it to do anything; `None`: it may do something anywhere.
    pub(in crate::enrich) fn needed_keys(&self) -> Option<Vec<&[u8]>> {
        match self {
            Self::Put { value: Value::Attribute(key), .. }
            | Self::Put { put: Put::Update, key, .. }
            | Self::Delete(key)
            | Self::Hash(key)
            | Self::Extract { key, .. }
            | Self::Convert { key, .. }
            | Self::Truncate { key, .. } => Some(vec![key]),
            Self::Put { .. } | Self::Pods(_) => None,
            Self::Rename(keys) => Some(keys.keys().map(Vec::as_slice).collect()),
            Self::Route { .. } => Some(route::NEEDED_KEYS.to_vec()),
        }
    }

    /// The keys that may be there behind it although they were not before.
    pub(in crate::enrich) fn written_keys(&self) -> Vec<&[u8]> {
        match self {
            Self::Put { put: Put::Insert | Put::Upsert, key, .. } => vec![key],
            Self::Extract { pattern, .. } => {
                pattern.regex().capture_names().flatten().map(str::as_bytes).collect()
            }
            Self::Rename(keys) => keys.values().map(Vec::as_slice).collect(),
            Self::Route { .. } => vec![route::KEY],
            Self::Pods(pods) => pods.written_keys(),
            Self::Put { .. }
            | Self::Delete(_)
            | Self::Hash(_)
            | Self::Convert { .. }
            | Self::Truncate { .. } => Vec::new(),
        }
    }

    /// Applies it to the attributes of this scope.
    pub(in crate::enrich) fn apply<'w>(
        &'w self,
        facts: &mut Facts<'w>,
        scope: Scope,
        sender: &'w SenderValues,
    ) {
        if let Self::Put { put, key, value: Value::Of(owner, from) } = self {
            let found = facts.list(*owner).get(from).map(|entry| (entry.any.clone(), entry.chosen));
            if let Some((any, chosen)) = found {
                put_into(facts.list_mut(scope), *put, key, any, chosen);
            }
            return;
        }
        let list = facts.list_mut(scope);
        match self {
            Self::Route { name } => route::edit(facts, *name),
            Self::Pods(pods) => pods.edit(list, sender.address()),
            Self::Put { put, key, value } => {
                let (any, chosen) = match value {
                    Value::Fixed(any) => (Cow::Borrowed(&any[..]), true),
                    Value::Attribute(from) => match list.get(from) {
                        Some(entry) => (entry.any.clone(), entry.chosen),
                        None => return,
                    },
                    Value::Sender(what) => match sender.get(*what) {
                        Some(any) => (Cow::Borrowed(any), false),
                        None => return,
                    },
                    // Was dealt with above.
                    Value::Of(..) => return,
                };
                put_into(list, *put, key, any, chosen);
            }
            Self::Delete(key) => delete::edit(list, key),
            Self::Hash(key) => hash::edit(list, key),
            Self::Extract { key, pattern } => extract::edit(list, key, pattern),
            Self::Convert { key, to } => convert::edit(list, key, *to),
            Self::Rename(keys) => rename::edit(list, keys),
            Self::Truncate { key, bytes } => truncate::edit(list, key, *bytes),
        }
    }

    /// Whose attributes it looks at beside those it edits.
    pub(in crate::enrich) fn asks(&self) -> Option<Scope> {
        match self {
            Self::Put { value: Value::Of(owner, _), .. } => Some(*owner),
            _ => None,
        }
    }

    /// What becomes of the attribute with one key, for an action that depends on nothing else: `None` for others.
    pub(in crate::enrich) fn apply_alone(&self, before: State) -> Option<State> {
        match self {
            Self::Put { put, value: Value::Fixed(any), .. } => Some(match put {
                Put::Insert => insert::apply(before, any),
                Put::Update => update::apply(before, any),
                Put::Upsert => upsert::apply(any),
            }),
            Self::Delete(_) => Some(delete::apply()),
            Self::Hash(_) => Some(hash::apply(before)),
            Self::Put { .. }
            | Self::Extract { .. }
            | Self::Convert { .. }
            | Self::Rename(_)
            | Self::Route { .. }
            | Self::Pods(_)
            | Self::Truncate { .. } => None,
        }
    }

    /// The key of an action that [`Op::apply_alone`] knows.
    pub(in crate::enrich) fn only_key(&self) -> Option<&[u8]> {
        match self {
            Self::Put { key, value: Value::Fixed(_), .. } | Self::Delete(key) | Self::Hash(key) => Some(key),
            _ => None,
        }
    }
}

fn put_into<'w>(list: &mut Attributes<'w>, put: Put, key: &'w [u8], any: Cow<'w, [u8]>, chosen: bool) {
    let key = Cow::Borrowed(key);
    match put {
        Put::Insert => insert::edit(list, key, any, chosen),
        Put::Update => update::edit(list, key, any, chosen),
        Put::Upsert => upsert::edit(list, key, any, chosen),
    }
}
