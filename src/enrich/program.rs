//! All actions on one scope, worked out key by key, where none of them depends on anything but its own key: then each
//! key's actions shrink to two answers: what to do where it is there, and what to add where it is not.

use super::actions::{Op, State};
use crate::wire::{put_attribute_raw, put_bytes_field};

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
    key: Vec<u8>,
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

/// A `KeyValue` message.
pub(super) fn key_value(key: &str, any: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(key.len() + any.len() + 12);
    put_bytes_field(&mut out, 1, key.as_bytes());
    put_bytes_field(&mut out, 2, any);
    out
}

impl Programs {
    /// Works the actions out, in their order, for attributes that are field `number` of their message.
    /// `None` if one of them depends on more than its key.
    pub(super) fn compile(ops: &[&Op], number: u32) -> Option<Self> {
        let mut keys: Vec<&[u8]> = Vec::new();
        for op in ops {
            let key = op.only_key()?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        let programs: Vec<_> = keys.into_iter().map(|key| Program::compile(ops, key, number)).collect();
        let lengths = programs.iter().fold(0, |bits, program| bits | length_bit(&program.key));
        Some(Self { programs, lengths })
    }

    /// How many keys have actions.
    pub(super) fn len(&self) -> usize {
        self.programs.len()
    }

    /// The keys that have actions.
    pub(super) fn keys(&self) -> impl Iterator<Item = &[u8]> {
        self.programs.iter().map(|program| &program.key[..])
    }

    /// The actions on this key, and their index.
    #[inline]
    pub(super) fn find(&self, key: &[u8]) -> Option<(usize, &Program)> {
        if self.lengths & length_bit(key) == 0 {
            return None;
        }
        self.programs.iter().enumerate().find(|(_, program)| program.key == key)
    }

    /// The fields to append, given which keys were there.
    pub(super) fn missing<'a>(&'a self, seen: &'a [bool]) -> impl Iterator<Item = &'a [u8]> {
        let pairs = self.programs.iter().zip(seen);
        pairs.filter(|(_, seen)| !**seen).filter_map(|(program, _)| program.absent.as_deref())
    }
}

impl Program {
    fn compile(ops: &[&Op], key: &[u8], number: u32) -> Self {
        let run = |start: State| {
            let ops = ops.iter().filter(|op| op.only_key() == Some(key));
            ops.fold(start, |state, op| op.apply_alone(state.clone()).unwrap_or(state))
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
                put_attribute_raw(&mut field, number, key, &value);
                Some(field)
            }
            State::Absent | State::Sent { .. } => None,
        };
        Self { key: key.to_vec(), present, absent }
    }
}

/// The bit that stands for the key's length.
#[inline]
pub(super) fn length_bit(key: &[u8]) -> u64 {
    1 << key.len().min(63)
}
