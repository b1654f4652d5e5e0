//! Evictors of any number of stores: their schedule, and a thread around it.

mod schedule;
mod thread;

pub use schedule::EvictorSchedule;
pub use thread::EvictorThread;
