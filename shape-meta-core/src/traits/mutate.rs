use std::{future::Future, pin::Pin, time::Instant};

use crate::{AwaitShapes, Handle, Key, MutateError, Mutation, NewShape, Receipt, Result, Signal};

/// The mutations of a composed store, for implementors of the layer on top, which validates. Callers also
/// import [`MutateShapesExt`](crate::MutateShapesExt).
pub trait MutateShapes: AwaitShapes {
    /// Validates a mutation and accepts it, without waiting for capacity. On return every read on every
    /// thread sees it (C1).
    ///
    /// Blocks: short lock with a buffer over look-ups in memory, disk otherwise.
    ///
    /// # Errors
    ///
    /// A refusal or a failure; see [`MutateError`]. Nothing has changed (C4).
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError>;

    /// Returns the live shape with this key, with a receipt that resolves when it is durable. Takes no lock
    /// that a mutation holds, except a shared one while the shape is pending.
    ///
    /// Blocks: as [`handle_for`](crate::ReadShapes::handle_for).
    ///
    /// # Errors
    ///
    /// If the disk has to be read, and that fails.
    fn get(&self, key: &Key) -> Result<Option<GetOrAdd>>;

    /// Returns the live shape with the key of `shape`, or adds `shape`, in one atomic step. Of many
    /// concurrent callers with the same new key, one adds the shape and all get its handle (C2).
    ///
    /// Blocks: as [`try_mutate`](Self::try_mutate).
    ///
    /// # Errors
    ///
    /// The same as for [`try_mutate`](Self::try_mutate). A live key is not refused here; a live handle with a
    /// different key is.
    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError>;

    /// [`try_mutate`](Self::try_mutate) as one of several attempts; the basis of
    /// [`MutateShapesExt`](crate::MutateShapesExt). The context affects only what is reported to the
    /// observer.
    ///
    /// Blocks: as [`try_mutate`](Self::try_mutate).
    ///
    /// # Errors
    ///
    /// The same as for [`try_mutate`](Self::try_mutate).
    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        let _ = attempt;
        self.try_mutate(mutation)
    }

    /// [`try_get_or_add`](Self::try_get_or_add) as one of several attempts; see [`attempt`](Self::attempt).
    ///
    /// Blocks: as [`try_mutate`](Self::try_mutate).
    ///
    /// # Errors
    ///
    /// The same as for [`try_get_or_add`](Self::try_get_or_add).
    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        let _ = attempt;
        self.try_get_or_add(shape)
    }

    /// [`attempt`](Self::attempt) for a future, which must not block.
    ///
    /// The default is that attempt itself: right for a store that accepts mutations in memory.
    ///
    /// Blocks: short lock.
    fn submit(&self, mutation: &Mutation, attempt: AttemptContext) -> Submitted<Receipt> {
        Submitted::Done(self.attempt(mutation, attempt))
    }

    /// [`attempt_get_or_add`](Self::attempt_get_or_add) for a future; see [`submit`](Self::submit).
    ///
    /// Blocks: short lock.
    fn submit_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Submitted<GetOrAdd> {
        Submitted::Done(self.attempt_get_or_add(shape, attempt))
    }

    /// Returns the signal that is raised when there is capacity again after
    /// [`Refusal::Overloaded`](crate::Refusal::Overloaded), and when a handle is free again after
    /// [`Refusal::BeingCleaned`](crate::Refusal::BeingCleaned). `None` if this store never refuses with
    /// these.
    ///
    /// Blocks: never.
    fn capacity_signal(&self) -> Option<&Signal>;
}

/// The context of one attempt at a mutation, among the attempts of its caller. Observers need it: the latency
/// of a mutation includes the wait for capacity, and a mutation counts as refused only when its caller gives
/// up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptContext {
    /// When the caller made its first attempt; `None` if this is the first one.
    pub first_tried: Option<Instant>,
    /// Whether the caller gives up if there is no capacity. Otherwise it waits and tries again, and
    /// [`Refusal::Overloaded`](crate::Refusal::Overloaded) is not reported to the observer.
    pub is_final: bool,
}

impl AttemptContext {
    /// The context of a caller that makes one attempt and does not wait for capacity.
    pub const ONLY: Self = Self { first_tried: None, is_final: true };
}

/// The result of [`get_or_add`](crate::MutateShapesExt::get_or_add).
#[derive(Clone, Debug)]
pub struct GetOrAdd {
    /// The handle of the live shape with that key.
    pub handle: Handle,
    /// Whether this call added the shape.
    pub added: bool,
    /// Resolves when the shape is durable, whichever call added it.
    pub receipt: Receipt,
}

/// An attempt that was made for a future; see [`MutateShapes::submit`].
pub enum Submitted<T> {
    /// It is done.
    Done(Result<T, MutateError>),
    /// It waits for the disk. A future that is dropped may be committed all the same, if its transaction has
    /// begun.
    Waiting(Pin<Box<dyn Future<Output = Result<T, MutateError>> + Send>>),
}
