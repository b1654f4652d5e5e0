use std::{sync::Arc, time::Duration};

use super::{RejectedSeq, View};
use crate::{
    Direct, Handle, Limits, MutateShapes, NoopObserver, ShapeStore, StoreControl, Timestamp,
    feed::{Feed, FeedError, FeedOptions},
};

/// How many shapes the checks of large sets add by default.
const LARGE_COUNT: usize = 10_000;
/// How long closing a store may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// How the suite opens a store. A closure that opens one is a fixture too.
///
/// A fixture outlives its stores, so a temporary directory may belong to either.
pub trait StoreFixture: Sync {
    /// The store.
    type Store: ShapeStore + 'static;

    /// Opens a fresh store: empty, and not shared with any other store of this fixture.
    fn open(&self) -> Self::Store;

    /// Opens the store again, with recovery: shapes whose snapshot is not complete are removed, and shapes
    /// that were never read get a last-read time. That time is `at`; a store that uses the clock may ignore
    /// it.
    ///
    /// # Errors
    ///
    /// The unchanged store, if it does not survive a restart. That is the default.
    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let _ = at;
        Err(store)
    }

    /// How many shapes the checks of large sets add. Lower it if a transaction is slow.
    fn large_count(&self) -> usize {
        LARGE_COUNT
    }
}

impl<S: ShapeStore + 'static, F: Fn() -> S + Sync> StoreFixture for F {
    type Store = S;

    fn open(&self) -> S {
        self()
    }
}

/// How the suite opens, flushes and reopens a composition, and injects faults. Only [`open`](Self::open) is
/// required.
///
/// The stores must be opened with [`Limits::default`](crate::Limits). A fixture outlives its stores, so a
/// temporary directory may belong to either.
///
/// Methods with an argument `kind` offer several faults; any number selects one of them.
pub trait CompositionFixture: Sync {
    /// The composition.
    type Store: MutateShapes;

    /// Opens a fresh store: empty, and not shared with any other store of this fixture.
    fn open(&self) -> Self::Store;

