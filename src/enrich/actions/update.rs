//! `update`: replaces the value where the key is there.

use super::State;

pub(super) fn apply(before: State, value: &[u8]) -> State {
    match before {
        State::Absent => State::Absent,
        State::Sent { .. } | State::Fixed(_) => State::Fixed(value.to_vec()),
    }
}
