//! Decompression piece by piece, limits and damage.

use bytes::Bytes;
use proptest::prelude::*;

use super::peer::{deflate, gzip, lz4, lz4_linked, snappy_block, snappy_stream, zstd};
use crate::receive::decompress::{Encoding, Inflated, Inflater};
use crate::receive::failure::Failure;
use crate::receive::{Budget, Party};

const MIB: usize = 1024 * 1024;

fn inflate(encoding: Encoding, wire: &[u8], piece: usize, bytes_max: usize) -> Result<Inflated, Failure> {
    let permit = Budget::new(64 * MIB).try_reserve(&Party::default(), wire.len()).unwrap();
    let mut inflater = Inflater::new(encoding, bytes_max, permit)?;
    for piece in wire.chunks(piece.max(1)) {
        inflater.push(Bytes::copy_from_slice(piece))?;
    }
    inflater.finish()
}

type Compress = fn(&[u8]) -> Vec<u8>;

const IDENTITY: (Encoding, Compress) = (Encoding::Identity, <[u8]>::to_vec);
const COMPRESSED: [(Encoding, Compress); 7] = [
    (Encoding::Gzip, gzip),
    (Encoding::Zstd, zstd),
    (Encoding::Deflate, deflate),
    (Encoding::Snappy, snappy_block),
    (Encoding::Snappy, snappy_stream),
    (Encoding::Lz4, lz4),
    (Encoding::Lz4, lz4_linked),
];

proptest! {
    #[test]
    fn whatever_the_pieces_the_body_is_what_was_sent(
        seed in proptest::collection::vec(any::<u8>(), 0..300),
        repeat in 1usize..400,
        piece in 1usize..5000,
    ) {
        let bytes = seed.repeat(repeat);
        for (encoding, compress) in COMPRESSED.into_iter().chain([IDENTITY]) {
            let inflated = inflate(encoding, &compress(&bytes), piece, MIB).unwrap();
            prop_assert_eq!(&inflated.body[..], &bytes[..]);
            prop_assert!(inflated.permit.bytes() >= bytes.len());
        }
    }

    #[test]
    fn damage_is_an_error_or_other_bytes_and_never_a_panic(
        at in 0usize..2000,
        flip in 1u8..,
        piece in 1usize..300,
    ) {
        let bytes: Vec<u8> = (0..3000u32).map(|n| (n * n % 251) as u8).collect();
        for (encoding, compress) in COMPRESSED {
            let mut wire = compress(&bytes);
            let at = at % wire.len();
            wire[at] ^= flip;
            let _ = inflate(encoding, &wire, piece, MIB);
        }
    }
}

#[test]
fn the_limit_is_exact() {
    let bytes = vec![b'x'; 100_000];
    for (encoding, compress) in COMPRESSED.into_iter().chain([IDENTITY]) {
        let wire = compress(&bytes);
        for piece in [1000, 1_000_000] {
            assert_eq!(inflate(encoding, &wire, piece, 100_000).unwrap().body.len(), 100_000, "{encoding:?}");
            let over = inflate(encoding, &wire, piece, 99_999).unwrap_err();
            assert_eq!(over, Failure::TooLarge { bytes_max: 99_999 }, "{encoding:?}");
        }
    }
}

#[test]
fn a_bomb_is_cut_off_while_it_inflates() {
    let bomb = vec![0; 128 * MIB];
    for (encoding, compress) in COMPRESSED {
        let wire = compress(&bomb);
        let budget = Budget::new(8 * MIB);
        let permit = budget.try_reserve(&Party::default(), wire.len()).unwrap();
        let mut inflater = Inflater::new(encoding, 2 * MIB, permit).unwrap();
        let failure =
            inflater.push(Bytes::from(wire)).and_then(|()| inflater.finish().map(drop)).unwrap_err();
        assert_eq!(failure, Failure::TooLarge { bytes_max: 2 * MIB }, "{encoding:?}");
        assert!(budget.bytes_used() <= 4 * MIB + 2, "{encoding:?}: {}", budget.bytes_used());
    }
}

#[test]
fn output_that_does_not_fit_the_budget_stops() {
    let wire = gzip(&vec![0; MIB]);
    let permit = Budget::new(256 * 1024).try_reserve(&Party::default(), wire.len()).unwrap();
    let mut inflater = Inflater::new(Encoding::Gzip, 64 * MIB, permit).unwrap();
    assert_eq!(inflater.push(Bytes::from(wire)).unwrap_err(), Failure::NoRoom);
}

