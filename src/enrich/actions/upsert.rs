//! `upsert`: adds the attribute, or replaces its value.

use std::borrow::Cow;

use super::State;
use crate::enrich::attributes::Attributes;

pub(super) fn apply(value: &[u8]) -> State {
    State::Fixed(value.to_vec())
}

pub(super) fn edit<'w>(list: &mut Attributes<'w>, key: Cow<'w, [u8]>, any: Cow<'w, [u8]>, chosen: bool) {
    list.put(key, any, chosen);
}
