use super::super::view::read;
use crate::{
    Batch, Direct, Handle, HandleSet, MutateError, MutateShapes, Mutation, ReadShapes, Seq, ShapeStore,
    Timestamp,
};

/// What has happened to a composition, as far as its state follows from it. Played on a reference, it makes
/// the state that the composition must be in.
#[derive(Clone, Debug, Default)]
pub struct History {
    events: Vec<Event>,
    /// Whose changes the store below may have refused for good.
    refused: HandleSet,
}

#[derive(Clone, Debug)]
enum Event {
    Mutated { seq: Seq, mutation: Mutation, taken_out: bool },
    Touched { handle: Handle, created: Seq, at: Timestamp },
    Reopened { at: Timestamp },
}

impl History {
    /// A mutation was accepted at this place.
    pub(super) fn mutated(&mut self, seq: Seq, mutation: Mutation) {
        self.events.push(Event::Mutated { seq, mutation, taken_out: false });
    }

    /// A read of the shape that was created at this place was noted.
    pub(super) fn touched(&mut self, handle: Handle, created: Seq, at: Timestamp) {
        self.events.push(Event::Touched { handle, created, at });
    }

    /// The store was opened again, with recovery; what it found counts as read at this moment.
    pub(super) fn reopened(&mut self, at: Timestamp) {
        self.events.push(Event::Reopened { at });
    }

    /// From now on the store below may refuse changes of this handle.
    pub(super) fn refuses(&mut self, handle: Handle) {
        self.refused.insert(handle);
    }

    /// The store below has refused this mutation, or one that it rests on, for good (C8).
    pub(super) fn take_out(&mut self, place: Seq) {
        for event in &mut self.events {
            if let Event::Mutated { seq, taken_out, .. } = event
                && *seq == place
            {
                *taken_out = true;
            }
        }
    }

    /// A crash has lost every mutation after this place (C6).
    pub(super) fn forget_after(&mut self, place: Seq) {
        self.events.retain(|event| !matches!(event, Event::Mutated { seq, .. } if *seq > place));
    }

    /// A crash has lost reads of the shape that was created at this place: all after the one that was saved,
    /// or all of them, if this is none of them.
    pub(super) fn reads_are_lost(&mut self, shape: Seq, saved: Option<Timestamp>) {
        let is_of = |event: &Event| match event {
            Event::Touched { created, at, .. } if *created == shape => Some(*at),
            _ => None,
        };
        let saved = saved.filter(|saved| self.events.iter().filter_map(is_of).any(|at| at == *saved));
        self.events.retain(|event| is_of(event).is_none_or(|at| saved.is_some_and(|saved| at <= saved)));
    }

    /// Plays all of it on this store, which must be fresh, and gives it back as it is then. `reopen` closes
    /// and recovers it.
    ///
    /// # Panics
    ///
    /// If a mutation was taken out that the store below did not refuse and that rests on none such, or if
    /// one was not taken out that had to be (C8).
    pub fn play<S: ShapeStore>(
        &self,
        mut store: Direct<S>,
        mut reopen: impl FnMut(Direct<S>, Timestamp) -> Direct<S>,
    ) -> Direct<S> {
        for (at, event) in self.events.iter().enumerate() {
            match event {
                Event::Mutated { seq, mutation, taken_out } => {
                    if *taken_out {
                        self.check_taken_out(mutation, &store);
                        burn(*seq, &store);
                        continue;
                    }
                    match store.try_mutate(mutation) {
                        Ok(receipt) => assert_eq!(receipt.seq(), *seq, "C6: the order has no gaps"),
                        Err(MutateError::Refused(_)) if self.is_vacuous(mutation, at) => burn(*seq, &store),
                        Err(error) => panic!("C8: #{seq}, {mutation:?}, was to be taken out: {error}"),
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

    fn check_taken_out<S: ShapeStore>(&self, mutation: &Mutation, store: &Direct<S>) {
        let refused = mutation.handle().is_some_and(|handle| self.refused.contains(handle));
        if !refused {
            let alone = store.try_mutate(mutation);
            assert!(
                matches!(alone, Err(MutateError::Refused(_))),
                "C8: {mutation:?} was taken out, and rests on nothing that the store has refused"
            );
        }
    }

    /// Whether a mutation that rests on one that was taken out need not be taken out with it: a removal of what
    /// is not there has nothing to do, and of what was removed again since nothing is left to be told.
    fn is_vacuous(&self, mutation: &Mutation, at: usize) -> bool {
        let removes = |event: &Event| match event {
            Event::Mutated { mutation: Mutation::Remove(removed), .. } => mutation.handle() == Some(removed),
            Event::Mutated { mutation: Mutation::Reset, .. } => true,
            _ => false,
        };
        matches!(mutation, Mutation::Remove(_)) || self.events[at..].iter().any(removes)
    }
}

/// A place in the order that came to nothing.
fn burn<S: ShapeStore>(seq: Seq, store: &Direct<S>) {
    read(store.inner().apply(&Batch { changes: Vec::new(), through: seq }));
}
