use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::{
    AttemptContext, GetOrAdd, Key, MutateError, MutateShapes, Mutation, NewShape, Receipt, Refusal, Removal,
    Submitted, Timestamp,
};

/// How long a mutation may wait for capacity while the bound on pending changes is reached (C7), and an add
/// for its handle while stored data under it is being deleted (C12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Does not wait: the mutation is refused at once.
    No,
    /// Waits up to this long. If there is still no capacity then, the mutation is refused.
    UpTo(Duration),
}

/// Conveniences for callers, over any [`MutateShapes`].
///
/// # Errors
///
/// Every method can return a refusal or a failure; see [`MutateError`]. Nothing has changed then (C4).
pub trait MutateShapesExt: MutateShapes {
    /// Applies a mutation. Blocks for up to `wait` while there is no capacity.
    ///
    /// Blocks: as [`try_mutate`](MutateShapes::try_mutate), and waits for up to `wait` at the bound on
    /// pending changes.
    fn mutate(&self, mutation: &Mutation, wait: Wait) -> Result<Receipt, MutateError> {
        with_backpressure(self, wait, |attempt| self.attempt(mutation, attempt))
    }

    /// Returns the live shape with the key of `shape`, or adds `shape`; see [`MutateShapes::try_get_or_add`].
    /// [`GetOrAdd::added`] says whether this call added it. Blocks for up to `wait` while there is no
    /// capacity.
    ///
    /// A shape that is live already costs a [look-up](crate::ReadShapes::handle_for): no lock of mutations,
    /// and no copy of `shape`. It is returned by a closed store, too.
    ///
    /// Blocks: as [`handle_for`](crate::ReadShapes::handle_for) if the key is live, as
    /// [`mutate`](Self::mutate) otherwise.
    fn get_or_add(&self, shape: &NewShape, wait: Wait) -> Result<GetOrAdd, MutateError> {
        with_backpressure(self, wait, |attempt| self.attempt_get_or_add(shape, attempt))
    }

    /// [`mutate`](Self::mutate) as a future, independent of the runtime.
    ///
    /// It waits for capacity without a limit. For a time-out, race it against a timer of the runtime and drop
    /// it.
    ///
    /// It never blocks the executor. Without a buffer it waits for its transaction, on a thread that the
    /// store starts for it. With a buffer it is accepted in memory, under a short lock; a composed store that
    /// looks shapes up on disk does so on a thread of its own.
    ///
    /// **Dropping** it while it waits for capacity, or for a thread, changes nothing. Once its transaction,
    /// or its look-up on another thread, has begun, the mutation may be made all the same.
    ///
    /// Blocks: short lock.
    fn mutate_async(&self, mutation: &Mutation) -> impl Future<Output = Result<Receipt, MutateError>> + Send {
        with_backpressure_async(self, move |attempt| self.submit(mutation, attempt))
    }

    /// [`get_or_add`](Self::get_or_add) as a future; see [`mutate_async`](Self::mutate_async).
    ///
    /// Blocks: short lock.
    fn get_or_add_async(
        &self,
        shape: &NewShape,
    ) -> impl Future<Output = Result<GetOrAdd, MutateError>> + Send {
        with_backpressure_async(self, move |attempt| self.submit_get_or_add(shape, attempt))
    }

