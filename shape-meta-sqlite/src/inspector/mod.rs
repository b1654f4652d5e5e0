//! Read-only access for operators, with or without a live owner, through SQLite and its locks.

mod backup;
mod copy;
mod open;
mod orphans;
mod owner;
mod snapshot;
mod summary;
mod temporary;
mod verify;

pub use backup::BackupProgress;
pub(crate) use backup::back_up;
pub use open::Inspector;
pub use owner::Owner;
pub use summary::Summary;
pub use temporary::remove_temporary_files;
