//! Which attributes a row group may hold: a split-block bloom filter of (scope, key, value).
//!
//! The blocks are those of Parquet's bloom filters
//! (<https://github.com/apache/parquet-format/blob/master/BloomFilter.md>): 256 bits, of which a hash sets one in each of
//! eight words. What is hashed is not one column's value, so that Parquet has no place for it: the values of all keys share
//! the filter. A row group's filter has 2^n or 3·2^n blocks, and a hash's upper bits say which, so that a filter is made
//! smaller by joining neighbours: it is filled at its largest, and gets as small as it can be without many wrong answers.

use twox_hash::XxHash3_64;

/// What a block takes, in bytes.
pub(in crate::store) const BLOCK_BYTES: usize = 32;
/// A row group has no filter: it may hold anything.
pub(in crate::store) const NO_FILTER: u8 = u8::MAX;
/// The largest [`FilterSize`]: 3·2^12 blocks, 384 KiB …
pub(super) const SIZE_MAX: FilterSize = 25;
/// … and at most this share of its row group's bytes: the 25th part, 4 %. Then more questions are answered wrongly.
const SHARE_OF_DATA: usize = 25;
/// One question in 500 may read a row group in vain.
const FALSE_POSITIVES: f64 = 0.002;
/// A filter that answers so many questions wrongly is not kept.
const USELESS: f64 = 0.5;
/// Hashes that are remembered to be in: most attributes come again and again. They shall stay in the nearest cache.
const RECENT: usize = 512;
/// Hashes whose blocks are filled together: a block is seldom in the cache, and these are fetched side by side.
const PENDING_MAX: usize = 64;
const BLOCKS_MAX: u32 = 3 << 12;

/// How many blocks a filter has, in one byte: 2·2^n is 2n, 3·2^n is 2n + 1.
pub(super) type FilterSize = u8;

/// The blocks of a filter of this size, which is none beyond [`SIZE_MAX`].
pub(super) fn blocks_of(size: FilterSize) -> u32 {
    (2 + u32::from(size & 1)) << (size >> 1)
}

const WORDS: usize = 8;
type Block = [u32; WORDS];

/// Of the Parquet format.
const SALT: Block =
    [0x47b6_137b, 0x4497_4d91, 0x8824_ad5b, 0xa2b7_289d, 0x7054_95c7, 0x2df1_424b, 0x9efc_4947, 0x5c6b_fb31];

/// Whose attribute it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) enum FilterScope {
    Span,
    Resource,
}

impl FilterScope {
    /// Some attributes of this scope are not given back by their map: the filter does not know them.
    fn unknown(self) -> u8 {
        match self {
            Self::Span => 1,
            Self::Resource => 2,
        }
    }

    /// Some attributes of this scope are arrays, which are compared by their elements: their keys are in the filter.
    fn arrays(self) -> u8 {
        match self {
            Self::Span => 4,
            Self::Resource => 8,
        }
    }
}

/// What a key adds to the hashes of its values. It is in objects: it never changes.
pub(in crate::store) fn key_seed(scope: FilterScope, key: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(scope.unknown().into(), key)
}

/// The hash of a value, given as the text that the table's map has.
#[inline]
fn hash_value(key_seed: u64, text: &[u8]) -> u64 {
    XxHash3_64::oneshot_with_seed(key_seed, text)
}

/// The hash that says that a key has an array somewhere.
fn hash_array(key_seed: u64) -> u64 {
    XxHash3_64::oneshot_with_seed(key_seed, &[0xff])
}

/// Where a hash is in a filter of so many blocks.
#[inline]
pub(super) fn block_number(hash: u64, blocks: u32) -> u32 {
    (((hash >> 32) * u64::from(blocks)) >> 32) as u32
}

#[inline]
fn mask(hash: u64) -> Block {
    SALT.map(|salt| 1 << ((hash as u32).wrapping_mul(salt) >> 27))
}

