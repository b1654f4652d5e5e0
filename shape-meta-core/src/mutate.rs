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

    /// Raised when there is room again after [`Refusal::Overloaded`](crate::Refusal::Overloaded);
    /// `None` if that never happens here.
    fn room(&self) -> Option<&Signal>;
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
