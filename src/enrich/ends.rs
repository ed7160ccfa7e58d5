//! Which keys are worth a closer look, told by how they end.

/// A set of endings: the last byte of a key and a part of the one before it. Each attribute of each span is asked about, and
/// for nearly all of them one look-up here says that nothing is done to them.
#[derive(Debug, Clone)]
pub(super) struct Ends {
    /// For each last byte, bytes before it as bits by their low five bits: upper and lower case are the same there.
    before: [u32; 256],
}

impl Ends {
    /// No key.
    pub(super) fn none() -> Self {
        Self { before: [0; 256] }
    }

    /// Every key.
    pub(super) fn all() -> Self {
        Self { before: [u32::MAX; 256] }
    }

    /// Also keys that end like this one, byte by byte or but for case and for `-` in the place of `_`.
    pub(super) fn add(&mut self, key: &[u8]) {
        let before = match key {
            [.., b'_' | b'-', _] => bit(b'_') | bit(b'-'),
            [.., before, _] => bit(*before),
            // What comes before it is another's.
            _ => u32::MAX,
        };
        let Some(last) = key.last() else { return };
        let others: &[u8] = if matches!(last, b'_' | b'-') { b"_-" } else { &[] };
        let forms = [last.to_ascii_lowercase(), last.to_ascii_uppercase()];
        for last in forms.iter().chain(others) {
            self.before[usize::from(*last)] |= before;
        }
    }

    /// Whether the key may be one of these; `false` is certain. A key of one byte may always be one, and so may none.
    #[inline(always)]
    pub(super) fn may_have(&self, key: &[u8]) -> bool {
        match key {
            [.., before, last] => self.before[usize::from(*last)] & bit(*before) != 0,
            _ => true,
        }
    }
}

#[inline(always)]
fn bit(byte: u8) -> u32 {
    1 << (byte & 31)
}

#[cfg(test)]
mod tests;
