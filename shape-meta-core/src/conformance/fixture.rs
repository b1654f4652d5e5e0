use super::{Naming, View};
use crate::{Handle, MutateShapes, Timestamp};

/// How the suite gets at a composition: what a composition implements for its tests.
///
/// The stores must be opened with [`Limits::default`](crate::Limits). A fixture outlives its stores, so a
/// temporary directory may belong to either.
pub trait Fixture: Sync {
    /// The composition.
    type Store: MutateShapes;

    /// A fresh store: empty, and not shared with any other that this fixture has opened.
    fn open(&self) -> Self::Store;

    /// Makes durable all that was accepted. When this returns, every receipt says so. Never called while
    /// the store is paused. Nothing to do where every mutation is committed before it returns.
    fn flush(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Holds back what is accepted from now on, and says whether this composition can do that.
    fn pause(&self, store: &Self::Store) -> bool {
        let _ = store;
        false
    }

    /// Ends a pause. Only called after [`pause`](Self::pause) has returned `true`.
    fn resume(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Makes what lies below the store fail for a while, in one of several ways, such that the
    /// composition has to survive it without anybody noticing: a busy disk, a commit whose answer is lost,
    /// a panic, a flush that stops half-way until the next call. `way` is any number. Does nothing where
    /// failures cannot be hidden.
    fn disturb(&self, store: &Self::Store, way: u8) {
        let _ = (store, way);
    }

    /// Whether [`disturb`](Self::disturb) and [`refuse`](Self::refuse) may make a mutation fail, since there
    /// is no buffer that hides it. It may have been committed all the same.
    fn shows_failures(&self) -> bool {
        false
    }

    /// A flush that gets only so far: of the applies that it needs (more than one if changes have to be
    /// isolated), some succeed and the next fails, and nobody goes on with it until the next flush. Never
    /// called while the store is paused. Nothing to do where nothing is flushed.
    fn flush_in_part(&self, store: &Self::Store, way: u8) {
        let _ = (store, way);
    }

    /// Makes what lies below the store refuse every change of this handle for good (C8) until
    /// [`heal`](Self::heal), and says whether it does. Only for compositions that flush when they are asked
    /// to and at no other time, so that it is known when a change is taken out.
    fn refuse(&self, store: &Self::Store, handle: &Handle, naming: Naming) -> bool {
        let _ = (store, handle, naming);
        false
    }

    /// Ends all that [`disturb`](Self::disturb) and [`refuse`](Self::refuse) have begun.
    fn heal(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Has the store put a fresh database in the place of its own, which nobody may notice. Nothing to do where
    /// there is no database.
    fn repair(&self, store: &Self::Store) {
        let _ = store;
    }

    /// Loses the store as the death of its process would, with all that it had not committed, and opens
    /// again what is left, as [`reopen`](Self::reopen) does. Reads that were not saved may be lost.
    ///
    /// # Errors
    ///
    /// The store as it was, where that cannot be done.
    fn crash(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let _ = at;
        Err(store)
    }

    /// Closes the store (which flushes it, and saves when shapes were last read) and opens it again on what
    /// it has left, with recovery: shapes whose snapshot is not complete are removed, and those that were
    /// never read count as read at one moment. That moment is `at` if the store can be told; one that asks
    /// the clock may ignore it.
    ///
    /// # Errors
    ///
    /// The store as it was, where nothing outlives a store.
    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        let _ = at;
        Err(store)
    }

    /// Brings somebody up to date who reads what this store writes, and says what such a one shows; `None` where
    /// there is nobody. What is not on disk yet need not be seen.
    fn beside(&self, store: &Self::Store) -> Option<View> {
        let _ = store;
        None
    }

    /// Like [`reopen`](Self::reopen), but whoever read beside the store becomes its owner.
    ///
    /// # Errors
    ///
    /// The store as it was, where nothing outlives a store.
    fn promote(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        self.reopen(store, at)
    }

    /// How many shapes the checks of large sets add. Lower it where each mutation costs a slow
    /// transaction.
    fn many(&self) -> usize {
        10_000
    }
}

impl<F: Fixture + ?Sized> Fixture for &F {
    type Store = F::Store;

    fn open(&self) -> Self::Store {
        (**self).open()
    }

    fn flush(&self, store: &Self::Store) {
        (**self).flush(store);
    }

    fn pause(&self, store: &Self::Store) -> bool {
        (**self).pause(store)
    }

    fn resume(&self, store: &Self::Store) {
        (**self).resume(store);
    }

    fn disturb(&self, store: &Self::Store, way: u8) {
        (**self).disturb(store, way);
    }

    fn shows_failures(&self) -> bool {
        (**self).shows_failures()
    }

    fn flush_in_part(&self, store: &Self::Store, way: u8) {
        (**self).flush_in_part(store, way);
    }

    fn refuse(&self, store: &Self::Store, handle: &Handle, naming: Naming) -> bool {
        (**self).refuse(store, handle, naming)
    }

    fn heal(&self, store: &Self::Store) {
        (**self).heal(store);
    }

    fn repair(&self, store: &Self::Store) {
        (**self).repair(store);
    }

    fn crash(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        (**self).crash(store, at)
    }

    fn reopen(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        (**self).reopen(store, at)
    }

    fn beside(&self, store: &Self::Store) -> Option<View> {
        (**self).beside(store)
    }

    fn promote(&self, store: Self::Store, at: Timestamp) -> Result<Self::Store, Self::Store> {
        (**self).promote(store, at)
    }

    fn many(&self) -> usize {
        (**self).many()
    }
}
