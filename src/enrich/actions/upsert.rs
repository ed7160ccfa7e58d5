//! `upsert`: adds the attribute, or replaces its value.

use super::State;

pub(super) fn apply(value: &[u8]) -> State {
    State::Fixed(value.to_vec())
}
