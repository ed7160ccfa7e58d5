//! Leaves of a Parquet schema, written page by page straight from the wire's bytes.
//!
//! The Arrow writer of the Parquet library looks at each value several times (builder, levels, dictionary, statistics);
//! with a hundred values a span that is most of what storing costs. Here each value is looked at once, a value that
//! repeats is a comparison, and a column in which nothing happens costs nothing. The library still writes page headers and
//! footers.

mod bits;
mod dictionary;
mod flat;
mod pages;
mod values;

pub(super) use bits::{BitPacker, RowBits, Runs};
pub(super) use dictionary::Dictionary;
pub(super) use flat::Flat;
pub(super) use pages::{Bounds, Codec, Press};
pub(super) use values::Order;

use bytes::Bytes;
use parquet::basic::{Encoding, Type};
use parquet::bloom_filter::Sbbf;
use parquet::column::writer::ColumnCloseResult;
use parquet::data_type::ByteArray;
use parquet::errors::Result;
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescPtr;

use self::bits::put_deltas_of;
use self::pages::{PageFacts, Pages};
use self::values::{Deltas, HEADROOM, Repeated, Values, long};

/// Texts longer than this are no bounds in a file's footer.
const BOUND_BYTES_MAX: usize = 64;
/// An open page ends when it takes so much memory, at the next occasion.
pub(super) const PAGE_BYTES: usize = 256 << 10;

/// Levels of a page: encoded, without the length before them; empty where the column has none.
#[derive(Clone, Copy, Default)]
pub(super) struct Levels<'a> {
    pub(super) repetition: &'a [u8],
    pub(super) definition: &'a [u8],
    /// How many levels there are; 0 where there are none.
    pub(super) count: usize,
}

/// One column chunk in the making. Levels are the owner's.
pub(super) struct Leaf {
    values: Values,
    pages: Pages,
    order: Order,
    indexed: bool,
}

impl Leaf {
    fn new(values: Values, codec: Codec, order: Order, index: Option<Type>) -> Self {
        Self { values, pages: Pages::new(codec, index), order, indexed: index.is_some() }
    }

    /// Texts of which many are the same.
    pub(super) fn texts() -> Self {
        let values = Values::Repeated(Repeated::new(true, Order::Bytes, None));
        Self::new(values, Codec::Zstd, Order::Bytes, None)
    }

    /// Sorted texts with bounds of each page and a filter.
    pub(super) fn sorted_texts(bloom_filter: Sbbf) -> Self {
        let values = Values::Repeated(Repeated::new(true, Order::Bytes, Some(bloom_filter)));
        Self::new(values, Codec::Zstd, Order::Bytes, Some(Type::BYTE_ARRAY))
    }

    /// Texts or bytes that differ from row to row.
    pub(super) fn unique_texts() -> Self {
        let values = Values::Unique { page: vec![0; HEADROOM], values: 0 };
        Self::new(values, Codec::Zstd, Order::None, None)
    }

    /// Ids: texts that differ from row to row and are mostly of one length.
    pub(super) fn ids() -> Self {
        let values = Values::Joined { page: vec![0; HEADROOM], lengths: Runs::default() };
        Self::new(values, Codec::Zstd, Order::None, None)
    }

    /// Texts that come in patterns, given by number.
    pub(super) fn numbered_texts() -> Self {
        let values = Values::Numbered { dictionary: Dictionary::new(true), numbers: Vec::new() };
        Self::new(values, Codec::Zstd, Order::None, None)
    }

    /// Integers of which many are the same.
    pub(super) fn longs() -> Self {
        let values = Values::Repeated(Repeated::new(false, Order::Long, None));
        Self::new(values, Codec::Zstd, Order::Long, None)
    }

    /// Integers that differ from row to row, with bounds of each page where `indexed`.
    pub(super) fn unique_longs(indexed: bool) -> Self {
        let index = indexed.then_some(Type::INT64);
        Self::new(Values::Deltas(Deltas::default()), Codec::Plain, Order::Long, index)
    }

