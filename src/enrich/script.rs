//! The actions on one scope where some of them depend on the span, on another attribute or on the request: applied to
//! the list of attributes, one after the other.
//!
//! Most conditions and most actions need some attribute to be there. So the keys of a message are looked at first: each
//! stands for bits, each action wants some, and where no action finds its bits nothing else is done.

use std::collections::HashMap;

use super::actions::Op;
use super::condition::Condition;
use super::config::Scope;
use super::facts::Facts;
use super::sender::SenderValues;
use super::{check, program::length_bit};
use crate::wire::{Fields, WireError};

/// The actions on one scope.
#[derive(Debug)]
pub(super) struct Script {
    scope: Scope,
    steps: Vec<Step>,
    /// The bits that a key stands for.
    keys: HashMap<Vec<u8>, u64, foldhash::fast::FixedState>,
    /// Bit `n` is set if a key of `n` bytes is in `keys` (63: or longer).
    lengths: u64,
    /// The bits of keys that an action may add.
    always: u64,
}

#[derive(Debug)]
struct Step {
    /// The bits without which it does nothing.
    needs: u64,
    /// The one of them that the resource gives.
    resource: u64,
    when: Option<Condition>,
    op: Op,
}

/// Gives each question a bit, as long as there are some.
#[derive(Default)]
struct Bits {
    given: u32,
    keys: HashMap<Vec<u8>, u64, foldhash::fast::FixedState>,
}

impl Bits {
    /// A new bit; none when they are used up: then the question is not asked beforehand.
    fn next(&mut self) -> u64 {
        let bit = 1u64.checked_shl(self.given).unwrap_or_default();
        self.given += 1;
        bit
    }

    /// A bit for which one of these keys is enough.
    fn any_of<'k>(&mut self, keys: impl IntoIterator<Item = &'k [u8]>) -> u64 {
        let bit = self.next();
        for key in keys.into_iter().filter(|_| bit != 0) {
            *self.keys.entry(key.to_vec()).or_default() |= bit;
        }
        bit
    }
}

impl Script {
    /// The actions in their order, each with its condition.
    pub(super) fn compile(scope: Scope, actions: Vec<(Option<Condition>, Op)>) -> Self {
        let mut bits = Bits::default();
        let mut steps = Vec::with_capacity(actions.len());
        for (when, op) in actions {
            let mut needs = op.needed_keys().map_or(0, |keys| bits.any_of(keys));
            let mut resource = 0;
            if let Some(when) = &when {
                if scope == Scope::Span {
                    let parts = when.needed_keys().into_iter();
                    needs |=
                        parts.fold(0, |all, keys| all | bits.any_of(keys.into_iter().map(str::as_bytes)));
                }
                if scope != Scope::Resource && when.asks_resource() {
                    resource = bits.next();
                }
            }
            steps.push(Step { needs: needs | resource, resource, when, op });
        }
        let written = steps.iter().flat_map(|step| step.op.written_keys());
        let always = written.fold(0, |all, key| all | bits.keys.get(key).copied().unwrap_or_default());
        let lengths = bits.keys.keys().fold(0, |all, key| all | length_bit(key));
        Self { scope, steps, keys: bits.keys, lengths, always }
    }

    /// The bits that a resource gives to whatever comes below it.
    pub(super) fn bits_of_resource(&self, facts: &Facts<'_>) -> u64 {
        let allows = |step: &&Step| step.when.as_ref().is_some_and(|when| when.resource_allows(facts));
        let steps = self.steps.iter().filter(|step| step.resource != 0);
        steps.filter(allows).fold(self.always, |bits, step| bits | step.resource)
    }

    /// Whether some action may do something to this message, and the bits that say which.
    pub(super) fn look(&self, message: &[u8], resource_bits: u64) -> Result<Option<u64>, WireError> {
        let mut bits = resource_bits | self.always;
        let number = self.scope.attributes_field();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.read()? {
            if field.number == number {
                bits |= self.bits_of(check::attribute(field.bytes("an attribute")?)?.key);
            }
        }
        Ok(self.steps.iter().any(|step| step.is_possible(bits)).then_some(bits))
    }

    #[inline]
    fn bits_of(&self, key: &[u8]) -> u64 {
        match self.lengths & length_bit(key) {
            0 => 0,
            _ => self.keys.get(key).copied().unwrap_or_default(),
        }
    }

    /// Applies the actions to the list of this scope.
    pub(super) fn run<'w>(&'w self, facts: &mut Facts<'w>, bits: u64, sender: &'w SenderValues) {
        for step in self.steps.iter().filter(|step| step.is_possible(bits)) {
            if step.when.as_ref().is_none_or(|when| when.holds(facts)) {
                step.op.apply(facts, self.scope, sender);
            }
        }
    }

    /// Whether a condition or a value asks for the span.
    pub(super) fn asks_span(&self) -> bool {
        self.steps.iter().any(|step| step.when.is_some() || step.op.asks() == Some(Scope::Span))
    }
}

impl Step {
    #[inline]
    fn is_possible(&self, bits: u64) -> bool {
        bits & self.needs == self.needs
    }
}
