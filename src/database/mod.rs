//! The database below a composition, whichever it is: what opening, cleaning and closing need of it.
//!
//! One file for each kind of database implements [`Database`] and [`Follower`], and nothing else in this
//! crate names the stores, but for the methods that return them.

use std::sync::Arc;

use shape_meta_core::{
    Handle, LastError, ReadShapes, Result, Seq, ShapeStore, Timestamp,
    store_parts::{CleanupTask, OnLiveOwner, StopHandle},
};

use crate::{OpenReport, builder::CleanupOptions};

#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;

/// A database that this process owns.
pub(crate) trait Database: ReadShapes {
    /// Returns the last sequence number that the open found.
    fn last_seq_at_open(&self) -> Seq;
    /// Returns whether the database itself answers look-ups by handle.
    fn answers_lookups(&self) -> bool;
    /// Returns when an owner first opened the database with this shape in it.
    fn first_seen_at(&self, created: Seq) -> Option<Timestamp>;
    /// Returns the latest damage that was met. Does not read the database.
    fn latest_damage(&self) -> Option<LastError>;
    /// Removes incomplete shapes, which leaves cleanup tasks, and reports the open as a whole.
    fn recover(&self, cleanup: CleanupOptions) -> Result<OpenReport>;
    /// Writes nothing more, and releases the ownership. Reads go on.
    fn release(&self) -> Result<()>;

    /// Returns an error if this thread, on which an observer calls, is within an operation for which other
    /// threads wait that use the database.
    fn check_not_writing(&self) -> Result<()>;

    /// Calls `hook` whenever cleanup tasks were committed.
    fn on_cleanup_tasks(&self, hook: Box<dyn Fn() + Send + Sync>);
    fn pending_cleanup_tasks(&self) -> u64;
    fn cleanup_tasks(&self, after: Option<&CleanupTask>, limit: usize) -> Result<Vec<CleanupTask>>;
    fn ack_cleanup(&self, tasks: &[CleanupTask]) -> Result<()>;
    fn drop_superseded_tasks(&self, tasks: &[(CleanupTask, Seq)]) -> Result<usize>;
    fn confirm_removals(&self) -> Result<()>;
    fn add_orphans(&self, handles: &[Handle]) -> Result<()>;
    fn without_task(&self, handles: Vec<Handle>) -> Result<Vec<Handle>>;
    fn is_storage_trusted(&self) -> Result<bool>;
    fn trust_storage(&self) -> Result<()>;
    fn distrust_storage(&self) -> Result<()>;
}

/// Forwards the methods that the stores have under the same names.
macro_rules! forward_to_store {
    () => {
        fn last_seq_at_open(&self) -> Seq {
            self.report().last_seq
        }
        fn answers_lookups(&self) -> bool {
            self.disk_indexes().is_maintained()
        }
        fn first_seen_at(&self, created: Seq) -> Option<Timestamp> {
            Self::first_seen_at(self, created)
        }
        fn latest_damage(&self) -> Option<LastError> {
            Self::latest_damage(self)
        }
        fn release(&self) -> Result<()> {
            Self::release(self).map(drop)
        }
        fn on_cleanup_tasks(&self, hook: Box<dyn Fn() + Send + Sync>) {
            Self::on_cleanup_tasks(self, hook);
        }
        fn pending_cleanup_tasks(&self) -> u64 {
            Self::pending_cleanup_tasks(self)
        }
        fn cleanup_tasks(&self, after: Option<&CleanupTask>, limit: usize) -> Result<Vec<CleanupTask>> {
            Self::cleanup_tasks(self, after, limit)
        }
        fn ack_cleanup(&self, tasks: &[CleanupTask]) -> Result<()> {
            Self::ack_cleanup(self, tasks)
        }
        fn drop_superseded_tasks(&self, tasks: &[(CleanupTask, Seq)]) -> Result<usize> {
            Self::drop_superseded_tasks(self, tasks)
        }
        fn confirm_removals(&self) -> Result<()> {
            Self::confirm_removals(self)
        }
        fn add_orphans(&self, handles: &[Handle]) -> Result<()> {
            Self::add_orphans(self, handles)
        }
        fn without_task(&self, handles: Vec<Handle>) -> Result<Vec<Handle>> {
            Self::without_task(self, handles)
        }
        fn is_storage_trusted(&self) -> Result<bool> {
            Self::is_storage_trusted(self)
        }
        fn trust_storage(&self) -> Result<()> {
            Self::trust_storage(self)
        }
        fn distrust_storage(&self) -> Result<()> {
            Self::distrust_storage(self)
        }
    };
}
use forward_to_store;

/// A database that this process reads beneath a standby, and owns after a promotion.
pub(crate) trait Follower: ShapeStore {
    /// Checks that what is read is still the database.
    fn check_source(&self) -> Result<()>;
    /// Becomes the owner, unless it is stopped while it waits. Returns the same store again after that.
    fn promote(&self, on_live_owner: OnLiveOwner, stop: &StopHandle) -> Result<Owned>;
    /// Calls `hook` after commits of the owner, with whether a live process owns the database. It returns
    /// whether it has followed. Returns whether there is such a push.
    fn follow(&self, hook: Box<dyn Fn(bool) -> bool + Send + Sync>) -> Result<bool>;
    /// Returns the live owner, where that is known.
    #[cfg(feature = "postgres")]
    fn owner_info(&self) -> Result<Option<shape_meta_postgres::StackOwner>>;
}

/// The store of a database that this process owns.
#[derive(Clone)]
pub(crate) enum Owned {
    #[cfg(feature = "sqlite")]
    Sqlite(Arc<shape_meta_sqlite::SqliteStore>),
    #[cfg(feature = "postgres")]
    Postgres(Arc<shape_meta_postgres::PostgresStore>),
}

impl Owned {
    pub(crate) fn database(&self) -> &dyn Database {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(store) => &**store,
            #[cfg(feature = "postgres")]
            Self::Postgres(store) => &**store,
        }
    }

    #[cfg(feature = "sqlite")]
    pub(crate) fn sqlite(&self) -> Option<&shape_meta_sqlite::SqliteStore> {
        match self {
            Self::Sqlite(store) => Some(store),
            #[cfg(feature = "postgres")]
            Self::Postgres(_) => None,
        }
    }

    #[cfg(feature = "postgres")]
    pub(crate) fn postgres(&self) -> Option<&shape_meta_postgres::PostgresStore> {
        match self {
            #[cfg(feature = "sqlite")]
            Self::Sqlite(_) => None,
            Self::Postgres(store) => Some(store),
        }
    }
}
