use std::{
    future::Future,
    time::{Duration, Instant},
};

use crate::{
    AttemptContext, DefinitionHash, GetOrAdd, Handle, HandleSet, LeastRecentlyUsed, MutateError,
    MutateShapes, Mutation, NewShape, ReadShapes, Receipt, Refusal, Result, ScanItem, SnapshotState,
    Timestamp, order,
};

/// How long a mutation may wait for room when as much is pending as the bound allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// Not at all: refuse at once.
    No,
    /// At most so long, then refuse.
    UpTo(Duration),
}

/// Conveniences for callers, over whatever can be read.
pub trait ReadShapesExt: ReadShapes {
    /// Whether a shape with this handle is live.
    ///
    /// # Errors
    ///
    /// If the disk had to be asked, and failed. So with all methods here.
    fn has_handle(&self, handle: &str) -> Result<bool> {
        Ok(self.metadata(handle)?.is_some())
    }

    /// Whether this handle is live and serves a definition with this hash: the check of a request.
    fn validate_handle(&self, handle: &str, hash: DefinitionHash) -> Result<bool> {
        Ok(self.metadata(handle)?.is_some_and(|metadata| metadata.hash == hash))
    }

    /// How far the snapshot of this handle has come, if it is live.
    fn snapshot_state(&self, handle: &str) -> Result<Option<SnapshotState>> {
        Ok(self.metadata(handle)?.map(|metadata| metadata.state))
    }

    /// Whether this handle is live and its snapshot has begun.
    fn is_snapshot_started(&self, handle: &str) -> Result<bool> {
        Ok(self.snapshot_state(handle)?.is_some_and(SnapshotState::is_started))
    }

    /// Notes that this handle was read now, and says whether it is live.
    fn touch_now(&self, handle: &str) -> Result<bool> {
        self.touch(handle, Timestamp::now())
    }

    /// Up to `n` shapes that were not read for longest, the stalest first.
    fn lru(&self, n: usize) -> Result<LeastRecentlyUsed> {
        self.least_recently_used(n, &HandleSet::new())
    }

    /// Compares the handles of shapes that have stored data with the live shapes: calls `orphan` for each that is not
    /// live, and returns the live shapes that were not among them, in the order of creation. Any number of handles,
    /// in any order, also more than once. What is pending counts.
    ///
    /// Both sets are exact if nothing changes meanwhile. A shape that is added while this runs is not missed for its
    /// lack of data; but an orphan may be a shape that was removed a moment ago, or whose add is yet to come: so
    /// delete only what is older than the engine takes between the two.
    ///
    /// Takes 8 bytes of memory for each live handle that comes in, a look-up for each, and a scan.
    fn orphans<H: AsRef<str>>(
        &self,
        stored: impl IntoIterator<Item = H>,
        mut orphan: impl FnMut(H),
    ) -> Result<Vec<Handle>> {
        let begun = self.last_seq()?;
        let mut seen = Vec::new();
        for handle in stored {
            match self.metadata(handle.as_ref())? {
                Some(metadata) => seen.push(metadata.created),
                None => orphan(handle),
            }
        }
        seen.sort_unstable();
        let mut missing = Vec::new();
        for listed in self.scan()? {
            let listed = listed?;
            let created = listed.metadata.created;
            if created <= begun && seen.binary_search(&created).is_err() {
                missing.push(listed.record.handle().clone());
            }
        }
        Ok(missing)
    }

    /// All live shapes: in the order of creation, but dependencies before their dependants (where there
    /// is no circle). Holds all of them in memory; use [`ReadShapes::scan`] or [`fold`](Self::fold) for
    /// very many.
    fn list(&self) -> Result<Vec<ScanItem>> {
        let shapes = self.scan()?.collect::<Result<Vec<_>>>()?;
        Ok(order::dependencies_first(shapes))
    }

    /// Folds over all live shapes in the order of creation, holding one page of them at a time.
    fn fold<A>(&self, initial: A, mut step: impl FnMut(A, ScanItem) -> A) -> Result<A>
    where
        Self: Sized,
    {
        self.scan()?.try_fold(initial, |folded, listed| Ok(step(folded, listed?)))
    }
}

impl<S: ReadShapes + ?Sized> ReadShapesExt for S {}

/// Conveniences for callers, over whatever can be changed.
pub trait MutateShapesExt: MutateShapes {
    /// Applies a mutation, waiting for room at most so long.
    ///
    /// # Errors
    ///
    /// A refusal or a failure, see [`MutateError`]; nothing has changed. So with all methods here.
    fn mutate(&self, mutation: &Mutation, wait: Wait) -> Result<Receipt, MutateError> {
        with_room(self, wait, |attempt| self.attempt(mutation, attempt))
    }

