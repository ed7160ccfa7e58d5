//! `delete`: takes the attribute out, each of them if the key is there more than once.

use super::State;

pub(super) fn apply() -> State {
    State::Absent
}
