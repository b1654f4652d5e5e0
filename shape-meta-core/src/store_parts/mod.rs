//! Parts of a durable store that do not depend on its database, for implementors of one: the last-read times
//! in memory, the encoding of the change log, the cleanup tasks, options that all stores have, what a standby
//! has shown, what an inspection computes from rows, what a re-key decides, work on two threads, and locks
//! that are held while observers are called. With the feature `rows` also checksums of rows, identities, and
//! look-up hashes.

mod change_log;
#[cfg(feature = "rows")]
pub mod checksum;
mod cleanup_tasks;
mod disk_indexes;
#[cfg(feature = "rows")]
mod identity;
mod inspection;
mod join;
#[cfg(feature = "rows")]
pub mod lookup_hash;
mod observed_lock;
mod on_live_owner;
mod openings;
mod recency;
mod rekey_pass;
mod shown_seqs;
mod stop_handle;
mod verifier;

pub use crate::traits::check_key;
pub use change_log::{FoldedLog, LoggedChanges};
pub use cleanup_tasks::{CleanupTask, CleanupTasks};
pub use disk_indexes::DiskIndexes;
#[cfg(feature = "rows")]
pub use identity::Identity;
pub use inspection::{OrphanSearch, RowChecks, ShapeTotals, TopRelation, VerifyReport};
pub use join::join;
pub use observed_lock::{ObservedGuard, ObservedLock};
pub use on_live_owner::OnLiveOwner;
pub use openings::Openings;
pub use recency::{LastReadSnapshot, Recency, RemovedTimes, SavedReads, StoredTime};
pub use rekey_pass::RekeyPass;
pub use shown_seqs::ShownSeqs;
pub use stop_handle::StopHandle;
pub use verifier::Verifier;
