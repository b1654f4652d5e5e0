//! Parts of a durable store that do not depend on its database, for implementors of one: the last-read times
//! in memory, the encoding of the change log, the cleanup tasks, what an open does about a live owner, and
//! what a standby has shown.

mod change_log;
mod cleanup_tasks;
mod on_live_owner;
mod openings;
mod recency;
mod shown_seqs;
mod stop_handle;

pub use change_log::{FoldedLog, LoggedChanges};
pub use cleanup_tasks::{CleanupTask, CleanupTasks};
pub use on_live_owner::OnLiveOwner;
pub use openings::Openings;
pub use recency::{LastReadSnapshot, Recency, RemovedTimes, SavedReads, StoredTime};
pub use shown_seqs::ShownSeqs;
pub use stop_handle::StopHandle;