    /// Adds a shape.
    ///
    /// Blocks: as [`mutate`](Self::mutate).
    fn add(&self, shape: NewShape, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::Add(shape), wait)
    }

    /// Removes a shape.
    ///
    /// Blocks: as [`mutate`](Self::mutate).
    fn remove(&self, handle: &str, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::remove(handle), wait)
    }

    /// Removes the shape with this handle, unless it was read at `since` or later. Returns `None` if it was,
    /// or if no live shape has the handle. For eviction.
    ///
    /// A [`touch`](crate::ReadShapes::touch) that returned `true` has come before the decision, and keeps the
    /// shape; after the decision it returns `false`. So no shape is removed that was read since. A shape that
    /// was never read is removed. The time of a shape without a saved one is that of the open.
    ///
    /// As a future: [`mutate_async`](Self::mutate_async) with [`Mutation::remove_unread`].
    ///
    /// Blocks: as [`mutate`](Self::mutate).
    fn remove_if_unread_since(
        &self,
        handle: &str,
        since: Timestamp,
        wait: Wait,
    ) -> Result<Option<Receipt>, MutateError> {
        match self.mutate(&Mutation::remove_unread(handle, since), wait) {
            Ok(receipt) => Ok(Some(receipt)),
            Err(MutateError::Refused(Refusal::ReadSince { .. } | Refusal::UnknownHandle { .. })) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Removes several shapes in one step (C1): a list, all that read some relations, and with
    /// [`with_dependants`](Removal::with_dependants) those that depend on them. Readers see all of them, or
    /// none. A crash keeps all removals, or none, unless the store rejects one of them.
    ///
    /// The receipt resolves when all are durable. A rejection of one by the store (C8) is reported by the
    /// receipt, and keeps that shape alone; without a buffer it fails the call, and keeps all.
    ///
    /// Looks the shapes up without a lock. Then other mutations wait for about half a microsecond for each
    /// shape. Waits for capacity like any removal, and may then exceed the bound on pending changes by its
    /// own size (C7). As a future: [`mutate_async`](Self::mutate_async) with [`Mutation::RemoveAll`].
    ///
    /// Blocks: as [`mutate`](Self::mutate), and disk with dependants: for a scan of all shapes.
    fn remove_all(&self, removal: Removal, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::RemoveAll(removal), wait)
    }

    /// Marks the snapshot of this handle as started.
    ///
    /// Blocks: as [`mutate`](Self::mutate).
    fn mark_snapshot_started(&self, handle: &str, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::snapshot_started(handle), wait)
    }

    /// Marks the snapshot of this handle as complete.
    ///
    /// Blocks: as [`mutate`](Self::mutate).
    fn mark_snapshot_complete(&self, handle: &str, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::snapshot_complete(handle), wait)
    }

    /// Removes every shape.
    ///
    /// Blocks: as [`mutate`](Self::mutate).
    fn reset(&self, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::Reset, wait)
    }

    /// [`add`](Self::add) as a future; see [`mutate_async`](Self::mutate_async).
    ///
    /// Blocks: short lock.
    fn add_async(&self, shape: NewShape) -> impl Future<Output = Result<Receipt, MutateError>> + Send {
        mutate_owned(self, Mutation::Add(shape))
    }

    /// [`remove`](Self::remove) as a future; see [`mutate_async`](Self::mutate_async).
    ///
    /// Blocks: short lock.
    fn remove_async(&self, handle: &str) -> impl Future<Output = Result<Receipt, MutateError>> + Send {
        mutate_owned(self, Mutation::remove(handle))
    }

    /// [`mark_snapshot_started`](Self::mark_snapshot_started) as a future; see
    /// [`mutate_async`](Self::mutate_async).
    ///
    /// Blocks: short lock.
    fn mark_snapshot_started_async(
        &self,
        handle: &str,
    ) -> impl Future<Output = Result<Receipt, MutateError>> + Send {
        mutate_owned(self, Mutation::snapshot_started(handle))
    }

    /// [`mark_snapshot_complete`](Self::mark_snapshot_complete) as a future; see
    /// [`mutate_async`](Self::mutate_async).
    ///
    /// Blocks: short lock.
    fn mark_snapshot_complete_async(
        &self,
        handle: &str,
    ) -> impl Future<Output = Result<Receipt, MutateError>> + Send {
        mutate_owned(self, Mutation::snapshot_complete(handle))
    }

    /// [`reset`](Self::reset) as a future; see [`mutate_async`](Self::mutate_async).
    ///
    /// Blocks: short lock.
    fn reset_async(&self) -> impl Future<Output = Result<Receipt, MutateError>> + Send {
        mutate_owned(self, Mutation::Reset)
    }

    /// [`get_or_add`](Self::get_or_add) with a shape that is made only if the key is not live: `make` returns
    /// it, with this key.
    ///
    /// Blocks: as [`get_or_add`](Self::get_or_add).
    fn get_or_add_with(
        &self,
        key: &Key,
        make: impl FnOnce() -> NewShape,
        wait: Wait,
    ) -> Result<GetOrAdd, MutateError> {
        match self.get(key)? {
            Some(found) => Ok(found),
            None => self.get_or_add(&make(), wait),
        }
    }
}

impl<S: MutateShapes + ?Sized> MutateShapesExt for S {}

fn is_retryable<T>(outcome: &Result<T, MutateError>) -> bool {
    matches!(outcome, Err(MutateError::Refused(refusal)) if refusal.is_retryable())
}

fn with_backpressure<S: MutateShapes + ?Sized, T>(
    store: &S,
    wait: Wait,
    attempt: impl Fn(AttemptContext) -> Result<T, MutateError>,
) -> Result<T, MutateError> {
    let (Wait::UpTo(longest), Some(capacity)) = (wait, store.capacity_signal()) else {
        return attempt(AttemptContext::ONLY);
    };
    let first = attempt(AttemptContext { first_tried: None, is_final: false });
    if !is_retryable(&first) {
        return first;
    }
    // Only a caller that has to wait reads the clock.
    let begun = Instant::now();
    let (since, deadline) = (Some(begun), begun.checked_add(longest));
    loop {
        // Listen before trying again, so that capacity freed in between is not missed.
        let waiter = capacity.listen();
        let outcome = attempt(AttemptContext { first_tried: since, is_final: false });
        if !is_retryable(&outcome) {
            return outcome;
        }
        if !waiter.wait(deadline) {
            return attempt(AttemptContext { first_tried: since, is_final: true });
        }
    }
}

async fn mutate_owned<S: MutateShapes + ?Sized>(
    store: &S,
    mutation: Mutation,
) -> Result<Receipt, MutateError> {
    store.mutate_async(&mutation).await
}

async fn with_backpressure_async<S: MutateShapes + ?Sized, T>(
    store: &S,
    submit: impl Fn(AttemptContext) -> Submitted<T> + Send,
) -> Result<T, MutateError> {
    let attempt = async |attempt| match submit(attempt) {
        Submitted::Done(outcome) => outcome,
        Submitted::Waiting(outcome) => outcome.await,
    };
    let Some(capacity) = store.capacity_signal() else { return attempt(AttemptContext::ONLY).await };
    let first = attempt(AttemptContext { first_tried: None, is_final: false }).await;
    if !is_retryable(&first) {
        return first;
    }
    let retry = AttemptContext { first_tried: Some(Instant::now()), is_final: false };
    loop {
        let waiter = capacity.listen();
        let outcome = attempt(retry).await;
        if !is_retryable(&outcome) {
            return outcome;
        }
        waiter.await;
    }
}
