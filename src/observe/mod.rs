//! The daemon about itself: its logs and its metrics.

pub mod logs;
