//! Where rules come from: a file, watched.
