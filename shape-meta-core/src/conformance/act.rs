//! Doing what must work, and doing what must be refused.

use std::time::Duration;

use super::{View, view::read};
use crate::{
    MutateError, MutateShapes, MutateShapesExt, Mutation, NewShape, ReadShapes, ReadShapesExt, Receipt,
    Refusal, Seq, SnapshotState, Timestamp, Wait,
};

/// Longer than any step takes on a machine that works.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// Waits for room rather than be refused.
pub(super) const PATIENT: Wait = Wait::UpTo(LONG);

/// What was accepted.
#[track_caller]
pub(super) fn accepted<T>(outcome: Result<T, MutateError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("a mutation was not accepted: {error:?}"),
    }
}

/// Why it was refused.
#[track_caller]
pub(super) fn refused<T: std::fmt::Debug>(outcome: Result<T, MutateError>) -> Refusal {
    match outcome {
        Err(MutateError::Refused(refusal)) => refusal,
        other => panic!("a mutation should have been refused: {other:?}"),
    }
}

/// Asserts that this refuses and changes nothing (C4), and gives back why.
#[track_caller]
pub(super) fn refuses<S: MutateShapes, T: std::fmt::Debug>(
    store: &S,
    attempt: impl FnOnce() -> Result<T, MutateError>,
) -> Refusal {
    let before = View::of(store);
    let refusal = refused(attempt());
    assert_eq!(View::of(store), before, "C4: a refusal changes nothing ({refusal})");
    refusal
}

#[track_caller]
pub(super) fn add<S: MutateShapes>(store: &S, shape: &NewShape) -> Receipt {
    accepted(store.add(shape.clone(), PATIENT))
}

#[track_caller]
pub(super) fn remove<S: MutateShapes>(store: &S, handle: &str) -> Receipt {
    accepted(store.remove(handle, PATIENT))
}

#[track_caller]
pub(super) fn mark<S: MutateShapes>(store: &S, handle: &str, state: SnapshotState) -> Receipt {
    accepted(store.mutate(&Mutation::Mark(handle.to_owned(), state), PATIENT))
}

/// Asserts that every read shows this shape as the one that was created at this place, pending and never
/// read.
#[track_caller]
pub(super) fn assert_new<S: ReadShapes>(store: &S, shape: &NewShape, created: Seq) {
    let view = View::of(store);
    let Some(seen) = view.get(&shape.handle) else { panic!("{:?} is not live: {view:#?}", shape.handle) };
    assert_eq!(seen.created, created);
    assert_eq!((seen.key, seen.hash, seen.indexed), (shape.key, shape.hash, shape.indexed));
    assert_eq!(*seen.relations, *shape.relations);
    assert_eq!(seen.dependencies, *shape.dependencies);
    assert!(seen.definition == shape.definition, "the definition comes back byte for byte: {seen:?}");
    assert_eq!((seen.state, seen.last_read), (SnapshotState::Pending, None), "{seen:?}");
}

/// Asserts that no read shows a shape with this handle.
#[track_caller]
pub(super) fn assert_handle_gone<S: ReadShapes>(store: &S, handle: &str) {
    assert_eq!(read(store.metadata(handle)), None);
    assert!(read(store.entry(handle)).is_none());
    assert!(read(store.record(handle)).is_none());
    assert!(!read(store.has_handle(handle)));
    assert!(!read(store.is_snapshot_started(handle)));
    assert_eq!(read(store.snapshot_state(handle)), None);
    assert!(!read(store.touch(handle, Timestamp::from_micros(1))));
    let view = View::of(store);
    assert!(view.get(handle).is_none(), "{handle:?} should be gone: {view:#?}");
}

/// Asserts that no read shows this shape, by handle or by key.
#[track_caller]
pub(super) fn assert_gone<S: ReadShapes>(store: &S, shape: &NewShape) {
    assert_handle_gone(store, &shape.handle);
    assert!(!read(store.validate_handle(&shape.handle, shape.hash)));
    assert_eq!(read(store.handle_for(&shape.key)), None);
}
