//! Protobuf's wire format: varints, tags, length-delimited fields.
//! <https://protobuf.dev/programming-guides/encoding/>

/// What is wrong with a message, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The bytes end inside a field.
    #[error("the message ends in the middle of {0}")]
    Truncated(&'static str),
    /// A varint of more than ten bytes, or over 64 bits.
    #[error("a varint is longer than 64 bits")]
    Varint,
    /// A field number of 0, or over 2^29 − 1.
    #[error("field number {0} is not valid")]
    FieldNumber(u64),
    /// A wire type that does not exist (6, 7).
    #[error("wire type {0} does not exist")]
    WireType(u8),
    /// A known field with another wire type than its definition's.
    #[error("{0} has the wrong wire type")]
    Mismatch(&'static str),
    /// A string field that is not UTF-8.
    #[error("{0} is not valid UTF-8")]
    Utf8(&'static str),
    /// Attribute values nested more than [`crate::wire::DEPTH_MAX`] deep.
    #[error("an attribute value is nested more than {limit} deep")]
    Depth {
        /// The limit, in levels.
        limit: usize,
    },
}

/// The content of one field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WireKind<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, little endian.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire type 5, little endian.
    Fixed32(u32),
    /// Wire types 3 and 4, deprecated groups: the number of the tag; its content follows as fields.
    Group,
}

/// One field of a message.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    /// The field number.
    pub number: u32,
    /// Its content.
    pub kind: WireKind<'a>,
}

impl<'a> Field<'a> {
    /// The content of a length-delimited field; `what` names it in the error.
    #[inline]
    pub fn bytes(&self, what: &'static str) -> Result<&'a [u8], WireError> {
        match self.kind {
            WireKind::Bytes(bytes) => Ok(bytes),
            _ => Err(WireError::Mismatch(what)),
        }
    }

    /// The content of a string field.
    #[inline]
    pub fn text(&self, what: &'static str) -> Result<&'a str, WireError> {
        simdutf8::basic::from_utf8(self.bytes(what)?).map_err(|_| WireError::Utf8(what))
    }

    /// The content of a varint field.
    #[inline]
    pub fn varint(&self, what: &'static str) -> Result<u64, WireError> {
        match self.kind {
            WireKind::Varint(value) => Ok(value),
            _ => Err(WireError::Mismatch(what)),
        }
    }

    /// The content of a fixed 64-bit field.
    #[inline]
    pub fn fixed64(&self, what: &'static str) -> Result<u64, WireError> {
        match self.kind {
            WireKind::Fixed64(value) => Ok(value),
            _ => Err(WireError::Mismatch(what)),
        }
    }

    /// The content of a fixed 32-bit field.
    #[inline]
    pub fn fixed32(&self, what: &'static str) -> Result<u32, WireError> {
        match self.kind {
            WireKind::Fixed32(value) => Ok(value),
            _ => Err(WireError::Mismatch(what)),
        }
    }
}

/// The fields of one message, in order.
#[derive(Debug, Clone)]
pub struct Fields<'a> {
    rest: &'a [u8],
    whole: usize,
}

impl<'a> Fields<'a> {
    /// The fields of this message.
    #[inline]
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message, whole: message.len() }
    }

    /// How many bytes of the message have been read: after a field, where it ends.
    #[inline]
    pub fn offset(&self) -> usize {
        self.whole - self.rest.len()
    }

    /// The next field; `None` at the end.
    // Everything that looks at spans is a loop around this: a call and a result in memory would cost more than the work.
    #[inline(always)]
    pub fn read(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.read_varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number) if number != 0 && number < 1 << 29 => number,
            _ => return Err(WireError::FieldNumber(tag >> 3)),
        };
        let kind = match tag & 7 {
            0 => WireKind::Varint(self.read_varint()?),
            1 => WireKind::Fixed64(u64::from_le_bytes(self.read_array()?)),
            2 => WireKind::Bytes(self.read_bytes()?),
            3 | 4 => WireKind::Group,
            5 => WireKind::Fixed32(u32::from_le_bytes(self.read_array()?)),
            other => return Err(WireError::WireType((other & 7) as u8)),
        };
        Ok(Some(Field { number, kind }))
    }

    /// The content of the next field if that begins with this tag (a byte, of a length-delimited field) and has less than
    /// 128 bytes; else nothing is read. Spans are mostly attributes, one after the other and short: asking for one of those
    /// first is a few comparisons that nearly always turn out the same, where [`Fields::read`] is two jumps to anywhere.
    #[inline(always)]
    pub fn read_short(&mut self, tag: u8) -> Option<&'a [u8]> {
        let [first, length @ 0..=0x7f, rest @ ..] = self.rest else { return None };
        if *first != tag {
            return None;
        }
        let (content, rest) = rest.split_at_checked(usize::from(*length))?;
        self.rest = rest;
        Some(content)
    }

    /// The same for a varint of one byte.
    #[inline(always)]
    pub fn read_small(&mut self, tag: u8) -> Option<u8> {
        let [first, value @ 0..=0x7f, rest @ ..] = self.rest else { return None };
        if *first != tag {
            return None;
        }
        self.rest = rest;
        Some(*value)
    }

    /// The same for a fixed 64-bit field.
    #[inline(always)]
    pub fn read_fixed64(&mut self, tag: u8) -> Option<u64> {
        let (first, rest) = self.rest.split_first_chunk::<9>()?;
        let [first, value @ ..] = first;
        if *first != tag {
            return None;
        }
        self.rest = rest;
        Some(u64::from_le_bytes(*value))
    }

    #[inline(always)]
    fn read_varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            [first, second, rest @ ..] if *second < 0x80 => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(*second) << 7)
            }
            _ => self.read_long_varint(),
        }
    }

    #[cold]
    fn read_long_varint(&mut self) -> Result<u64, WireError> {
        let mut value = 0u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            if index == 9 && *byte > 1 {
                return Err(WireError::Varint);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = &self.rest[index + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() >= 10 { WireError::Varint } else { WireError::Truncated("a varint") })
    }

    #[inline(always)]
    fn read_bytes(&mut self) -> Result<&'a [u8], WireError> {
        let length = self.read_varint()?;
        match usize::try_from(length).ok().and_then(|n| self.rest.split_at_checked(n)) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(WireError::Truncated("a length-delimited field")),
        }
    }

    #[inline(always)]
    fn read_array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        match self.rest.split_first_chunk::<N>() {
            Some((array, rest)) => {
                self.rest = rest;
                Ok(*array)
            }
            None => Err(WireError::Truncated("a fixed-width field")),
        }
    }
}

/// How many bytes [`put_varint`] writes for this value: 1 to 10.
#[inline]
pub fn varint_len(value: u64) -> usize {
    (640 - (value | 1).leading_zeros() as usize * 9) / 64
}

/// Appends a varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a tag: field number and wire type.
#[inline]
pub fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Appends a length-delimited field (a string, bytes, or a message).
#[inline]
pub fn put_bytes_field(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, content.len() as u64);
    out.extend_from_slice(content);
}

/// Appends a varint field.
#[inline]
pub fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, 0);
    put_varint(out, value);
}

/// Appends a fixed 64-bit field (fixed64, or a double's bits).
#[inline]
pub fn put_fixed64_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, 1);
    out.extend_from_slice(&value.to_le_bytes());
}