    /// Floating-point numbers of which many are the same.
    pub(super) fn doubles() -> Self {
        let values = Values::Repeated(Repeated::new(false, Order::None, None));
        Self::new(values, Codec::Zstd, Order::None, None)
    }

    /// Booleans.
    pub(super) fn bools() -> Self {
        Self::new(Values::Bools(BitPacker::default(), 0), Codec::Zstd, Order::None, None)
    }

    /// Appends a text, or a number's eight bytes, `times` times.
    #[inline]
    pub(super) fn put(&mut self, value: &[u8], times: u32) {
        match &mut self.values {
            Values::Repeated(repeated) => repeated.put(value, times),
            Values::Unique { page, values } => {
                for _ in 0..times {
                    page.extend_from_slice(&(value.len() as u32).to_le_bytes());
                    page.extend_from_slice(value);
                }
                *values += times as usize;
            }
            Values::Joined { page, lengths } => {
                (0..times).for_each(|_| page.extend_from_slice(value));
                lengths.push(value.len() as u32, times);
            }
            Values::Deltas(deltas) => (0..times).for_each(|_| deltas.put(long(value))),
            Values::Bools(..) => {}
            Values::Numbered { dictionary, numbers } => {
                let number = dictionary.number(value);
                numbers.extend(std::iter::repeat_n(number, times as usize));
            }
        }
    }

    /// As [`Self::put`], for a value that comes again and again: `memo` is its own, and for this chunk only.
    #[inline]
    pub(super) fn put_known(&mut self, value: &[u8], times: u32, memo: &mut Option<u32>) {
        match &mut self.values {
            Values::Repeated(repeated) => repeated.put_known(value, times, memo),
            _ => self.put(value, times),
        }
    }

    /// Whether values can be put by their number in the dictionary.
    #[inline]
    pub(super) fn has_numbers(&self) -> bool {
        matches!(&self.values, Values::Repeated(repeated) if repeated.has_numbers())
    }

    /// Appends a value by its number, where there are numbers.
    #[inline]
    pub(super) fn put_number(&mut self, number: u32) {
        if let Values::Repeated(repeated) = &mut self.values {
            repeated.put_number(number);
        }
    }

    /// The number of the value that was put last, where there are numbers.
    #[inline]
    pub(super) fn number(&self) -> Option<u32> {
        match &self.values {
            Values::Repeated(repeated) if repeated.has_numbers() => Some(repeated.dictionary.last()),
            _ => None,
        }
    }

    /// Appends an integer to a column of [`Self::unique_longs`] or [`Self::longs`].
    #[inline]
    pub(super) fn put_long(&mut self, value: i64) {
        match &mut self.values {
            Values::Deltas(deltas) => deltas.put(value),
            Values::Repeated(repeated) => repeated.put_long(value),
            _ => {}
        }
    }

    /// Appends to a column of [`Self::bools`].
    pub(super) fn put_bool(&mut self, value: bool) {
        if let Values::Bools(bits, values) = &mut self.values {
            bits.push(u32::from(value), 1);
            *values += 1;
        }
    }

    /// The dictionary and the numbers of the open page, of a column of [`Self::numbered_texts`].
    #[inline]
    pub(super) fn numbered(&mut self) -> Option<(&mut Dictionary, &mut Vec<u32>)> {
        match &mut self.values {
            Values::Numbered { dictionary, numbers } => Some((dictionary, numbers)),
            _ => None,
        }
    }

    /// The open page and its number of values, of a column of [`Self::unique_texts`]: for whoever appends values himself,
    /// each with its length (4 bytes, little-endian) before it.
    #[inline]
    pub(super) fn unique(&mut self) -> Option<(&mut Vec<u8>, &mut usize)> {
        match &mut self.values {
            Values::Unique { page, values } => Some((page, values)),
            _ => None,
        }
    }

