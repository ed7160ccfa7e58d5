//! Buffers for bodies that are read back, used again and again: a fresh one has to be cleared, by us and before that page by page
//! by the kernel, which together takes longer than to decompress into it.

use bytes::Bytes;
use parking_lot::Mutex;

/// Shorter ones are as well allocated: they come from memory that is there already.
const BYTES_MIN: usize = 16 << 10;
/// Longer ones are rare, and would be kept for nothing.
const BYTES_MAX: usize = 1 << 20;

/// Buffers nobody uses at the moment.
pub(super) static SPARE: Spare = Spare::new(16 << 20);

/// Buffers to be used again, up to so many bytes of them.
#[derive(Debug)]
pub(super) struct Spare {
    bytes_max: usize,
    free: Mutex<Free>,
}

#[derive(Debug)]
struct Free {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, free: Mutex::new(Free { buffers: Vec::new(), bytes: 0 }) }
    }

    /// A buffer of at least this length. What is in it is anything.
    fn take(&self, length: usize) -> Vec<u8> {
        let mut free = self.free.lock();
        let Some(mut buffer) = free.buffers.pop() else {
            drop(free);
            return vec![0; length];
        };
        free.bytes -= buffer.len();
        drop(free);
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        buffer
    }

    fn put(&self, buffer: Vec<u8>) {
        let mut free = self.free.lock();
        if free.bytes + buffer.len() <= self.bytes_max {
            free.bytes += buffer.len();
            free.buffers.push(buffer);
        }
    }

    /// So many bytes, written by `fill`; `None` if that gives nothing. Their buffer comes back when nobody has them any more.
    pub(super) fn filled(
        &'static self,
        length: usize,
        fill: impl FnOnce(&mut [u8]) -> Option<()>,
    ) -> Option<Bytes> {
        if !(BYTES_MIN..=BYTES_MAX).contains(&length) {
            let mut buffer = vec![0; length];
            return fill(&mut buffer).map(|()| buffer.into());
        }
        let mut lent = Lent { spare: self, buffer: self.take(length), length };
        fill(&mut lent.buffer[..length])?;
        Some(Bytes::from_owner(lent))
    }
}

/// A buffer that goes back when it is dropped.
struct Lent {
    spare: &'static Spare,
    buffer: Vec<u8>,
    length: usize,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.length]
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.spare.put(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests;
