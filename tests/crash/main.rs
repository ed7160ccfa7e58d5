//! Deterministic fault simulation: the real log, sampler, loops, store and reader on a simulated disk, object store and
//! clock, driven from a printed seed. See README.md beside this file.

#![allow(clippy::unwrap_used, missing_docs)]

mod clock;
mod dice;
mod directed;
mod disk;
mod journal;
mod load;
mod objects;
mod oracle;
mod process;
mod seeds;
mod world;