#[test]
fn a_body_that_ends_early_is_malformed() {
    for (encoding, compress) in COMPRESSED {
        let wire = compress(&[b'x'; 5000]);
        // A stream of Snappy has no end: after its first ten bytes it may be one of nothing.
        let whole = |end: &usize| wire.starts_with(b"\xff\x06\x00\x00sNaPpY") && *end == 10;
        for end in (1..wire.len()).filter(|end| !whole(end)) {
            let failure = inflate(encoding, &wire[..end], 7, MIB).unwrap_err();
            assert!(matches!(failure, Failure::Malformed { .. }), "{encoding:?} cut at {end}: {failure:?}");
        }
    }
}

#[test]
fn members_and_frames_follow_each_other_and_garbage_does_not() {
    let follow: [(Encoding, Compress); 4] = [
        (Encoding::Gzip, gzip),
        (Encoding::Zstd, zstd),
        (Encoding::Snappy, snappy_stream),
        (Encoding::Lz4, lz4),
    ];
    for (encoding, compress) in follow {
        let wire = [compress(b"one"), compress(b"two")].concat();
        for piece in [1, 5, 1000] {
            assert_eq!(&inflate(encoding, &wire, piece, MIB).unwrap().body[..], b"onetwo");
        }
    }
    for (encoding, compress) in COMPRESSED {
        let wire = [compress(b"one"), b"garbage".to_vec()].concat();
        assert!(inflate(encoding, &wire, 1000, MIB).is_err(), "{encoding:?}");
    }
    let many = gzip(b"").repeat(2000);
    assert!(inflate(Encoding::Gzip, &many, 1000, MIB).is_err());
}

#[test]
fn a_single_uncompressed_piece_is_not_copied() {
    let piece = Bytes::from(vec![1; 1000]);
    let permit = Budget::new(MIB).try_reserve(&Party::default(), 1000).unwrap();
    let mut inflater = Inflater::new(Encoding::Identity, MIB, permit).unwrap();
    inflater.push(piece.clone()).unwrap();
    assert_eq!(inflater.finish().unwrap().body.as_ptr(), piece.as_ptr());
}

#[test]
fn a_zstd_window_beyond_ours_is_refused() {
    use zstd::stream::raw::CParameter;
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.set_parameter(CParameter::WindowLog(27)).unwrap();
    std::io::Write::write_all(&mut encoder, &[0; 100_000]).unwrap();
    std::io::Write::flush(&mut encoder).unwrap();
    let wire = encoder.finish().unwrap();
    assert!(matches!(inflate(Encoding::Zstd, &wire, 1000, MIB), Err(Failure::Malformed { .. })));
}

#[test]
fn the_largest_request_fits_the_smallest_budget_in_every_encoding() {
    let body = vec![7; MIB];
    for (encoding, wire) in
        [(Encoding::Gzip, gzip(&body)), (Encoding::Deflate, deflate(&body)), (Encoding::Zstd, zstd(&body))]
    {
        let budget = Budget::fair(2 * MIB);
        let permit = budget.try_reserve(&Party::default(), wire.len()).unwrap();
        let mut inflater = Inflater::new(encoding, MIB, permit).unwrap();
        inflater.push(Bytes::copy_from_slice(&wire)).unwrap();
        assert_eq!(inflater.finish().unwrap().body.len(), MIB, "{encoding:?}");
    }
}

#[test]
fn frames_of_lz4_follow_each_other_and_a_wrong_head_is_none() {
    let text: Vec<u8> = (0..200_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    // What cannot be compressed is stored as it is.
    let mut random = fastrand::Rng::with_seed(1);
    let noise: Vec<u8> = (0..100_000).map(|_| random.u8(..)).collect();
    let plain = lz4(&text);
    let skipped = [&[0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
    let all = [plain.clone(), skipped, lz4_linked(&text), lz4(&noise), lz4(b"")].concat();
    let body = inflate(Encoding::Lz4, &all, 1000, 4 * MIB).unwrap().body;
    assert_eq!(body, [&text[..], &text, &noise].concat());
    for (at, byte, what) in [
        (0, 5, "another magic number"),
        (4, 0xa0, "another version"),
        (4, 0x61, "a dictionary"),
        (5, 0x30, "blocks of no size"),
        (6, !plain[6], "a head whose checksum is wrong"),
        (10, 0x7f, "a block beyond the end"),
    ] {
        let mut wrong = plain.clone();
        wrong[at] = byte;
        let read = inflate(Encoding::Lz4, &wrong, 1000, MIB);
        assert!(matches!(read, Err(Failure::Malformed { .. })), "{what}");
    }
    // One byte of it is another: the checksums say so.
    let mut linked = lz4_linked(&text);
    linked[5000] ^= 1;
    assert!(matches!(inflate(Encoding::Lz4, &linked, 1000, MIB), Err(Failure::Malformed { .. })));
}
