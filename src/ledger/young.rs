//! Young files: blocks one behind the other.

use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use super::block::{Block, GROUPS_MAX, Numbers, VERDICTS_MAX};
use super::format::{
    BLOCK_HEADER_BYTES, BLOCK_MAGIC, BlockHeader, Form, YOUNG_HEADER_BYTES, encode_block, file_name,
    parse_young_header, young_header,
};
use crate::runtime::disk::{DiskFile, read_full_at, write_all_at};
use crate::runtime::{Disk, OpenMode};

/// Reads the blocks of a young file, one at a time. What is damaged is passed over and counted.
pub(super) struct Blocks {
    file: Arc<dyn DiskFile>,
    number: u64,
    offset: u64,
    file_bytes: u64,
    /// The log whose positions the blocks have.
    pub(super) log: u64,
    /// Behind the last block that was read.
    pub(super) good_end: u64,
    /// Damaged places before that.
    pub(super) damaged: u64,
    /// Something unreadable was passed since the last good block.
    passing: bool,
}

impl Blocks {
    /// Opens a file. `Ok(None)` if it is not a young file of this number, or its header is damaged.
    ///
    /// # Errors
    /// When the disk does not give it.
    pub(super) fn open(disk: &dyn Disk, dir: &Path, number: u64) -> io::Result<Option<Self>> {
        let file = disk.open(&dir.join(file_name(number, Form::Young)), OpenMode::Read)?;
        let file_bytes = file.size()?;
        let mut header = [0; YOUNG_HEADER_BYTES];
        let read = read_full_at(&*file, &mut header, 0)?;
        let offset = YOUNG_HEADER_BYTES as u64;
        Ok(parse_young_header(&header[..read], number).map(|log| Self {
            file,
            number,
            offset,
            file_bytes,
            log,
            good_end: offset,
            damaged: 0,
            passing: false,
        }))
    }

    /// The block at the offset, and where it ends.
    fn read(&self) -> Option<(Block, u64)> {
        let mut header = [0; BLOCK_HEADER_BYTES];
        read_full_at(&*self.file, &mut header, self.offset).ok().filter(|read| *read == header.len())?;
        let header = BlockHeader::parse(&header, self.number)?;
        let begin = self.offset + BLOCK_HEADER_BYTES as u64;
        let end = begin + header.payload_bytes as u64;
        if end > self.file_bytes {
            return None;
        }
        let mut payload = vec![0; header.payload_bytes];
        read_full_at(&*self.file, &mut payload, begin).ok()?;
        Some((header.block(&payload)?, end))
    }

    /// Goes on to where the next block may begin. False at the end of the file.
    fn seek(&mut self) -> bool {
        const STEP_BYTES: u64 = 64 * 1024;
        self.offset += 1;
        while self.offset + BLOCK_HEADER_BYTES as u64 <= self.file_bytes {
            let length = STEP_BYTES.min(self.file_bytes - self.offset);
            let mut bytes = vec![0; length as usize];
            let Ok(read) = read_full_at(&*self.file, &mut bytes, self.offset) else {
                // A sector that cannot be read: on behind it.
                self.offset += 512;
                continue;
            };
            match memchr::memmem::find(&bytes[..read], &BLOCK_MAGIC) {
                Some(found) => {
                    self.offset += found as u64;
                    return true;
                }
                None => self.offset += (read.saturating_sub(BLOCK_MAGIC.len() - 1)).max(1) as u64,
            }
        }
        false
    }
}

impl Iterator for Blocks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        while self.offset + BLOCK_HEADER_BYTES as u64 <= self.file_bytes {
            if let Some((block, end)) = self.read() {
                self.damaged += u64::from(std::mem::take(&mut self.passing));
                (self.offset, self.good_end) = (end, end);
                return Some(block);
            }
            self.passing = true;
            if !self.seek() {
                break;
            }
        }
        None
    }
}

/// The young file that is being written.
pub(super) struct Young {
    file: Arc<dyn DiskFile>,
    pub(super) number: u64,
    end: u64,
    entries: usize,
    groups: usize,
    numbers: Numbers,
}

impl Young {
    /// Begins a file. Its name is durable when this returns.
    pub(super) fn create(disk: &dyn Disk, dir: &Path, number: u64, log: u64) -> io::Result<Self> {
        let file = disk.open(&dir.join(file_name(number, Form::Young)), OpenMode::CreateNew)?;
        write_all_at(&*file, &mut [IoSlice::new(&young_header(number, log))], 0)?;
        disk.sync_dir(dir)?;
        let end = YOUNG_HEADER_BYTES as u64;
        Ok(Self { file, number, end, entries: 0, groups: 0, numbers: Numbers::default() })
    }

    /// Goes on with a file whose blocks were read to their end. What is behind the last one is cut off.
    pub(super) fn resume(disk: &dyn Disk, dir: &Path, number: u64, end: u64) -> io::Result<Self> {
        let file = disk.open(&dir.join(file_name(number, Form::Young)), OpenMode::Write)?;
        file.truncate(end)?;
        file.sync_data()?;
        Ok(Self { file, number, end, entries: 0, groups: 0, numbers: Numbers::default() })
    }

    /// Counts a block that is in the file.
    pub(super) fn count(&mut self, block: &Block) {
        self.entries += block.entries.len();
        self.groups += block.groups.len();
        self.numbers.know(&block.verdicts);
    }

    /// Whether the block's numbers still fit into one file.
    pub(super) fn has_room(&self, block: &Block) -> bool {
        self.groups + block.groups.len() <= GROUPS_MAX
            && self.numbers.len() + self.numbers.unknown(&block.verdicts) <= VERDICTS_MAX
    }

    /// Writes a block and syncs it. Gives the bytes it takes. After an error the file must not be written to any more.
    pub(super) fn append(&mut self, block: &Block) -> io::Result<u64> {
        let bytes = encode_block(self.number, block).ok_or(io::ErrorKind::InvalidInput)?;
        write_all_at(&*self.file, &mut [IoSlice::new(&bytes)], self.end)?;
        self.file.sync_data()?;
        self.end += bytes.len() as u64;
        self.count(block);
        Ok(bytes.len() as u64)
    }

    /// Decisions in it.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }
}
