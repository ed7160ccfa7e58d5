//! A checksum of a data file's rows, in the file itself: Parquet's pages have none that the library writes, and what is
//! compressed does not always fail to decompress when a bit has flipped.
//!
//! Under the key [`CHECKSUM_KEY`] of the footer's metadata stands `xxh3:<sum>:<bytes>`: XXH3-64, 16 hexadecimal digits, of
//! the file's first so many bytes. Those are its row groups; what comes after is the footer and its indexes.

use std::hash::Hasher;

use parquet::file::metadata::{KeyValue, ParquetMetaData};
use twox_hash::XxHash3_64;

/// Where the footer says it.
pub(super) const CHECKSUM_KEY: &str = "tracewell.checksum";

/// A checksum in the making.
#[derive(Default)]
pub(super) struct Summing {
    hasher: XxHash3_64,
    bytes: u64,
}

impl Summing {
    /// The file's next bytes.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.hasher.write(bytes);
        self.bytes += bytes.len() as u64;
    }

    /// Of all bytes so far.
    pub(super) fn sum(&self) -> Checksum {
        Checksum { sum: self.hasher.finish(), bytes: self.bytes }
    }
}

/// What a file's first bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Checksum {
    sum: u64,
    /// How many bytes it is of.
    pub(super) bytes: u64,
}

impl Checksum {
    /// As the footer has it.
    pub(super) fn key_value(&self) -> KeyValue {
        KeyValue::new(CHECKSUM_KEY.to_owned(), format!("xxh3:{:016x}:{}", self.sum, self.bytes))
    }

    /// What a footer says; `None` if it says nothing that we understand.
    pub(super) fn of(footer: &ParquetMetaData) -> Option<Self> {
        let written =
            footer.file_metadata().key_value_metadata()?.iter().find(|kv| kv.key == CHECKSUM_KEY)?;
        let (sum, bytes) = written.value.as_deref()?.strip_prefix("xxh3:")?.split_once(':')?;
        Some(Self { sum: u64::from_str_radix(sum, 16).ok()?, bytes: bytes.parse().ok()? })
    }
}
