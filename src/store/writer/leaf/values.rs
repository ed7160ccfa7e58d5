//! The values of a column chunk's open page, in the encoding that suits the column.

use parquet::basic::Encoding;
use parquet::bloom_filter::Sbbf;

use super::bits::{BitPacker, Runs, packed_width, put_deltas, put_packed, width_of};
use super::dictionary::Dictionary;
use super::pages::Bounds;

/// A dictionary that is larger helps nobody: the rest of the chunk is written plainly.
const DICTIONARY_BYTES_MAX: usize = 1 << 20;
/// After so many different values a dictionary must have paid: each has come twice on average, or it is given up.
const DICTIONARY_TRIAL: usize = 4 * 1024;
/// Room before the values of a page, so that levels can be put there and need not be copied together with them.
pub(super) const HEADROOM: usize = 16 << 10;

/// How values of a column compare, for bounds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::store::writer) enum Order {
    /// Byte by byte.
    Bytes,
    /// 64-bit integers, little-endian.
    Long,
    /// Bounds are of no use.
    None,
}

/// Values of which many are the same.
pub(super) struct Repeated {
    pub(super) dictionary: Dictionary,
    numbers: Runs,
    /// How often a value was appended in this chunk.
    appended: usize,
    /// Set once the dictionary was given up: values as they are.
    plain: Option<Plain>,
    pub(super) bloom_filter: Option<Sbbf>,
    order: Order,
    bounds: Option<Bounds>,
}

#[derive(Default)]
struct Plain {
    bytes: Vec<u8>,
    values: usize,
    bounds: Option<Bounds>,
}

impl Repeated {
    pub(super) fn new(prefixed: bool, order: Order, bloom_filter: Option<Sbbf>) -> Self {
        Self {
            dictionary: Dictionary::new(prefixed),
            numbers: Runs::default(),
            appended: 0,
            plain: None,
            bloom_filter,
            order,
            bounds: None,
        }
    }

    #[inline]
    pub(super) fn put(&mut self, value: &[u8], times: u32) {
        self.appended += times as usize;
        match &mut self.plain {
            None => {
                let number = self.dictionary.number(value);
                self.numbers.push(number, times);
            }
            Some(_) => self.put_plain(value, times),
        }
    }

    /// As [`Self::put`], for a value whose number is in `memo` once it has been put.
    #[inline]
    pub(super) fn put_known(&mut self, value: &[u8], times: u32, memo: &mut Option<u32>) {
        match (&self.plain, *memo) {
            (None, Some(number)) => {
                self.appended += times as usize;
                self.numbers.push(number, times);
            }
            (None, None) => {
                self.put(value, times);
                *memo = Some(self.dictionary.number(value));
            }
            (Some(_), _) => self.put(value, times),
        }
    }

    /// As [`Self::put`], a number, once. They always have a dictionary.
    #[inline]
    pub(super) fn put_long(&mut self, value: i64) {
        self.appended += 1;
        let number = self.dictionary.number_of_long(value);
        self.numbers.push(number, 1);
    }

    /// Whether values still have numbers.
    #[inline]
    pub(super) fn has_numbers(&self) -> bool {
        self.plain.is_none()
    }

    /// As [`Self::put`], a value by its number, once.
    #[inline]
    pub(super) fn put_number(&mut self, number: u32) {
        self.appended += 1;
        self.numbers.push(number, 1);
    }

    #[cold]
    fn put_plain(&mut self, value: &[u8], times: u32) {
        let Some(plain) = &mut self.plain else { return };
        for _ in 0..times {
            plain.bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            plain.bytes.extend_from_slice(value);
        }
        plain.values += times as usize;
        widen(&mut plain.bounds, value, self.order);
        if let Some(filter) = &mut self.bloom_filter {
            filter.insert(value);
        }
    }

    fn values(&self) -> usize {
        self.plain.as_ref().map_or(self.numbers.len(), |plain| plain.values)
    }

    pub(super) fn bytes(&self) -> usize {
        match &self.plain {
            Some(plain) => plain.bytes.len(),
            // The page shall end, so that what follows is written plainly.
            None if self.is_in_vain() => usize::MAX,
            None => self.numbers.bytes(),
        }
    }

    /// Whether the dictionary does not pay. Numbers always come with one.
    fn is_in_vain(&self) -> bool {
        let values = self.dictionary.len();
        self.order == Order::Bytes
            && (self.dictionary.page().len() > DICTIONARY_BYTES_MAX
                || (values >= DICTIONARY_TRIAL && values * 2 > self.appended))
    }

    /// Appends the open page's values to `out` and begins the next page. Bounds are looked for where they are wanted.
    fn end_page(&mut self, out: &mut Vec<u8>, wants_bounds: bool) -> (Encoding, Option<Bounds>) {
        if let Some(plain) = &mut self.plain {
            out.extend_from_slice(&plain.bytes);
            plain.bytes.clear();
            plain.values = 0;
            let bounds = plain.bounds.take();
            if let Some(bounds) = &bounds {
                widen(&mut self.bounds, &bounds.min, self.order);
                widen(&mut self.bounds, &bounds.max, self.order);
            }
            return (Encoding::PLAIN, bounds);
        }
        if self.dictionary.len() == 0 {
            // Nothing but nulls so far: the chunk may end without a dictionary.
            return (Encoding::PLAIN, None);
        }
        let mut bounds = None;
        if wants_bounds {
            for number in self.numbers.values() {
                widen(&mut bounds, self.dictionary.value(number), self.order);
            }
        }
        let width = width_of(self.dictionary.len().saturating_sub(1) as u32);
        out.push(width as u8);
        self.numbers.encode(width, out);
        self.numbers.clear();
        if self.is_in_vain() {
            self.plain = Some(Plain::default());
        }
        (Encoding::RLE_DICTIONARY, bounds)
    }

