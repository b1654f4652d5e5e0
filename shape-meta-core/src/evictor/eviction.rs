use crate::{EvictionStats, Handle, MutateError};

/// What one step of an [`Evictor`](crate::Evictor) has done.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Eviction {
    /// The removed shapes, the least recently read first.
    pub removed: Vec<Handle>,
    /// The numbers of the step, as they were emitted to the observer.
    pub stats: EvictionStats,
    /// Whether the next step has more to do at once. Otherwise, step again after an interval.
    pub more: bool,
    /// The refusal or failure that ended the step early. The shapes in `removed` are removed all the same.
    /// The next step tries again.
    pub error: Option<MutateError>,
}
