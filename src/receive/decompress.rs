//! Bodies, decompressed while they arrive, into one buffer with a hard limit: a bomb is cut off in the middle.

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::admission::Permit;
use super::failure::Failure;
use super::{lz4, snappy};

/// The smallest buffer for decompressed bytes.
const OUTPUT_BYTES_MIN: usize = 16 * 1024;
/// Space is made for this many times what came in, before it is known how far it inflates.
const INFLATION_GUESS: usize = 4;
/// 32 MiB: what the widest-spread encoders use at their highest levels. The default of zstd would let each
/// request claim 128 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 25;
/// A gzip file may be many; a request that is more than this wants to keep us busy.
const GZIP_MEMBERS_MAX: u32 = 1000;

/// A compression of `Content-Encoding` or `grpc-encoding`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    Zstd,
    /// The zlib format, as HTTP means it.
    Deflate,
    /// A block or a stream of chunks.
    Snappy,
    /// Frames.
    Lz4,
}

impl Encoding {
    /// What can be sent, as in `Accept-Encoding`.
    pub(super) const ACCEPTED: &'static str = "gzip, zstd, deflate, snappy, lz4, identity";

    /// The encoding a header names; none without a header.
    pub(super) fn from_header(value: Option<&http::HeaderValue>) -> Result<Self, Failure> {
        let Some(value) = value else { return Ok(Self::Identity) };
        let name = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        match name.as_str() {
            "" | "identity" | "none" => Ok(Self::Identity),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            // The Collector's name for the same.
            "deflate" | "zlib" => Ok(Self::Deflate),
            "snappy" | "x-snappy-framed" => Ok(Self::Snappy),
            "lz4" => Ok(Self::Lz4),
            _ => Err(Failure::Encoding(name.chars().take(64).collect())),
        }
    }
}

enum Codec {
    Identity,
    Zlib {
        state: Decompress,
        gzip: bool,
        members: u32,
    },
    Zstd(ZstdDecoder<'static>),
    /// Gathers what came in: a block can only be read whole.
    Gathered(Decompressor),
}

/// Decompresses a whole body that is no longer than so many bytes then; the permit covers what comes in, and grows.
type Decompressor = fn(&[u8], usize, &mut Permit) -> Result<Vec<u8>, Failure>;

/// Takes a body piece by piece and gives it back whole and decompressed.
pub(super) struct Inflater {
    codec: Codec,
    /// A body that came in one uncompressed piece is never copied.
    single: Option<Bytes>,
    output: Vec<u8>,
    output_bytes_max: usize,
    wire_bytes: usize,
    /// Between two frames or members: here a body may end.
    complete: bool,
    permit: Permit,
}

/// A whole body.
#[derive(Debug)]
pub(super) struct Inflated {
    pub(super) body: Bytes,
    /// How many bytes it was on the wire.
    pub(super) wire_bytes: usize,
    /// Holds the budget for it.
    pub(super) permit: Permit,
}

impl Inflater {
    /// `permit` covers the bytes as announced; more is taken from its budget as the output grows.
    /// `bytes_max` is for the output and for what comes in.
    pub(super) fn new(encoding: Encoding, bytes_max: usize, permit: Permit) -> Result<Self, Failure> {
        let zlib = |state, gzip| Codec::Zlib { state, gzip, members: 0 };
        let codec = match encoding {
            Encoding::Identity => Codec::Identity,
            Encoding::Gzip => zlib(Decompress::new_gzip(15), true),
            Encoding::Deflate => zlib(Decompress::new(true), false),
            Encoding::Zstd => Codec::Zstd(zstd_decoder()?),
            Encoding::Snappy => Codec::Gathered(snappy::decompress),
            Encoding::Lz4 => Codec::Gathered(lz4::decompress),
        };
        Ok(Self {
            codec,
            single: None,
            output: Vec::new(),
            output_bytes_max: bytes_max,
            wire_bytes: 0,
            complete: true,
            permit,
        })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// Too large, no room in the budget, or damaged. The inflater is then of no more use.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Failure> {
        self.wire_bytes += piece.len();
        if self.wire_bytes > self.output_bytes_max {
            return Err(self.too_large());
        }
        if piece.is_empty() {
            return Ok(());
        }
        match &mut self.codec {
            Codec::Identity | Codec::Gathered(_) => self.append(piece),
            Codec::Zlib { .. } => self.inflate_zlib(&piece),
            Codec::Zstd(_) => self.inflate_zstd(&piece),
        }
    }

    /// The body, when all pieces are in.
    ///
    /// # Errors
    /// Malformed when compressed data ends in the middle; too large when it was the last byte that went over.
    pub(super) fn finish(mut self) -> Result<Inflated, Failure> {
        if let Codec::Gathered(decompress) = self.codec {
            let input = self.single.take().unwrap_or_else(|| Bytes::from(std::mem::take(&mut self.output)));
            self.output = decompress(&input, self.output_bytes_max, &mut self.permit)?;
        }
        if self.output.len() > self.output_bytes_max {
            return Err(self.too_large());
        }
        if !self.complete {
            return Err(Failure::malformed("the compressed body ends early"));
        }
        let held = self.single.as_ref().map_or(self.output.capacity(), Bytes::len);
        self.permit.shrink_to(held);
        let body = self.single.unwrap_or_else(|| Bytes::from(self.output));
        Ok(Inflated { body, wire_bytes: self.wire_bytes, permit: self.permit })
    }