    /// Finds the live shape with this key or adds this one, waiting for room at most so long; see
    /// [`MutateShapes::try_get_or_add`].
    fn get_or_add(&self, shape: &NewShape, wait: Wait) -> Result<GetOrAdd, MutateError> {
        with_room(self, wait, |attempt| self.attempt_get_or_add(shape, attempt))
    }

    /// [`mutate`](Self::mutate) as a future of any runtime. It waits for room for as long as it is
    /// polled: race it against a timer of your runtime, and drop it when you have waited enough. A future
    /// that is dropped before it is ready has changed nothing.
    fn mutate_async(&self, mutation: &Mutation) -> impl Future<Output = Result<Receipt, MutateError>> + Send {
        with_room_async(self, move |attempt| self.attempt(mutation, attempt))
    }

    /// [`get_or_add`](Self::get_or_add) as a future of any runtime; see
    /// [`mutate_async`](Self::mutate_async).
    fn get_or_add_async(
        &self,
        shape: &NewShape,
    ) -> impl Future<Output = Result<GetOrAdd, MutateError>> + Send {
        with_room_async(self, move |attempt| self.attempt_get_or_add(shape, attempt))
    }

    /// Adds a shape.
    fn add(&self, shape: NewShape, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::Add(shape), wait)
    }

    /// Removes a shape.
    fn remove(&self, handle: &str, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::remove(handle), wait)
    }

    /// The snapshot of this handle has begun.
    fn mark_snapshot_started(&self, handle: &str, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::snapshot_started(handle), wait)
    }

    /// The snapshot of this handle is whole.
    fn mark_snapshot_complete(&self, handle: &str, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::snapshot_complete(handle), wait)
    }

    /// Removes every shape.
    fn reset(&self, wait: Wait) -> Result<Receipt, MutateError> {
        self.mutate(&Mutation::Reset, wait)
    }

    /// Finds the live shape with this key, or adds one whose handle and definition are only made when
    /// they are needed.
    fn get_or_add_with(
        &self,
        key: &crate::Key,
        make: impl FnOnce() -> NewShape,
        wait: Wait,
    ) -> Result<Handle, MutateError> {
        match self.handle_for(key)? {
            Some(handle) => Ok(handle),
            None => Ok(self.get_or_add(&make(), wait)?.handle),
        }
    }
}

impl<S: MutateShapes + ?Sized> MutateShapesExt for S {}

fn is_overloaded<T>(outcome: &Result<T, MutateError>) -> bool {
    matches!(outcome, Err(MutateError::Refused(Refusal::Overloaded { .. })))
}

fn with_room<S: MutateShapes + ?Sized, T>(
    store: &S,
    wait: Wait,
    attempt: impl Fn(AttemptContext) -> Result<T, MutateError>,
) -> Result<T, MutateError> {
    let (Wait::UpTo(longest), Some(room)) = (wait, store.capacity_signal()) else {
        return attempt(AttemptContext::ONLY);
    };
    let first = attempt(AttemptContext { first_tried: None, is_final: false });
    if !is_overloaded(&first) {
        return first;
    }
    // Only who has to wait reads the clock.
    let begun = Instant::now();
    let (since, deadline) = (Some(begun), begun.checked_add(longest));
    loop {
        // Listen first and try again, so that room made in between is not missed.
        let waiter = room.listen();
        let outcome = attempt(AttemptContext { first_tried: since, is_final: false });
        if !is_overloaded(&outcome) {
            return outcome;
        }
        if !waiter.wait(deadline) {
            return attempt(AttemptContext { first_tried: since, is_final: true });
        }
    }
}

async fn with_room_async<S: MutateShapes + ?Sized, T>(
    store: &S,
    attempt: impl Fn(AttemptContext) -> Result<T, MutateError> + Send,
) -> Result<T, MutateError> {
    let Some(room) = store.capacity_signal() else { return attempt(AttemptContext::ONLY) };
    let first = attempt(AttemptContext { first_tried: None, is_final: false });
    if !is_overloaded(&first) {
        return first;
    }
    let again = AttemptContext { first_tried: Some(Instant::now()), is_final: false };
    loop {
        let waiter = room.listen();
        let outcome = attempt(again);
        if !is_overloaded(&outcome) {
            return outcome;
        }
        waiter.await;
    }
}
