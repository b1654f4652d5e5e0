use std::time::Instant;

use crate::{Handle, MutateError, Mutation, NewShape, ReadShapes, Receipt, Signal};

/// What can be changed: for implementors of the layer on top, which validates. Callers will want
/// [`MutateShapesExt`](crate::MutateShapesExt) too.
pub trait MutateShapes: ReadShapes {
    /// Validates a mutation and accepts it, without ever waiting for room. When this has returned,
    /// every read on every thread sees it (C1).
    ///
    /// # Errors
    ///
    /// A refusal or a failure; see [`MutateError`]. Nothing has changed.
    fn try_mutate(&self, mutation: &Mutation) -> Result<Receipt, MutateError>;

    /// Finds the live shape with this key, or adds this one, in one step: of many callers that ask for
    /// the same new key at the same time, one adds it and all get its handle (C2).
    ///
    /// # Errors
    ///
    /// As with [`try_mutate`](Self::try_mutate); a live key is no refusal here, a live handle with another
    /// key is.
    fn try_get_or_add(&self, shape: &NewShape) -> Result<GetOrAdd, MutateError>;

    /// [`try_mutate`](Self::try_mutate) for a caller that comes again: what
    /// [`MutateShapesExt`](crate::MutateShapesExt) is made of. Only what observers are told depends on which
    /// attempt it is.
    ///
    /// # Errors
    ///
    /// As with [`try_mutate`](Self::try_mutate).
    fn attempt(&self, mutation: &Mutation, attempt: AttemptContext) -> Result<Receipt, MutateError> {
        let _ = attempt;
        self.try_mutate(mutation)
    }

    /// [`try_get_or_add`](Self::try_get_or_add) for a caller that comes again, likewise.
    ///
    /// # Errors
    ///
    /// As with [`try_get_or_add`](Self::try_get_or_add).
    fn attempt_get_or_add(&self, shape: &NewShape, attempt: AttemptContext) -> Result<GetOrAdd, MutateError> {
        let _ = attempt;
        self.try_get_or_add(shape)
    }

    /// Raised when there is room again after [`Refusal::Overloaded`](crate::Refusal::Overloaded);
    /// `None` if that never happens here.
    fn capacity_signal(&self) -> Option<&Signal>;
}

/// Which attempt of its caller a mutation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptContext {
    /// When the caller first came; `None` if it has come just now.
    pub first_tried: Option<Instant>,
    /// Whether the caller gives up if there is no room. If not, that is no refusal yet.
    pub is_final: bool,
}

impl AttemptContext {
    /// That of a caller that does not wait for room.
    pub const ONLY: Self = Self { first_tried: None, is_final: true };
}

/// What [`get_or_add`](crate::MutateShapesExt::get_or_add) found or made.
#[derive(Clone, Debug)]
pub struct GetOrAdd {
    /// The handle of the live shape with that key.
    pub handle: Handle,
    /// Whether this call has made it.
    pub added: bool,
    /// With which to wait until the shape's existence is durable, whoever made it.
    pub receipt: Receipt,
}
