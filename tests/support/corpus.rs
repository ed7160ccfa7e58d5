//! Inputs that are kept (`tests/corpus/KIND/`), and damaged ones made of them: for tests of whatever reads bytes from outside.
//! An input that once broke a parser becomes a file there.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods)]

use proptest::prelude::*;

/// The inputs of a kind, by name.
pub fn inputs(kind: &str) -> Vec<(String, Vec<u8>)> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(kind);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut inputs: Vec<_> = files
        .map(|file| {
            let path = file.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    inputs.sort();
    assert!(!inputs.is_empty(), "{} is empty", folder.display());
    inputs
}

/// What is done to an input.
#[derive(Clone, Debug)]
enum Edit {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Remove(prop::sample::Index, usize),
    Repeat(prop::sample::Index, usize),
    Insert(prop::sample::Index, Vec<u8>),
    /// The end of another input in place of its own.
    Splice(prop::sample::Index, prop::sample::Index, prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        4 => (at(), 1..=255u8).prop_map(|(at, bits)| Edit::Flip(at, bits)),
        1 => at().prop_map(Edit::Cut),
        2 => (at(), 1..40usize).prop_map(|(at, bytes)| Edit::Remove(at, bytes)),
        2 => (at(), 1..40usize).prop_map(|(at, bytes)| Edit::Repeat(at, bytes)),
        2 => (at(), prop::collection::vec(any::<u8>(), 1..12)).prop_map(|(at, bytes)| Edit::Insert(at, bytes)),
        1 => (at(), at(), at()).prop_map(|(at, which, from)| Edit::Splice(at, which, from)),
    ]
}

/// Inputs of a kind, whole and damaged.
pub fn damaged(kind: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let inputs: Vec<Vec<u8>> = inputs(kind).into_iter().map(|(_, bytes)| bytes).collect();
    let some = prop::sample::select(inputs.clone());
    (some, prop::collection::vec(edit(), 0..5)).prop_map(move |(mut bytes, edits)| {
        for edit in edits {
            apply(&mut bytes, &edit, &inputs);
        }
        bytes
    })
}

fn apply(bytes: &mut Vec<u8>, edit: &Edit, inputs: &[Vec<u8>]) {
    // One place more than there are bytes: the end.
    let place = |at: &prop::sample::Index, bytes: &[u8]| at.index(bytes.len() + 1);
    match edit {
        Edit::Flip(at, bits) => {
            let at = place(at, bytes);
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= bits;
            }
        }
        Edit::Cut(at) => bytes.truncate(place(at, bytes)),
        Edit::Remove(at, length) => {
            let at = place(at, bytes);
            bytes.drain(at..(at + length).min(bytes.len()));
        }
        Edit::Repeat(at, length) => {
            let at = place(at, bytes);
            let piece = bytes[at..(at + length).min(bytes.len())].to_vec();
            bytes.splice(at..at, piece);
        }
        Edit::Insert(at, piece) => {
            let at = place(at, bytes);
            bytes.splice(at..at, piece.iter().copied());
        }
        Edit::Splice(at, which, from) => {
            let other = which.get(inputs);
            bytes.truncate(place(at, bytes));
            bytes.extend_from_slice(&other[place(from, other)..]);
        }
    }
}