/// The filter of a row group in the making.
pub(in crate::store) struct FilterBuilder {
    blocks: Vec<Block>,
    recent: Vec<u64>,
    /// Hashes that are not in their blocks yet, fewer than [`PENDING_MAX`] between calls.
    pending: Vec<u64>,
    flags: u8,
}

impl Default for FilterBuilder {
    fn default() -> Self {
        Self {
            blocks: vec![[0; WORDS]; BLOCKS_MAX as usize],
            recent: vec![0; RECENT],
            pending: Vec::with_capacity(PENDING_MAX),
            flags: 0,
        }
    }
}

impl FilterBuilder {
    /// A row has this value, given as the text that the map has; `seed` is the key's [`key_seed`].
    #[inline]
    pub(in crate::store) fn insert(&mut self, seed: u64, text: &[u8]) {
        self.insert_hash(hash_value(seed, text));
    }

    /// A row of this scope has an array for a value.
    pub(in crate::store) fn insert_array(&mut self, scope: FilterScope, seed: u64) {
        self.flags |= scope.arrays();
        self.insert_hash(hash_array(seed));
    }

    /// A row of this scope has attributes that its map does not give back.
    pub(in crate::store) fn has_unknown(&mut self, scope: FilterScope) {
        self.flags |= scope.unknown();
    }

    #[inline]
    fn insert_hash(&mut self, hash: u64) {
        let recent = &mut self.recent[hash as usize % RECENT];
        if *recent == hash {
            return;
        }
        *recent = hash;
        self.pending.push(hash);
        if self.pending.len() >= PENDING_MAX {
            self.fill();
        }
    }

    #[inline(never)]
    fn fill(&mut self) {
        for hash in &self.pending {
            let block = &mut self.blocks[block_number(*hash, BLOCKS_MAX) as usize];
            block.iter_mut().zip(mask(*hash)).for_each(|(word, bit)| *word |= bit);
        }
        self.pending.clear();
    }

    /// Whether a filter may hold all that was inserted. What one cannot tell it may hold; and a row whose map does not give its
    /// attributes back is not always known to be one where the filter was made, whose values all are in.
    pub(super) fn is_within(&mut self, filter: &GroupFilter) -> bool {
        self.fill();
        if filter.size == NO_FILTER || !BLOCKS_MAX.is_multiple_of(blocks_of(filter.size)) {
            return true;
        }
        let arrays = FilterScope::Span.arrays() | FilterScope::Resource.arrays();
        let inserted = joined(&self.blocks, filter.size);
        let words = inserted.iter().flatten().zip(filter.blocks.iter().flatten());
        self.flags & arrays & !filter.flags == 0
            && inserted.len() == filter.blocks.len()
            && words.into_iter().all(|(of_data, of_filter)| of_data & !of_filter == 0)
    }

    /// The filter of a row group that takes so many bytes.
    pub(in crate::store) fn finish(mut self, data_bytes: usize) -> GroupFilter {
        self.fill();
        let Self { blocks, flags, .. } = self;
        let is_small =
            |size: &FilterSize| blocks_of(*size) as usize * BLOCK_BYTES * SHARE_OF_DATA <= data_bytes;
        // Largest first. Of 2^13 blocks there are none: that is no part of 3·2^12.
        let mut sizes = (0..=SIZE_MAX).rev().filter(|size| BLOCKS_MAX.is_multiple_of(blocks_of(*size)));
        let size = sizes.find(is_small).unwrap_or(0);
        let mut filter = GroupFilter { size, blocks: joined(&blocks, size), flags };
        for size in sizes {
            let smaller = joined(&blocks, size);
            if false_positives(&smaller) > FALSE_POSITIVES {
                break;
            }
            (filter.size, filter.blocks) = (size, smaller);
        }
        if false_positives(&filter.blocks) > USELESS {
            filter = GroupFilter { flags, ..GroupFilter::default() };
        }
        filter
    }
}

