//! LZ4 in frames, as the Collector's exporters write them.
//! <https://github.com/lz4/lz4/blob/dev/doc/lz4_Frame_format.md>

use std::io::Read;

use super::admission::Permit;
use super::failure::Failure;

const MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
/// Of a frame that is to be skipped, the upper 28 bits.
const SKIPPABLE: u32 = 0x0184_d2a5;
/// Set in a block's length where it is not compressed.
const STORED: u32 = 1 << 31;
const OUTPUT_BYTES_MIN: usize = 16 * 1024;

/// Decompresses a whole body of one frame or several. `permit`, which covers the input, grows with the output.
///
/// # Errors
/// Too large, no room in the budget, or damaged.
pub(super) fn decompress(input: &[u8], bytes_max: usize, permit: &mut Permit) -> Result<Vec<u8>, Failure> {
    let mut output = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let whole = rest;
        let magic: [u8; 4] = take(&mut rest, 4)?.try_into().map_err(|_| damaged())?;
        if u32::from_le_bytes(magic) >> 4 == SKIPPABLE {
            let length = length(&mut rest)?;
            take(&mut rest, length as usize)?;
        } else if magic == MAGIC {
            let block_bytes_max = skip_frame(&mut rest)?;
            let frame = &whole[..whole.len() - rest.len()];
            // The library keeps a block that came in, and one with what it may refer to.
            inflate(frame, &mut output, bytes_max, permit, input.len() + 2 * block_bytes_max)?;
        } else {
            return Err(damaged());
        }
    }
    Ok(output)
}

/// Appends what a frame holds. `beside` are bytes that are needed beside the output.
fn inflate(
    frame: &[u8],
    output: &mut Vec<u8>,
    bytes_max: usize,
    permit: &mut Permit,
    beside: usize,
) -> Result<(), Failure> {
    let mut decoder = lz4::Decoder::new(frame).map_err(|_| damaged())?;
    loop {
        if output.len() == output.capacity() {
            let capacity = (output.capacity() * 2).max(OUTPUT_BYTES_MIN).min(bytes_max + 1);
            // Twice the limit is what each budget has at least.
            permit.grow_to((beside + capacity).min(2 * bytes_max))?;
            output.reserve_exact(capacity - output.len());
        }
        let begin = output.len();
        output.resize(output.capacity(), 0);
        let read = decoder.read(&mut output[begin..]).map_err(|_| damaged())?;
        output.truncate(begin + read);
        if output.len() > bytes_max {
            return Err(Failure::TooLarge { bytes_max });
        }
        if read == 0 {
            return decoder.finish().1.map_err(|_| damaged());
        }
    }
}

/// Goes to the end of a frame, from behind its magic number; how long its blocks may be, in bytes.
fn skip_frame(rest: &mut &[u8]) -> Result<usize, Failure> {
    let [flags, sizes]: [u8; 2] = take(rest, 2)?.try_into().map_err(|_| damaged())?;
    let has = |bit: u8| flags & (1 << bit) != 0;
    // Version 01, and no dictionary: nobody has told us one.
    if flags >> 6 != 1 || has(0) {
        return Err(damaged());
    }
    let block_bytes_max = match (sizes >> 4) & 0b111 {
        size @ 4..=7 => 1 << (8 + 2 * size),
        _ => return Err(damaged()),
    };
    // The length of the content, where it is told, and the head's own checksum.
    take(rest, if has(3) { 9 } else { 1 })?;
    loop {
        let length = length(rest)?;
        if length == 0 {
            break;
        }
        let checksum = if has(4) { 4 } else { 0 };
        take(rest, (length & !STORED) as usize + checksum)?;
    }
    take(rest, if has(2) { 4 } else { 0 })?;
    Ok(block_bytes_max)
}

fn length(rest: &mut &[u8]) -> Result<u32, Failure> {
    Ok(u32::from_le_bytes(take(rest, 4)?.try_into().map_err(|_| damaged())?))
}

fn take<'b>(rest: &mut &'b [u8], bytes: usize) -> Result<&'b [u8], Failure> {
    let (taken, behind) = rest.split_at_checked(bytes).ok_or_else(damaged)?;
    *rest = behind;
    Ok(taken)
}

fn damaged() -> Failure {
    Failure::malformed("the compressed body is damaged")
}
