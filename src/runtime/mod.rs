//! The only room that touches clocks, randomness and files.

pub mod clock;
pub mod disk;
pub mod tenant;

pub use clock::{Clock, SystemClock};
pub use tenant::{RequestId, Tenant};
