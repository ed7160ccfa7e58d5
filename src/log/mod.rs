//! The durable log: segments, group commit, replay.
