//! Files behind a trait, so that a simulated disk can stand in for the real one.
