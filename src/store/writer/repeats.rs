//! Attributes that came before, byte for byte: what was made of one then is made of it again without a look inside.

/// Longer attributes are read each time.
const RAW_MAX: usize = 256;
/// Shorter ones, too, so that their ends can be looked at eight bytes at a time.
const RAW_MIN: usize = 8;
/// An attribute has one place, and shares it with others: the last one stays.
const SLOTS_LOG: u32 = 10;
/// What is kept of all attributes that came, those that have lost their place too, in bytes. Then it begins anew.
const BYTES_MAX: usize = 128 << 10;
/// 2^64 divided by the golden ratio.
const SCATTER: u64 = 0x9e37_79b9_7f4a_7c15;

/// What was made of an attribute.
#[derive(Clone, Default)]
pub(super) struct Repeat {
    /// Where its bytes are, and before them its text as a page of values has it.
    at: u32,
    raw_len: u16,
    text_len: u16,
    /// Number of its key.
    pub(super) key: u32,
    pub(super) code: u8,
    /// The number of its value in the dictionary of the column of its own, once somebody put it there.
    pub(super) number: Option<u32>,
}

/// Attributes of a row group.
#[derive(Default)]
pub(super) struct Repeats {
    /// Empty until the first comes.
    slots: Vec<Repeat>,
    bytes: Vec<u8>,
}

/// The place of a `KeyValue` message: by its length, and eight bytes at its end and in its middle. `None`: it has none.
#[inline]
fn place(raw: &[u8]) -> Option<usize> {
    if raw.len() > RAW_MAX {
        return None;
    }
    let end = u64::from_le_bytes(*raw.last_chunk::<RAW_MIN>()?);
    let middle = u64::from_le_bytes(*raw[raw.len() / 2 - RAW_MIN / 2..].first_chunk::<RAW_MIN>()?);
    let mixed = (end ^ middle.rotate_left(27) ^ raw.len() as u64).wrapping_mul(SCATTER);
    Some((mixed >> (u64::BITS - SLOTS_LOG)) as usize)
}

impl Repeats {
    /// What was made of these bytes: a number for [`Self::get`], until others are kept.
    #[inline]
    pub(super) fn find(&self, raw: &[u8]) -> Option<u16> {
        let place = place(raw)?;
        let slot = self.slots.get(place)?;
        let at = slot.at as usize;
        (self.bytes.get(at..at + usize::from(slot.raw_len)) == Some(raw)).then_some(place as u16)
    }

    /// By the number that [`Self::find`] or [`Self::keep`] gave.
    #[inline]
    pub(super) fn get(&mut self, number: u16) -> Option<&mut Repeat> {
        self.slots.get_mut(usize::from(number))
    }

    /// The text of an attribute, as a page has it.
    #[inline]
    pub(super) fn text(&self, of: u16) -> (&Repeat, &[u8]) {
        let slot = &self.slots[usize::from(of)];
        let at = slot.at as usize;
        (slot, &self.bytes[at - usize::from(slot.text_len)..at])
    }

    /// Keeps what was made of an attribute: its text as a page has it, the number of its key, the type of its value.
    pub(super) fn keep(&mut self, raw: &[u8], text: &[u8], key: u32, code: u8) -> Option<u16> {
        let place = place(raw)?;
        let text_len = u16::try_from(text.len()).ok()?;
        if self.bytes.len() + text.len() + raw.len() > BYTES_MAX {
            self.bytes.clear();
            self.slots.clear();
        }
        self.slots.resize(1 << SLOTS_LOG, Repeat::default());
        self.bytes.extend_from_slice(text);
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(raw);
        self.slots[place] = Repeat { at, raw_len: raw.len() as u16, text_len, key, code, number: None };
        Some(place as u16)
    }
}

#[cfg(test)]
mod tests;
