//! `delete`: takes the attribute out, each of them if the key is there more than once.

use super::State;
use crate::enrich::attributes::Attributes;

pub(super) fn apply() -> State {
    State::Absent
}

pub(super) fn edit(list: &mut Attributes<'_>, key: &[u8]) {
    list.each(key).for_each(|entry| entry.remove());
}
