//! The forms of blocking calls that are futures of any runtime.
//!
//! A form runs the blocking call on a thread of a [`BlockingPool`], and waits for the answer as a future. So
//! it works on every composition, and no executor thread waits for a disk, a time-out, or another caller's
//! transaction (C14).
//!
//! The order from the caller to the thread: a form sends a job into the bounded queue of its store
//! (`queue.rs`), the queue asks the pool for a round (`pool.rs`), and a thread of the pool runs one job of
//! the queue.

mod composition;
mod options;
mod pool;
mod queue;
mod workers;

#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod open;
mod reads;
mod scan;
mod store;

pub(crate) use composition::Futures;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) use composition::MemoryLookups;
pub use options::BlockingOptions;
pub use pool::{BlockingPool, BlockingStats};
pub use reads::ReadShapesAsync;
pub(crate) use reads::{HasFutures, look_up_elsewhere};
pub use scan::ScanStream;
pub(crate) use workers::Workers;