    /// Memory of the open page, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        self.values.bytes()
    }

    /// Ends the open page, which has so many rows.
    pub(super) fn end_page(&mut self, levels: Levels<'_>, rows: u32, press: &mut Press) -> Result<()> {
        let values = self.values.len();
        let count = if levels.count > 0 { levels.count } else { values };
        let mut facts =
            PageFacts { encoding: Encoding::PLAIN, count, nulls: count - values, rows, bounds: None };
        let mut lengths = Vec::new();
        if let Values::Joined { lengths: runs, .. } = &mut self.values
            && runs.len() > 0
        {
            put_deltas_of(runs, &mut lengths);
            facts.encoding = Encoding::DELTA_LENGTH_BYTE_ARRAY;
            runs.clear();
        }
        if let Values::Unique { page, .. } | Values::Joined { page, .. } = &mut self.values {
            let room = levels_len(levels) + lengths.len();
            if room > HEADROOM {
                page.splice(..HEADROOM, std::iter::repeat_n(0, room));
            }
            let begin = room.max(HEADROOM) - room;
            put_levels(levels, &mut page[begin..]);
            let end = begin + room;
            page[end - lengths.len()..end].copy_from_slice(&lengths);
            self.pages.push(&page[begin..], facts, press)?;
            page.truncate(HEADROOM);
            page.resize(HEADROOM, 0);
            if let Values::Unique { values, .. } = &mut self.values {
                *values = 0;
            }
            return Ok(());
        }
        let mut page = std::mem::take(&mut press.page);
        page.clear();
        page.resize(levels_len(levels), 0);
        put_levels(levels, &mut page);
        (facts.encoding, facts.bounds) = self.values.end_page(&mut page, self.indexed);
        let pushed = self.pages.push(&page, facts, press);
        press.page = page;
        pushed
    }

    /// The whole chunk, for the file, and its bounds.
    pub(super) fn finish(mut self, column: ColumnDescPtr, press: &mut Press) -> Result<Finished> {
        let bounds = self.values.end_chunk();
        let nulls = self.pages.nulls();
        let statistics = statistics(self.order, bounds.as_ref(), nulls);
        let bloom_filter = match &mut self.values {
            Values::Repeated(repeated) => repeated.bloom_filter.take(),
            _ => None,
        };
        let dictionary = self.values.dictionary();
        let (bytes, close) = self.pages.finish(column, dictionary, statistics, bloom_filter, press)?;
        Ok(Finished { bytes, close, bounds, nulls })
    }
}

/// A column chunk ready for the file.
pub(super) struct Finished {
    pub(super) bytes: Bytes,
    pub(super) close: ColumnCloseResult,
    pub(super) bounds: Option<Bounds>,
    pub(super) nulls: u64,
}

const LENGTH: usize = 4;

fn levels_len(levels: Levels<'_>) -> usize {
    let of = |encoded: &[u8]| if encoded.is_empty() { 0 } else { LENGTH + encoded.len() };
    of(levels.repetition) + of(levels.definition)
}

/// Writes levels to the beginning of `page`, each kind after its length.
fn put_levels(levels: Levels<'_>, mut page: &mut [u8]) {
    for encoded in [levels.repetition, levels.definition] {
        if !encoded.is_empty() {
            let (length, rest) = page.split_at_mut(LENGTH);
            length.copy_from_slice(&(encoded.len() as u32).to_le_bytes());
            let (place, rest) = rest.split_at_mut(encoded.len());
            place.copy_from_slice(encoded);
            page = rest;
        }
    }
}

fn statistics(order: Order, bounds: Option<&Bounds>, nulls: u64) -> Option<Statistics> {
    let bounds = bounds.filter(|b| b.min.len().max(b.max.len()) <= BOUND_BYTES_MAX);
    let nulls = Some(nulls);
    match order {
        Order::None => None,
        Order::Long => {
            let (min, max) = (bounds.map(|b| long(&b.min)), bounds.map(|b| long(&b.max)));
            Some(Statistics::int64(min, max, None, nulls, false))
        }
        Order::Bytes => {
            let value = |of: fn(&Bounds) -> &Vec<u8>| bounds.map(|b| ByteArray::from(of(b).clone()));
            Some(Statistics::byte_array(value(|b| &b.min), value(|b| &b.max), None, nulls, false))
        }
    }
}

#[cfg(test)]
mod tests;
