//! The distinct values of a column chunk, numbered in the order they came: a Parquet dictionary page in the making.

use std::hash::BuildHasher;

/// Bytes before each value: its length, as in `PLAIN` encoding; none where all are of one length.
const PREFIX: usize = 4;

/// Values with numbers.
pub(in crate::store::writer) struct Dictionary {
    /// The values as the dictionary page has them.
    page: Vec<u8>,
    places: Vec<(u32, u32)>,
    /// Open addressing: the upper half of the hash, and the number plus one.
    slots: Vec<(u32, u32)>,
    hasher: foldhash::fast::RandomState,
    prefixed: bool,
    /// The number given last: values come in runs.
    last: u32,
}

const SLOTS_MIN: usize = 16;

impl Dictionary {
    /// Of strings and bytes (`prefixed`), or of numbers of one width.
    pub(in crate::store::writer) fn new(prefixed: bool) -> Self {
        let hasher = foldhash::fast::RandomState::default();
        Self { page: Vec::new(), places: Vec::new(), slots: Vec::new(), hasher, prefixed, last: 0 }
    }

    pub(in crate::store::writer) fn len(&self) -> usize {
        self.places.len()
    }

    /// The dictionary page, not compressed.
    pub(in crate::store::writer) fn page(&self) -> &[u8] {
        &self.page
    }

    /// A value by its number.
    #[inline]
    pub(in crate::store::writer) fn value(&self, number: u32) -> &[u8] {
        let (start, end) = self.places[number as usize];
        &self.page[start as usize..end as usize]
    }

    pub(in crate::store::writer) fn values(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.places.len() as u32).map(|number| self.value(number))
    }

    /// The number of a value; a new one if it is new.
    #[inline]
    pub(in crate::store::writer) fn number(&mut self, value: &[u8]) -> u32 {
        if !self.places.is_empty() && self.value(self.last) == value {
            return self.last;
        }
        self.last = self.find_or_insert(value);
        self.last
    }

    /// As [`Self::number`], of eight bytes.
    #[inline]
    pub(in crate::store::writer) fn number_of_long(&mut self, value: i64) -> u32 {
        let value = value.to_le_bytes();
        if !self.places.is_empty() && self.value(self.last).as_array() == Some(&value) {
            return self.last;
        }
        self.last = self.find_or_insert(&value);
        self.last
    }

    /// The number that was given last.
    #[inline]
    pub(in crate::store::writer) fn last(&self) -> u32 {
        self.last
    }

    fn find_or_insert(&mut self, value: &[u8]) -> u32 {
        if self.places.len() * 2 >= self.slots.len() {
            self.grow();
        }
        let hash = self.hasher.hash_one(value);
        let upper = (hash >> 32) as u32;
        let mask = self.slots.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            match self.slots[at] {
                (_, 0) => break,
                (known, number) if known == upper && self.value(number - 1) == value => return number - 1,
                _ => at = (at + 1) & mask,
            }
        }
        if self.prefixed {
            self.page.extend_from_slice(&(value.len() as u32).to_le_bytes());
        }
        let start = self.page.len() as u32;
        self.page.extend_from_slice(value);
        self.places.push((start, self.page.len() as u32));
        self.slots[at] = (upper, self.places.len() as u32);
        self.places.len() as u32 - 1
    }

    fn grow(&mut self) {
        let slots = (self.slots.len() * 2).max(SLOTS_MIN);
        let mut grown = vec![(0, 0); slots];
        for number in 0..self.places.len() as u32 {
            let hash = self.hasher.hash_one(self.value(number));
            let mut at = hash as usize & (slots - 1);
            while grown[at].1 != 0 {
                at = (at + 1) & (slots - 1);
            }
            grown[at] = ((hash >> 32) as u32, number + 1);
        }
        self.slots = grown;
    }

    /// Memory that grows with the values, in bytes.
    pub(in crate::store::writer) fn bytes(&self) -> usize {
        self.page.len() + self.places.len() * (PREFIX + size_of::<(u32, u32)>())
    }
}
