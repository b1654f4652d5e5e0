//! Parts of a durable store that do not depend on its database, for implementors of one: the last-read times
//! in memory, the encoding of the change log, and the number of cleanup tasks.

mod change_log;
mod cleanup_tasks;
mod openings;
mod recency;

pub use change_log::{FoldedLog, LoggedChanges};
pub use cleanup_tasks::CleanupTasks;
pub use openings::Openings;
pub use recency::{LastReadSnapshot, Recency, RemovedTimes, SavedReads, StoredTime};