/// The blocks of a smaller filter, from those of the largest.
fn joined(blocks: &[Block], size: FilterSize) -> Vec<Block> {
    let join = |blocks: &[Block]| {
        blocks.iter().fold([0; WORDS], |all, block| std::array::from_fn(|at| all[at] | block[at]))
    };
    blocks.chunks((BLOCKS_MAX / blocks_of(size)) as usize).map(join).collect()
}

/// The share of absent values that are said to be there perhaps.
fn false_positives(blocks: &[Block]) -> f64 {
    let word = |word: &u32| f64::from(word.count_ones()) / 32.0;
    let of_block = |block: &Block| block.iter().map(word).product::<f64>();
    blocks.iter().map(of_block).sum::<f64>() / blocks.len().max(1) as f64
}

/// The filter of a row group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct GroupFilter {
    /// Or [`NO_FILTER`].
    size: FilterSize,
    blocks: Vec<Block>,
    flags: u8,
}

impl Default for GroupFilter {
    fn default() -> Self {
        Self { size: NO_FILTER, blocks: Vec::new(), flags: 0 }
    }
}

impl GroupFilter {
    /// One whose blocks are to come.
    pub(super) fn empty(size: FilterSize, flags: u8) -> Self {
        Self { size, blocks: Vec::with_capacity(blocks_of(size) as usize), flags }
    }

    /// The next block's bytes, as [`Self::write_block`] wrote them.
    pub(super) fn push_block(&mut self, bytes: &[u8]) {
        let words = bytes.as_chunks::<4>().0;
        self.blocks.push(std::array::from_fn(|at| words.get(at).copied().map_or(0, u32::from_le_bytes)));
    }

    /// What its blocks take in memory.
    pub(super) fn bytes(&self) -> usize {
        self.blocks.capacity() * BLOCK_BYTES
    }

    /// Its size, or [`NO_FILTER`].
    pub(super) fn size(&self) -> FilterSize {
        self.size
    }

    /// What was in the row group that blocks do not tell.
    pub(super) fn flags(&self) -> u8 {
        self.flags
    }

    /// Appends a block's bytes.
    pub(super) fn write_block(&self, number: u32, out: &mut Vec<u8>) {
        out.extend(self.blocks[number as usize].iter().flat_map(|word| word.to_le_bytes()));
    }
}

/// A question: an attribute with one of these texts, in one of these scopes.
#[derive(Clone, Debug)]
pub(in crate::store) struct Needle {
    scopes: Vec<(FilterScope, u64)>,
    texts: Vec<String>,
}

impl Needle {
    /// `texts`: how the value may be written in the map.
    pub(in crate::store) fn new(scopes: &[FilterScope], key: &str, texts: Vec<String>) -> Self {
        let scopes = scopes.iter().map(|scope| (*scope, key_seed(*scope, key.as_bytes()))).collect();
        Self { scopes, texts }
    }

    /// The hashes that a row group with such flags has one of, if it has the value. `None`: its filter cannot tell.
    pub(super) fn hashes(&self, flags: u8) -> Option<Vec<u64>> {
        let mut hashes = Vec::new();
        for (scope, seed) in &self.scopes {
            if flags & scope.unknown() != 0 {
                return None;
            }
            hashes.extend(self.texts.iter().map(|text| hash_value(*seed, text.as_bytes())));
            if flags & scope.arrays() != 0 {
                hashes.push(hash_array(*seed));
            }
        }
        Some(hashes)
    }
}

/// Whether a block may hold the hash; one of another length may hold anything.
pub(super) fn block_may_hold(block: &[u8], hash: u64) -> bool {
    let words = block.as_chunks::<4>().0;
    words.len() != WORDS
        || words.iter().zip(mask(hash)).all(|(word, bit)| u32::from_le_bytes(*word) & bit != 0)
}
