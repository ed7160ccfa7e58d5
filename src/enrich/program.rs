//! All actions on one scope, worked out key by key. Keys do not depend on each other, so each key's actions shrink to
//! two answers: what to do where it is there, and what to add where it is not.

use super::actions::{ActionKind, State};
use crate::wire::put_bytes_field;

/// What to do with an attribute that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Present {
    /// Leave it, but for redaction.
    Keep,
    /// Take it out.
    Remove,
    /// Put this value in its place, an encoded `AnyValue`; of a repeated key one remains.
    Set(Vec<u8>),
    /// Hash its value so many times.
    Hash(u32),
}

/// The actions on one key.
#[derive(Debug)]
pub(super) struct Program {
    pub(super) key: String,
    pub(super) present: Present,
    /// The whole field to append where the key is not there.
    absent: Option<Vec<u8>>,
}

/// The actions on the attributes of one scope.
#[derive(Debug, Default)]
pub(super) struct Programs {
    programs: Vec<Program>,
    /// Bit `n` is set if a key of `n` bytes exists (63: or longer).
    lengths: u64,
}

/// One action, ready to apply.
pub(super) struct Step {
    pub(super) kind: ActionKind,
    pub(super) key: String,
    /// The encoded `AnyValue`; empty for actions without a value.
    pub(super) value: Vec<u8>,
}

/// A `KeyValue` message.
pub(super) fn key_value(key: &str, any: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + any.len() + 12);
    put_bytes_field(&mut out, 1, key.as_bytes());
    put_bytes_field(&mut out, 2, any);
    out
}

impl Programs {
    /// Works the steps out, in their order, for attributes that are field `number` of their message.
    pub(super) fn compile(steps: &[Step], number: u32) -> Self {
        let mut keys: Vec<&str> = Vec::new();
        for step in steps {
            if !keys.contains(&step.key.as_str()) {
                keys.push(&step.key);
            }
        }
        let programs: Vec<_> = keys.into_iter().map(|key| Program::compile(steps, key, number)).collect();
        let lengths = programs.iter().fold(0, |bits, program| bits | length_bit(program.key.as_bytes()));
        Self { programs, lengths }
    }

    /// How many keys have actions.
    pub(super) fn len(&self) -> usize {
        self.programs.len()
    }

    /// The actions on this key, and their index.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<(usize, &Program)> {
        if self.lengths & length_bit(key) == 0 {
            return None;
        }
        self.programs.iter().enumerate().find(|(_, program)| program.key.as_bytes() == key)
    }

    /// The fields to append, given which keys were there.
    pub(super) fn missing<'a>(&'a self, seen: &'a [bool]) -> impl Iterator<Item = &'a [u8]> {
        let pairs = self.programs.iter().zip(seen);
        pairs.filter(|(_, seen)| !**seen).filter_map(|(program, _)| program.absent.as_deref())
    }
}

impl Program {
    fn compile(steps: &[Step], key: &str, number: u32) -> Self {
        let run = |start: State| {
            let steps = steps.iter().filter(|step| step.key == key);
            steps.fold(start, |state, step| step.kind.apply(state, &step.value))
        };
        let present = match run(State::Sent { hashes: 0 }) {
            State::Absent => Present::Remove,
            State::Sent { hashes: 0 } => Present::Keep,
            State::Sent { hashes } => Present::Hash(hashes),
            State::Fixed(value) => Present::Set(value),
        };
        let absent = match run(State::Absent) {
            State::Fixed(value) => {
                let mut field = Vec::new();
                put_bytes_field(&mut field, number, &key_value(key, &value));
                Some(field)
            }
            State::Absent | State::Sent { .. } => None,
        };
        Self { key: key.into(), present, absent }
    }
}

#[inline]
fn length_bit(key: &[u8]) -> u64 {
    1 << key.len().min(63)
}
