//! Parquet's encodings of numbers: runs and bit-packing (RLE hybrid), delta binary packing.
//! <https://github.com/apache/parquet-format/blob/master/Encodings.md>

use crate::wire::put_varint;

/// Numbers packed from the lowest bit of each byte up.
#[derive(Default)]
pub(in crate::store::writer) struct BitPacker {
    bytes: Vec<u8>,
    open: u64,
    /// Bits in `open`, below 32 between calls.
    bits: u32,
}

impl BitPacker {
    /// Appends the low `width` bits, at most 32.
    #[inline]
    pub(in crate::store::writer) fn push(&mut self, value: u32, width: u32) {
        self.open |= u64::from(value) << self.bits;
        self.bits += width;
        if self.bits >= 32 {
            self.bytes.extend_from_slice(&(self.open as u32).to_le_bytes());
            self.open >>= 32;
            self.bits -= 32;
        }
    }

    /// Ends the last byte with zeros. The bytes stay until [`Self::clear`].
    fn align(&mut self) {
        while self.bits > 0 {
            self.bytes.push(self.open as u8);
            self.open >>= 8;
            self.bits = self.bits.saturating_sub(8);
        }
    }

    /// The bytes so far, the last one ended with zeros.
    pub(in crate::store::writer) fn bytes(&mut self) -> &[u8] {
        self.align();
        &self.bytes
    }

    pub(in crate::store::writer) fn clear(&mut self) {
        self.bytes.clear();
        self.open = 0;
        self.bits = 0;
    }
}

/// Bits that a number up to `max` takes.
pub(in crate::store::writer) fn width_of(max: u32) -> u32 {
    (32 - max.leading_zeros()).max(1)
}

/// The header of a bit-packed run of so many groups of eight.
pub(in crate::store::writer) fn put_packed_header(groups: usize, out: &mut Vec<u8>) {
    put_varint(out, (groups as u64) << 1 | 1);
}

/// Small numbers of which many in a row are the same.
#[derive(Default)]
pub(in crate::store::writer) struct Runs {
    runs: Vec<(u32, u32)>,
    len: usize,
}

impl Runs {
    /// Appends a number `count` times.
    #[inline]
    pub(in crate::store::writer) fn push(&mut self, value: u32, count: u32) {
        if count == 0 {
            return;
        }
        self.len += count as usize;
        match self.runs.last_mut() {
            Some((last, times)) if *last == value => *times += count,
            _ => self.runs.push((value, count)),
        }
    }

    pub(in crate::store::writer) fn len(&self) -> usize {
        self.len
    }

    /// The numbers, each once a run.
    pub(in crate::store::writer) fn values(&self) -> impl Iterator<Item = u32> {
        self.runs.iter().map(|(value, _)| *value)
    }

    /// Numbers with how often each comes in a row.
    pub(in crate::store::writer) fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.runs.iter().copied()
    }

    /// Memory in use, in bytes.
    pub(in crate::store::writer) fn bytes(&self) -> usize {
        self.runs.len() * size_of::<(u32, u32)>()
    }

    pub(in crate::store::writer) fn clear(&mut self) {
        self.runs.clear();
        self.len = 0;
    }

    /// Appends the RLE hybrid of the numbers, `width` bits each: eight or more of the same in a row as one run.
    pub(in crate::store::writer) fn encode(&self, width: u32, out: &mut Vec<u8>) {
        let mut packer = BitPacker::default();
        let mut packed = 0usize;
        for &(value, mut count) in &self.runs {
            let fill = count.min((8 - packed as u32 % 8) % 8);
            for _ in 0..fill {
                packer.push(value, width);
            }
            packed += fill as usize;
            count -= fill;
            if count < 8 {
                for _ in 0..count {
                    packer.push(value, width);
                }
                packed += count as usize;
                continue;
            }
            end_packed(&mut packer, &mut packed, out);
            put_varint(out, u64::from(count) << 1);
            out.extend_from_slice(&value.to_le_bytes()[..width.div_ceil(8) as usize]);
        }
        for _ in 0..(8 - packed % 8) % 8 {
            packer.push(0, width);
            packed += 1;
        }
        end_packed(&mut packer, &mut packed, out);
    }
}

fn end_packed(packer: &mut BitPacker, packed: &mut usize, out: &mut Vec<u8>) {
    if *packed > 0 {
        put_packed_header(*packed / 8, out);
        out.extend_from_slice(packer.bytes());
        packer.clear();
        *packed = 0;
    }
}

/// Numbers as whole bytes of a bit-packed run: 8, 16 or 32 bits each, so that a general compressor sees what repeats.
/// Gives the width in bits.
pub(in crate::store::writer) fn packed_width(values: &[u32]) -> u32 {
    match values.iter().copied().max().unwrap_or(0) {
        0..=0xff => 8,
        0x100..=0xffff => 16,
        _ => 32,
    }
}