    /// Bounds of the whole chunk; its filter is filled.
    fn end_chunk(&mut self) -> Option<Bounds> {
        for value in self.dictionary.values() {
            if self.order != Order::None {
                widen(&mut self.bounds, value, self.order);
            }
            if let Some(filter) = &mut self.bloom_filter {
                filter.insert(value);
            }
        }
        self.bounds.take()
    }
}

fn widen(bounds: &mut Option<Bounds>, value: &[u8], order: Order) {
    let Some(bounds) = bounds else {
        *bounds = Some(Bounds { min: value.to_vec(), max: value.to_vec() });
        return;
    };
    let is_less = |a: &[u8], b: &[u8]| match order {
        Order::Long => long(a) < long(b),
        _ => a < b,
    };
    if is_less(value, &bounds.min) {
        bounds.min = value.to_vec();
    } else if is_less(&bounds.max, value) {
        bounds.max = value.to_vec();
    }
}

/// A number of eight bytes, little-endian.
pub(super) fn long(bytes: &[u8]) -> i64 {
    bytes.try_into().map_or(0, i64::from_le_bytes)
}

/// Numbers that differ.
#[derive(Default)]
pub(super) struct Deltas {
    values: Vec<i64>,
    bounds: Option<(i64, i64)>,
}

impl Deltas {
    #[inline]
    pub(super) fn put(&mut self, value: i64) {
        self.values.push(value);
    }

    fn end_page(&mut self, out: &mut Vec<u8>) -> Option<Bounds> {
        put_deltas(&self.values, out);
        let (min, max) = (self.values.iter().min().copied(), self.values.iter().max().copied());
        self.values.clear();
        let (min, max) = min.zip(max)?;
        let (low, high) = self.bounds.unwrap_or((min, max));
        self.bounds = Some((low.min(min), high.max(max)));
        Some(of_longs(min, max))
    }
}

fn of_longs(min: i64, max: i64) -> Bounds {
    Bounds { min: min.to_le_bytes().to_vec(), max: max.to_le_bytes().to_vec() }
}

/// Values of one of the encodings.
pub(super) enum Values {
    Repeated(Repeated),
    /// Strings or bytes that hardly come twice. The page's room for levels comes first.
    Unique {
        page: Vec<u8>,
        values: usize,
    },
    /// Texts that hardly come twice, and are mostly of one length. The page's room for levels and lengths comes first.
    Joined {
        page: Vec<u8>,
        lengths: Runs,
    },
    Deltas(Deltas),
    Bools(BitPacker, usize),
    /// Few distinct strings, in patterns that repeat.
    Numbered {
        dictionary: Dictionary,
        numbers: Vec<u32>,
    },
}

impl Values {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Repeated(repeated) => repeated.values(),
            Self::Unique { values, .. } => *values,
            Self::Joined { lengths, .. } => lengths.len(),
            Self::Deltas(deltas) => deltas.values.len(),
            Self::Bools(_, values) => *values,
            Self::Numbered { numbers, .. } => numbers.len(),
        }
    }

    /// Memory of the open page, in bytes, about.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Repeated(repeated) => repeated.bytes(),
            Self::Unique { page, .. } | Self::Joined { page, .. } => page.len(),
            Self::Deltas(deltas) => deltas.values.len() * size_of::<i64>(),
            Self::Bools(_, values) => values / 8,
            Self::Numbered { numbers, .. } => numbers.len() * size_of::<u32>(),
        }
    }

    /// Appends the open page's values to `out` and begins the next page. Not for [`Self::Unique`] and [`Self::Joined`].
    pub(super) fn end_page(&mut self, out: &mut Vec<u8>, wants_bounds: bool) -> (Encoding, Option<Bounds>) {
        match self {
            Self::Repeated(repeated) => repeated.end_page(out, wants_bounds),
            Self::Unique { .. } | Self::Joined { .. } => (Encoding::PLAIN, None),
            Self::Deltas(deltas) if deltas.values.is_empty() => (Encoding::PLAIN, None),
            Self::Deltas(deltas) => (Encoding::DELTA_BINARY_PACKED, deltas.end_page(out)),
            Self::Bools(bits, values) => {
                out.extend_from_slice(bits.bytes());
                bits.clear();
                *values = 0;
                (Encoding::PLAIN, None)
            }
            Self::Numbered { dictionary, .. } if dictionary.len() == 0 => (Encoding::PLAIN, None),
            Self::Numbered { numbers, .. } => {
                let width = packed_width(numbers);
                out.push(width as u8);
                put_packed(numbers, width, out);
                numbers.clear();
                (Encoding::RLE_DICTIONARY, None)
            }
        }
    }

    /// Bounds of the whole chunk, where the column has an order.
    pub(super) fn end_chunk(&mut self) -> Option<Bounds> {
        match self {
            Self::Repeated(repeated) => repeated.end_chunk(),
            Self::Deltas(deltas) => deltas.bounds.take().map(|(min, max)| of_longs(min, max)),
            _ => None,
        }
    }

    /// The dictionary page and how many values are in it.
    pub(super) fn dictionary(&self) -> Option<(&[u8], usize)> {
        let dictionary = match self {
            Self::Repeated(repeated) => &repeated.dictionary,
            Self::Numbered { dictionary, .. } => dictionary,
            _ => return None,
        };
        (dictionary.len() > 0).then(|| (dictionary.page(), dictionary.len()))
    }
}
