//! `update`: replaces the value where the key is there.

use std::borrow::Cow;

use super::State;
use crate::enrich::attributes::Attributes;

pub(super) fn apply(before: State, value: &[u8]) -> State {
    match before {
        State::Absent => State::Absent,
        State::Sent { .. } | State::Fixed(_) => State::Fixed(value.to_vec()),
    }
}

pub(super) fn edit<'w>(list: &mut Attributes<'w>, key: Cow<'w, [u8]>, any: Cow<'w, [u8]>, chosen: bool) {
    if list.has(&key) {
        list.put(key, any, chosen);
    }
}