    fn append(&mut self, piece: Bytes) -> Result<(), Failure> {
        if self.output.is_empty() && self.single.is_none() {
            self.permit.grow_to(piece.len())?;
            self.single = Some(piece);
            return Ok(());
        }
        let first = self.single.take().unwrap_or_default();
        let needed = self.output.len() + first.len() + piece.len();
        if needed > self.output.capacity() {
            // Usually the length was announced, and the permit says it.
            let doubled = (2 * needed).min(self.output_bytes_max);
            let capacity = if self.permit.bytes() >= needed { self.permit.bytes() } else { doubled };
            self.permit.grow_to(capacity)?;
            self.output.reserve_exact(capacity - self.output.len());
        }
        self.output.extend_from_slice(&first);
        self.output.extend_from_slice(&piece);
        Ok(())
    }

    fn inflate_zlib(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let mut input = piece;
        loop {
            self.make_room()?;
            let Codec::Zlib { state, gzip, members } = &mut self.codec else { return Ok(()) };
            if self.complete {
                if input.is_empty() {
                    return Ok(());
                }
                *members += 1;
                if *members > 1 {
                    next_member(state, *gzip, *members)?;
                }
                self.complete = false;
            }
            let (in_before, out_before) = (state.total_in(), self.output.len());
            let status = state.decompress_vec(input, &mut self.output, FlushDecompress::None);
            let status = status.map_err(|_| Failure::malformed("the compressed body is damaged"))?;
            let consumed = usize::try_from(state.total_in() - in_before).unwrap_or(input.len());
            input = &input[consumed..];
            self.complete = status == Status::StreamEnd;
            let stuck = consumed == 0 && self.output.len() == out_before;
            if stuck && !self.complete {
                return match input.is_empty() {
                    true => Ok(()),
                    false => Err(Failure::malformed("the compressed body is damaged")),
                };
            }
        }
    }

    fn inflate_zstd(&mut self, piece: &[u8]) -> Result<(), Failure> {
        let mut input = InBuffer::around(piece);
        loop {
            self.make_room()?;
            let Codec::Zstd(decoder) = &mut self.codec else { return Ok(()) };
            let (in_before, out_before) = (input.pos(), self.output.len());
            let mut output = OutBuffer::around_pos(&mut self.output, out_before);
            let hint = decoder.run(&mut input, &mut output).map_err(zstd_damage)?;
            let moved = input.pos() > in_before || self.output.len() > out_before;
            // A call that does nothing says what it wants next: that is no news about the frame.
            if moved {
                self.complete = hint == 0;
            }
            let flushed = self.output.len() < self.output.capacity();
            if input.pos() == piece.len() && (flushed || self.complete || !moved) {
                return Ok(());
            }
            if !moved {
                return Err(Failure::malformed("the compressed body is damaged"));
            }
        }
    }

    /// Makes sure that at least one more byte can be put out, and one byte over the limit is seen as such.
    fn make_room(&mut self) -> Result<(), Failure> {
        if self.output.len() > self.output_bytes_max {
            return Err(self.too_large());
        }
        if self.output.len() < self.output.capacity() {
            return Ok(());
        }
        let guess = self.wire_bytes.saturating_mul(INFLATION_GUESS);
        let wanted =
            self.output.capacity().saturating_mul(2).max(guess.min(1024 * 1024)).max(OUTPUT_BYTES_MIN);
        let capacity = wanted.min(self.output_bytes_max + 1);
        let window =
            if matches!(self.codec, Codec::Zstd(_)) { capacity.min(1 << ZSTD_WINDOW_LOG_MAX) } else { 0 };
        // Twice the limit is what each budget has at least; the byte over the limit must not be too much for it.
        self.permit.grow_to((capacity + window).min(2 * self.output_bytes_max))?;
        self.output.reserve_exact(capacity - self.output.len());
        Ok(())
    }

    fn too_large(&self) -> Failure {
        Failure::TooLarge { bytes_max: self.output_bytes_max }
    }
}

fn next_member(state: &mut Decompress, gzip: bool, members: u32) -> Result<(), Failure> {
    if !gzip || members > GZIP_MEMBERS_MAX {
        return Err(Failure::malformed("the compressed body is followed by something else"));
    }
    *state = Decompress::new_gzip(15);
    Ok(())
}

fn zstd_decoder() -> Result<ZstdDecoder<'static>, Failure> {
    let unusable = |_| Failure::malformed("zstd cannot be used");
    let mut decoder = ZstdDecoder::new().map_err(unusable)?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).map_err(unusable)?;
    Ok(decoder)
}

fn zstd_damage(error: std::io::Error) -> Failure {
    Failure::malformed(format!("the compressed body is damaged: {error}"))
}
