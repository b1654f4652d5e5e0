use super::{DroppedSince, Generation, Overlay, State, View};

/// The number of elements that a read takes from the active generation under the lock at a time.
pub(crate) const PART: usize = if cfg!(shape_meta_interleaved) { 1 } else { 256 };
/// The parts in which a read catches up with mutations, before it takes the rest at once.
const MAX_CATCH_UPS: usize = 64;
/// The generations that a read begins to read in parts, before it reads one at once.
const MAX_STARTS: usize = 3;

/// What a read takes from the active generation: in parts, between which mutations go on.
pub(crate) trait ReadInParts {
    /// Forgets what was read.
    fn clear(&mut self);

    /// Reads the next part. Returns `false` if nothing was left to read.
    fn read(&mut self, active: &Generation) -> bool;

    /// Reads one slot again, or for the first time: it may have changed since its part was read.
    fn read_again(&mut self, active: &Generation, slot: u32);
}

/// A position in the active generation: what was read before it stands, except for the slots of the mutations
/// after it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    /// Of the generation: its first mutation, the latest reset, and the number of revocations.
    pub(super) of: (u64, u64, u64),
    /// How many mutations it has since the latest reset.
    pub(super) mutations: usize,
}

impl Overlay {
    /// Reads the active generation in parts, and then takes the other generations along. The result is the
    /// state as it was when the last slot was read again: a slot that changed after its part was read has
    /// a mutation, and is read again.
    ///
    /// A mutation waits for one part at most. The read ends however many mutations and flushes there are
    /// (I9): it catches up with mutations a number of times, and reads a generation that replaces the active
    /// one a number of times, and takes what is left at once.
    pub(crate) fn read_in_parts<T>(
        &self,
        dropped: &DroppedSince,
        read: &mut impl ReadInParts,
        view: impl FnOnce(View<'_>) -> T,
    ) -> T {
        for _ in 0..MAX_STARTS {
            if let Some(state) = self.try_in_parts(read) {
                return view(state.view(dropped));
            }
        }
        let state = self.read();
        read.clear();
        while read.read(&state.active) {}
        view(state.view(dropped))
    }

    /// Returns the state as it was read, or `None` if the active generation was replaced.
    fn try_in_parts(&self, read: &mut impl ReadInParts) -> Option<crate::sync::RwLockReadGuard<'_, State>> {
        read.clear();
        let mut position = self.read().active.position();
        loop {
            let state = self.read();
            state.active.mutations_since(position)?;
            if !read.read(&state.active) {
                break;
            }
        }
        for catch_up in 0.. {
            let state = self.read();
            let slots = state.active.mutations_since(position)?;
            let is_last = slots.len() <= PART || catch_up == MAX_CATCH_UPS;
            let slots = if is_last { slots } else { &slots[..PART] };
            for slot in slots {
                read.read_again(&state.active, *slot);
            }
            if is_last {
                return Some(state);
            }
            position.mutations += PART;
        }
        None
    }
}