/// Appends numbers at a width of [`packed_width`].
pub(in crate::store::writer) fn put_packed(values: &[u32], width: u32, out: &mut Vec<u8>) {
    let groups = values.len().div_ceil(8);
    put_packed_header(groups, out);
    let end = out.len() + groups * width as usize;
    match width {
        8 => out.extend(values.iter().map(|v| *v as u8)),
        16 => values.iter().for_each(|v| out.extend_from_slice(&(*v as u16).to_le_bytes())),
        _ => values.iter().for_each(|v| out.extend_from_slice(&v.to_le_bytes())),
    }
    out.resize(end, 0);
}

/// Repetition levels of lists of one level: 0 where a row begins, 1 inside of it.
#[derive(Default)]
pub(in crate::store::writer) struct RowBits {
    packer: BitPacker,
    len: usize,
    inside: bool,
}

impl RowBits {
    /// Appends a row of so many items; an empty row has a level too.
    #[inline]
    pub(in crate::store::writer) fn push_row(&mut self, items: u32) {
        self.inside |= items > 1;
        let levels = items.max(1);
        self.len += levels as usize;
        let first = levels.min(32);
        self.packer.push((u32::MAX >> (32 - first)) & !1, first);
        let mut left = levels - first;
        while left > 0 {
            let some = left.min(32);
            self.packer.push(u32::MAX >> (32 - some), some);
            left -= some;
        }
    }

    pub(in crate::store::writer) fn len(&self) -> usize {
        self.len
    }

    /// Appends the RLE hybrid of the levels, and begins anew.
    pub(in crate::store::writer) fn encode(&mut self, out: &mut Vec<u8>) {
        if self.inside {
            let groups = self.len.div_ceil(8);
            put_packed_header(groups, out);
            out.extend_from_slice(self.packer.bytes());
        } else {
            put_varint(out, (self.len as u64) << 1);
            out.push(0);
        }
        self.packer.clear();
        self.len = 0;
        self.inside = false;
    }
}

const BLOCK: usize = 128;
const MINI_BLOCKS: usize = 4;
const MINI_BLOCK: usize = BLOCK / MINI_BLOCKS;

/// Appends the numbers of runs as `DELTA_BINARY_PACKED`.
pub(in crate::store::writer) fn put_deltas_of(runs: &Runs, out: &mut Vec<u8>) {
    let values = runs.iter().flat_map(|(value, times)| std::iter::repeat_n(i64::from(value), times as usize));
    put_deltas(&values.collect::<Vec<_>>(), out);
}

/// Appends numbers as `DELTA_BINARY_PACKED`.
pub(in crate::store::writer) fn put_deltas(values: &[i64], out: &mut Vec<u8>) {
    put_varint(out, BLOCK as u64);
    put_varint(out, MINI_BLOCKS as u64);
    put_varint(out, values.len() as u64);
    let Some((first, rest)) = values.split_first() else {
        put_varint(out, 0);
        return;
    };
    put_varint(out, zigzag(*first));
    let mut before = *first;
    for block in rest.chunks(BLOCK) {
        let mut deltas = [0i64; BLOCK];
        let deltas = &mut deltas[..block.len()];
        for (delta, value) in deltas.iter_mut().zip(block) {
            *delta = value.wrapping_sub(before);
            before = *value;
        }
        let least = deltas.iter().copied().min().unwrap_or(0);
        put_varint(out, zigzag(least));
        let widths = out.len();
        out.extend_from_slice(&[0; MINI_BLOCKS]);
        for (at, mini) in deltas.chunks(MINI_BLOCK).enumerate() {
            let above = |delta: &i64| delta.wrapping_sub(least) as u64;
            let width = 64 - mini.iter().fold(0, |all, delta| all | above(delta)).leading_zeros();
            out[widths + at] = width as u8;
            pack_wide(mini.iter().map(above), width, out);
        }
    }
}

/// Appends up to a mini-block of numbers, `width` bits each, filled up with zeros to a whole mini-block.
fn pack_wide(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let end = out.len() + MINI_BLOCK * width as usize / 8;
    let (mut open, mut bits) = (0u128, 0u32);
    for value in values {
        open |= u128::from(value) << bits;
        bits += width;
        if bits >= 64 {
            out.extend_from_slice(&(open as u64).to_le_bytes());
            open >>= 64;
            bits -= 64;
        }
    }
    out.extend_from_slice(&(open as u64).to_le_bytes()[..bits.div_ceil(8) as usize]);
    out.resize(end, 0);
}

fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}
