//! The durable watermark, and the receipts that wait for it.

mod receipt;
mod signal;
mod tracker;

pub use receipt::Receipt;
pub use signal::{Signal, Waiter};
pub use tracker::{DurabilityTracker, NotDurable, RequestFlush};
