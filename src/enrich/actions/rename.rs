//! `rename`: gives attributes other keys, each at most one. Nothing is done where the new key is there already, so that
//! nothing is lost.

use std::borrow::Cow;
use std::collections::HashMap;

use super::op::Key;
use crate::enrich::attributes::{Attributes, EntryState};

pub(super) fn edit<'w>(list: &mut Attributes<'w>, keys: &'w HashMap<Key, Key, foldhash::fast::FixedState>) {
    for index in 0..list.len() {
        let new = match list.at(index) {
            Some(entry) if entry.state != EntryState::Removed => keys.get(&*entry.key),
            _ => None,
        };
        if let Some(new) = new.filter(|new| !list.has(new)) {
            list.rename(index, Cow::Borrowed(new));
        }
    }
}
