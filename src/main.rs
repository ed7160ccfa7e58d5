//! Tracewell.
fn main() {}
