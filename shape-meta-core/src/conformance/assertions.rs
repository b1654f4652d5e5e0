//! Mutations that must be accepted, mutations that must be refused, and reads that must show their effect.

use std::time::Duration;

use super::{View, view::read};
use crate::{
    MutateError, MutateShapes, MutateShapesExt, Mutation, NewShape, ReadShapes, ReadShapesExt, Receipt,
    Refusal, Seq, SnapshotState, Timestamp, Wait,
};

/// Longer than any step takes on a working machine.
pub(super) const TIMEOUT: Duration = Duration::from_secs(60);
/// Waits at the bound of pending changes instead of being refused.
pub(super) const WAIT: Wait = Wait::UpTo(TIMEOUT);

/// Returns the result of a mutation that must be accepted.
#[track_caller]
pub(super) fn accepted<T>(outcome: Result<T, MutateError>) -> T {
    match outcome {
        Ok(value) => value,
        Err(error) => panic!("a mutation should be accepted: {error:?}"),
    }
}

/// Returns the refusal of a mutation that must be refused.
#[track_caller]
pub(super) fn refusal_of<T: std::fmt::Debug>(outcome: Result<T, MutateError>) -> Refusal {
    match outcome {
        Err(MutateError::Refused(refusal)) => refusal,
        other => panic!("a mutation should be refused: {other:?}"),
    }
}

/// Asserts that a mutation is refused and changes nothing (C4), and returns the refusal.
#[track_caller]
pub(super) fn assert_refused<S: MutateShapes, T: std::fmt::Debug>(
    store: &S,
    attempt: impl FnOnce() -> Result<T, MutateError>,
) -> Refusal {
    let before = View::of(store);
    let refusal = refusal_of(attempt());
    assert_eq!(View::of(store), before, "C4: a refusal changes nothing ({refusal})");
    refusal
}

#[track_caller]
pub(super) fn add<S: MutateShapes>(store: &S, shape: &NewShape) -> Receipt {
    accepted(store.add(shape.clone(), WAIT))
}

#[track_caller]
pub(super) fn remove<S: MutateShapes>(store: &S, handle: &str) -> Receipt {
    accepted(store.remove(handle, WAIT))
}

#[track_caller]
pub(super) fn mark<S: MutateShapes>(store: &S, handle: &str, state: SnapshotState) -> Receipt {
    accepted(store.mutate(&Mutation::Mark(handle.to_owned(), state), WAIT))
}

/// Asserts that every read returns this shape, with this sequence number, as pending and never read.
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

/// Asserts that no read returns a shape with this handle.
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
    assert!(view.get(handle).is_none(), "{handle:?} should not be live: {view:#?}");
}

/// Asserts that no read returns this shape, by handle or by key.
#[track_caller]
pub(super) fn assert_gone<S: ReadShapes>(store: &S, shape: &NewShape) {
    assert_handle_gone(store, &shape.handle);
    assert!(!read(store.validate_handle(&shape.handle, shape.hash)));
    assert_eq!(read(store.handle_for(&shape.key)), None);
}
