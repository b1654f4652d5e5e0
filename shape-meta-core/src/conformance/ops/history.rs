use super::super::view::read;
use crate::{
    Batch, Direct, Handle, HandleSet, MutateError, MutateShapes, Mutation, ReadShapes, Seq, ShapeStore,
    Timestamp,
};

/// The events that determine the state of a composition. Replaying them on a reference model gives the state
/// that the composition must have.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
    /// The handles whose changes the store below may have rejected.
    rejected: HandleSet,
}

#[derive(Clone, Debug)]
enum Event {
    Mutated { seq: Seq, mutation: Mutation, rejected: bool },
    Touched { handle: Handle, created: Seq, at: Timestamp },
    Reopened { at: Timestamp },
}

impl History {
    /// Records a mutation that was accepted with this sequence number.
    pub(super) fn mutated(&mut self, seq: Seq, mutation: Mutation) {
        self.events.push(Event::Mutated { seq, mutation, rejected: false });
    }

    /// Records a touch of the shape with this sequence number.
    pub(super) fn touched(&mut self, handle: Handle, created: Seq, at: Timestamp) {
        self.events.push(Event::Touched { handle, created, at });
    }

    /// Records a reopen with recovery. Shapes that were never read got this last-read time.
    pub(super) fn reopened(&mut self, at: Timestamp) {
        self.events.push(Event::Reopened { at });
    }

    /// Records that the store below may reject changes of this handle from now on.
    pub(super) fn may_reject(&mut self, handle: Handle) {
        self.rejected.insert(handle);
    }

    /// Records that this mutation, or one that it depends on, was rejected (C8).
    pub(super) fn reject(&mut self, rejected_seq: Seq) {
        for event in &mut self.events {
            if let Event::Mutated { seq, rejected, .. } = event
                && *seq == rejected_seq
            {
                *rejected = true;
            }
        }
    }

    /// Removes every mutation after this sequence number: a crash has lost them (C6).
    pub(super) fn truncate_after(&mut self, last: Seq) {
        self.events.retain(|event| !matches!(event, Event::Mutated { seq, .. } if *seq > last));
    }

    /// Removes the touches of a shape that a crash has lost: those after the saved one, or all of them if the
    /// saved time is that of no touch.
    pub(super) fn lose_touches(&mut self, shape: Seq, saved: Option<Timestamp>) {
        let touch_of_shape = |event: &Event| match event {
            Event::Touched { created, at, .. } if *created == shape => Some(*at),
            _ => None,
        };
        let saved =
            saved.filter(|saved| self.events.iter().filter_map(touch_of_shape).any(|at| at == *saved));
        self.events
            .retain(|event| touch_of_shape(event).is_none_or(|at| saved.is_some_and(|saved| at <= saved)));
    }

    /// Replays the events on a fresh store and returns it. `reopen` closes and recovers a store.
    ///
    /// # Panics
    ///
    /// If a mutation was rejected although neither the store below rejects its handle nor it depends on such
    /// a mutation, or if a mutation should have been rejected and was not (C8).
    pub fn play<S: ShapeStore + 'static>(
        &self,
        mut store: Direct<S>,
        mut reopen: impl FnMut(Direct<S>, Timestamp) -> Direct<S>,
    ) -> Direct<S> {
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::Mutated { seq, mutation, rejected } => {
                    if *rejected {
                        self.check_rejection(mutation, &store);
                        skip_seq(*seq, &store);
                        continue;
                    }
                    match store.try_mutate(mutation) {
                        Ok(receipt) => {
                            assert_eq!(receipt.seq(), *seq, "C6: sequence numbers have no gaps");
                        }
                        Err(MutateError::Refused(_)) if self.has_no_effect(mutation, at) => {
                            skip_seq(*seq, &store);
                        }
                        Err(error) => {
                            panic!("C8: sequence number {seq}, {mutation:?}, had to be rejected: {error}")
                        }
                    }
                }
                Event::Touched { handle, created, at } => {
                    let live = read(store.metadata(handle));
                    if live.is_some_and(|live| live.created == *created) {
                        read(store.touch(handle, *at));
                    }
                }
                Event::Reopened { at } => store = reopen(store, *at),
            }
        }
        store
    }

    fn check_rejection<S: ShapeStore + 'static>(&self, mutation: &Mutation, store: &Direct<S>) {
        let expected = mutation.handle().is_some_and(|handle| self.rejected.contains(handle));
        if !expected {
            let outcome = store.try_mutate(mutation);
            assert!(
                matches!(outcome, Err(MutateError::Refused(_))),
                "C8: {mutation:?} was rejected, but depends on no rejected change"
            );
        }
    }

    /// Whether a mutation that depends on a rejected one need not be rejected itself: the removal of a
    /// missing shape has no effect, and the effect on a shape that was removed later is not visible.
    fn has_no_effect(&self, mutation: &Mutation, at: usize) -> bool {
        let removes = |event: &Event| match event {
            Event::Mutated { mutation: Mutation::Remove(removed), .. } => mutation.handle() == Some(removed),
            Event::Mutated { mutation: Mutation::Reset, .. } => true,
            _ => false,
        };
        matches!(mutation, Mutation::Remove(_)) || self.events[at..].iter().any(removes)
    }
}

/// Advances the store past a sequence number without a change.
fn skip_seq<S: ShapeStore + 'static>(seq: Seq, store: &Direct<S>) {
    read(store.inner().apply(&Batch { changes: Vec::new(), through: seq }));
}