    /// Makes every accepted mutation durable. When this returns, every receipt is durable. Never called while
    /// the store is paused. The default does nothing, for compositions that commit each mutation before it
    /// returns.
    fn flush(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Pauses flushing, and returns whether the composition supports that. The default returns `false`.
    fn pause(&self, store: &Self::Store) -> bool {
        let _ = store;
        false
    }

    /// Ends a pause. Only called after [`pause`](Self::pause) has returned `true`.
    fn resume(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Subscribes to the changes of the store, or returns `None` if the composition has no
    /// [`StoreControl`](crate::StoreControl). The default returns `None`.
    fn subscribe(&self, store: &Self::Store, options: &FeedOptions) -> Option<Result<Feed, FeedError>> {
        let _ = (store, options);
        None
    }

    /// Injects a temporary fault below the composition, which has to survive it (C9): a busy disk, a commit
    /// whose answer is lost, a panic, a flush that stops half-way. Callers must not notice it, unless
    /// [`faults_reach_callers`](Self::faults_reach_callers). The default injects nothing.
    fn inject_fault(&self, store: &Self::Store, kind: u8) {
        let _ = (store, kind);
    }

    /// Whether [`inject_fault`](Self::inject_fault) and [`reject_handle`](Self::reject_handle) may make a
    /// mutation fail, because no buffer hides the fault. The mutation may still have been committed.
    fn faults_reach_callers(&self) -> bool {
        false
    }

    /// Flushes in part: of the applies that the flush needs (several, if changes have to be isolated) some
    /// succeed and the next one fails, and nothing retries it before the next flush. Never called while the
    /// store is paused. The default does nothing.
    fn partial_flush(&self, store: &Self::Store, kind: u8) {
        let _ = (store, kind);
    }

    /// Makes the store below reject every change of this handle (C8) until
    /// [`clear_faults`](Self::clear_faults), and returns whether it does. Only for compositions that flush on
    /// demand alone, so that it is known when a change is rejected.
    fn reject_handle(&self, store: &Self::Store, handle: &Handle, rejected_seq: RejectedSeq) -> bool {
        let _ = (store, handle, rejected_seq);
        false
    }

    /// Ends all faults of [`inject_fault`](Self::inject_fault) and [`reject_handle`](Self::reject_handle).
    fn clear_faults(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Replaces the database of the open store by a repaired one, which no caller may notice. The default
    /// does nothing, for compositions without a database.
    fn repair(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Crashes the store, which loses everything that is not committed, and reopens it as
    /// [`reopen`](Self::reopen) does. Last-read times that were not saved may be lost.
    ///
    /// # Errors
    ///
    /// The unchanged store, if crashes are not supported. That is the default.
    fn crash(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let _ = at;
        Err(store)
    }

    /// Closes the store, which flushes it and saves last-read times, and opens it again, with recovery:
    /// shapes whose snapshot is not complete are removed, and shapes that were never read get a last-read
    /// time. That time is `at`; a store that uses the clock may ignore it.
    ///
    /// # Errors
    ///
    /// The unchanged store, if it does not survive a restart. That is the default.
    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let _ = at;
        Err(store)
    }

    /// Refreshes a standby of this store and returns what it serves, or `None` if the composition has no
    /// standby. It need not show what is not committed yet.
    fn standby_view(&self, store: &Self::Store) -> Option<View> {
        let _ = store;
        None
    }

    /// Like [`reopen`](Self::reopen), but promotes the standby.
    ///
    /// # Errors
    ///
    /// The unchanged store, if it does not survive a restart.
    fn promote(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        self.reopen(store, at)
    }

    /// Keeps a copy of the database, as an operator or another process would copy it. It replaces an earlier
    /// copy. Returns whether it was made. Flushing is paused. The default makes none.
    fn save_copy(&self, store: &Self::Store, kind: u8) -> bool {
        let _ = (store, kind);
        false
    }

    /// Closes the store, puts the latest copy in the place of its database, and opens that, with recovery.
    ///
    /// # Errors
    ///
    /// The unchanged store, if there is no copy. That is the default.
    fn restore(&self, store: Self::Store, kind: u8) -> Result<Self::Store, Self::Store> {
        let _ = kind;
        Err(store)
    }

    /// Opens the same database by fencing its live owner, with recovery. The former owner goes on: see
    /// [`write_as_former_owner`](Self::write_as_former_owner).
    ///
    /// # Errors
    ///
    /// The unchanged store, if it cannot be fenced. That is the default.
    fn fence(&self, store: Self::Store) -> Result<Self::Store, Self::Store> {
        Err(store)
    }

    /// Renames or deletes the directory of the live store, and opens a new database in its place. The live
    /// store goes on as a former owner. Flushing is paused before.
    ///
    /// # Errors
    ///
    /// The unchanged store, if its database has no place. That is the default.
    fn recreate(&self, store: Self::Store, kind: u8) -> Result<Self::Store, Self::Store> {
        let _ = kind;
        Err(store)
    }

    /// Closes the store, empties or deletes the file of its database, and opens that.
    ///
    /// # Errors
    ///
    /// The unchanged store, if its database has no file. That is the default.
    fn empty(&self, store: Self::Store, kind: u8) -> Result<Self::Store, Self::Store> {
        let _ = kind;
        Err(store)
    }

    /// Lets every former owner write, and asserts that it confirms nothing and was fenced (C13). The default
    /// does nothing, for compositions that cannot lose their database to another owner.
    fn write_as_former_owner(&self) {}

    /// How many shapes the checks of large sets add. Lower it if each mutation is a slow transaction.
    fn large_count(&self) -> usize {
        LARGE_COUNT
    }
}

/// The fixture of [`Direct`] over the stores of a [`StoreFixture`].
pub struct DirectFixture<F>(pub F);

impl<F: StoreFixture> CompositionFixture for DirectFixture<F> {
    // Shared, so that a reopen gets the store out of the composition.
    type Store = Direct<Arc<F::Store>>;

    fn open(&self) -> Self::Store {
        direct(self.0.open())
    }

    fn subscribe(&self, store: &Self::Store, options: &FeedOptions) -> Option<Result<Feed, FeedError>> {
        Some(store.subscribe(options))
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let report = store.close(TIMEOUT);
        assert!(report.is_complete(), "{report:?}");
        let inner = Arc::clone(store.inner());
        drop(store);
        let inner = Arc::into_inner(inner).expect("the composition was its only other owner");
        self.0.reopen(inner, at).map(direct).map_err(direct)
    }

    fn large_count(&self) -> usize {
        self.0.large_count()
    }
}

fn direct<S: ShapeStore + 'static>(store: S) -> Direct<Arc<S>> {
    Direct::new(Arc::new(store), Limits::default(), Arc::new(NoopObserver))
        .expect("the last sequence number can be read")
}
