//! A file from its beginning to its end, for who reads or writes it as a stream.

use std::io::{self, IoSlice, Read, Write};
use std::sync::Arc;

use super::DiskFile;

/// A file and a place in it, which reading and writing move on.
pub struct Sequential {
    file: Arc<dyn DiskFile>,
    at: u64,
}

impl Sequential {
    /// At the file's beginning.
    pub fn new(file: Arc<dyn DiskFile>) -> Self {
        Self { file, at: 0 }
    }
}

impl Read for Sequential {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl Write for Sequential {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(&[IoSlice::new(buf)], self.at)?;
        self.at += written as u64;
        Ok(written)
    }

    /// Makes what was written durable.
    fn flush(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}
