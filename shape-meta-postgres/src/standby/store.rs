use std::{
    cell::RefCell,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use shape_meta_core::{
    Activity, ChangeLog, Delta, Entry, LastReadStore, Observer, OpenStats, ReadShapes, RebuildStore, Result,
    Seq, ShapeStore, forward_reads, forward_store,
    store_parts::{CleanupTasks, ObservedLock, OnLiveOwner, ShownSeqs},
};

use super::open;
use crate::{
    PostgresOpenReport, PostgresOptions, PostgresPool, PostgresStore,
    format::lineage::Lineage,
    notify::Subscription,
    read::snapshot::{Param, Snapshot},
    stack::Role,
};

/// A read-only follower of a stack that another process owns. [Promotion](Self::promote) makes it the owner.
///
/// Until then a read shows what the owner had committed when the read began, and changes fail with
/// [`ErrorKind::Standby`](shape_meta_core::ErrorKind::Standby). A mirror above (`Cached` of
/// `shape-meta-cache`) is refreshed from
/// [`changes_since`](shape_meta_core::ShapeStoreExt::changes_since); [`follow`](Self::follow) says when.
///
/// It only reads, so its pool may lead to a standby server, which may be behind: it never goes back to an
/// earlier state than it has shown.
pub struct PostgresStandby {
    pub(super) reader: PostgresStore,
    /// Held while the stack is read for a layer above, so that these reads come one after the other.
    shown: ObservedLock<ShownSeqs>,
    owner: OnceLock<Arc<PostgresStore>>,
    /// The number of lines of history that were begun since this standby was opened.
    lines: AtomicU64,
    /// One promotion at a time.
    promoting: ObservedLock<()>,
    subscription: Mutex<Option<Arc<Subscription>>>,
}

impl PostgresStandby {
    /// Opens the stack with this name, whose owner may or may not be alive. Writes nothing.
    ///
    /// # Errors
    ///
    /// With these [kinds](shape_meta_core::ErrorKind):
    ///
    /// - `NotFound`: there is no such stack, or no such database.
    /// - `UnsupportedSchema`: another version of this crate has written the tables.
    /// - `Configuration`: an option is invalid, or asks for look-ups that the owner omits.
    /// - `Corrupt`: the row of the stack is damaged.
    /// - `AccessDenied`, `Busy`, `Io`, `Interrupted`, `Unsupported`: as for [`PostgresStore::open`].
    pub fn open(
        pool: &PostgresPool,
        stack: &str,
        options: PostgresOptions,
        observer: Arc<dyn Observer>,
    ) -> Result<Self> {
        let path = format!("{}/{stack}", pool.place());
        let open::Found { stack: found, recency, report } = Activity::Open { path: path.as_ref() }
            .observed(&*observer, || open::open(pool, stack, &options))?;
        observer.opened(&OpenStats { shapes: report.counts.total, took: report.took });
        let cleanup = CleanupTasks::new(false, 0);
        Ok(Self {
            reader: PostgresStore::new(pool, stack, found, recency, report, cleanup, options, observer),
            shown: ObservedLock::default(),
            owner: OnceLock::new(),
            lines: AtomicU64::new(0),
            promoting: ObservedLock::default(),
            subscription: Mutex::default(),
        })
    }

    /// Opens the stack as its owner, and returns the owning store. Later reads and changes of this standby go
    /// to it. Promoting again returns the same store.
    ///
    /// [Recover](PostgresStore::recover) before the first change, and then
    /// [refresh](shape_meta_core::ShapeStoreExt::changes_since) the layer above.
    ///
    /// # Errors
    ///
    /// As [`PostgresStore::open`]: in particular `AlreadyOpen` if another owner is alive and `on_live_owner`
    /// does not fence it. The standby stays a standby, and the promotion can be tried again.
    pub fn promote(&self, on_live_owner: OnLiveOwner) -> Result<&Arc<PostgresStore>> {
        let _guard = self.promoting.lock()?;
        if let Some(owner) = self.owner.get() {
            return Ok(owner);
        }
        let options = self.reader.options.clone().on_live_owner(on_live_owner);
        let observer = Arc::clone(&self.reader.observer);
        let owner = PostgresStore::open(&self.reader.pool, self.reader.name(), options, observer)?;
        // A last read that is recorded here after this line is lost, unless it goes to the owner already. On
        // another line of history the same id is another shape.
        let mut snapshot = Snapshot::begin(&owner, crate::connection::operation::Operation::Load, DOING)?;
        if self.observe(&mut snapshot, &mut *self.shown.lock()?)? && self.lines.load(Ordering::Acquire) == 0 {
            owner.recency.merge(&self.reader.recency);
        }
        drop(snapshot);
        let owner = self.owner.get_or_init(|| Arc::new(owner));
        self.unfollow();
        Ok(owner)
    }

    /// Returns the owning store, if this standby was promoted.
    pub fn owner(&self) -> Option<&Arc<PostgresStore>> {
        self.owner.get()
    }

    /// Returns the report of the open. Until the promotion its `epoch` is that of the owner at the open.
    pub fn report(&self) -> &PostgresOpenReport {
        self.current().report()
    }

    /// Returns the pool of this standby.
    pub fn pool(&self) -> &PostgresPool {
        self.reader.pool()
    }

    /// Returns the name of the stack.
    pub fn name(&self) -> &str {
        self.reader.name()
    }

    pub(super) fn current(&self) -> &PostgresStore {
        self.owner.get().map_or(&self.reader, |owner| owner)
    }

    pub(super) fn subscription(&self) -> MutexGuard<'_, Option<Arc<Subscription>>> {
        self.subscription.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves to the position that was read. Returns whether it is of the line of the one before; if not, what
    /// was shown up to now is of another line (C13).
    fn observe(&self, snapshot: &mut Snapshot<'_>, shown: &mut ShownSeqs) -> Result<bool> {
        let Role::Standby(position) = &self.reader.stack.role else { return Ok(true) };
        let number: Param = Box::new(snapshot.row.id);
        let rows = snapshot.query(&self.reader.stack.statements.lineage, vec![number])?;
        let is_same_line = position.observe(&snapshot.row, Lineage::decode(&rows)?)?;
        if !is_same_line {
            shown.begin_line();
            self.lines.fetch_add(1, Ordering::AcqRel);
        }
        Ok(is_same_line)
    }
}

const DOING: &str = "compare the stack with what the standby has shown";

impl Drop for PostgresStandby {
    fn drop(&mut self) {
        self.unfollow();
    }
}

#[deny(clippy::missing_trait_methods)]
impl ReadShapes for PostgresStandby {
    forward_reads!(self => self.current());
}

/// Changes fail with [`ErrorKind::Standby`](shape_meta_core::ErrorKind::Standby) until the promotion.
#[deny(clippy::missing_trait_methods)]
impl ShapeStore for PostgresStandby {
    forward_store!(self => self.current());

    fn load(&self, each: &mut dyn FnMut(Arc<Entry>)) -> Result<Seq> {
        let shown = RefCell::new(self.shown.lock()?);
        let last_seq = self.current().load_at(each, Snapshot::begin_unverified, |snapshot| {
            self.observe(snapshot, &mut shown.borrow_mut()).map(drop)
        })?;
        shown.borrow_mut().returned(last_seq);
        Ok(last_seq)
    }

    fn change_log(&self) -> Option<&dyn ChangeLog> {
        Some(self)
    }

    fn last_read_store(&self) -> Option<&dyn LastReadStore> {
        Some(self.current())
    }

    fn rebuild_store(&self) -> Option<&dyn RebuildStore> {
        None
    }
}

impl ChangeLog for PostgresStandby {
    /// Returns `None` if `seq` was read on another line of history than the one that the stack has now: after
    /// a restore, or when it was made anew. A hand-over to another owner goes on with the same line.
    fn since(&self, seq: Seq) -> Result<Option<Delta>> {
        let mut shown = self.shown.lock()?;
        let delta = self.current().since_at(seq, Snapshot::begin_unverified, |snapshot| {
            Ok(self.observe(snapshot, &mut shown)? && shown.has(seq))
        })?;
        if let Some(delta) = &delta {
            shown.returned(delta.through);
        }
        Ok(delta)
    }

    fn line(&self) -> u64 {
        self.lines.load(Ordering::Acquire)
    }
}

impl std::fmt::Debug for PostgresStandby {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStandby")
            .field("reader", &self.reader)
            .field("promoted", &self.owner.get().is_some())
            .finish_non_exhaustive()
    }
}
