//! Edits on wire bytes: what changed is spliced in, everything else is copied as it came.
//!
//! A reader walks a message and reports changes to an [`Editor`] in the order of their places: [`Editor::replace`] for
//! a range of bytes, [`Editor::open`] and [`Editor::close`] around a nested message whose length has to be written
//! anew if something inside it changed. [`Editor::finish`] copies once. Without changes it does nothing at all.

use std::ops::Range;

use bytes::Bytes;

use super::any::AnyView;
use super::proto::{put_bytes_field, put_fixed64_field, put_tag, put_varint, put_varint_field, varint_len};

/// Where `part`, a slice of `whole`, begins inside it, in bytes.
///
/// Meaningless (but harmless) for a slice of something else.
#[inline]
pub fn offset_in(whole: &[u8], part: &[u8]) -> usize {
    (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize)
}

/// A list of changes to one buffer, in ascending order, none overlapping another.
#[derive(Debug, Default)]
pub struct Editor {
    patches: Vec<Patch>,
    /// The new bytes of all patches.
    arena: Vec<u8>,
    /// By how much the output is longer than the input, all patches so far together.
    growth: isize,
}

/// The bytes `at` of the input become the bytes `new` of the arena.
#[derive(Debug, Clone)]
struct Patch {
    at: Range<usize>,
    new: Range<usize>,
}

/// A nested message that is being read: what is needed to write its length anew, or to forget what was changed in it.
#[derive(Debug)]
#[must_use = "an opened message has to be closed"]
pub struct Frame {
    patches: usize,
    arena: usize,
    growth: isize,
    number: u32,
    content: usize,
}

impl Editor {
    /// An editor without changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether nothing has been changed so far (messages that are still open count as changes).
    pub fn is_unchanged(&self) -> bool {
        self.patches.is_empty()
    }

    /// Begins the nested message `content` of field `number`, whose tag begins at `field_start` of the input.
    #[inline]
    pub fn open(&mut self, number: u32, field_start: usize, content: Range<usize>) -> Frame {
        let frame = Frame {
            patches: self.patches.len(),
            arena: self.arena.len(),
            growth: self.growth,
            number,
            content: content.len(),
        };
        // Held free for the new tag and length; taken back on close if nothing changes.
        self.patches.push(Patch { at: field_start..content.start, new: 0..0 });
        frame
    }

    /// Ends the message that was opened last. Tells whether anything in it changed.
    #[inline]
    pub fn close(&mut self, frame: Frame) -> bool {
        if self.patches.len() == frame.patches + 1 {
            self.patches.pop();
            return false;
        }
        let length = self.grown(frame.content, self.growth - frame.growth);
        let start = self.arena.len();
        put_tag(&mut self.arena, frame.number, 2);
        put_varint(&mut self.arena, length as u64);
        let patch = &mut self.patches[frame.patches];
        patch.new = start..self.arena.len();
        self.growth += patch.new.len() as isize - patch.at.len() as isize;
        true
    }

    /// Ends the message that was opened last, forgetting what was changed in it. Its whole field may be replaced then.
    pub fn forget(&mut self, frame: Frame) {
        self.patches.truncate(frame.patches);
        self.arena.truncate(frame.arena);
        self.growth = frame.growth;
    }

    /// Takes a range of the input out.
    pub fn remove(&mut self, at: Range<usize>) {
        self.replace(at, |_| {});
    }

    /// Puts what `write` appends in the place of a range of the input; an empty range inserts.
    pub fn replace(&mut self, at: Range<usize>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.arena.len();
        write(&mut self.arena);
        let new = start..self.arena.len();
        self.growth += new.len() as isize - at.len() as isize;
        self.patches.push(Patch { at, new });
    }

    /// The edited bytes: the input itself if nothing changed, else one copy.
    pub fn finish(self, input: Bytes) -> Bytes {
        if self.patches.is_empty() {
            return input;
        }
        let mut out = Vec::with_capacity(self.grown(input.len(), self.growth));
        let mut copied = 0;
        for patch in &self.patches {
            out.extend_from_slice(&input[copied..patch.at.start]);
            out.extend_from_slice(&self.arena[patch.new.clone()]);
            copied = patch.at.end;
        }
        out.extend_from_slice(&input[copied..]);
        Bytes::from(out)
    }

    fn grown(&self, length: usize, growth: isize) -> usize {
        length.checked_add_signed(growth).expect("patches never remove more than there is")
    }
}

/// Appends the `AnyValue` field that holds this value; nothing for an empty one.
pub fn put_any(out: &mut Vec<u8>, value: AnyView<'_>) {
    match value {
        AnyView::Empty => {}
        AnyView::Str(text) => put_bytes_field(out, 1, text.as_bytes()),
        AnyView::Bool(value) => put_varint_field(out, 2, u64::from(value)),
        AnyView::Int(value) => put_varint_field(out, 3, value as u64),
        AnyView::Double(value) => put_fixed64_field(out, 4, value.to_bits()),
        AnyView::Array(raw) => put_bytes_field(out, 5, raw),
        AnyView::Kvlist(raw) => put_bytes_field(out, 6, raw),
        AnyView::Bytes(raw) => put_bytes_field(out, 7, raw),
    }
}

/// Appends a `KeyValue` as field `number`: 1 of a Resource or `KeyValueList`, 3 of a scope or event, 4 of a link, 9 of
/// a span.
pub fn put_attribute(out: &mut Vec<u8>, number: u32, key: &str, value: AnyView<'_>) {
    let mut any = Vec::new();
    put_any(&mut any, value);
    put_attribute_raw(out, number, key.as_bytes(), &any);
}

/// Like [`put_attribute`], with the key as UTF-8 bytes and the value as an encoded `AnyValue` message.
pub fn put_attribute_raw(out: &mut Vec<u8>, number: u32, key: &[u8], any: &[u8]) {
    let length = |part: &[u8]| 1 + varint_len(part.len() as u64) + part.len();
    put_tag(out, number, 2);
    put_varint(out, (length(key) + length(any)) as u64);
    put_bytes_field(out, 1, key);
    put_bytes_field(out, 2, any);
}
