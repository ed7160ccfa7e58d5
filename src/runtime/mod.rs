//! The only room that touches clocks, randomness, files and threads. Everything else takes them as parameters, so that
//! a simulation can stand in for the machine.

pub mod clock;
pub mod cpu;
pub mod disk;
pub mod drain;
pub mod follow;
pub mod lock;
pub mod memory;
pub mod net;
pub mod process;
pub mod random;
pub mod tasks;
pub mod tenant;
pub mod tls;
mod watch;

pub use clock::{Clock, SystemClock};
pub use cpu::CpuPool;
pub use disk::{Disk, DiskFile, OpenMode, RealDisk};
pub use drain::{Drain, DrainReport, Shutdown};
pub use lock::{DirLock, LockError};
pub use process::ProcessUsage;
pub use random::{Random, SeededRandom, SystemRandom};
pub use tasks::{OnRuntime, Panicked, TaskHandle, Tasks};
pub use tenant::{RequestId, Tenant};
pub use watch::FileWatch;
