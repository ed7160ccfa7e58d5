//! `insert`: adds the attribute where its key is not there.

use super::State;

pub(super) fn apply(before: State, value: &[u8]) -> State {
    match before {
        State::Absent => State::Fixed(value.to_vec()),
        State::Sent { .. } | State::Fixed(_) => before,
    }
}
