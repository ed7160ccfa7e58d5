//! Snappy, in both of its forms: senders call either `snappy`.
//! <https://github.com/google/snappy/blob/main/format_description.txt> and `framing_format.txt` beside it.

use std::io::Read;

use super::admission::Permit;
use super::failure::Failure;

/// What the framing format begins with: no block does, it would announce 127 bytes and end at once.
const STREAM_IDENTIFIER: &[u8] = b"\xff\x06\x00\x00sNaPpY";
const OUTPUT_BYTES_MIN: usize = 16 * 1024;

/// Decompresses a whole body. `permit`, which covers the input, grows with the output.
///
/// # Errors
/// Too large, no room in the budget, or damaged.
pub(super) fn decompress(input: &[u8], bytes_max: usize, permit: &mut Permit) -> Result<Vec<u8>, Failure> {
    if input.is_empty() {
        return Ok(Vec::new());
    }
    match input.starts_with(STREAM_IDENTIFIER) {
        true => stream(input, bytes_max, permit),
        false => block(input, bytes_max, permit),
    }
}

fn block(input: &[u8], bytes_max: usize, permit: &mut Permit) -> Result<Vec<u8>, Failure> {
    let length = snap::raw::decompress_len(input).map_err(damaged)?;
    if length > bytes_max {
        return Err(Failure::TooLarge { bytes_max });
    }
    // Two bytes make 64 at most: a claim beyond is a lie, and not worth an allocation.
    if length / 32 > input.len() {
        return Err(Failure::malformed("the compressed body is damaged: it ends early"));
    }
    permit.grow_to(input.len() + length)?;
    snap::raw::Decoder::new().decompress_vec(input).map_err(damaged)
}

fn stream(input: &[u8], bytes_max: usize, permit: &mut Permit) -> Result<Vec<u8>, Failure> {
    let mut chunks = snap::read::FrameDecoder::new(input);
    let mut output = Vec::new();
    loop {
        if output.len() == output.capacity() {
            let capacity = (output.capacity() * 2).max(OUTPUT_BYTES_MIN).min(bytes_max + 1);
            permit.grow_to(input.len() + capacity)?;
            output.reserve_exact(capacity - output.len());
        }
        let begin = output.len();
        output.resize(output.capacity(), 0);
        let read = chunks.read(&mut output[begin..]).map_err(damaged)?;
        output.truncate(begin + read);
        if output.len() > bytes_max {
            return Err(Failure::TooLarge { bytes_max });
        }
        if read == 0 {
            return Ok(output);
        }
    }
}

fn damaged(error: impl std::fmt::Display) -> Failure {
    Failure::malformed(format!("the compressed body is damaged: {error}"))
}
