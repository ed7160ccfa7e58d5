//! The attributes of one message while actions are applied to them, one after the other.

use std::borrow::Cow;

use super::check;
use crate::wire::{Fields, WireError};

/// What became of an attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryState {
    /// It is as it was sent.
    Sent,
    /// It has another key or value, or was not there before.
    Edited,
    /// It is gone.
    Removed,
}

/// One attribute.
#[derive(Debug)]
pub(super) struct Entry<'w> {
    /// Its key, UTF-8.
    pub(super) key: Cow<'w, [u8]>,
    /// Its value, an encoded `AnyValue`.
    pub(super) any: Cow<'w, [u8]>,
    pub(super) state: EntryState,
    /// An action has chosen its value: it is not redacted.
    pub(super) chosen: bool,
}

/// Attributes in their order: first those that were sent, also what became of the removed ones, then those added. It
/// is used again for the next message, so that nothing is allocated for each.
#[derive(Debug, Default)]
pub(super) struct Attributes<'w> {
    entries: Vec<Entry<'w>>,
    sent: usize,
}

impl<'w> Attributes<'w> {
    /// Takes the attributes of another message, its fields `number`. They are checked one level deep.
    pub(super) fn read(&mut self, message: &'w [u8], number: u32) -> Result<(), WireError> {
        self.entries.clear();
        let mut fields = Fields::new(message);
        while let Some(field) = fields.read()? {
            if field.number == number {
                let attribute = check::attribute(field.bytes("an attribute")?)?;
                let (key, any) = (Cow::Borrowed(attribute.key), Cow::Borrowed(attribute.any));
                self.entries.push(Entry { key, any, state: EntryState::Sent, chosen: false });
            }
        }
        self.sent = self.entries.len();
        Ok(())
    }

    /// The attribute that was sent as number `index`, from 0.
    pub(super) fn sent(&self, index: usize) -> Option<&Entry<'w>> {
        self.entries[..self.sent].get(index)
    }

    /// Those of no message.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.sent = 0;
    }

    /// How many there are, removed ones too.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The attribute with this index, which may be a removed one.
    pub(super) fn at(&self, index: usize) -> Option<&Entry<'w>> {
        self.entries.get(index)
    }

    /// Gives the attribute with this index another key.
    pub(super) fn rename(&mut self, index: usize, key: Cow<'w, [u8]>) {
        if let Some(entry) = self.entries.get_mut(index) {
            entry.key = key;
            entry.state = EntryState::Edited;
        }
    }

    /// Those that were added.
    pub(super) fn added(&self) -> impl Iterator<Item = &Entry<'w>> {
        self.entries[self.sent..].iter().filter(|entry| entry.state != EntryState::Removed)
    }

    /// The first attribute with this key that is there.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Entry<'w>> {
        self.entries.iter().find(|entry| entry.has(key))
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// Every attribute with this key that is there.
    pub(super) fn each(&mut self, key: &[u8]) -> impl Iterator<Item = &mut Entry<'w>> {
        self.entries.iter_mut().filter(move |entry| entry.has(key))
    }

    /// Gives the key this value; of a repeated key one remains. `chosen`: an action made it up.
    pub(super) fn put(&mut self, key: Cow<'w, [u8]>, any: Cow<'w, [u8]>, chosen: bool) {
        let mut any = Some(any);
        for entry in self.each(&key) {
            match any.take() {
                Some(any) => entry.set(any, chosen),
                None => entry.state = EntryState::Removed,
            }
        }
        if let Some(any) = any {
            self.entries.push(Entry { key, any, state: EntryState::Edited, chosen });
        }
    }

    /// How many attributes differ from what was sent.
    pub(super) fn changes(&self) -> usize {
        let edited = |(index, entry): &(usize, &Entry<'_>)| match entry.state {
            EntryState::Sent => false,
            EntryState::Edited => true,
            EntryState::Removed => *index < self.sent,
        };
        self.entries.iter().enumerate().filter(edited).count()
    }
}

impl<'w> Entry<'w> {
    fn has(&self, key: &[u8]) -> bool {
        self.state != EntryState::Removed && self.key == key
    }

    /// Gives it another value.
    pub(super) fn set(&mut self, any: Cow<'w, [u8]>, chosen: bool) {
        if self.any != any {
            self.any = any;
            self.state = EntryState::Edited;
        }
        self.chosen = chosen;
    }

    /// Takes it out.
    pub(super) fn remove(&mut self) {
        self.state = EntryState::Removed;
    }
}
