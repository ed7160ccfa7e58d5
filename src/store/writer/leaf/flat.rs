//! Columns with at most one value a row. Rows in which nothing is put cost nothing.

use parquet::errors::Result;
use parquet::schema::types::ColumnDescPtr;

use super::bits::Runs;
use super::{Finished, Leaf, Levels, PAGE_BYTES, Press};

/// What a row has where nothing was put.
#[derive(Clone, Copy)]
enum Missing {
    Null,
    Value(&'static [u8]),
}

/// A column of values or nulls.
pub(in crate::store::writer) struct Flat {
    leaf: Leaf,
    missing: Missing,
    definitions: Runs,
    encoded: Vec<u8>,
    /// Rows that are in, of this row group.
    filled: u32,
    /// The first row of the open page.
    first: u32,
}

impl Flat {
    fn new(leaf: Leaf, missing: Missing) -> Self {
        Self { leaf, missing, definitions: Runs::default(), encoded: Vec::new(), filled: 0, first: 0 }
    }

    /// Null where nothing is put.
    pub(in crate::store::writer) fn optional(leaf: Leaf) -> Self {
        Self::new(leaf, Missing::Null)
    }

    /// Has `value` where nothing is put.
    pub(in crate::store::writer) fn with_default(leaf: Leaf, value: &'static [u8]) -> Self {
        Self::new(leaf, Missing::Value(value))
    }

    /// Has a value in each row, or a zero or empty text where it has not.
    pub(in crate::store::writer) fn required(leaf: Leaf) -> Self {
        Self::new(leaf, Missing::Value(&[]))
    }

    #[inline]
    fn fill(&mut self, rows: u32) {
        let missing = rows.saturating_sub(self.filled);
        if missing > 0 {
            match self.missing {
                Missing::Null => self.definitions.push(0, missing),
                Missing::Value(value) => self.leaf.put(value, missing),
            }
            self.filled = rows;
        }
    }

    /// Puts a value into a row that is beyond all before it, and the next `times - 1`.
    #[inline]
    pub(in crate::store::writer) fn put(&mut self, row: u32, value: &[u8], times: u32) {
        self.fill(row);
        if let Missing::Null = self.missing {
            self.definitions.push(1, times);
        }
        self.leaf.put(value, times);
        self.filled = row + times;
    }

    /// As [`Self::put`], for a value that comes again and again: `memo` is its own, and for this chunk only.
    #[inline]
    pub(in crate::store::writer) fn put_known(
        &mut self,
        row: u32,
        value: &[u8],
        times: u32,
        memo: &mut Option<u32>,
    ) {
        self.fill(row);
        if let Missing::Null = self.missing {
            self.definitions.push(1, times);
        }
        self.leaf.put_known(value, times, memo);
        self.filled = row + times;
    }

    /// As [`Self::put`], the value of this number in the chunk's dictionary into one row; `false` where there is none any more.
    #[inline]
    pub(in crate::store::writer) fn put_number(&mut self, row: u32, number: u32) -> bool {
        if !self.leaf.has_numbers() {
            return false;
        }
        self.fill(row);
        if let Missing::Null = self.missing {
            self.definitions.push(1, 1);
        }
        self.leaf.put_number(number);
        self.filled = row + 1;
        true
    }

    /// The number of the value that was put last, if the chunk has a dictionary.
    #[inline]
    pub(in crate::store::writer) fn number(&self) -> Option<u32> {
        self.leaf.number()
    }

    /// As [`Self::put`], an integer into one row.
    #[inline]
    pub(in crate::store::writer) fn put_long(&mut self, row: u32, value: i64) {
        self.fill(row);
        if let Missing::Null = self.missing {
            self.definitions.push(1, 1);
        }
        self.leaf.put_long(value);
        self.filled = row + 1;
    }

    /// As [`Self::put`], a truth value into one row.
    pub(in crate::store::writer) fn put_bool(&mut self, row: u32, value: bool) {
        self.fill(row);
        self.leaf.put_bool(value);
        self.filled = row + 1;
    }

    /// Whether the open page is large enough to end.
    pub(in crate::store::writer) fn is_page_full(&self) -> bool {
        self.leaf.bytes() >= PAGE_BYTES
    }

    /// Ends the open page before this row.
    pub(in crate::store::writer) fn end_page(&mut self, row: u32, press: &mut Press) -> Result<()> {
        self.fill(row);
        if row == self.first {
            return Ok(());
        }
        self.encoded.clear();
        self.definitions.encode(1, &mut self.encoded);
        let levels = Levels { definition: &self.encoded, count: self.definitions.len(), ..Levels::default() };
        self.leaf.end_page(levels, row - self.first, press)?;
        self.definitions.clear();
        self.first = row;
        Ok(())
    }

    /// Ends the chunk after `rows` rows.
    pub(in crate::store::writer) fn finish(
        mut self,
        rows: u32,
        column: ColumnDescPtr,
        press: &mut Press,
    ) -> Result<Finished> {
        self.end_page(rows, press)?;
        self.leaf.finish(column, press)
    }
}
